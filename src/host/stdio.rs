//! Standard input and output as one connection, as inetd and its kin start a server.
//!
//! If standard input is a socket, it is the connection. Otherwise (a pipe, a terminal) two threads carry the bytes between
//! the standard streams and a pair of sockets; a pipe cannot be reset, so the exit code is what tells a crash from an end.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Mutex;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use rustix::net::sockopt::socket_type;

/// What is carried at once.
const CARRY_BYTES: usize = 64 * 1024;

/// Tells when everything has reached standard output.
static CARRIED: Mutex<Option<Receiver<()>>> = Mutex::new(None);

/// The connection.
///
/// # Errors
/// There are no descriptors or threads left.
pub fn connection() -> io::Result<OwnedFd> {
    let stdin = io::stdin();
    if socket_type(stdin.as_fd()).is_ok() {
        return stdin.as_fd().try_clone_to_owned();
    }
    let (ours, theirs) = UnixStream::pair()?;
    let (mut inward, mut outward) = (theirs.try_clone()?, theirs);
    thread::Builder::new()
        .name("stdin".to_owned())
        .spawn(move || {
            let _ = carry(&mut io::stdin().lock(), &mut inward);
            let _ = inward.shutdown(Shutdown::Write);
        })?;
    let (sender, carried) = mpsc::channel();
    thread::Builder::new()
        .name("stdout".to_owned())
        .spawn(move || {
            let outcome = carry(&mut outward, &mut io::stdout().lock());
            // Whether all is said or nobody listens: the server need not wait for more.
            let _ = outward.shutdown(Shutdown::Both);
            if outcome.is_ok() {
                let _ = sender.send(());
            }
        })?;
    *CARRIED
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(carried);
    Ok(ours.into())
}

/// Waits until what was said has reached standard output; false if it did not within the limit, or nobody listens.
pub fn is_carried(limit: Duration) -> bool {
    let carried = CARRIED
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
        .take();
    carried.is_none_or(|carried| carried.recv_timeout(limit).is_ok())
}

/// Unlike `io::copy`, hands on each piece as it comes.
fn carry(from: &mut impl Read, to: &mut impl Write) -> io::Result<()> {
    let mut bytes = vec![0; CARRY_BYTES];
    loop {
        match from.read(&mut bytes) {
            Ok(0) => return Ok(()),
            Ok(read) => {
                to.write_all(&bytes[..read])?;
                to.flush()?;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
