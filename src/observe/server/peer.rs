//! Who is at the other end of a connection. The kernel says so, not the peer.

use std::any::Any;
use std::sync::atomic::{AtomicU64, Ordering};

use actix_web::dev::Extensions;
use rustix::net::Shutdown;
use tokio::net::UnixStream;

/// The process at the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Peer {
    pub(super) uid: u32,
    pub(super) pid: Option<u32>,
}

/// Whose connections are taken.
#[derive(Debug)]
pub(super) struct Admission {
    owner: u32,
    administrator: u32,
    strangers: AtomicU64,
}

/// The administrator.
const ROOT: u32 = 0;

impl Admission {
    /// This user and the administrator are admitted.
    pub(super) fn of(owner: u32) -> Admission {
        Admission {
            owner,
            administrator: ROOT,
            strangers: AtomicU64::new(0),
        }
    }

    /// How many were turned away.
    pub(super) fn strangers(&self) -> u64 {
        self.strangers.load(Ordering::Relaxed)
    }

    fn admits(&self, peer: Peer) -> bool {
        peer.uid == self.owner || peer.uid == self.administrator
    }

    /// Looks at a new connection. Without a [`Peer`] among its extensions no request of it is answered, and it is closed.
    pub(super) fn on_connect(&self, connection: &dyn Any, extensions: &mut Extensions) {
        let Some(stream) = connection.downcast_ref::<UnixStream>() else {
            return;
        };
        match stream.peer_cred() {
            Ok(credentials) => {
                let peer = Peer {
                    uid: credentials.uid(),
                    pid: credentials.pid().and_then(|pid| u32::try_from(pid).ok()),
                };
                if self.admits(peer) {
                    extensions.insert(peer);
                    return;
                }
                tracing::warn!(
                    event = "stranger",
                    uid = peer.uid,
                    pid = peer.pid,
                    owner = self.owner,
                    "another user's connection to the observer closed",
                );
            }
            Err(error) => {
                tracing::warn!(event = "stranger", %error, "a connection to the observer closed: whose it is cannot be known");
            }
        }
        self.strangers.fetch_add(1, Ordering::Relaxed);
        // An error means that it is closed already.
        let _ = rustix::net::shutdown(stream, Shutdown::Both);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_owner_and_the_administrator_are_admitted() {
        let admission = Admission::of(1000);
        for (uid, is_admitted) in [(1000, true), (0, true), (1001, false), (65534, false)] {
            assert_eq!(
                admission.admits(Peer { uid, pid: None }),
                is_admitted,
                "{uid}"
            );
        }
    }

    #[tokio::test]
    async fn a_stranger_is_counted_and_hears_nothing_but_the_end() {
        use tokio::io::AsyncReadExt;

        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let own = ours.peer_cred().unwrap().uid();
        let admitting = Admission::of(own);
        let mut extensions = Extensions::new();
        admitting.on_connect(&ours, &mut extensions);
        assert_eq!(extensions.get::<Peer>().map(|peer| peer.uid), Some(own));

        let refusing = Admission {
            owner: own + 1,
            administrator: own + 1,
            strangers: AtomicU64::new(0),
        };
        let mut extensions = Extensions::new();
        refusing.on_connect(&ours, &mut extensions);
        assert_eq!(extensions.get::<Peer>(), None);
        assert_eq!(refusing.strangers(), 1);
        let mut heard = Vec::new();
        assert_eq!(theirs.read_to_end(&mut heard).await.unwrap(), 0);
    }
}
