//! In which order the bytes of several poems are written, and what happens to those whose turn it is not.
//!
//! | order        | is written at once                       | waits in its spool        | a poem that fails       |
//! | ------------ | ---------------------------------------- | ------------------------- | ----------------------- |
//! | `args`       | the first poem that has not ended        | the poems after it        | stops where it is       |
//! | `done`       | each poem, whole, when it ends           | all the others            | is not printed          |
//! | `interleave` | every whole line, behind a label         | a line without its end    | loses its last, cut line |
//!
//! Pipes and files get the bytes of the poems and nothing else, but the separator if one was asked for. On a terminal a poem
//! that does not end in a newline gets one before the next poem, as a person expects of two poems.

use std::io::{self, Write};

use thiserror::Error;

use super::escape::Escaper;
use super::spool::Spool;

/// Longer lines are broken when lines are interleaved, so that a poem without newlines does not wait for its end.
const LINE_BYTES_MAX: usize = 64 * 1024;

/// The order of `--order`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// In the order of the arguments, the first one as it arrives.
    #[default]
    Args,
    /// Each poem whole, in the order in which they end.
    Done,
    /// Line by line as they arrive, behind labels.
    Interleave,
}

/// Where the poems are written, as far as it matters for their bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// A pipe or a file: every byte as it is.
    Stream,
    /// A terminal, protected from what the poems may contain.
    Terminal,
    /// A terminal whose owner wants the bytes as they are.
    RawTerminal,
}

/// How poems are put one after another.
#[derive(Clone, Debug)]
pub struct OrderSettings {
    /// The order.
    pub order: Order,
    /// What is written between two poems.
    pub separator: Option<String>,
    /// How many bytes of a waiting poem stay in memory before a temporary file takes over.
    pub spool_bytes_max: u64,
    /// Where the poems go.
    pub destination: Destination,
}

/// Why a poem could not be written.
#[derive(Debug, Error)]
pub enum WritePoemError {
    /// The output does not take any more; if it is a closed pipe, the reader has gone.
    #[error("cannot write the poem")]
    Output(#[source] io::Error),
    /// The temporary file of a waiting poem cannot be written or read.
    #[error("cannot keep the poem until its turn in {}", std::env::temp_dir().display())]
    Spool {
        /// Whose file it is.
        task: usize,
        /// What the system says.
        source: io::Error,
    },
}

/// Takes chunks of several poems at once and writes them in order.
///
/// Tasks are numbered from 0, in the order of the arguments.
///
/// ```
/// # use byron::present::order::*;
/// # fn main() -> Result<(), WritePoemError> {
/// let settings = OrderSettings {
///     order: Order::Args, separator: None, spool_bytes_max: 1024, destination: Destination::Stream,
/// };
/// let mut poems = OrderedPoems::new(settings, vec!["10001".into(), "10002".into()]);
/// let mut out = Vec::new();
/// poems.chunk(1, b"So, we'll go", &mut out)?;
/// poems.chunk(0, b"She walks ", &mut out)?;
/// assert_eq!(out, b"She walks ");
/// poems.finished(0, Ending::Whole, &mut out)?;
/// assert_eq!(out, b"She walks So, we'll go");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct OrderedPoems {
    settings: OrderSettings,
    tasks: Vec<Task>,
    /// The first task whose turn is not over; all before it have ended.
    head: usize,
    /// Whether any poem has been begun, so that a separator is due before the next.
    begun: bool,
    /// Whether the last byte written was something other than a newline.
    line_open: bool,
    shown: Vec<u8>,
}

/// How a task ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The poem is whole.
    Whole,
    /// It is not, and no more will come.
    Failed,
}

#[derive(Debug)]
struct Task {
    label: String,
    ending: Option<Ending>,
    spool: Spool,
    /// The line that has not ended, when lines are interleaved.
    line: Vec<u8>,
    escaper: Escaper,
    begun: bool,
    written_bytes: u64,
}

impl OrderedPoems {
    /// One task per label; labels are shown only when lines are interleaved.
    pub fn new(settings: OrderSettings, labels: Vec<String>) -> OrderedPoems {
        let tasks = labels.into_iter().map(|label| Task {
            label,
            ending: None,
            spool: Spool::default(),
            line: Vec::new(),
            escaper: Escaper::new(),
            begun: false,
            written_bytes: 0,
        });
        OrderedPoems {
            settings,
            tasks: tasks.collect(),
            head: 0,
            begun: false,
            line_open: false,
            shown: Vec::new(),
        }
    }

    /// Bytes of a poem have arrived.
    pub fn chunk(
        &mut self,
        task: usize,
        bytes: &[u8],
        out: &mut impl Write,
    ) -> Result<(), WritePoemError> {
        debug_assert!(
            self.tasks[task].ending.is_none(),
            "a poem goes on after its end"
        );
        match self.settings.order {
            Order::Args if task == self.head => {
                self.write(task, bytes, out)?;
                out.flush().map_err(WritePoemError::Output)
            }
            Order::Args | Order::Done => self.tasks[task]
                .spool
                .push(bytes, self.settings.spool_bytes_max)
                .map_err(|source| WritePoemError::Spool { task, source }),
            Order::Interleave => {
                self.write_whole_lines(task, bytes, out)?;
                out.flush().map_err(WritePoemError::Output)
            }
        }
    }

