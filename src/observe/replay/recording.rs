//! A recorded file: lines of JSON, the instance first, then the tree, then what happened.
//!
//! ```text
//! {"v":1,"type":"instance","name":"ecstasy","pid":4242,…}
//! {"v":1,"type":"tree","tree":{…}}
//! {"v":1,"seq":918,"ts":"…","type":"exit","path":"root/poems/ecstasy",…}
//! {"v":1,"type":"gap","after":918,"missed":12}
//! {"v":1,"type":"tree","tree":{…}}
//! ```
//!
//! Whoever records writes a tree after each gap, and may write one whenever it likes: a reader begins anew there. The last
//! line may be cut, for the program may have been killed while it was written.

use std::io::{self, BufRead, Read};

use thiserror::Error;

use super::Replay;
use crate::observe::model::{Event, Instance, Line, LogRecord, Tree, VERSION};

/// How long a line may be.
pub const LINE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// How many lines are kept to step through.
pub const LINES_MAX: usize = 1_000_000;

/// The file cannot be read as a recording.
#[derive(Debug, Error)]
pub enum ReadRecordingError {
    /// The file cannot be read at all.
    #[error("line {line}: cannot be read")]
    Read {
        /// Which line, from 1.
        line: u64,
        /// Why.
        source: io::Error,
    },
    /// A line is longer than any that byron writes.
    #[error("line {line}: is longer than {LINE_BYTES_MAX} bytes")]
    TooLong {
        /// Which line, from 1.
        line: u64,
    },
    /// A line says nothing that byron says.
    #[error("line {line}, column {column}: {message}")]
    Line {
        /// Which line, from 1.
        line: u64,
        /// Which byte of it, from 1.
        column: usize,
        /// What is wrong there.
        message: String,
    },
    /// The first line does not say whose recording it is.
    #[error("is no recording of byron: its first line is not an instance")]
    NoInstance,
    /// It was written by a byron of the future.
    #[error("is of version {0} of the format; this byron reads version {VERSION}")]
    Version(u32),
    /// There is no tree before the first event.
    #[error("line {line}: has an event, but no tree was before it")]
    NoTree {
        /// Which line, from 1.
        line: u64,
    },
    /// It is too long to be kept in memory.
    #[error("has more than {LINES_MAX} lines, too many to step through")]
    TooManyLines,
}

/// Reads a recording line by line, in bounded memory.
#[derive(Debug)]
pub struct Reader<R> {
    input: R,
    instance: Instance,
    line: u64,
    was_cut: bool,
}

impl<R: BufRead> Reader<R> {
    /// Reads the first line.
    ///
    /// # Errors
    /// It is not the first line of a recording, or of one that is too new.
    pub fn new(input: R) -> Result<Reader<R>, ReadRecordingError> {
        let mut lines = Lines { input, line: 0 };
        let first = lines.next()?.ok_or(ReadRecordingError::NoInstance)?;
        let head: serde_json::Value =
            serde_json::from_slice(&first.text).map_err(|_| ReadRecordingError::NoInstance)?;
        let version = head.get("v").and_then(serde_json::Value::as_u64);
        if let Some(version) = version.filter(|version| *version > u64::from(VERSION)) {
            let version = u32::try_from(version).unwrap_or(u32::MAX);
            return Err(ReadRecordingError::Version(version));
        }
        match parse(&first)? {
            Line::Instance(instance) => Ok(Reader {
                input: lines.input,
                instance: *instance,
                line: lines.line,
                was_cut: false,
            }),
            _ => Err(ReadRecordingError::NoInstance),
        }
    }

    /// Whose recording it is.
    pub fn instance(&self) -> &Instance {
        &self.instance
    }

    /// Whether the last line was cut.
    pub fn was_cut(&self) -> bool {
        self.was_cut
    }

    /// The number of the line that was read last, from 1.
    pub fn line(&self) -> u64 {
        self.line
    }

