//! What can be seen of a running byron, and what can be done to it.
//!
//! [`model`] is the data, as it travels; all views are functions of it. Every long-running command [opens](open) its
//! socket, on which a server tells what it knows and takes orders; [`client`] is the other side. The programs of one user
//! find each other in a [directory](discovery).

mod address;
pub mod caches;
pub mod client;
mod directory;
pub mod discovery;
pub mod history;
pub mod model;
mod name;
mod observer;
pub mod protocol;
mod recorder;
pub mod redact;
mod registration;
pub mod render;
pub mod replay;
mod server;
pub mod why;

pub use self::address::{InstanceAddress, ParseInstanceAddressError, SshAddress};
pub use self::directory::DirectoryError;
pub use self::name::{InstanceName, ParseInstanceNameError};
pub use self::observer::{About, Listen, ObserveSettings, Observer, OpenError, open};
pub use self::recorder::{RECORDING_BYTES_MAX, RecordError};
pub use self::registration::{ClaimError, Registration};
pub use self::server::{BindSocketError, Order};
