//! [`Library`]: the poems of a directory, for whoever asks by title.
//!
//! ```text
//! peer:  11:ecstasy.txt,        a title: the name of a file         or  4:LIST,
//! here:  3003:The Ecstasy ...,  the poem                                the titles, one a line
//! ```
//!
//! One request after another on one connection, each answered by one netstring. A title that cannot be had closes the
//! connection, before a byte of an answer: in order, so that it is no crash to the peer. A poem is read while it is sent, and
//! never kept: a file that shrinks meanwhile resets, and its netstring is cut.
//!
//! Names cannot leave the directory. A title is the name of one file in it, without a slash, a NUL or a leading dot; a
//! link is followed only to a file of the same directory, and what is opened is a plain file.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use byron_supervisors::StartDynamicChild;
use bytes::Bytes;
use rustix::fs::{Mode, OFlags};

use crate::conversation::{Conversation, ConversationError, Courtesy};
use crate::gate::{Fate, Permit};
use crate::netstring::frame;
use crate::patience::Patient;
use crate::poem::FILE_BYTES_MAX;
use crate::protocol::Protocol;
use crate::stream::{Accepted, Stream};
use crate::transform_netstring::{Requests, end, next_request, requests, write};

/// The longest title: that of a file's name, on every system of today.
pub const TITLE_BYTES_MAX: usize = 255;

/// How many titles are listed; a directory with more of them is listed in part.
pub const TITLES_MAX: usize = 10_000;

/// How much of a poem is read at a time.
const READ_BYTES: usize = 64 * 1024;

/// The request for the titles. A file of that name cannot be asked for.
const LIST: &[u8] = b"LIST";

/// The poems of a directory.
#[derive(Debug)]
pub struct Library {
    root: PathBuf,
    courtesy: Courtesy,
}

/// A library cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot open the library {}", path.display())]
pub struct OpenLibraryError {
    /// The directory.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

impl Library {
    /// The library of a directory; of the limits, that of a request is [`TITLE_BYTES_MAX`].
    ///
    /// # Errors
    /// There is no such directory.
    pub fn open(path: impl AsRef<Path>, courtesy: Courtesy) -> Result<Self, OpenLibraryError> {
        let path = path.as_ref();
        let root = path.canonicalize().and_then(|root| match root.is_dir() {
            true => Ok(root),
            false => Err(io::ErrorKind::NotADirectory.into()),
        });
        Ok(Self {
            root: root.map_err(|source| OpenLibraryError {
                path: path.to_owned(),
                source,
            })?,
            courtesy: Courtesy {
                request_bytes_max: TITLE_BYTES_MAX,
                ..courtesy
            },
        })
    }

    /// The titles, in order.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn titles(&self) -> io::Result<Vec<String>> {
        let mut titles = Vec::new();
        for entry in self.root.read_dir()? {
            let title = entry?.file_name();
            let is_line = title.to_str().is_some_and(|title| !title.contains('\n'));
            if is_line
                && title != OsStr::from_bytes(LIST)
                && locate(&self.root, title.as_bytes()).is_ok()
            {
                titles.extend(title.into_string());
            }
            if titles.len() == TITLES_MAX {
                break;
            }
        }
        titles.sort_unstable();
        Ok(titles)
    }

    async fn talk(&self, accepted: Accepted, permit: &mut Permit) -> Result<(), ConversationError> {
        let stream = accepted.open().await?;
        let mut requests = requests(stream, self.courtesy);
        permit.settle(Fate::ClientGone);
        let outcome = self.answer_all(&mut requests, permit).await;
        end(requests.into_inner(), outcome, self.courtesy).await
    }

