//! The side of an instance that can be observed: its name, its socket, and the orders that come in there.

use std::env;
use std::fs;
use std::future::pending;
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use thiserror::Error;
use tokio::sync::mpsc;

use super::directory::{self, DirectoryError};
use super::model::{Endpoint, Instance};
use super::name::InstanceName;
use super::registration::{Claim, ClaimError, Wanted};
use super::server::{self, BindSocketError, Order, Server};
use crate::exit_code::ExitCode;

/// How a command can be observed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObserveSettings {
    /// Where its socket is.
    pub listen: Listen,
    /// What it is called; otherwise after what it does.
    pub name: Option<InstanceName>,
}

/// Where the socket of an instance is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Listen {
    /// In the user's directory; if there can be none, the command goes on without.
    #[default]
    IfPossible,
    /// In the user's directory, or the command does not start.
    Here,
    /// At this path, or the command does not start.
    At(PathBuf),
    /// Nowhere.
    Off,
}

impl ObserveSettings {
    /// Whether the command is not to run without a socket.
    pub fn is_required(&self) -> bool {
        self.name.is_some() || matches!(self.listen, Listen::Here | Listen::At(_))
    }
}

/// What a command says of itself.
#[derive(Clone, Debug)]
pub struct About {
    /// What it is about, such as the title of its first poem: its name, if it is not given one.
    pub title: String,
    /// Where it answers.
    pub endpoints: Vec<Endpoint>,
}

/// Why an instance cannot be observed.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The directory is not to be trusted.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The name is not to be had.
    #[error(transparent)]
    Claim(#[from] ClaimError),
    /// The socket is not to be had.
    #[error(transparent)]
    Socket(#[from] BindSocketError),
    /// The system has no thread for it.
    #[error("cannot answer on {}", socket.display())]
    Serve {
        /// Where.
        socket: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// The side of an instance that can be observed: while this is kept, others find it and can ask it.
#[derive(Debug, Default)]
pub struct Observer {
    open: Option<Open>,
}

/// In the order in which it goes: the server before the name, the socket between them.
#[derive(Debug)]
struct Open {
    server: Server,
    orders: mpsc::Receiver<Order>,
    socket: SocketFile,
    claim: Claim,
}

/// Removed when it is dropped.
#[derive(Debug)]
struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // One that stays is replaced by the next program of this name.
        let _ = fs::remove_file(&self.0);
    }
}

/// Makes this program an instance that others find, and answers them.
///
/// # Errors
/// The name is taken, or the socket cannot be opened.
pub fn open(settings: &ObserveSettings, about: About) -> Result<Observer, OpenError> {
    if settings.listen == Listen::Off {
        return Ok(Observer::default());
    }
    let directory = directory::locate();
    directory::create(&directory)?;
    let wanted = match &settings.name {
        Some(name) => Wanted::Exactly(name.clone()),
        None => Wanted::Like(InstanceName::resembling(&about.title)),
    };
    let claim = Claim::take(&directory, wanted)?;
    let path = match &settings.listen {
        Listen::At(path) => std::path::absolute(path).unwrap_or_else(|_| path.clone()),
        Listen::Off | Listen::Here | Listen::IfPossible => claim.socket_path(),
    };
    let listener = server::bind(&path)?;
    let socket = SocketFile(path);
    let instance = instance(&claim.name, &socket.0, about);
    let (server, orders) =
        Server::start(listener, instance.clone()).map_err(|source| OpenError::Serve {
            socket: socket.0.clone(),
            source,
        })?;
    // Last: whoever finds it can ask it.
    claim.publish(&socket.0, instance)?;
    Ok(Observer {
        open: Some(Open {
            server,
            orders,
            socket,
            claim,
        }),
    })
}

fn instance(name: &InstanceName, socket: &Path, about: About) -> Instance {
    let mut endpoints = about.endpoints;
    endpoints.push(Endpoint {
        what: "observe".to_owned(),
        at: format!("unix:{}", socket.display()),
        port: None,
    });
    Instance {
        name: name.to_string(),
        pid: std::process::id(),
        uid: Some(directory::own_uid()),
        command_line: env::args_os()
            .map(|argument| argument.to_string_lossy().into_owned())
            .collect(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started: Timestamp::now(),
        endpoints,
    }
}

impl Observer {
    /// What the instance is called, and where its socket is, if it has one.
    pub fn whereabouts(&self) -> Option<(&InstanceName, &Path)> {
        let open = self.open.as_ref()?;
        Some((&open.claim.name, &open.socket.0))
    }

    /// From now on the instance does what it was started for.
    pub fn ready(&self) {
        if let Some(open) = &self.open {
            open.server.ready();
        }
    }

    /// Waits for an order; for ever, if nobody can give one.
    pub async fn order(&mut self) -> Order {
        let order = match &mut self.open {
            Some(open) => open.orders.recv().await,
            None => None,
        };
        match order {
            Some(order) => order,
            None => pending().await,
        }
    }

    /// Tells whoever follows that the instance ends, and how.
    pub async fn close(self, code: ExitCode) {
        if let Some(open) = self.open {
            open.server.close(code).await;
        }
    }
}
