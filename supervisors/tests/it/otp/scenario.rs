//! What both sides are asked to do: a supervision tree and the operations on it, written as one line of JSON.

use serde::{Serialize, Serializer};

/// One run: a tree is started, then the operations are performed one by one, each when the tree is at rest.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Scenario {
    pub(super) seed: u64,
    /// For the reader of a report; nobody else looks at it.
    pub(super) profile: String,
    pub(super) tree: Supervisor,
    pub(super) ops: Vec<Op>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Supervisor {
    pub(super) id: String,
    pub(super) strategy: Strategy,
    pub(super) intensity: u32,
    /// Seconds.
    pub(super) period: u32,
    pub(super) auto_shutdown: AutoShutdown,
    /// In start order; under `SimpleOneForOne` the template alone.
    pub(super) children: Vec<Child>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Child {
    Worker(Worker),
    Supervisor(Nested),
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Worker {
    pub(super) id: String,
    pub(super) restart: Restart,
    pub(super) shutdown: Shutdown,
    pub(super) significant: bool,
    /// Has a stop hook, which is recorded.
    pub(super) trap_exit: bool,
    /// Does not stop when its supervisor asks.
    pub(super) stubborn: bool,
    /// What each start attempt does; the last one is repeated.
    pub(super) init: Vec<Outcome>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) on_stop_kill: Option<String>,
}

/// A supervisor as a child.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Nested {
    pub(super) restart: Restart,
    pub(super) shutdown: Shutdown,
    pub(super) significant: bool,
    #[serde(flatten)]
    pub(super) supervisor: Supervisor,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Strategy {
    OneForOne,
    OneForAll,
    RestForOne,
    SimpleOneForOne,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum AutoShutdown {
    Never,
    AnySignificant,
    AllSignificant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Restart {
    Permanent,
    Transient,
    Temporary,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shutdown {
    BrutalKill,
    Infinity,
    Milliseconds(u32),
}

impl Serialize for Shutdown {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::BrutalKill => serializer.serialize_str("brutal_kill"),
            Self::Infinity => serializer.serialize_str("infinity"),
            Self::Milliseconds(milliseconds) => serializer.serialize_u32(*milliseconds),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Out {
    Ok,
    Error,
    Ignore,
}

/// What one start attempt of a worker does.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub(super) enum Outcome {
    Plain(Out),
    /// Kills another worker first.
    Kill {
        out: Out,
        kill: String,
    },
    /// Puts a call into the queue of its own supervisor first.
    Call {
        out: Out,
        call: Call,
    },
}

impl Outcome {
    pub(super) fn out(&self) -> Out {
        match self {
            Self::Plain(out) | Self::Kill { out, .. } | Self::Call { out, .. } => *out,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub(super) enum Op {
    Direct(Direct),
    Api {
        sup: String,
        #[serde(flatten)]
        call: Call,
    },
}

/// What the surroundings do to the tree.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub(super) enum Direct {
    Exit { id: String, reason: Reason },
    Sleep { ms: u32 },
    StopRoot,
}

/// A function of the supervisor's interface.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub(super) enum Call {
    StartChild {
        #[serde(flatten)]
        new: New,
    },
    TerminateChild {
        id: String,
    },
    RestartChild {
        id: String,
    },
    DeleteChild {
        id: String,
    },
    GetChildspec {
        id: String,
    },
    WhichChildren,
    CountChildren,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum New {
    Child(Box<Child>),
    /// An instance of a template.
    Args {
        id: String,
        init: Vec<Outcome>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) enum Reason {
    #[serde(rename = "normal")]
    Normal,
    #[serde(rename = "shutdown")]
    Shutdown,
    #[serde(rename = "shutdown:x")]
    ShutdownTerm,
    #[serde(rename = "crash")]
    Crash,
    #[serde(rename = "kill")]
    Kill,
}

impl Scenario {
    pub(super) fn to_line(&self) -> String {
        serde_json::to_string(self).expect("strings and integers always become JSON")
    }
}

impl Child {
    pub(super) fn id(&self) -> &str {
        match self {
            Self::Worker(worker) => &worker.id,
            Self::Supervisor(nested) => &nested.supervisor.id,
        }
    }
}
