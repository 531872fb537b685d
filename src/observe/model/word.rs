//! The words of the model. A newer program may use more of them: one that is not known is kept as it is.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An enum of words that travels as text.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$word_doc:meta])* $word:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(from = "String", into = "String")]
        pub enum $name {
            $($(#[$word_doc])* $word,)*
            /// A word of a later version.
            Other(Box<str>),
        }

        impl $name {
            /// Every word that this version knows.
            pub const KNOWN: &[$name] = &[$($name::$word),*];

            /// The word itself.
            pub fn as_str(&self) -> &str {
                match self {
                    $($name::$word => $text,)*
                    $name::Other(word) => word,
                }
            }
        }

        impl From<&str> for $name {
            fn from(word: &str) -> $name {
                match word {
                    $($text => $name::$word,)*
                    other => $name::Other(other.into()),
                }
            }
        }

        impl From<String> for $name {
            fn from(word: String) -> $name {
                $name::from(word.as_str())
            }
        }

        impl From<$name> for String {
            fn from(word: $name) -> String {
                word.as_str().to_owned()
            }
        }

        impl FromStr for $name {
            type Err = Infallible;

            fn from_str(word: &str) -> Result<$name, Infallible> {
                Ok($name::from(word))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }
    };
}

words! {
    /// How a place of the tree fares.
    State {
        /// Its init has not ended.
        Starting = "STARTING",
        /// It runs.
        Running = "RUNNING",
        /// It lives, and handles nothing until it is resumed.
        Suspended = "SUSPENDED",
        /// It takes nothing new and finishes what it has.
        Draining = "DRAINING",
        /// It was told to stop.
        Stopping = "STOPPING",
        /// It failed, and its supervisor will try again as soon as it gets to it.
        Restarting = "RESTARTING",
        /// It failed, and its supervisor waits before it tries again.
        Backoff = "BACKOFF",
        /// There is no process, and none is coming.
        Stopped = "STOPPED",
        /// It ended normally, and its supervisor leaves it at that.
        Exited = "EXITED",
        /// It failed, and its supervisor does not try again.
        Failed = "FAILED",
    }
}

words! {
    /// What is remarkable about a process.
    Flag {
        /// One turn has taken longer than a second.
        Busy = "BUSY",
        /// One turn has taken longer than ten seconds.
        Stuck = "STUCK",
        /// Its mailbox has no room.
        Full = "FULL",
        /// It waits for a process that waits for it.
        Deadlock = "DEADLOCK",
    }
}

words! {
    /// What kind of thing happened.
    EventKind {
        /// A process was started.
        Started = "started",
        /// Its init is over, it handles messages.
        Ready = "ready",
        /// It ended.
        Exit = "exit",
        /// Its supervisor begins a restart.
        Restart = "restart",
        /// Its supervisor waits before the next attempt.
        Backoff = "backoff",
        /// A supervisor reached its restart intensity, or gave up on one child.
        GaveUp = "gave_up",
        /// A supervisor begins to stop its children.
        Stop = "stop",
        /// An exit signal went over a link and ends the process.
        Link = "link",
        /// A person, or a program for one, did something from outside.
        Operator = "operator",
        /// A mailbox is full, or longer than is good.
        MailboxHigh = "mailbox_high",
        /// One turn took too long.
        HandlerSlow = "handler_slow",
        /// Something was made to fail on purpose.
        Chaos = "chaos",
        /// An actor says what its own work came to.
        Note = "note",
        /// The configuration was read again.
        Reload = "reload",
    }
}

words! {
    /// Of what kind the end of a process was.
    ReasonKind {
        /// Done, as planned.
        Normal = "normal",
        /// Stopped in order.
        Shutdown = "shutdown",
        /// Killed from outside.
        Killed = "killed",
        /// There was no such process.
        NoProc = "noproc",
        /// The arbiter that ran it is gone.
        NoConnection = "noconnection",
        /// Failed, and says why.
        Error = "error",
        /// Panicked.
        Panic = "panic",
    }
}

impl ReasonKind {
    /// True for an end that nobody has to look into.
    pub fn is_normal(&self) -> bool {
        matches!(self, ReasonKind::Normal | ReasonKind::Shutdown)
    }
}
