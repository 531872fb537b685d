//! Netstrings: bytes with their length in front, `27:cummingsify.HERE IS MY POEM,`. Pure: no sockets, no clock.
//!
//! ```text
//! netstring := length ":" bytes ","        length := "0" | ("1".."9") *("0".."9")
//! request   := name "." poem               cut at the first dot; a name may be empty, and is then nobody's
//! ```
//!
//! The frame of the tutorial's transform server (Part 12) as a codec for tokio-util, [`Netstring`]; of a poem that is to
//! arrive as it comes, [`Unframing`]; and the [`request`] within. Each refuses a peer's mistake at the first byte that
//! shows it, and never holds more than the peer has really sent: a length is a claim.

use std::io;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio_util::codec::{Decoder, Encoder};

/// The longest netstring that is taken, if nothing else is said: the `MAX_LENGTH` of Twisted's.
pub const NETSTRING_BYTES_MAX: usize = 99_999;

/// By how much the buffer of a long netstring grows at least, once its length is known: a usual poem comes in one read more.
const GROWTH_BYTES_MIN: usize = 4096;

/// What is no netstring, or none that is taken here.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NetstringError {
    /// Something else stands where the length should.
    #[error("{} where the length of a netstring should be", shown(*.0))]
    NotADigit(u8),
    /// A colon without a number before it.
    #[error("a netstring without a length")]
    NoLength,
    /// `027:`; two ways to write one length are one too many.
    #[error("a netstring whose length begins with a zero")]
    LeadingZero,
    /// Longer than allowed.
    #[error("a netstring of more than {bytes_max} bytes")]
    TooLong {
        /// The limit.
        bytes_max: usize,
    },
    /// Something else stands where the comma should.
    #[error("{} where the comma of a netstring should be", shown(*.0))]
    NoComma(u8),
    /// Something follows the only netstring.
    #[error("{} after the end of the netstring", shown(*.0))]
    Excess(u8),
    /// The peer left in the middle.
    #[error("the netstring ended after {read} of {}", missing(*.expected))]
    Cut {
        /// How many of its bytes were there.
        read: usize,
        /// How many there should be, if that is known.
        expected: Option<usize>,
    },
    /// The connection broke.
    #[error(transparent)]
    Io(#[from] io::Error),
}

fn shown(byte: u8) -> String {
    format!("\"{}\"", byte.escape_ascii())
}

fn missing(expected: Option<usize>) -> String {
    expected.map_or_else(
        || "a length that never came".to_owned(),
        |expected| format!("{expected} bytes"),
    )
}

/// How far the length of a netstring has been read.
#[derive(Debug, Clone, Copy, Default)]
struct Length(Option<usize>);

impl Length {
    /// Takes one byte; the length, when it was the colon.
    fn push(&mut self, byte: u8, bytes_max: usize) -> Result<Option<usize>, NetstringError> {
        let digit = match byte {
            b'0'..=b'9' => usize::from(byte - b'0'),
            b':' => return self.0.map(Some).ok_or(NetstringError::NoLength),
            other => return Err(NetstringError::NotADigit(other)),
        };
        let longer = match self.0 {
            None => Some(digit),
            Some(0) => return Err(NetstringError::LeadingZero),
            Some(length) => length
                .checked_mul(10)
                .and_then(|length| length.checked_add(digit)),
        };
        match longer {
            Some(length) if length <= bytes_max => {
                self.0 = Some(length);
                Ok(None)
            }
            _ => Err(NetstringError::TooLong { bytes_max }),
        }
    }

    /// Takes bytes until the length is known.
    fn take(
        &mut self,
        bytes: &mut impl Buf,
        bytes_max: usize,
    ) -> Result<Option<usize>, NetstringError> {
        while bytes.has_remaining() {
            if let Some(length) = self.push(bytes.get_u8(), bytes_max)? {
                return Ok(Some(length));
            }
        }
        Ok(None)
    }
}

