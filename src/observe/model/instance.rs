//! Which program it is: [`Instance`].

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A running byron, as it introduces itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Instance {
    /// What it is called; no other that runs has this name.
    pub name: String,
    /// Its process id.
    pub pid: u32,
    /// Whose process it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// Its command line, the program first.
    #[serde(default)]
    pub command_line: Vec<String>,
    /// The version of the program.
    #[serde(default)]
    pub version: String,
    /// When it was started.
    pub started: Timestamp,
    /// Where it answers.
    #[serde(default)]
    pub endpoints: Vec<Endpoint>,
}

/// One place where an instance answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// Who answers there: a poem's title, `observe`.
    pub what: String,
    /// Where, as people write it: `127.0.0.1:10000`, `unix:/run/user/1000/byron/ecstasy.sock`.
    pub at: String,
    /// The TCP port, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
}

impl Instance {
    /// The ports on which it answers.
    pub fn ports(&self) -> impl Iterator<Item = u16> {
        self.endpoints.iter().filter_map(|endpoint| endpoint.port)
    }
}
