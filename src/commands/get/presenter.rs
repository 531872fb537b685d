//! Turns what happens to the poems into what a person, or a program, sees.

use std::io::{self, IsTerminal, Write};
use std::sync::mpsc;
use std::time::Duration;

use byron_actors::{Event, FailureKind, PoemHash};
use tokio::time::Instant;

use super::Told;
use super::sink::{Sink, SinkError};
use crate::cli::{GetConfig, JsonLines, Output, Verbosity};
use crate::commands::WriteStdoutError;
use crate::exit_code::ExitCode;
use crate::host::signals::Request;
use crate::present::json::{self, PoemBytes, Seconds};
use crate::present::message::{Failure, failure_line, kept_line, retry_line, summary_line};
use crate::present::order::{Ending, WritePoemError};
use crate::present::progress::{
    Bars, Shown, Snapshot, State, StatusLine, Surroundings, choose, classic_chunk,
    classic_finished, classic_total, status_text,
};

/// How long lines that were rewritten stay as they are, if more happens meanwhile: nobody can read faster.
const SHOWN_FOR: Duration = Duration::from_millis(50);

/// The width of a terminal that does not say.
const COLUMNS_DEFAULT: usize = 80;

/// Takes the events of one client.
pub(in crate::commands) struct Presenter {
    labels: Vec<String>,
    tasks: Vec<Task>,
    sink: Sink,
    display: Display,
    shown_at: Option<Instant>,
    json: Option<JsonLines>,
    verbosity: Verbosity,
    expected_bytes: Option<u64>,
    started_at: Instant,
    keeps_lines: bool,
    request: Option<Request>,
}

/// What is known of one task.
struct Task {
    phase: Phase,
    /// Whom it is connected to, as the tutorial's lines name it.
    peer: String,
    bytes: u64,
    /// How many of them are not to be seen, until they are transformed.
    held_bytes: u64,
    transforms: Vec<json::Transform>,
    /// The end of what has come, if lines are kept whole.
    line: Vec<u8>,
    started_at: Option<Instant>,
    elapsed: Duration,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Queued,
    Connecting,
    Listening,
    Whole,
    Lost,
}

enum Display {
    Nothing,
    Classic,
    Bars(Bars),
    StatusLine(StatusLine),
}

impl Presenter {
    pub(in crate::commands) fn new(config: &GetConfig) -> Result<Presenter, SinkError> {
        let stdout_is_terminal = io::stdout().is_terminal();
        let labels: Vec<_> = config.targets.iter().map(|target| target.label()).collect();
        let surroundings = Surroundings {
            poems_on_terminal: stdout_is_terminal
                && (config.output == Output::Stdout || config.json.is_some()),
            stderr_is_terminal: io::stderr().is_terminal(),
            terminal_is_dumb: std::env::var_os("TERM")
                .is_none_or(|term| term.is_empty() || term == "dumb"),
            json: config.json.is_some(),
            quiet: config.verbosity == Verbosity::Quiet,
        };
        let display = match choose(config.progress, surroundings) {
            Shown::Nothing => Display::Nothing,
            Shown::Classic => Display::Classic,
            Shown::Bars => Display::Bars(Bars::new(&labels)),
            Shown::StatusLine => Display::StatusLine(StatusLine::default()),
        };
        let new_task = |label: &String| Task {
            phase: Phase::Queued,
            peer: label.clone(),
            bytes: 0,
            held_bytes: 0,
            transforms: Vec::new(),
            line: Vec::new(),
            started_at: None,
            elapsed: Duration::ZERO,
        };
        Ok(Presenter {
            tasks: labels.iter().map(new_task).collect(),
            labels,
            sink: Sink::new(config, stdout_is_terminal)?,
            display,
            shown_at: None,
            json: config.json,
            verbosity: config.verbosity,
            expected_bytes: config.expected.bytes,
            started_at: Instant::now(),
            keeps_lines: false,
            request: None,
        })
    }

    /// Writes whole lines only, so that what is said meanwhile stands between them.
    pub(in crate::commands) fn keep_lines_whole(&mut self) {
        self.keeps_lines = true;
    }

    /// Whether something on the screen changes with time alone.
    pub(in crate::commands) fn wants_ticks(&self) -> bool {
        matches!(self.display, Display::Bars(_) | Display::StatusLine(_))
    }

