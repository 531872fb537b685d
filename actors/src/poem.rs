//! What travels: a [`Poem`] is a title and bytes.
//!
//! Bytes, never characters: a poem may be binary, empty, or end inside a UTF-8 sequence. Values only, except for
//! [`Poem::read`], which reads a file.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

/// The longest poem that is read into memory. Homer's two and Dante's one are 2 MiB together.
pub const FILE_BYTES_MAX: u64 = 1 << 30;

/// What a poem is called.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Title(Arc<str>);

impl Title {
    /// A title.
    pub fn new(title: impl Into<Arc<str>>) -> Self {
        Self(title.into())
    }

    /// The title as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Title {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Title {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// A poem; its copies share one text.
#[derive(Clone, PartialEq, Eq)]
pub struct Poem {
    /// What it is called.
    pub title: Title,
    /// What it says.
    pub text: Bytes,
}

impl fmt::Debug for Poem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} of {} bytes", self.title, self.text.len())
    }
}

impl Poem {
    /// A poem from values.
    pub fn new(title: impl Into<Arc<str>>, text: impl Into<Bytes>) -> Self {
        Self {
            title: Title::new(title),
            text: text.into(),
        }
    }

    /// Reads a file; `poetry/ecstasy.txt` is titled `ecstasy`. Blocks while it reads.
    ///
    /// # Errors
    /// The file cannot be read, or is longer than [`FILE_BYTES_MAX`].
    pub fn read(path: impl AsRef<Path>) -> Result<Self, ReadPoemError> {
        let path = path.as_ref();
        let title = path.file_stem().unwrap_or(path.as_os_str());
        File::open(path)
            .and_then(|file| Self::read_from(title.to_string_lossy(), file))
            .map_err(|source| ReadPoemError {
                path: path.to_owned(),
                source,
            })
    }

    /// Reads a source to its end: a pipe, say. Blocks while it reads.
    ///
    /// # Errors
    /// The source cannot be read, or is longer than [`FILE_BYTES_MAX`].
    pub fn read_from(title: impl Into<Arc<str>>, source: impl Read) -> io::Result<Self> {
        Ok(Self::new(title, read_bounded(source, FILE_BYTES_MAX)?))
    }
}

/// Reads to the end, or fails one byte behind the limit: a device or a pipe has no length to ask for.
fn read_bounded(source: impl Read, bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    source.take(bytes_max + 1).read_to_end(&mut text)?;
    if text.len() as u64 > bytes_max {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("longer than {bytes_max} bytes"),
        ));
    }
    Ok(text)
}

/// A poem's file could not be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the poem {}", path.display())]
pub struct ReadPoemError {
    /// The file.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_poem_of_exactly_the_limit_is_read_and_one_byte_more_is_not() {
        assert_eq!(read_bounded(&b"four"[..], 4).unwrap(), b"four");
        let error = read_bounded(&b"fives"[..], 4).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
    }

    #[test]
    fn a_missing_poem_is_named() {
        let error = Poem::read("no/such/poem.txt").unwrap_err();
        assert_eq!(error.to_string(), "cannot read the poem no/such/poem.txt");
        assert_eq!(error.source.kind(), io::ErrorKind::NotFound);
    }
}