/// Reads and writes whole netstrings, one after another.
///
/// ```
/// # use byron_actors::Netstring;
/// # use bytes::BytesMut;
/// # use tokio_util::codec::{Decoder, Encoder};
/// let (mut codec, mut bytes) = (Netstring::default(), BytesMut::new());
/// codec.encode(b"here is my poem", &mut bytes).unwrap();
/// assert_eq!(bytes, "15:here is my poem,");
/// assert_eq!(codec.decode(&mut bytes).unwrap().unwrap(), "here is my poem");
/// ```
#[derive(Debug, Clone)]
pub struct Netstring {
    bytes_max: usize,
    state: State,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Length(Length),
    Bytes(usize),
}

impl Netstring {
    /// Takes netstrings of so many bytes at the most, not counting what frames them.
    pub fn new(bytes_max: usize) -> Self {
        Self {
            bytes_max,
            state: State::Length(Length::default()),
        }
    }

    /// True if no byte of another netstring has been taken yet.
    pub fn is_between(&self) -> bool {
        matches!(self.state, State::Length(Length(None)))
    }
}

impl Default for Netstring {
    fn default() -> Self {
        Self::new(NETSTRING_BYTES_MAX)
    }
}

impl Decoder for Netstring {
    type Item = Bytes;
    type Error = NetstringError;

    fn decode(&mut self, from: &mut BytesMut) -> Result<Option<Bytes>, NetstringError> {
        let length = match &mut self.state {
            State::Bytes(length) => *length,
            State::Length(length) => match length.take(from, self.bytes_max)? {
                Some(length) => length,
                None => return Ok(None),
            },
        };
        let Some(comma) = from.get(length) else {
            self.state = State::Bytes(length);
            // As much again as has come: what a peer only claims to have costs next to nothing.
            let growth = from.len().max(GROWTH_BYTES_MIN);
            // For the comma too, and a byte more: a read that leaves room tells that there is nothing else to read.
            from.reserve(growth.min((length - from.len()).saturating_add(2)));
            return Ok(None);
        };
        if *comma != b',' {
            return Err(NetstringError::NoComma(*comma));
        }
        self.state = State::Length(Length::default());
        let bytes = from.split_to(length).freeze();
        from.advance(1);
        Ok(Some(bytes))
    }

    fn decode_eof(&mut self, from: &mut BytesMut) -> Result<Option<Bytes>, NetstringError> {
        if let Some(bytes) = self.decode(from)? {
            return Ok(Some(bytes));
        }
        match self.state {
            State::Length(Length(None)) => Ok(None),
            State::Length(Length(Some(_))) => Err(NetstringError::Cut {
                read: 0,
                expected: None,
            }),
            State::Bytes(length) => Err(NetstringError::Cut {
                read: from.len(),
                expected: Some(length),
            }),
        }
    }
}

impl<T: AsRef<[u8]>> Encoder<T> for Netstring {
    type Error = NetstringError;

    fn encode(&mut self, bytes: T, into: &mut BytesMut) -> Result<(), NetstringError> {
        let bytes = bytes.as_ref();
        if bytes.len() > self.bytes_max {
            return Err(NetstringError::TooLong {
                bytes_max: self.bytes_max,
            });
        }
        put(bytes, into);
        Ok(())
    }
}

fn put(bytes: &[u8], into: &mut impl BufMut) {
    into.put_slice(bytes.len().to_string().as_bytes());
    into.put_u8(b':');
    into.put_slice(bytes);
    into.put_u8(b',');
}

/// The netstring of some bytes.
///
/// ```
/// assert_eq!(byron_actors::frame(b"here is my poem"), "15:here is my poem,");
/// ```
pub fn frame(bytes: &[u8]) -> Bytes {
    // The digits of the longest length there can be, the colon and the comma.
    let mut framed = Vec::with_capacity(bytes.len() + 22);
    put(bytes, &mut framed);
    framed.into()
}

/// Takes one netstring apart as it arrives, without keeping it.
#[derive(Debug, Clone)]
pub struct Unframing {
    bytes_max: usize,
    at: At,
}

#[derive(Debug, Clone, Copy)]
enum At {
    Length(Length),
    Bytes { length: usize, left: usize },
    End,
}

impl Unframing {
    /// For one netstring of so many bytes at the most.
    pub fn new(bytes_max: usize) -> Self {
        Self {
            bytes_max,
            at: At::Length(Length::default()),
        }
    }

