//! `--record FILE`: writes what happens to a file, as it happens, to be looked at without the program.
//!
//! On a thread of its own: a disk that is slow or full delays nobody. What it is behind with is in the ring of events,
//! which is there anyway; what the ring has thrown away, or the disk has not taken, shows as a gap in the file, with a tree
//! after it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use byron_supervisors::{Events, next_events};
use futures_util::FutureExt;
use serde::Serialize;
use thiserror::Error;
use tokio::sync::watch;

use super::model::{Event, Gap, Instance, Line, Tree};
use super::protocol::Recorded;

/// How long a recording may get.
pub const RECORDING_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// How long the disk may take for what is left when the program ends.
const FINISH_TIMEOUT: Duration = Duration::from_secs(1);

/// The file cannot be written to.
#[derive(Debug, Error)]
#[error("cannot record to {}", path.display())]
pub struct RecordError {
    path: PathBuf,
    source: io::Error,
}

/// What became of the events so far.
#[derive(Debug, Clone)]
pub(super) struct RecordedCounts(Arc<Counts>);

#[derive(Debug)]
struct Counts {
    path: PathBuf,
    written: AtomicU64,
    lost: AtomicU64,
}

impl RecordedCounts {
    pub(super) fn now(&self) -> Recorded {
        Recorded {
            path: self.0.path.display().to_string(),
            written: self.0.written.load(Ordering::Relaxed),
            lost: self.0.lost.load(Ordering::Relaxed),
        }
    }
}

/// How far the program is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Starting,
    Ready,
    Over,
}

/// Records until it is finished.
#[derive(Debug)]
pub(super) struct Recorder {
    counts: Arc<Counts>,
    phase: watch::Sender<Phase>,
    finished: mpsc::Receiver<()>,
}

impl Recorder {
    /// Begins a recording; a file that is there already is kept as `FILE.old`.
    pub(super) fn start(
        path: &Path,
        instance: Instance,
        say: fn(&str),
    ) -> Result<Recorder, RecordError> {
        let fail = |source| RecordError {
            path: path.to_owned(),
            source,
        };
        keep_old(path).map_err(fail)?;
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(path)
            .map_err(fail)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .map_err(fail)?;
        let counts = Arc::new(Counts {
            path: path.to_owned(),
            written: AtomicU64::new(0),
            lost: AtomicU64::new(0),
        });
        let (phase, mut phases) = watch::channel(Phase::Starting);
        let (done, finished) = mpsc::channel();
        // What happened before this is of no interest: the tree has it. What happens from here on is, however late the
        // thread begins.
        let tree = Tree::now();
        let begin = tree.seq;
        let mut recording = Recording {
            output: Output {
                is_regular: file.metadata().is_ok_and(|metadata| metadata.is_file()),
                file,
                bytes: 0,
            },
            instance,
            counts: Arc::clone(&counts),
            say,
            has_begun: false,
            has_tree: false,
            first_tree: Some(tree),
            seq: begin,
            written: begin,
            lost: 0,
            is_failing: false,
        };
        thread::Builder::new()
            .name("record".to_owned())
            .spawn(move || {
                runtime.block_on(async move {
                    recording.begin();
                    loop {
                        tokio::select! {
                            events = next_events(recording.seq) => recording.put(events),
                            _ = phases.changed() => match *phases.borrow_and_update() {
                                Phase::Starting => {}
                                Phase::Ready => recording.look(),
                                Phase::Over => break,
                            },
                        }
                    }
                    while let Some(events) = next_events(recording.seq).now_or_never() {
                        recording.put(events);
                    }
                    recording.end();
                });
                let _ = done.send(());
            })
            .map_err(fail)?;
        Ok(Recorder {
            counts,
            phase,
            finished,
        })
    }

    pub(super) fn recorded(&self) -> RecordedCounts {
        RecordedCounts(Arc::clone(&self.counts))
    }

    /// The trees are up: from here on a reader of the file knows what they are made of, which events do not tell.
    pub(super) fn ready(&self) {
        self.phase.send_replace(Phase::Ready);
    }

    /// Writes what is left, unless that takes too long.
    pub(super) fn finish(self) {
        self.phase.send_replace(Phase::Over);
        let _ = self.finished.recv_timeout(FINISH_TIMEOUT);
    }
}

