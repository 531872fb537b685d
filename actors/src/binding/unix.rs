//! Unix sockets: files with permissions, and names that are no files.
//!
//! A file outlives the server that is killed. A new one replaces it only if nobody listens there any more, and two that
//! start at the same moment take turns at a lock on the directory, so that neither takes the other's for a dead one's.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use rustix::fs::{FlockOperation, Mode, fchmod, flock};
use rustix::io::Errno;
use socket2::{Domain, SockAddr, Socket, Type};

use super::{BindServerError, Bound};
use crate::address::{Address, UnixAddress};
use crate::socket::Listening;

pub(super) fn bind(
    address: &UnixAddress,
    mode: Option<u32>,
    backlog: u32,
    arbiters: usize,
) -> Result<Bound, BindServerError> {
    let local_addr = Address::Unix(address.clone());
    let failed = |source| BindServerError::new(local_addr.clone(), source);
    let mut bound = Bound::new(arbiters);
    let backlog = i32::try_from(backlog).unwrap_or(i32::MAX);
    let socket = match address {
        UnixAddress::Path(path) => {
            let (socket, file) =
                listen_at_file(path, mode, backlog).map_err(|error| match error {
                    BindFileError::NotASocket => BindServerError::NotASocket(address.clone()),
                    BindFileError::Io(source) => failed(source),
                })?;
            bound.files.push(file);
            socket
        }
        UnixAddress::Abstract(name) => listen_at_name(name, backlog).map_err(failed)?,
    };
    let listening = Listening::Unix(UnixListener::from(socket));
    let added = bound.add_shared(local_addr.clone(), listening);
    added.map_err(failed)?;
    Ok(bound)
}

fn listen_at_name(name: &[u8], backlog: i32) -> io::Result<Socket> {
    let socket = new_socket()?;
    let name = OsString::from_vec([b"\0", name].concat());
    socket.bind(&unix_addr(name.as_ref())?)?;
    socket.listen(backlog)?;
    Ok(socket)
}

fn new_socket() -> io::Result<Socket> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn unix_addr(path: &Path) -> io::Result<SockAddr> {
    SockAddr::unix(path).map_err(|_| {
        io::Error::new(
            io::ErrorKind::InvalidInput,
            format!(
                "the name has {} bytes, a socket's has 107 at most",
                path.as_os_str().len()
            ),
        )
    })
}

enum BindFileError {
    NotASocket,
    Io(io::Error),
}

impl From<io::Error> for BindFileError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

fn listen_at_file(
    path: &Path,
    mode: Option<u32>,
    backlog: i32,
) -> Result<(Socket, SocketFile), BindFileError> {
    // Until it listens: before that, it looks dead to others.
    let _turn = Turn::take(path);
    let socket = new_socket()?;
    if let Some(mode) = mode {
        // Before there is a file, so that nobody ever meets one with other permissions (Linux).
        let _ = fchmod(&socket, Mode::from_raw_mode(mode));
    }
    let listen_addr = unix_addr(path)?;
    match socket.bind(&listen_addr) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            remove_if_dead(path)?;
            socket.bind(&listen_addr)?;
        }
        outcome => outcome?,
    }
    if let Some(mode) = mode {
        // What the umask took away.
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    }
    let file = SocketFile::at(path)?;
    socket.listen(backlog)?;
    Ok((socket, file))
}

/// Removes a socket that nobody listens on.
fn remove_if_dead(path: &Path) -> Result<(), BindFileError> {
    let metadata = fs::symlink_metadata(path)?;
    if !metadata.file_type().is_socket() {
        return Err(BindFileError::NotASocket);
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            Ok(fs::remove_file(path)?)
        }
        // It lives, or its queue is full, or it is not ours to ask.
        _ => Err(io::Error::from(io::ErrorKind::AddrInUse).into()),
    }
}

/// How often, and how long each time, to wait for one's turn.
const TURN_TRIES: u32 = 50;
const TURN_PAUSE: Duration = Duration::from_millis(10);

/// The turn of one server among those that want to bind in a directory. Who cannot have the lock (no permission, a file
/// system without locks, a neighbour who keeps it) goes on without.
struct Turn(Option<File>);

impl Turn {
    fn take(path: &Path) -> Self {
        let directory = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let lock = File::open(directory).ok();
        Self(lock.filter(|lock| {
            (0..TURN_TRIES).any(
                |_| match flock(lock, FlockOperation::NonBlockingLockExclusive) {
                    Err(Errno::WOULDBLOCK) => {
                        thread::park_timeout(TURN_PAUSE);
                        false
                    }
                    outcome => outcome.is_ok(),
                },
            )
        }))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(lock) = &self.0 {
            let _ = flock(lock, FlockOperation::Unlock);
        }
    }
}

/// The file of a bound socket; removed when this is dropped, if it is still the same.
pub(super) struct SocketFile {
    path: PathBuf,
    /// Device and number.
    identity: (u64, u64),
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|metadata| (metadata.dev(), metadata.ino()))
}

impl SocketFile {
    fn at(path: &Path) -> io::Result<Self> {
        Ok(Self {
            // A program that changes its directory must not remove another file.
            path: std::path::absolute(path)?,
            identity: identity(path)?,
        })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|now| now == self.identity) {
            let _ = fs::remove_file(&self.path);
        }
    }
}