    fn read(&mut self) -> Result<Option<Line>, ReadRecordingError> {
        let mut lines = Lines {
            input: &mut self.input,
            line: self.line,
        };
        let raw = lines.next()?;
        self.line = lines.line;
        let Some(raw) = raw else { return Ok(None) };
        match parse(&raw) {
            Ok(line) => Ok(Some(line)),
            Err(_) if !raw.is_ended => {
                self.was_cut = true;
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

impl<R: BufRead> Iterator for Reader<R> {
    type Item = Result<Line, ReadRecordingError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read().transpose()
    }
}

struct Lines<R> {
    input: R,
    line: u64,
}

/// A line as it stands in the file.
struct RawLine {
    number: u64,
    text: Vec<u8>,
    /// Whether there was a newline.
    is_ended: bool,
}

impl<R: BufRead> Lines<R> {
    /// The next line that is not empty.
    fn next(&mut self) -> Result<Option<RawLine>, ReadRecordingError> {
        loop {
            self.line += 1;
            let line = self.line;
            let mut text = Vec::new();
            let limit = LINE_BYTES_MAX as u64 + 1;
            (&mut self.input)
                .take(limit)
                .read_until(b'\n', &mut text)
                .map_err(|source| ReadRecordingError::Read { line, source })?;
            let is_ended = text.last() == Some(&b'\n');
            if !is_ended && text.len() as u64 == limit {
                return Err(ReadRecordingError::TooLong { line });
            }
            if text.is_empty() {
                self.line -= 1;
                return Ok(None);
            }
            if !text.trim_ascii().is_empty() {
                return Ok(Some(RawLine {
                    number: line,
                    text,
                    is_ended,
                }));
            }
        }
    }
}

fn parse(raw: &RawLine) -> Result<Line, ReadRecordingError> {
    let wrong = |column, message| ReadRecordingError::Line {
        line: raw.number,
        column,
        message,
    };
    let text = str::from_utf8(&raw.text)
        .map_err(|error| wrong(error.valid_up_to() + 1, "is not UTF-8".to_owned()))?;
    Line::from_json(text).map_err(|error| {
        let message = error.to_string();
        // serde counts lines too, of this one alone.
        let (message, _) = message.split_once(" at line ").unwrap_or((&message, ""));
        wrong(error.column(), message.to_owned())
    })
}

/// A whole recording, to step through.
#[derive(Debug, Clone)]
pub struct Recording {
    /// Whose it is.
    pub instance: Instance,
    /// What follows the first line.
    pub lines: Vec<Line>,
    /// Whether the last line was cut.
    pub was_cut: bool,
}

impl Recording {
    /// Reads all of it.
    ///
    /// # Errors
    /// It is no recording, or one too long to step through.
    pub fn read(input: impl BufRead) -> Result<Recording, ReadRecordingError> {
        let mut reader = Reader::new(input)?;
        let mut lines = Vec::new();
        let mut has_tree = false;
        while let Some(line) = reader.next().transpose()? {
            has_tree |= matches!(line, Line::Tree(_));
            if !has_tree && matches!(line, Line::Event(_)) {
                return Err(ReadRecordingError::NoTree {
                    line: reader.line(),
                });
            }
            if lines.len() == LINES_MAX {
                return Err(ReadRecordingError::TooManyLines);
            }
            lines.push(line);
        }
        Ok(Recording {
            was_cut: reader.was_cut(),
            instance: reader.instance,
            lines,
        })
    }

    /// What happened, oldest first.
    pub fn events(&self) -> impl Iterator<Item = &Event> {
        self.lines.iter().filter_map(|line| match line {
            Line::Event(event) => Some(&**event),
            _ => None,
        })
    }

    /// What was logged, oldest first.
    pub fn logs(&self) -> impl Iterator<Item = &LogRecord> {
        self.lines.iter().filter_map(|line| match line {
            Line::Log(log) => Some(&**log),
            _ => None,
        })
    }

    /// The tree after this event, or after the last one before it; `None` before the first tree. The second value is how
    /// many events are missing since the tree was last looked at.
    pub fn tree_at(&self, seq: u64) -> Option<(Tree, u64)> {
        let mut replay: Option<Replay> = None;
        for line in &self.lines {
            match (line, &mut replay) {
                (Line::Tree(tree), _) if tree.seq > seq => break,
                (Line::Tree(tree), Some(replay)) => replay.look((**tree).clone()),
                (Line::Tree(tree), replay) => *replay = Some(Replay::new((**tree).clone())),
                (Line::Event(event), _) if event.seq > seq => break,
                (Line::Event(event), Some(replay)) => replay.apply(event),
                (Line::Gap(gap), Some(replay)) => replay.miss(gap.missed),
                _ => {}
            }
        }
        replay.map(|replay| (replay.tree(), replay.missed()))
    }
}
