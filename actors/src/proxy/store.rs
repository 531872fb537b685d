//! [`Store`]: a proxy's cache in a file (redb), so that it survives the program.
//!
//! Read once, before the sockets are bound; written by a thread of its own, so that a slow disk keeps no actor waiting. The
//! thread writes what a desk keeps when it gets to it, not what it kept when it was told: what waits is bounded by the number
//! of upstreams. A crash of the program loses at most what was not written yet, and a poem is in the file whole or not at
//! all; that it is the poem that was fetched is checked by its hash when it is read.

use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition, TableError};
use sha2::{Digest as _, Sha256};

use super::cabinet::{Cabinet, Desk, Text};
use super::cache::{Kept, Moment};
use crate::wire::PoemHash;

/// The layout of the file.
const VERSION: u64 = 1;

/// What redb may hold of the file in memory: next to nothing, since each poem is read once.
const PAGE_CACHE_BYTES: usize = 1 << 20;

const META: TableDefinition<'_, &str, u64> = TableDefinition::new("byron");

/// Of each upstream: when its poem was whole and when it was purged softly, in milliseconds since the Unix epoch (0 if it
/// was not), its SHA-256, and its text.
type Row = (u64, u64, &'static [u8; 32], &'static [u8]);
const POEMS: TableDefinition<'_, &str, Row> = TableDefinition::new("poems");

/// A store cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenStoreError {
    /// Another program has it.
    #[error("the store {} is in use by another program", .0.display())]
    InUse(PathBuf),
    /// It is no store, or broken.
    #[error("{} is not a store, or damaged ({problem}); remove it to begin anew", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What redb says.
        problem: String,
    },
    /// Another version of this program wrote it.
    #[error("the store {} has version {found}, and this program knows version {VERSION}; remove it to begin anew", .path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u64,
    },
    /// The system failed.
    #[error("cannot open the store {}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// A file of poems.
pub struct Store {
    path: PathBuf,
    database: Database,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Store").field(&self.path).finish()
    }
}

impl Store {
    /// Opens a file, or makes it. Blocks.
    ///
    /// # Errors
    /// Another program has it open, it is no store of this version, or the system fails.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, OpenStoreError> {
        let path = path.into();
        let open = || {
            let database = Database::builder()
                .set_cache_size(PAGE_CACHE_BYTES)
                .create(&path)
                .map_err(|error| explain(&path, error))?;
            let version = version_of(&database).map_err(|error| explain(&path, error))?;
            match version {
                VERSION => Ok(database),
                found => Err(OpenStoreError::Version {
                    path: path.clone(),
                    found,
                }),
            }
        };
        let database = guarded(&path, open)?;
        Ok(Self { path, database })
    }

    /// What is kept for a desk. A poem that is not the one that was written is not read.
    fn read(&self, label: &str) -> Result<Option<Kept<Text>>, redb::Error> {
        let reading = self.database.begin_read()?;
        let poems = match reading.open_table(POEMS) {
            Ok(poems) => poems,
            Err(TableError::TableDoesNotExist(_)) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let Some(row) = poems.get(label)? else {
            return Ok(None);
        };
        let (fetched_at, outdated_at, sha256, text) = row.value();
        let sha256 = PoemHash(*sha256);
        if PoemHash(Sha256::digest(text).into()) != sha256 {
            tracing::warn!(upstream = label, store = %self.path.display(), "the stored poem is damaged; it is fetched anew");
            return Ok(None);
        }
        let moment = |milliseconds| Moment(Duration::from_millis(milliseconds));
        Ok(Some(Kept {
            what: Text {
                bytes: Bytes::copy_from_slice(text),
                sha256,
            },
            fetched_at: moment(fetched_at),
            outdated_at: (outdated_at > 0).then(|| moment(outdated_at)),
            used_at: moment(fetched_at),
        }))
    }

    /// Writes what is kept for a desk, or that nothing is.
    fn write(&self, label: &str, kept: Option<&Kept<Text>>) -> Result<(), redb::Error> {
        let milliseconds = |moment: Moment| u64::try_from(moment.0.as_millis()).unwrap_or(u64::MAX);
        let writing = self.database.begin_write()?;
        {
            let mut poems = writing.open_table(POEMS)?;
            match kept {
                None => drop(poems.remove(label)?),
                Some(kept) => {
                    let outdated_at = kept.outdated_at.map_or(0, |at| milliseconds(at).max(1));
                    let text = &kept.what.bytes[..];
                    let row = (
                        milliseconds(kept.fetched_at),
                        outdated_at,
                        &kept.what.sha256.0,
                        text,
                    );
                    poems.insert(label, row)?;
                }
            }
        }
        writing.commit()?;
        Ok(())
    }

    /// Forgets the poems of upstreams that are not these.
    fn retain(&self, labels: &[Arc<str>]) -> Result<(), redb::Error> {
        let writing = self.database.begin_write()?;
        writing
            .open_table(POEMS)?
            .retain(|label, _| labels.iter().any(|known| **known == *label))?;
        writing.commit()?;
        Ok(())
    }

    /// Takes up what an earlier run has kept for these desks, and begins to write what changes. Blocks while it reads.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(crate) fn attach(self, cabinet: &Arc<Cabinet>) -> Result<Arc<Writing>, OpenStoreError> {
        let labels: Vec<_> = cabinet
            .desks()
            .map(|desk| Arc::clone(desk.label()))
            .collect();
        guarded(&self.path, || {
            for desk in cabinet.desks() {
                let kept = self
                    .read(desk.label())
                    .map_err(|error| explain(&self.path, error))?;
                if let Some(kept) = kept {
                    desk.restore(kept);
                }
            }
            self.retain(&labels)
                .map_err(|error| explain(&self.path, error))
        })?;
        cabinet.attach_store();
        let path = self.path.clone();
        let thread = thread::Builder::new().name("store".to_owned()).spawn({
            let cabinet = Arc::clone(cabinet);
            move || write_changes(&self, &cabinet)
        });
        let thread = thread.map_err(|source| OpenStoreError::Io { path, source })?;
        Ok(Arc::new(Writing {
            cabinet: Arc::clone(cabinet),
            thread: Mutex::new(Some(thread)),
        }))
    }
}