/// Somebody may still need to look into the last run.
fn keep_old(path: &Path) -> io::Result<()> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_file() && metadata.len() > 0 => {
            let mut old = path.as_os_str().to_owned();
            old.push(".old");
            fs::rename(path, old)
        }
        _ => Ok(()),
    }
}

/// A file that has whole lines only, if it is one that can be cut.
#[derive(Debug)]
struct Output {
    file: File,
    is_regular: bool,
    bytes: u64,
}

impl Output {
    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        if self.bytes + lines.len() as u64 > RECORDING_BYTES_MAX {
            let limit = format!(
                "it has {} bytes, and may have {RECORDING_BYTES_MAX}",
                self.bytes
            );
            return Err(io::Error::other(limit));
        }
        match self.file.write_all(lines) {
            Ok(()) => {
                self.bytes += lines.len() as u64;
                Ok(())
            }
            Err(error) => {
                if self.is_regular {
                    // Half a line would make the rest unreadable.
                    self.file.set_len(self.bytes)?;
                }
                Err(error)
            }
        }
    }
}

struct Recording {
    output: Output,
    instance: Instance,
    counts: Arc<Counts>,
    say: fn(&str),
    /// Whether the file says whose it is.
    has_begun: bool,
    /// Whether it has the tree that it should have here.
    has_tree: bool,
    /// The tree of the moment from which the events are recorded, until it is written.
    first_tree: Option<Tree>,
    /// The last event that was looked at, and the last one in the file.
    seq: u64,
    written: u64,
    /// How many there were between the two.
    lost: u64,
    /// Whether the disk did not take what came last.
    is_failing: bool,
}

impl Recording {
    /// The instance and the tree.
    fn begin(&mut self) {
        self.put(Events::default());
    }

    /// Another tree.
    fn look(&mut self) {
        self.has_tree = false;
        self.put(Events::default());
    }

    /// Writes events, with whatever must come before them.
    fn put(&mut self, events: Events) {
        let mut lines = Vec::new();
        let lost = self.lost + events.missed;
        if !self.has_begun {
            line(&mut lines, &Line::Instance(Box::new(self.instance.clone())));
        }
        if lost > 0 {
            let gap = Gap {
                after: self.written,
                missed: lost,
            };
            line(&mut lines, &Line::Gap(gap));
        }
        if lost > 0 || !self.has_tree {
            let tree = self.first_tree.take().unwrap_or_else(Tree::now);
            line(&mut lines, &Line::Tree(Box::new(tree)));
        }
        self.seq += events.missed;
        for event in &events.events {
            self.seq = event.seq;
            line(&mut lines, &Line::Event(Box::new(Event::from(event))));
        }
        let told = events.events.len() as u64;
        self.counts.lost.fetch_add(events.missed, Ordering::Relaxed);
        match self.output.write(&lines) {
            Ok(()) => {
                self.counts.written.fetch_add(told, Ordering::Relaxed);
                if self.is_failing {
                    (self.say)(&format!(
                        "recording to {} again; {lost} events are missing there",
                        self.counts.path.display()
                    ));
                }
                (self.has_begun, self.has_tree, self.is_failing) = (true, true, false);
                (self.written, self.lost) = (self.seq, 0);
            }
            Err(error) => {
                self.counts.lost.fetch_add(told, Ordering::Relaxed);
                self.lost = lost + told;
                if !self.is_failing {
                    self.is_failing = true;
                    (self.say)(&format!(
                        "cannot record to {}: {error}; events are lost there until it is possible again",
                        self.counts.path.display()
                    ));
                }
            }
        }
    }

    fn end(&self) {
        let lost = self.counts.lost.load(Ordering::Relaxed);
        if lost > 0 {
            (self.say)(&format!(
                "{lost} events are not in {}",
                self.counts.path.display()
            ));
        }
    }
}

fn line(lines: &mut Vec<u8>, line: &impl Serialize) {
    // Writing to memory does not fail, and the model has no maps with keys that are no texts.
    let _ = serde_json::to_writer(&mut *lines, line);
    lines.push(b'\n');
}