    /// Takes the bytes that came next, and gives back those of them that are inside the frame.
    ///
    /// # Errors
    /// They are no netstring, or one that is too long, or more than one.
    pub fn pass(&mut self, mut bytes: Bytes) -> Result<Bytes, NetstringError> {
        if let At::Length(length) = &mut self.at {
            match length.take(&mut bytes, self.bytes_max)? {
                Some(length) => {
                    self.at = At::Bytes {
                        length,
                        left: length,
                    };
                }
                None => return Ok(Bytes::new()),
            }
        }
        let mut inside = Bytes::new();
        if let At::Bytes { left, .. } = &mut self.at {
            inside = bytes.split_to((*left).min(bytes.len()));
            *left -= inside.len();
            let is_complete = *left == 0;
            match bytes.first() {
                Some(b',') if is_complete => {
                    bytes.advance(1);
                    self.at = At::End;
                }
                Some(other) if is_complete => return Err(NetstringError::NoComma(*other)),
                _ => return Ok(inside),
            }
        }
        match bytes.first() {
            Some(other) => Err(NetstringError::Excess(*other)),
            None => Ok(inside),
        }
    }

    /// The bytes of the netstring, as soon as that is known.
    pub fn length(&self) -> Option<usize> {
        match self.at {
            At::Bytes { length, .. } => Some(length),
            At::Length(_) | At::End => None,
        }
    }

    /// True when the comma has been seen.
    pub fn is_complete(&self) -> bool {
        matches!(self.at, At::End)
    }

    /// The peer will say no more.
    ///
    /// # Errors
    /// It has not said everything: the netstring is cut.
    pub fn finish(&self) -> Result<(), NetstringError> {
        match self.at {
            At::End => Ok(()),
            At::Length(_) => Err(NetstringError::Cut {
                read: 0,
                expected: None,
            }),
            At::Bytes { length, left } => Err(NetstringError::Cut {
                read: length - left,
                expected: Some(length),
            }),
        }
    }
}

/// The netstring's bytes are no request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a request without a dot between name and poem")]
pub struct NoDot;

