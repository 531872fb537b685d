//! [`Event`]: what happens to the poems of a client, for whoever shows them. Plain values.

use std::time::Duration;

use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;

use crate::address::Address;
use crate::download::FailureKind;
use crate::wire::PoemHash;

/// What happens to the poems of one client. Tasks are numbered from 0, in the order of the targets.
///
/// ```text
/// Started (Connected Chunk*  Retry)* (Connected Chunk* Poem | Failed)      for each task, and after all of them:  Done
/// ```
///
/// Where poems go through transforms, `Held` stands in place of `Chunk`, and behind the last of them
/// `Transformed* (Chunk* Poem | Failed)`.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// A task's turn has come.
    Started {
        /// Which.
        task: usize,
    },
    /// An attempt reached a server.
    Connected {
        /// Which task.
        task: usize,
        /// The server.
        peer_addr: Address,
        /// Which attempt, from 1.
        attempt: u32,
    },
    /// The next bytes of a poem.
    Chunk(Chunk),
    /// The next bytes of a poem have come, and are held back until it has been transformed. Its chunks come then.
    Held {
        /// Which task.
        task: usize,
        /// How many bytes.
        bytes: u64,
    },
    /// A transform was made of a poem, or was not and left it as it was.
    Transformed {
        /// Which task.
        task: usize,
        /// Which transform, by its label.
        transform: String,
        /// Why not, if it was not.
        outcome: Result<(), String>,
    },
    /// An attempt failed, and there will be another.
    Retry {
        /// Which task.
        task: usize,
        /// What failed.
        kind: FailureKind,
        /// The same for people.
        message: String,
        /// About when the next attempt begins.
        after: Duration,
        /// The attempts so far.
        attempts: u32,
    },
    /// A poem is whole.
    Poem {
        /// Which task.
        task: usize,
        /// Its length.
        bytes: u64,
        /// Its hash.
        sha256: PoemHash,
        /// How many attempts it took.
        attempts: u32,
        /// From the start of the task.
        elapsed: Duration,
    },
    /// A poem will not come.
    Failed {
        /// Which task.
        task: usize,
        /// What failed.
        kind: FailureKind,
        /// The same for people.
        message: String,
        /// How many attempts were made.
        attempts: u32,
        /// How many of its bytes have come.
        bytes: u64,
        /// From the start of the task; nothing if it never started.
        elapsed: Duration,
    },
    /// Every task is settled; the last event.
    Done {
        /// How many poems are whole.
        poems: usize,
        /// How many will not come.
        failed: usize,
    },
}

/// Bytes of a poem. While it lives it counts as on its way: drop it when the bytes are where they belong.
#[derive(Debug)]
pub struct Chunk {
    /// Which task.
    pub task: usize,
    /// The bytes; never empty, and never passed on before.
    pub bytes: Bytes,
    pub(super) _credit: Option<OwnedSemaphorePermit>,
}

impl Chunk {
    /// Bytes that are in memory anyway.
    pub(crate) fn without_credit(task: usize, bytes: Bytes) -> Self {
        Self {
            task,
            bytes,
            _credit: None,
        }
    }
}