    /// A poem has ended; what waited for that is written now.
    ///
    /// Returns how many bytes of this poem have been written, which a person wants to know of a failed one.
    pub fn finished(
        &mut self,
        task: usize,
        ending: Ending,
        out: &mut impl Write,
    ) -> Result<u64, WritePoemError> {
        self.tasks[task].ending = Some(ending);
        if ending == Ending::Failed {
            self.tasks[task].spool = Spool::default();
            self.tasks[task].line.clear();
        }
        match (self.settings.order, ending) {
            (Order::Args, _) => {
                while self.head < self.tasks.len() && self.catch_up(self.head, out)? {
                    self.head += 1;
                }
            }
            (Order::Done, Ending::Whole) => {
                self.catch_up(task, out)?;
            }
            (Order::Interleave, Ending::Whole) if !self.tasks[task].line.is_empty() => {
                self.write_line(task, out)?
            }
            (Order::Done | Order::Interleave, _) => {}
        }
        out.flush().map_err(WritePoemError::Output)?;
        Ok(self.tasks[task].written_bytes)
    }

    /// The task whose poem is written as it arrives, with `--order args`; the others wait for it.
    pub fn head(&self) -> Option<usize> {
        Some(self.head)
            .filter(|head| self.settings.order == Order::Args && *head < self.tasks.len())
    }

    /// Whether a message could be shown on the same terminal now without cutting a line in two.
    pub fn at_line_start(&self) -> bool {
        !self.line_open
    }

    /// Completes the last line, if the poems go to a terminal on which something else is to be shown now.
    pub fn finish_line(&mut self, out: &mut impl Write) -> io::Result<()> {
        if self.settings.destination != Destination::Stream && self.line_open {
            out.write_all(b"\n")?;
            out.flush()?;
            self.line_open = false;
        }
        Ok(())
    }

    /// Writes all that waits of a task whose turn it is, and the end if it has come. Returns whether the turn is over.
    fn catch_up(&mut self, task: usize, out: &mut impl Write) -> Result<bool, WritePoemError> {
        let fail = |source| WritePoemError::Spool { task, source };
        let mut blocks = self.tasks[task].spool.take().map_err(fail)?;
        while let Some(block) = blocks.next_block().map_err(fail)? {
            self.write(task, &block, out)?;
        }
        let ending = self.tasks[task].ending;
        if ending == Some(Ending::Whole) {
            // An empty poem is a poem too: it has its separator.
            self.begin(task, out)?;
        }
        if ending.is_some() {
            self.shown.clear();
            self.tasks[task].escaper.finish(&mut self.shown);
            self.write_shown(out)?;
        }
        Ok(ending.is_some())
    }

    fn begin(&mut self, task: usize, out: &mut impl Write) -> Result<(), WritePoemError> {
        if self.tasks[task].begun {
            return Ok(());
        }
        self.tasks[task].begun = true;
        if self.begun {
            self.shown.clear();
            match &self.settings.separator {
                Some(separator) => self.shown.extend_from_slice(separator.as_bytes()),
                None if self.settings.destination != Destination::Stream && self.line_open => {
                    self.shown.push(b'\n')
                }
                None => {}
            }
            self.write_shown(out)?;
        }
        self.begun = true;
        Ok(())
    }

    fn write(
        &mut self,
        task: usize,
        bytes: &[u8],
        out: &mut impl Write,
    ) -> Result<(), WritePoemError> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.begin(task, out)?;
        self.shown.clear();
        match self.settings.destination {
            Destination::Terminal => self.tasks[task].escaper.push(bytes, &mut self.shown),
            Destination::Stream | Destination::RawTerminal => self.shown.extend_from_slice(bytes),
        }
        self.tasks[task].written_bytes += bytes.len() as u64;
        self.write_shown(out)
    }

    fn write_whole_lines(
        &mut self,
        task: usize,
        bytes: &[u8],
        out: &mut impl Write,
    ) -> Result<(), WritePoemError> {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let mut rest = piece;
            while !rest.is_empty() {
                let room = LINE_BYTES_MAX - self.tasks[task].line.len();
                let (fits, after) = rest.split_at(room.min(rest.len()));
                self.tasks[task].line.extend_from_slice(fits);
                rest = after;
                if fits.ends_with(b"\n") || self.tasks[task].line.len() == LINE_BYTES_MAX {
                    self.write_line(task, out)?;
                }
            }
        }
        Ok(())
    }

    /// Writes the line of a task behind its label, with a newline if it has none.
    fn write_line(&mut self, task: usize, out: &mut impl Write) -> Result<(), WritePoemError> {
        let Task {
            label,
            line,
            written_bytes,
            ..
        } = &mut self.tasks[task];
        *written_bytes += line.len() as u64;
        self.shown.clear();
        self.shown.extend_from_slice(label.as_bytes());
        self.shown.extend_from_slice(b" | ");
        if self.settings.destination == Destination::Terminal {
            let mut escaper = Escaper::new();
            escaper.push(line, &mut self.shown);
            escaper.finish(&mut self.shown);
        } else {
            self.shown.extend_from_slice(line);
        }
        if !self.shown.ends_with(b"\n") {
            self.shown.push(b'\n');
        }
        line.clear();
        self.write_shown(out)
    }

    fn write_shown(&mut self, out: &mut impl Write) -> Result<(), WritePoemError> {
        if let Some(last) = self.shown.last() {
            self.line_open = *last != b'\n';
        }
        out.write_all(&self.shown).map_err(WritePoemError::Output)
    }
}

#[cfg(test)]
mod tests;