/// The name and the poem of a request, cut at the first dot.
///
/// ```
/// let (name, poem) = byron_actors::request("cummingsify.I. am.".into()).unwrap();
/// assert_eq!((&name[..], &poem[..]), (&b"cummingsify"[..], &b"I. am."[..]));
/// ```
///
/// # Errors
/// There is no dot.
pub fn request(mut bytes: Bytes) -> Result<(Bytes, Bytes), NoDot> {
    let dot = bytes.iter().position(|byte| *byte == b'.').ok_or(NoDot)?;
    let name = bytes.split_to(dot);
    bytes.advance(1);
    Ok((name, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes out of `bytes` that arrive in pieces of `piece`, and how it ends.
    fn decode(bytes: &[u8], piece: usize, bytes_max: usize) -> Result<Vec<Bytes>, String> {
        let (mut codec, mut buffer, mut out) =
            (Netstring::new(bytes_max), BytesMut::new(), Vec::new());
        for piece in bytes.chunks(piece) {
            buffer.extend_from_slice(piece);
            while let Some(bytes) = codec.decode(&mut buffer).map_err(text)? {
                out.push(bytes);
            }
            assert!(
                buffer.capacity() <= 4 * bytes.len().max(GROWTH_BYTES_MIN),
                "{} bytes kept for {}",
                buffer.capacity(),
                bytes.len()
            );
        }
        while let Some(bytes) = codec.decode_eof(&mut buffer).map_err(text)? {
            out.push(bytes);
        }
        Ok(out)
    }

    fn unframe(bytes: &[u8], piece: usize, bytes_max: usize) -> Result<Bytes, String> {
        let (mut unframing, mut out) = (Unframing::new(bytes_max), BytesMut::new());
        for piece in bytes.chunks(piece) {
            out.extend_from_slice(
                &unframing
                    .pass(Bytes::copy_from_slice(piece))
                    .map_err(text)?,
            );
        }
        unframing.finish().map_err(text)?;
        Ok(out.freeze())
    }

    fn text(error: NetstringError) -> String {
        error.to_string()
    }

    #[test]
    fn netstrings_come_out_however_they_are_cut() {
        let said = b"0:,5:hello,27:cummingsify.HERE IS MY POEM,3:\0,\xff,";
        for piece in 1..=said.len() {
            let heard = decode(said, piece, 99).unwrap();
            let expected: [&[u8]; 4] = [b"", b"hello", b"cummingsify.HERE IS MY POEM", b"\0,\xff"];
            assert_eq!(heard, expected, "in pieces of {piece}");
        }
        for piece in 1..=31 {
            let heard = unframe(b"27:cummingsify.HERE IS MY POEM,", piece, 99).unwrap();
            assert_eq!(heard, "cummingsify.HERE IS MY POEM");
        }
    }

    #[test]
    fn what_is_no_netstring_is_refused_at_the_byte_that_shows_it() {
        for (said, error) in [
            ("x", "\"x\" where the length of a netstring should be"),
            ("-", "\"-\" where the length of a netstring should be"),
            ("+", "\"+\" where the length of a netstring should be"),
            (" ", "\" \" where the length of a netstring should be"),
            ("1 ", "\" \" where the length of a netstring should be"),
            ("\0", "\"\\x00\" where the length of a netstring should be"),
            (":", "a netstring without a length"),
            ("00", "a netstring whose length begins with a zero"),
            ("01", "a netstring whose length begins with a zero"),
            ("100", "a netstring of more than 99 bytes"),
            (
                "99999999999999999999999999",
                "a netstring of more than 99 bytes",
            ),
            ("2:ab;", "\";\" where the comma of a netstring should be"),
            ("0:x", "\"x\" where the comma of a netstring should be"),
        ] {
            for piece in [1, said.len()] {
                assert_eq!(
                    decode(said.as_bytes(), piece, 99).unwrap_err(),
                    error,
                    "{said}"
                );
                assert_eq!(
                    unframe(said.as_bytes(), piece, 99).unwrap_err(),
                    error,
                    "{said}"
                );
            }
            // One byte earlier there was nothing to refuse yet.
            let before = &said.as_bytes()[..said.len() - 1];
            if said.len() < 10 {
                let earlier = decode(before, 1, 99);
                assert!(
                    earlier.is_ok() || earlier.unwrap_err().starts_with("the netstring ended"),
                    "{said}"
                );
            }
        }
    }

    #[test]
    fn a_netstring_that_is_cut_anywhere_is_no_netstring() {
        let whole = b"15:here is my poem,";
        for cut in 1..whole.len() {
            let error = decode(&whole[..cut], 4, 99).unwrap_err();
            assert!(
                error.starts_with("the netstring ended after"),
                "{cut}: {error}"
            );
            assert_eq!(unframe(&whole[..cut], 4, 99).unwrap_err(), error);
        }
        assert_eq!(decode(b"", 1, 99).unwrap(), Vec::<Bytes>::new());
        assert_eq!(
            unframe(b"", 1, 99).unwrap_err(),
            "the netstring ended after 0 of a length that never came"
        );
        assert_eq!(
            unframe(b"15:here", 1, 99).unwrap_err(),
            "the netstring ended after 4 of 15 bytes"
        );
        assert_eq!(
            unframe(b"1:a,1", 9, 99).unwrap_err(),
            "\"1\" after the end of the netstring"
        );
    }

    #[test]
    fn a_claimed_length_costs_no_memory() {
        let (mut codec, mut buffer) = (Netstring::new(1 << 40), BytesMut::new());
        buffer.extend_from_slice(b"1099511627776:x");
        assert!(codec.decode(&mut buffer).unwrap().is_none());
        assert!(buffer.capacity() <= 2 * GROWTH_BYTES_MIN);
    }

    #[test]
    fn nothing_longer_than_the_limit_is_written() {
        let mut buffer = BytesMut::new();
        let error = Netstring::new(3).encode("four", &mut buffer).unwrap_err();
        assert_eq!(error.to_string(), "a netstring of more than 3 bytes");
        assert!(buffer.is_empty());
    }

    #[test]
    fn a_request_without_a_dot_is_none_and_an_empty_name_is_one() {
        assert_eq!(request("cummingsify".into()), Err(NoDot));
        let (name, poem) = request(".poem".into()).unwrap();
        assert_eq!((&name[..], &poem[..]), (&b""[..], &b"poem"[..]));
    }
}