/// The thread of the store.
fn write_changes(store: &Store, cabinet: &Arc<Cabinet>) {
    while let Some(desk) = cabinet.next_change() {
        let written = guarded(&store.path, || write_desk(store, &desk));
        if let Err(error) = written {
            // The cache goes on from memory; the next change is another attempt.
            let error = text_of(&error);
            tracing::warn!(upstream = %desk.label(), store = %store.path.display(), %error, "cannot write to the store");
        }
    }
}

fn write_desk(store: &Store, desk: &Desk) -> Result<(), OpenStoreError> {
    store
        .write(desk.label(), desk.kept().as_ref())
        .map_err(|error| explain(&store.path, error))
}

fn text_of(error: &OpenStoreError) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

/// The writing thread of a store. Dropping the last handle waits until what has changed is written.
#[derive(Debug)]
pub(crate) struct Writing {
    cabinet: Arc<Cabinet>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Drop for Writing {
    fn drop(&mut self) {
        self.cabinet.close_store();
        if let Some(thread) = self.thread.lock().take() {
            let _ = thread.join();
        }
    }
}

/// The version of a file; a new one gets ours.
fn version_of(database: &Database) -> Result<u64, redb::Error> {
    let writing = database.begin_write()?;
    let version = {
        let mut meta = writing.open_table(META)?;
        let found = meta.get("version")?.map(|version| version.value());
        match found {
            Some(found) => found,
            None => {
                meta.insert("version", VERSION)?;
                VERSION
            }
        }
    };
    writing.commit()?;
    Ok(version)
}

/// redb trusts the pages of its file: a damaged one can make it panic, which is a damaged file here and no bug.
fn guarded<T>(
    path: &Path,
    work: impl FnOnce() -> Result<T, OpenStoreError>,
) -> Result<T, OpenStoreError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        Err(OpenStoreError::Damaged {
            path: path.to_owned(),
            problem: "its pages make no sense".to_owned(),
        })
    })
}

fn explain(path: &Path, error: impl Into<redb::Error>) -> OpenStoreError {
    let path = path.to_owned();
    match error.into() {
        redb::Error::DatabaseAlreadyOpen => OpenStoreError::InUse(path),
        redb::Error::Io(source) if source.kind() != io::ErrorKind::InvalidData => {
            OpenStoreError::Io { path, source }
        }
        other => OpenStoreError::Damaged {
            path,
            problem: other.to_string(),
        },
    }
}
