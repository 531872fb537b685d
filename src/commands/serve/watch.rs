//! Watches files for `--watch`.
//!
//! It watches their directories: editors replace a file rather than write into it, and a watch on the old one would see
//! nothing more. A directory may be replaced too, so the one above it is watched for that. What happens there only says that
//! it is time to look; whether a file has changed, the file itself tells.

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{self, Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

/// An editor saves in several steps; a file is read when it has been left alone for this long.
const SETTLE: Duration = Duration::from_millis(100);

/// A file that is never left alone is read all the same.
const SETTLE_MAX: Duration = Duration::from_secs(2);

/// Calls `changed` on this arbiter with each file that has changed, until the arbiter ends.
pub(super) fn watch(
    files: &[PathBuf],
    mut changed: impl FnMut(&Path) + 'static,
) -> anyhow::Result<()> {
    let mut places = Vec::new();
    for file in files {
        places.push(path::absolute(file)?);
        // The file that a link leads to changes elsewhere.
        places.extend(fs::canonicalize(file));
    }
    let parents = |places: &[PathBuf]| -> HashSet<PathBuf> {
        let parents = places.iter().filter_map(|place| place.parent());
        parents.map(Path::to_owned).collect()
    };
    let directories = parents(&places);
    places.extend(directories.iter().cloned());
    let names: HashSet<OsString> = places
        .iter()
        .filter_map(|place| place.file_name())
        .map(Into::into)
        .collect();

    // One place in the queue: it is time to look, or it is not.
    let (sender, mut receiver) = mpsc::channel(1);
    let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
        let concerns_us = match event {
            Ok(event) if matches!(event.kind, EventKind::Access(_)) => false,
            Ok(event) => event
                .paths
                .iter()
                .filter_map(|path| path.file_name())
                .any(|name| names.contains(name)),
            // Events were lost, perhaps ours.
            Err(_) => true,
        };
        if concerns_us {
            let _ = sender.try_send(());
        }
    })
    .context("cannot watch files")?;
    let mut watched = Watched {
        watcher,
        directories: BTreeMap::new(),
    };
    for directory in &directories {
        watched
            .renew(directory)
            .with_context(|| format!("cannot watch {}", directory.display()))?;
    }
    for directory in parents(&places) {
        // Without leave to read it, nobody sees the directory below it being replaced.
        let _ = watched.renew(&directory);
    }

    let mut seen: BTreeMap<PathBuf, Option<Stamp>> = files
        .iter()
        .map(|file| (file.clone(), Stamp::of(file)))
        .collect();
    actix_rt::spawn(async move {
        while receiver.recv().await.is_some() {
            let latest = Instant::now() + SETTLE_MAX;
            while let Ok(Some(())) =
                timeout_at(latest.min(Instant::now() + SETTLE), receiver.recv()).await
            {}
            watched.renew_all();
            for (file, seen) in &mut seen {
                let stamp = Stamp::of(file);
                if stamp.is_some() && stamp != *seen {
                    *seen = stamp;
                    changed(file);
                }
            }
        }
    });
    Ok(())
}

/// What tells a file from what it was before.
#[derive(Debug, PartialEq, Eq)]
struct Stamp {
    identity: Identity,
    bytes: u64,
    modified: (i64, i64),
}

/// Device and inode.
type Identity = (u64, u64);

impl Stamp {
    /// `None` unless it is a file: a pipe would keep whoever reads it waiting.
    fn of(file: &Path) -> Option<Stamp> {
        let metadata = fs::metadata(file).ok().filter(fs::Metadata::is_file)?;
        Some(Stamp {
            identity: (metadata.dev(), metadata.ino()),
            bytes: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        })
    }
}

/// Directories, and which ones of their names are watched.
struct Watched {
    watcher: RecommendedWatcher,
    directories: BTreeMap<PathBuf, Option<Identity>>,
}

impl Watched {
    /// Watches what has this name now, if that is another directory than before.
    fn renew(&mut self, directory: &Path) -> notify::Result<()> {
        let metadata = fs::metadata(directory).ok();
        let identity = metadata.map(|metadata| (metadata.dev(), metadata.ino()));
        let known = self.directories.get(directory).copied().flatten();
        if known.is_some() && known == identity {
            return Ok(());
        }
        if known.is_some() {
            // It may have ended with the directory.
            let _ = self.watcher.unwatch(directory);
        }
        self.directories.insert(directory.to_owned(), None);
        self.watcher.watch(directory, RecursiveMode::NonRecursive)?;
        self.directories.insert(directory.to_owned(), identity);
        Ok(())
    }

    fn renew_all(&mut self) {
        let directories: Vec<_> = self.directories.keys().cloned().collect();
        for directory in directories {
            // What is not there now may come back.
            let _ = self.renew(&directory);
        }
    }
}