    /// Presents until the last event.
    pub(in crate::commands) fn present(
        mut self,
        told: &mpsc::Receiver<Told>,
    ) -> anyhow::Result<ExitCode> {
        let outcome = self.present_all(told);
        if let Display::Bars(bars) = &self.display {
            bars.clear();
        }
        self.hide_status();
        outcome.map_err(SinkError::into_cause)
    }

    fn present_all(&mut self, told: &mpsc::Receiver<Told>) -> Result<ExitCode, SinkError> {
        for told in told {
            match told {
                Told::Say(line) => self.say(&line),
                Told::Tick => self.shown_at = None,
                Told::Interrupted(request) => self.request = Some(request),
                Told::Events(events) => {
                    for event in events {
                        if let Event::Done { .. } = event {
                            self.sink.close()?;
                            return self.conclude();
                        }
                        self.event(event)?;
                    }
                }
            }
            self.show();
        }
        // The events ended without the last one: the client's tree has fallen.
        self.complain("byron: the client crashed; with -vv the log says why");
        Ok(ExitCode::Bug)
    }

    fn event(&mut self, event: Event) -> Result<(), SinkError> {
        match event {
            Event::Started { task } => {
                self.tasks[task].phase = Phase::Connecting;
                self.tasks[task].started_at = Some(Instant::now());
                self.tell_event(task, |task, target| json::Event::Start { task, target })
            }
            Event::Connected {
                task,
                peer_addr,
                attempt,
            } => {
                self.tasks[task].phase = Phase::Listening;
                let is_named = matches!(self.display, Display::Classic);
                if !is_named && self.json != Some(JsonLines::Events) {
                    return Ok(());
                }
                let peer_addr = peer_addr.to_string();
                self.tell_event(task, |task, target| json::Event::Connected {
                    task,
                    target,
                    peer_addr: &peer_addr,
                    attempt,
                })?;
                self.tasks[task].peer = peer_addr;
                Ok(())
            }
            Event::Chunk(chunk) => {
                let (task, bytes) = (chunk.task, chunk.bytes.len() as u64);
                if self.tasks[task].phase == Phase::Lost {
                    return Ok(());
                }
                // A poem that was held back was told of as it came.
                let is_told = std::mem::take(&mut self.tasks[task].held_bytes) > 0;
                if is_told {
                    self.tasks[task].bytes = 0;
                }
                self.tasks[task].bytes += bytes;
                // Only what is not kept for later comes between the lines.
                if self.sink.head().is_none_or(|head| head == task) {
                    self.hide_status();
                }
                let written = if self.keeps_lines {
                    self.whole_lines(task, &chunk.bytes)
                } else {
                    self.sink.chunk(task, &chunk.bytes)
                };
                self.or_lose(task, written)?;
                // Only now may the download read on.
                drop(chunk);
                match is_told {
                    true => Ok(()),
                    false => self.tell_bytes(task, bytes),
                }
            }
            Event::Held { task, bytes } => {
                self.tasks[task].bytes += bytes;
                self.tasks[task].held_bytes += bytes;
                self.tell_bytes(task, bytes)
            }
            Event::Transformed {
                task,
                transform,
                outcome,
            } => self.transformed(task, transform, outcome.err()),
            Event::Retry {
                task,
                kind,
                message,
                after,
                attempts,
            } => {
                self.tasks[task].phase = Phase::Connecting;
                if self.verbosity >= Verbosity::Verbose && self.json.is_none() {
                    self.complain(&retry_line(
                        &self.labels[task],
                        &message,
                        after,
                        kind.name(),
                    ));
                }
                self.tell_event(task, |task, target| json::Event::Retry {
                    task,
                    target,
                    kind: kind.name(),
                    attempt: attempts,
                    delay_s: Seconds(after),
                    message: &message,
                })
            }
            Event::Poem {
                task,
                bytes,
                sha256,
                attempts,
                elapsed,
            } => self.poem(task, bytes, sha256, attempts, elapsed),
            Event::Failed {
                task,
                kind,
                message,
                attempts,
                bytes,
                elapsed,
            } => self.lost(
                task,
                Lost {
                    kind,
                    message,
                    attempts,
                    bytes,
                    elapsed,
                },
            ),
            _ => Ok(()),
        }
    }

    /// Tells that bytes have come.
    fn tell_bytes(&mut self, task: usize, bytes: u64) -> Result<(), SinkError> {
        if matches!(self.display, Display::Classic) {
            self.complain(&classic_chunk(task + 1, bytes, &self.tasks[task].peer));
        }
        let total = self.tasks[task].bytes;
        self.tell_event(task, |task, target| json::Event::Chunk {
            task,
            target,
            bytes,
            total,
        })
    }

