//! Where the poems of `get` go: standard output, one file, a file each, or lines of JSON.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::fd::AsFd;
use std::path::PathBuf;

use crate::cli::{GetConfig, Output};
use crate::commands::WriteStdoutError;
use crate::output_file::{Existing, OutputFile, Partial, WriteFileError, create_directory};
use crate::present::order::{Destination, Ending, OrderSettings, OrderedPoems, WritePoemError};

/// What takes the bytes of the poems. Tasks are numbered from 0.
pub(super) enum Sink {
    /// In order, to standard output.
    Stdout {
        poems: OrderedPoems,
        out: BufWriter<File>,
    },
    /// In order, to one file; `None` once it is finished.
    File {
        poems: OrderedPoems,
        file: Option<OutputFile>,
        has_poem: bool,
        is_cut: bool,
    },
    /// Each to its own.
    Directory(Vec<Slot>),
    /// Kept until they are whole, for JSON; forgotten when a line has shown them.
    Memory(Vec<Vec<u8>>),
}

/// The file of one poem.
pub(super) struct Slot {
    path: PathBuf,
    existing: Existing,
    partial: Partial,
    file: Option<OutputFile>,
}

/// The poems have nowhere to go.
#[derive(Debug, thiserror::Error)]
pub(in crate::commands) enum SinkError {
    #[error(transparent)]
    Stdout(#[from] WriteStdoutError),
    #[error(transparent)]
    Poem(WritePoemError),
    #[error(transparent)]
    File(#[from] WriteFileError),
}

impl SinkError {
    /// The error itself: the exit code depends on which one it is, and a transparent wrapper would hide that.
    pub(super) fn into_cause(self) -> anyhow::Error {
        match self {
            SinkError::Stdout(error) => error.into(),
            SinkError::Poem(error) => error.into(),
            SinkError::File(error) => error.into(),
        }
    }
}

impl From<WritePoemError> for SinkError {
    fn from(error: WritePoemError) -> SinkError {
        match error {
            WritePoemError::Output(error) => WriteStdoutError(error).into(),
            spool => SinkError::Poem(spool),
        }
    }
}

impl Sink {
    pub(super) fn new(config: &GetConfig, stdout_is_terminal: bool) -> Result<Sink, SinkError> {
        let ordered = |destination| {
            let settings = OrderSettings {
                order: config.order,
                separator: config.separator.clone(),
                spool_bytes_max: config.spool_bytes_max,
                destination,
            };
            OrderedPoems::new(
                settings,
                config
                    .targets
                    .iter()
                    .map(|target| target.short_label())
                    .collect(),
            )
        };
        Ok(match &config.output {
            _ if config.json.is_some() => Sink::Memory(vec![Vec::new(); config.targets.len()]),
            Output::Stdout => Sink::Stdout {
                poems: ordered(match (stdout_is_terminal, config.raw) {
                    (false, _) => Destination::Stream,
                    (true, false) => Destination::Terminal,
                    (true, true) => Destination::RawTerminal,
                }),
                out: unlined_stdout()?,
            },
            Output::File(path) => Sink::File {
                poems: ordered(Destination::Stream),
                file: Some(OutputFile::create(path, config.existing, config.partial)?),
                has_poem: false,
                is_cut: false,
            },
            Output::Directory(directory) => {
                create_directory(directory)?;
                let slot = |name: String| Slot {
                    path: directory.join(name),
                    existing: config.existing,
                    partial: config.partial,
                    file: None,
                };
                Sink::Directory(
                    config
                        .targets
                        .iter()
                        .map(|target| slot(target.file_name()))
                        .collect(),
                )
            }
        })
    }

    pub(super) fn chunk(&mut self, task: usize, bytes: &[u8]) -> Result<(), SinkError> {
        match self {
            Sink::Stdout { poems, out } => poems.chunk(task, bytes, out)?,
            Sink::File {
                poems,
                file: Some(file),
                ..
            } => {
                let mut into = IntoFile::new(file);
                let outcome = poems.chunk(task, bytes, &mut into);
                into.finish(outcome)?;
            }
            Sink::File { file: None, .. } => {}
            Sink::Directory(slots) => slots[task].file()?.write(bytes)?,
            Sink::Memory(poems) => poems[task].extend_from_slice(bytes),
        }
        Ok(())
    }

    /// A task has ended; answers how many bytes of it are written that cannot be taken back.
    pub(super) fn finished(&mut self, task: usize, ending: Ending) -> Result<u64, SinkError> {
        Ok(match self {
            Sink::Stdout { poems, out } => poems.finished(task, ending, out)?,
            Sink::File {
                poems,
                file: Some(file),
                has_poem,
                is_cut,
            } => {
                let mut into = IntoFile::new(file);
                let outcome = poems.finished(task, ending, &mut into);
                let written = into.finish(outcome)?;
                *has_poem |= ending == Ending::Whole;
                *is_cut |= ending == Ending::Failed && written > 0;
                0
            }
            Sink::File { file: None, .. } => 0,
            Sink::Directory(slots) => {
                let slot = &mut slots[task];
                if ending == Ending::Whole {
                    slot.file()?;
                    if let Some(file) = slot.file.take() {
                        file.finish()?;
                    }
                }
                // Unless it was finished, its `Drop` removes it or leaves it as `.part`.
                slot.file = None;
                0
            }
            Sink::Memory(poems) => {
                if ending == Ending::Failed {
                    poems[task] = Vec::new();
                }
                0
            }
        })
    }

    /// Every task has ended. The one file of several poems takes its name, unless there is no poem in it or one is cut
    /// off: an old file is better than that.
    pub(super) fn close(&mut self) -> Result<(), SinkError> {
        if let Sink::File {
            file,
            has_poem: true,
            is_cut: false,
            ..
        } = self
            && let Some(file) = file.take()
        {
            file.finish()?;
        }
        Ok(())
    }

    /// The task whose poem is written as it comes, if they wait for each other.
    pub(super) fn head(&self) -> Option<usize> {
        match self {
            Sink::Stdout { poems, .. } | Sink::File { poems, .. } => poems.head(),
            Sink::Directory(_) | Sink::Memory(_) => None,
        }
    }

    /// Whether a line can be shown on the poems' terminal now.
    pub(super) fn is_at_line_start(&self) -> bool {
        match self {
            Sink::Stdout { poems, .. } => poems.at_line_start(),
            _ => true,
        }
    }

    /// Makes room for a line on the poems' terminal.
    pub(super) fn finish_line(&mut self) {
        if let Sink::Stdout { poems, out } = self {
            // If that fails, so does the next poem, which is told.
            let _ = poems.finish_line(out);
        }
    }

    /// A whole poem that was kept; once.
    pub(super) fn take(&mut self, task: usize) -> Vec<u8> {
        match self {
            Sink::Memory(poems) => std::mem::take(&mut poems[task]),
            _ => Vec::new(),
        }
    }
}

/// Standard output with a buffer of its own: std's parts what it is given at the last newline, and takes two system calls
/// for it. Whatever writes poems flushes when it has written all there is.
fn unlined_stdout() -> Result<BufWriter<File>, WriteStdoutError> {
    let stdout = io::stdout().as_fd().try_clone_to_owned();
    let stdout = stdout.map_err(WriteStdoutError)?;
    Ok(BufWriter::new(File::from(stdout)))
}

impl Slot {
    /// The file; begun when the first byte is there, so that a target that never answers leaves nothing behind.
    fn file(&mut self) -> Result<&mut OutputFile, WriteFileError> {
        if self.file.is_none() {
            self.file = Some(OutputFile::create(&self.path, self.existing, self.partial)?);
        }
        Ok(self.file.as_mut().expect("made above"))
    }
}

/// The order machine writes into any writer; this one remembers the file's own error, which names it.
struct IntoFile<'a> {
    file: &'a mut OutputFile,
    error: Option<WriteFileError>,
}

impl<'a> IntoFile<'a> {
    fn new(file: &'a mut OutputFile) -> IntoFile<'a> {
        IntoFile { file, error: None }
    }

    fn finish<T>(self, outcome: Result<T, WritePoemError>) -> Result<T, SinkError> {
        match self.error {
            Some(error) => Err(error.into()),
            None => Ok(outcome?),
        }
    }
}

impl Write for IntoFile<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.file.write(bytes) {
            Ok(()) => Ok(bytes.len()),
            Err(error) => {
                self.error = Some(error);
                Err(io::Error::other("the file does not take more"))
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