    /// Answers until the peer leaves, or asks for what there is not.
    async fn answer_all(
        &self,
        requests: &mut Requests,
        permit: &mut Permit,
    ) -> Result<(), ConversationError> {
        while let Some(title) = next_request(requests, permit, self.courtesy).await? {
            // Until it has the answer, whoever cuts it off has cut off a poem.
            permit.settle(Fate::Reset);
            match self.answer(&title, requests.get_mut(), permit).await? {
                Answered::Whole => permit.settle(Fate::Served),
                Answered::Nothing(error) => {
                    let title = title.escape_ascii();
                    let peer_addr = requests.get_ref().get_ref().peer_addr();
                    tracing::info!(%peer_addr, %title, reason = %error, "no such poem");
                    permit.settle(Fate::Refused);
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    async fn answer(
        &self,
        title: &Bytes,
        stream: &mut Patient<Stream>,
        permit: &Permit,
    ) -> Result<Answered, ConversationError> {
        let (root, title) = (self.root.clone(), title.clone());
        if &title[..] == LIST {
            let library = Self {
                root,
                courtesy: self.courtesy,
            };
            let titles = beside(move || library.titles()).await?;
            let list: String = titles.iter().map(|title| format!("{title}\n")).collect();
            write(stream, frame(list.as_bytes()), permit, self.courtesy).await?;
            return Ok(Answered::Whole);
        }
        let (file, bytes) = match beside(move || open(&root, &title)).await {
            Ok(found) => found,
            Err(error) => return Ok(Answered::Nothing(error)),
        };
        let head = format!("{bytes}:").into();
        write(stream, head, permit, self.courtesy).await?;
        let (mut file, mut left) = (file, bytes);
        while left > 0 {
            let read = beside(move || read_some(file, left)).await?;
            let chunk = read.1;
            file = read.0;
            left -= chunk.len() as u64;
            write(stream, chunk, permit, self.courtesy).await?;
        }
        write(stream, Bytes::from_static(b","), permit, self.courtesy).await?;
        Ok(Answered::Whole)
    }
}

enum Answered {
    Whole,
    /// There is no such poem.
    Nothing(io::Error),
}

impl Protocol for Library {
    fn name(&self) -> &'static str {
        "library"
    }

    fn start(self: Arc<Self>, accepted: Accepted, permit: Permit) -> StartDynamicChild {
        Conversation::start(permit, |mut permit| async move {
            let outcome = self.talk(accepted, &mut permit).await;
            (permit, outcome)
        })
    }
}

/// What may take a disk's time, beside the arbiter.
async fn beside<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(io::Error::other)?
}

/// Where the file of a title is.
fn locate(root: &Path, title: &[u8]) -> io::Result<PathBuf> {
    let is_name = !title.is_empty()
        && title.len() <= TITLE_BYTES_MAX
        && !title.starts_with(b".")
        && !title.contains(&b'/')
        && !title.contains(&0);
    if !is_name {
        return Err(io::Error::new(
            io::ErrorKind::InvalidFilename,
            "a title is the name of a file",
        ));
    }
    let path = root.join(OsStr::from_bytes(title)).canonicalize()?;
    if path.parent() != Some(root) {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "it leads out of the library",
        ));
    }
    match path.symlink_metadata()?.is_file() {
        true => Ok(path),
        false => Err(not_a_file()),
    }
}

fn not_a_file() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "it is no plain file")
}

/// Opens the file of a title; with its length, which is what is promised of it. What was located may be replaced before
/// it is opened: a link is not followed then, and a pipe does not keep us waiting.
fn open(root: &Path, title: &[u8]) -> io::Result<(File, u64)> {
    let path = locate(root, title)?;
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(not_a_file());
    }
    if metadata.len() > FILE_BYTES_MAX {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("longer than {FILE_BYTES_MAX} bytes"),
        ));
    }
    Ok((file, metadata.len()))
}

/// The next bytes of a file that is to have so many more.
fn read_some(mut file: File, left: u64) -> io::Result<(File, Bytes)> {
    let length = usize::try_from(left).map_or(READ_BYTES, |left| left.min(READ_BYTES));
    let mut bytes = vec![0; length];
    let read = file.read(&mut bytes)?;
    if read == 0 {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "the file became shorter while it was read",
        ));
    }
    bytes.truncate(read);
    Ok((file, bytes.into()))
}