    fn transformed(
        &mut self,
        task: usize,
        transform: String,
        failure: Option<String>,
    ) -> Result<(), SinkError> {
        if let Some(message) = &failure
            && self.json.is_none()
        {
            self.complain(&kept_line(&self.labels[task], &transform, message));
        }
        let transform = json::Transform {
            transform,
            ok: failure.is_none(),
            message: failure,
        };
        self.tell_event(task, |task, target| json::Event::Transformed {
            task,
            target,
            transform: &transform,
        })?;
        self.tasks[task].transforms.push(transform);
        Ok(())
    }

    /// Passes on what ends with a newline and keeps the rest.
    fn whole_lines(&mut self, task: usize, bytes: &[u8]) -> Result<(), SinkError> {
        let line = &mut self.tasks[task].line;
        line.extend_from_slice(bytes);
        let Some(end) = line.iter().rposition(|byte| *byte == b'\n') else {
            return Ok(());
        };
        let rest = line.split_off(end + 1);
        let lines = std::mem::replace(line, rest);
        self.sink.chunk(task, &lines)
    }

    fn poem(
        &mut self,
        task: usize,
        bytes: u64,
        sha256: PoemHash,
        attempts: u32,
        elapsed: Duration,
    ) -> Result<(), SinkError> {
        if self.tasks[task].phase == Phase::Lost {
            return Ok(());
        }
        self.tasks[task].phase = Phase::Whole;
        self.tasks[task].elapsed = elapsed;
        self.hide_status();
        let line = std::mem::take(&mut self.tasks[task].line);
        let finished = self
            .sink
            .chunk(task, &line)
            .and_then(|()| self.sink.finished(task, Ending::Whole))
            .map(drop);
        self.or_lose(task, finished)?;
        if matches!(self.display, Display::Classic) {
            self.complain(&classic_finished(task + 1));
        }
        if self.json.is_some() {
            let poem = self.sink.take(task);
            let sha256 = sha256.to_string();
            self.write_json(&json::Event::Poem {
                task: task + 1,
                target: &self.labels[task],
                bytes,
                sha256: &sha256,
                attempts,
                elapsed_s: Seconds(elapsed),
                end: "eof",
                transforms: &self.tasks[task].transforms,
                poem: PoemBytes(&poem),
            })?;
        }
        Ok(())
    }

    fn lost(&mut self, task: usize, lost: Lost) -> Result<(), SinkError> {
        if self.tasks[task].phase == Phase::Lost {
            return Ok(());
        }
        self.tasks[task].phase = Phase::Lost;
        self.tasks[task].elapsed = lost.elapsed;
        self.hide_status();
        let printed_bytes = self.sink.finished(task, Ending::Failed)?;
        if self.json.is_some() {
            return self.write_json(&json::Event::Failed {
                task: task + 1,
                target: &self.labels[task],
                kind: lost.kind.name(),
                attempts: lost.attempts,
                bytes: lost.bytes,
                elapsed_s: Seconds(lost.elapsed),
                message: &lost.message,
            });
        }
        // Who interrupted it knows.
        if self.request.is_none() || lost.kind != FailureKind::Cancelled {
            self.complain(&failure_line(&Failure {
                target: &self.labels[task],
                message: &lost.message,
                kind: lost.kind.name(),
                attempts: lost.attempts,
                elapsed: lost.elapsed,
                printed_bytes,
            }));
        }
        Ok(())
    }

    /// A file that cannot be written loses its own poem, and so does a disk without room for one that waits; an output
    /// that cannot be written ends everything.
    fn or_lose(&mut self, task: usize, written: Result<(), SinkError>) -> Result<(), SinkError> {
        let error: Box<dyn std::error::Error> = match written {
            Err(SinkError::File(error)) if matches!(self.sink, Sink::Directory(_)) => error.into(),
            Err(SinkError::Poem(error @ WritePoemError::Spool { task: of, .. })) if of == task => {
                error.into()
            }
            other => return other,
        };
        let cause = error.source().map(|cause| format!(": {cause}"));
        let lost = Lost {
            kind: FailureKind::Io,
            message: format!("{error}{}", cause.unwrap_or_default()),
            attempts: 1,
            bytes: self.tasks[task].bytes,
            elapsed: self.tasks[task]
                .started_at
                .map_or(Duration::ZERO, |at| at.elapsed()),
        };
        self.lost(task, lost)
    }

