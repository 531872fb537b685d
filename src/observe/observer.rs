//! The side of an instance that can be observed: its name, its socket, and the orders that come in there.

use std::env;
use std::fs;
use std::future::pending;
use std::io;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use byron_actors::tree::UpstreamHandle;
use jiff::Timestamp;
use thiserror::Error;
use tokio::sync::mpsc;

use super::directory::{self, DirectoryError};
use super::model::{Endpoint, Instance};
use super::name::InstanceName;
use super::recorder::{RecordError, RecordedCounts, Recorder};
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
    /// Where what happens is recorded.
    pub record: Option<PathBuf>,
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
    /// The file for what happens is not to be had.
    #[error(transparent)]
    Record(#[from] RecordError),
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
    recorder: Option<Recorder>,
    failure: Option<OpenError>,
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

/// Makes this program an instance that others find, answers them, and records what happens: each as far as it is wanted.
/// `say` is told when the recording fails.
///
/// # Errors
/// The recording cannot begin, or the instance cannot be observed and is required to.
pub fn open(
    settings: &ObserveSettings,
    about: About,
    say: fn(&str),
) -> Result<Observer, OpenError> {
    let mut observer = Observer::default();
    let wanted = settings
        .name
        .clone()
        .unwrap_or_else(|| InstanceName::resembling(&about.title));
    let site = match claim(settings, &wanted) {
        Ok(site) => site,
        Err(error) if settings.is_required() => return Err(error),
        Err(error) => {
            observer.failure = Some(error);
            None
        }
    };
    let (name, socket) = match &site {
        Some(site) => (&site.claim.name, Some(&*site.socket.0)),
        None => (&wanted, None),
    };
    let instance = instance(name, socket, about);
    if let Some(path) = &settings.record {
        observer.recorder = Some(Recorder::start(path, instance.clone(), say)?);
    }
    if let Some(site) = site {
        let counts = observer.recorder.as_ref().map(Recorder::recorded);
        observer.open = Some(site.serve(instance, counts)?);
    }
    Ok(observer)
}

/// A name and a socket at which nobody answers yet.
struct Site {
    claim: Claim,
    socket: SocketFile,
    listener: UnixListener,
}

/// The name and the socket, if there is to be one.
fn claim(settings: &ObserveSettings, name: &InstanceName) -> Result<Option<Site>, OpenError> {
    if settings.listen == Listen::Off {
        return Ok(None);
    }
    let directory = directory::locate();
    directory::create(&directory)?;
    let wanted = match &settings.name {
        Some(_) => Wanted::Exactly(name.clone()),
        None => Wanted::Like(name.clone()),
    };
    let claim = Claim::take(&directory, wanted)?;
    let path = match &settings.listen {
        Listen::At(path) => std::path::absolute(path).unwrap_or_else(|_| path.clone()),
        Listen::Off | Listen::Here | Listen::IfPossible => claim.socket_path(),
    };
    let listener = server::bind(&path)?;
    Ok(Some(Site {
        claim,
        socket: SocketFile(path),
        listener,
    }))
}

impl Site {
    fn serve(
        self,
        instance: Instance,
        recorded: Option<RecordedCounts>,
    ) -> Result<Open, OpenError> {
        let Site {
            claim,
            socket,
            listener,
        } = self;
        let (server, orders) =
            Server::start(listener, instance.clone(), recorded).map_err(|source| {
                OpenError::Serve {
                    socket: socket.0.clone(),
                    source,
                }
            })?;
        // Last: whoever finds it can ask it.
        claim.publish(&socket.0, instance)?;
        Ok(Open {
            server,
            orders,
            socket,
            claim,
        })
    }
}

fn instance(name: &InstanceName, socket: Option<&Path>, about: About) -> Instance {
    let mut endpoints = about.endpoints;
    endpoints.extend(socket.map(|socket| Endpoint {
        what: "observe".to_owned(),
        at: format!("unix:{}", socket.display()),
        port: None,
    }));
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

    /// Why there is no socket, though there should be one.
    pub fn failure(&mut self) -> Option<OpenError> {
        self.failure.take()
    }

    /// These caches can be asked for and purged.
    pub fn show_caches(&self, caches: Vec<UpstreamHandle>) {
        if let Some(open) = &self.open {
            open.server.show_caches(caches);
        }
    }

    /// From now on the instance does what it was started for.
    pub fn ready(&self) {
        if let Some(open) = &self.open {
            open.server.ready();
        }
        if let Some(recorder) = &self.recorder {
            recorder.ready();
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
        if let Some(recorder) = self.recorder {
            recorder.finish();
        }
    }
}
