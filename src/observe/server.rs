//! The socket of an instance, and the server that answers on it.
//!
//! It has a thread and a worker of its own: whoever asks for a big tree, or follows slowly, keeps nobody waiting but
//! himself. It asks no actor for anything; what it tells is read from tables that are there anyway.

mod answer;
mod caches;
mod children;
mod follow;
mod logs;
mod peer;
mod routes;

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use actix::System;
use actix_web::body::MessageBody;
use actix_web::dev::{self, ServerHandle, ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::middleware::{Next, from_fn};
use actix_web::web::Data;
use actix_web::{App, HttpServer};
use byron_actors::tree::UpstreamHandle;
use thiserror::Error;
use tokio::sync::{mpsc, watch};

use self::answer::Refused;
use self::peer::{Admission, Peer};
use super::directory::own_uid;
use super::model::{Instance, VERSION};
use super::protocol::End;
use super::recorder::RecordedCounts;
use crate::exit_code::ExitCode;

/// How many connections there may be; more wait.
const CONNECTIONS_MAX: usize = 128;

/// How long the head of a request may be on its way.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a connection may be idle between two requests.
const KEEP_ALIVE: Duration = Duration::from_secs(60);

/// How long a client may take to close its side.
const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long followers may take to read what is left when the instance ends, in seconds.
const LAST_WORDS_SECONDS: u64 = 1;

/// How many orders may wait for the command.
const ORDERS_MAX: usize = 4;

/// What can be asked of the whole command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// End, as after SIGTERM.
    Stop,
    /// Take nothing new, and end when what is under way is over: after so long at the latest, if there is a limit.
    Drain(Option<Duration>),
}

/// Why there is no socket.
#[derive(Debug, Error)]
pub enum BindSocketError {
    /// Another program answers there.
    #[error("{} is in use by another program", .0.display())]
    InUse(PathBuf),
    /// Something else is there.
    #[error("{} is there already, and is no socket", .0.display())]
    NoSocket(PathBuf),
    /// The system refuses; a path of more than a hundred bytes or so is the usual reason.
    #[error("cannot open the socket {}", path.display())]
    Unusable {
        /// Where.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// What the server's handlers share.
struct Shared {
    instance: Instance,
    recorded: Option<RecordedCounts>,
    admission: Admission,
    orders: mpsc::Sender<Order>,
    is_ready: AtomicBool,
    ending: watch::Sender<Option<End>>,
    followers: AtomicU64,
    /// How often somebody wanted more or less of the log.
    log_changes: AtomicU64,
    /// Events that followers have missed.
    missed: AtomicU64,
    /// What a proxy keeps; nothing until it says so.
    caches: OnceLock<Vec<UpstreamHandle>>,
}

impl Shared {
    fn caches(&self) -> &[UpstreamHandle] {
        self.caches.get().map_or(&[], Vec::as_slice)
    }
}

/// A server that answers until it is closed.
pub(super) struct Server {
    shared: Arc<Shared>,
    handle: ServerHandle,
    thread: thread::JoinHandle<()>,
}

/// Opens the socket for its owner alone. What a program that was killed has left there is replaced.
pub(super) fn bind(path: &Path) -> Result<UnixListener, BindSocketError> {
    let unusable = |source| BindSocketError::Unusable {
        path: path.to_owned(),
        source,
    };
    match fs::symlink_metadata(path) {
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(BindSocketError::NoSocket(path.to_owned()));
        }
        Ok(_) if UnixStream::connect(path).is_ok() => {
            return Err(BindSocketError::InUse(path.to_owned()));
        }
        Ok(_) => fs::remove_file(path).map_err(unusable)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(unusable(error)),
    }
    let listener = UnixListener::bind(path).map_err(unusable)?;
    // Until here others may have connected, if the directory lets them: their credentials turn them away.
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(unusable)?;
    Ok(listener)
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Server of {}", self.shared.instance.name)
    }
}

impl Server {
    /// Begins to answer; orders for the command come out at the other end.
    pub(super) fn start(
        listener: UnixListener,
        instance: Instance,
        recorded: Option<RecordedCounts>,
    ) -> io::Result<(Server, mpsc::Receiver<Order>)> {
        let (orders, ordered) = mpsc::channel(ORDERS_MAX);
        let shared = Arc::new(Shared {
            instance,
            recorded,
            admission: Admission::of(own_uid()),
            orders,
            is_ready: AtomicBool::new(false),
            ending: watch::Sender::new(None),
            followers: AtomicU64::new(0),
            log_changes: AtomicU64::new(0),
            missed: AtomicU64::new(0),
            caches: OnceLock::new(),
        });
        let (started, handle) = std::sync::mpsc::channel();
        let of = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("observe".to_owned())
            .spawn(move || {
                System::new().block_on(async move {
                    match serve(listener, of) {
                        Ok(server) => {
                            let _ = started.send(Ok(server.handle()));
                            // It ends when it is told to.
                            let _ = server.await;
                        }
                        Err(error) => {
                            let _ = started.send(Err(error));
                        }
                    }
                });
            })?;
        let handle = handle
            .recv()
            .unwrap_or_else(|_| Err(io::Error::other("its thread has panicked")))?;
        Ok((
            Server {
                shared,
                handle,
                thread,
            },
            ordered,
        ))
    }

    /// These caches can be asked for and purged.
    pub(super) fn show_caches(&self, caches: Vec<UpstreamHandle>) {
        // Once: a proxy is made once.
        let _ = self.shared.caches.set(caches);
    }

    /// From now on the command does what it was started for.
    pub(super) fn ready(&self) {
        self.shared.is_ready.store(true, Ordering::Relaxed);
    }

    /// Tells followers that this is the end, and why, and stops answering.
    pub(super) async fn close(self, code: ExitCode) {
        self.shared.ending.send_replace(Some(End {
            v: VERSION,
            exit: code.number(),
            why: code.sentence().to_owned(),
        }));
        self.handle.stop(true).await;
        // It has answered that it is over; what is left of the thread takes no time.
        let _ = self.thread.join();
    }
}

fn serve(listener: UnixListener, shared: Arc<Shared>) -> io::Result<dev::Server> {
    let of = Arc::clone(&shared);
    let server = HttpServer::new(move || {
        App::new()
            .app_data(Data::from(Arc::clone(&shared)))
            .wrap(from_fn(admitted_only))
            .configure(routes::configure)
    })
    .workers(1)
    .disable_signals()
    .max_connections(CONNECTIONS_MAX)
    .client_request_timeout(REQUEST_TIMEOUT)
    .client_disconnect_timeout(DISCONNECT_TIMEOUT)
    .keep_alive(KEEP_ALIVE)
    .shutdown_timeout(LAST_WORDS_SECONDS)
    .on_connect(move |connection, extensions| of.admission.on_connect(connection, extensions))
    .listen_uds(listener)?;
    Ok(server.run())
}

/// Belt and braces: a stranger's connection is closed, and would not be answered if it were not.
async fn admitted_only(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    if request.conn_data::<Peer>().is_none() {
        let stranger = "this instance is another user's";
        return Err(Refused::new(StatusCode::FORBIDDEN, "stranger", stranger).into());
    }
    next.call(request).await
}