    fn conclude(&mut self) -> Result<ExitCode, SinkError> {
        let asked = self.tasks.len();
        let whole: Vec<_> = self
            .tasks
            .iter()
            .filter(|task| task.phase == Phase::Whole)
            .collect();
        let (got, bytes) = (whole.len(), whole.iter().map(|task| task.bytes).sum());
        let elapsed = self.started_at.elapsed();
        let code = match self.request {
            Some(request) if got < asked => request.exit_code(),
            _ => ExitCode::of_poems(asked, asked - got),
        };
        if self.json.is_some() {
            self.write_json(&json::Event::Summary {
                ok: got,
                failed: asked - got,
                bytes,
                elapsed_s: Seconds(elapsed),
                exit: code.number(),
            })?;
            return Ok(code);
        }
        self.hide_status();
        if matches!(self.display, Display::Classic) {
            self.complain(&classic_total(got, elapsed));
        } else if asked > 1
            && (got < asked || self.verbosity >= Verbosity::Verbose)
            && self.verbosity > Verbosity::Quiet
        {
            self.complain(&summary_line(got, asked, bytes, elapsed));
        }
        Ok(code)
    }

    // ---- the screen

    /// Rewrites the lines, unless they were rewritten just now; the next tick does then.
    fn show(&mut self) {
        let was_shown = |at: Instant| at.elapsed() < SHOWN_FOR;
        if !self.wants_ticks() || self.shown_at.is_some_and(was_shown) {
            return;
        }
        self.shown_at = Some(Instant::now());
        let snapshots = self.snapshots();
        match &mut self.display {
            Display::Nothing | Display::Classic => {}
            Display::Bars(bars) => bars.show(&snapshots),
            Display::StatusLine(line) => {
                let columns = std::env::var("COLUMNS")
                    .ok()
                    .and_then(|columns| columns.parse().ok());
                let text = line.show(
                    &status_text(&snapshots),
                    columns.unwrap_or(COLUMNS_DEFAULT),
                    self.sink.is_at_line_start(),
                );
                if let Some(text) = text {
                    let _ = io::stderr().write_all(text.as_bytes());
                }
            }
        }
    }

    fn snapshots(&self) -> Vec<Snapshot> {
        let head = self.sink.head();
        let state = |at: usize, phase| match phase {
            Phase::Queued => State::Queued,
            Phase::Connecting => State::Connecting,
            Phase::Listening => match head {
                Some(head) if head != at => State::WaitingFor(head + 1),
                _ => State::Streaming,
            },
            Phase::Whole => State::Done,
            Phase::Lost => State::Failed,
        };
        let snapshot = |(at, task): (usize, &Task)| Snapshot {
            state: state(at, task.phase),
            bytes: task.bytes,
            expected_bytes: self.expected_bytes,
            elapsed: match task.phase {
                Phase::Whole | Phase::Lost => task.elapsed,
                _ => task.started_at.map_or(Duration::ZERO, |at| at.elapsed()),
            },
        };
        self.tasks.iter().enumerate().map(snapshot).collect()
    }

    /// Takes the status line away, so that a poem or a message can be written.
    fn hide_status(&mut self) {
        if let Display::StatusLine(line) = &mut self.display {
            let _ = io::stderr().write_all(line.hide().as_bytes());
        }
    }

    /// A line for the person who watches.
    fn say(&mut self, line: &str) {
        if self.verbosity > Verbosity::Quiet {
            self.complain(&format!("byron: {line}"));
        }
    }

    /// A line on standard error, out of the way of poems and bars.
    fn complain(&mut self, line: &str) {
        self.hide_status();
        self.sink.finish_line();
        let write = || {
            let _ = writeln!(anstream::stderr(), "{line}");
        };
        match &self.display {
            Display::Bars(bars) => bars.suspend(write),
            _ => write(),
        }
    }

    // ---- lines of JSON

    /// Only with `--json=events`.
    fn tell_event<'a>(
        &'a self,
        task: usize,
        event: impl FnOnce(usize, &'a str) -> json::Event<'a>,
    ) -> Result<(), SinkError> {
        match self.json {
            Some(JsonLines::Events) => self.write_json(&event(task + 1, &self.labels[task])),
            _ => Ok(()),
        }
    }

    fn write_json(&self, event: &json::Event<'_>) -> Result<(), SinkError> {
        Ok(json::write_event(event, &mut io::stdout().lock()).map_err(WriteStdoutError)?)
    }
}

/// A poem that will not come.
struct Lost {
    kind: FailureKind,
    message: String,
    attempts: u32,
    bytes: u64,
    elapsed: Duration,
}
