//! [`Framing`]: which of the bytes that a download hears are the poem, and when it is whole. Pure.
//!
//! Without a frame every byte is, and the end of the connection is the end of the poem. In a netstring only what the
//! length in front says is; an end before the comma is a poem that was cut, whoever ended it and however orderly.

use bytes::Bytes;

use crate::download::{DownloadError, FailureKind};
use crate::netstring::{NetstringError, Unframing};
use crate::wire::Frame;

/// How the bytes of one poem are framed, as far as they have come.
#[derive(Debug)]
pub(crate) enum Framing {
    Eof,
    Netstring(Unframing),
}

impl Framing {
    pub(crate) fn new(frame: Frame, poem_bytes_max: u64) -> Self {
        match frame {
            Frame::Eof => Self::Eof,
            Frame::Netstring => {
                let bytes_max = usize::try_from(poem_bytes_max).unwrap_or(usize::MAX);
                Self::Netstring(Unframing::new(bytes_max))
            }
        }
    }

    /// Takes the bytes that came next, and gives back those that are the poem's.
    pub(crate) fn pass(&mut self, bytes: Bytes) -> Result<Bytes, DownloadError> {
        match self {
            Self::Eof => Ok(bytes),
            Self::Netstring(unframing) => unframing.pass(bytes).map_err(refuse),
        }
    }

    /// True if nothing else is to come, whether or not the connection has ended.
    pub(crate) fn is_complete(&self) -> bool {
        match self {
            Self::Eof => false,
            Self::Netstring(unframing) => unframing.is_complete(),
        }
    }

    /// The connection has ended.
    pub(crate) fn finish(&self) -> Result<(), DownloadError> {
        match self {
            Self::Eof => Ok(()),
            Self::Netstring(unframing) => unframing.finish().map_err(refuse),
        }
    }
}

fn refuse(error: NetstringError) -> DownloadError {
    match error {
        NetstringError::Cut { .. } => {
            DownloadError::passing(FailureKind::Truncated, error.to_string())
        }
        NetstringError::TooLong { bytes_max } => {
            DownloadError::for_good(FailureKind::Io, format!("longer than {bytes_max} bytes"))
        }
        error => DownloadError::for_good(FailureKind::Io, format!("it said {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hear(frame: Frame, said: &'static str) -> Result<Bytes, (FailureKind, String, bool)> {
        let mut framing = Framing::new(frame, 99);
        let heard = framing.pass(said.into());
        let heard = heard.and_then(|heard| framing.finish().map(|()| heard));
        heard.map_err(|error| (error.kind, error.message, error.is_final))
    }

    #[test]
    fn a_poem_in_a_netstring_is_whole_at_its_comma_and_never_before() {
        assert_eq!(hear(Frame::Eof, "4:po").unwrap(), "4:po");
        assert_eq!(hear(Frame::Netstring, "4:poem,").unwrap(), "poem");
        for (said, kind, message, is_final) in [
            (
                "4:poem",
                FailureKind::Truncated,
                "the netstring ended after 4 of 4 bytes",
                false,
            ),
            (
                "",
                FailureKind::Truncated,
                "the netstring ended after 0 of a length that never came",
                false,
            ),
            ("100:", FailureKind::Io, "longer than 99 bytes", true),
            (
                "The",
                FailureKind::Io,
                "it said \"T\" where the length of a netstring should be",
                true,
            ),
        ] {
            let expected = (kind, message.to_owned(), is_final);
            assert_eq!(
                hear(Frame::Netstring, said).unwrap_err(),
                expected,
                "{said}"
            );
        }
    }
}
