//! Watches files for `--watch`.
//!
//! It watches their directories: editors replace a file rather than write into it, and a watch on the old one would see
//! nothing more.

use std::collections::HashSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;
use tokio::time::sleep;

/// An editor saves in several steps; the file is read when it has been left alone for this long.
const SETTLE: Duration = Duration::from_millis(100);

/// Watches until it is dropped.
#[derive(Debug)]
pub(super) struct Watcher {
    _watcher: RecommendedWatcher,
}

/// Calls `changed` on this arbiter with each file that has changed.
pub(super) fn watch(
    files: Vec<PathBuf>,
    mut changed: impl FnMut(&Path) + 'static,
) -> anyhow::Result<Watcher> {
    let (sender, mut receiver) = mpsc::unbounded_channel();
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
        if let Ok(event) = event.as_ref()
            && !matches!(event.kind, EventKind::Access(_))
        {
            let names: Vec<OsString> = event
                .paths
                .iter()
                .filter_map(|path| path.file_name())
                .map(Into::into)
                .collect();
            let _ = sender.send(names);
        }
    })
    .context("cannot watch files")?;
    let directories: HashSet<&Path> = files.iter().map(|file| directory_of(file)).collect();
    for directory in directories {
        watcher
            .watch(directory, RecursiveMode::NonRecursive)
            .with_context(|| format!("cannot watch {}", directory.display()))?;
    }
    actix_rt::spawn(async move {
        while let Some(mut names) = receiver.recv().await {
            sleep(SETTLE).await;
            while let Ok(more) = receiver.try_recv() {
                names.extend(more);
            }
            for file in &files {
                let is_concerned = file
                    .file_name()
                    .is_some_and(|name| names.iter().any(|changed| changed == name));
                if is_concerned && file.exists() {
                    changed(file);
                }
            }
        }
    });
    Ok(Watcher { _watcher: watcher })
}

fn directory_of(file: &Path) -> &Path {
    match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}
