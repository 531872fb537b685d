//! What the bytes between a connection and a download mean. Pure: no sockets, no clock.
//!
//! The tutorial's protocol has no frames: a server sends a poem and closes. Two things are built on top of that without
//! changing it: the [`Pace`] of a slow server, and the [`Rereading`] of a client that was cut off, which can only begin
//! again at byte 0 and must neither repeat a byte that was passed on already nor continue another poem.

use std::fmt;
use std::num::NonZeroUsize;
use std::str::FromStr;
use std::time::Duration;

use bytes::{Buf, Bytes};
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

/// How many chunks go out at once at the most, when a server is so busy that its timers are late. What is later than that
/// stays late.
pub const LATE_CHUNKS_MAX: usize = 8;

/// How slowly a poem is recited: so many bytes, then a pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// The bytes of one chunk; the last may be shorter.
    pub chunk_bytes: NonZeroUsize,
    /// From the beginning of one chunk to the beginning of the next. A moment later than an `Instant` can say is a panic of
    /// whatever asks for it.
    pub delay: Duration,
}

impl Pace {
    /// The pace of the tutorial's slow servers: 10 bytes every 0.7 seconds.
    pub const TUTORIAL: Self = Self {
        chunk_bytes: NonZeroUsize::new(10).expect("ten is not zero"),
        delay: Duration::from_millis(700),
    };

    /// How many bytes of `left` go out now, and when the last chunk of them was due, where the first was due at `due`. A timer
    /// that was late does not slow the poem down: what is due meanwhile goes out at once, up to [`LATE_CHUNKS_MAX`].
    pub fn chunk(&self, left: usize, mut due: Instant, now: Instant) -> (usize, Instant) {
        let mut chunks = 1;
        while due + self.delay <= now && chunks < LATE_CHUNKS_MAX {
            due += self.delay;
            chunks += 1;
        }
        if due + self.delay <= now {
            due = now;
        }
        (left.min(self.chunk_bytes.get().saturating_mul(chunks)), due)
    }

    /// When the chunk after the one due at `due` begins, if that one has gone out now. A reader who was slow to take it does
    /// not get a burst.
    pub fn next_due(&self, due: Instant, now: Instant) -> Instant {
        (due + self.delay).max(now)
    }
}

/// How the end of a poem is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Frame {
    /// It is the end of the connection, as in the tutorial.
    #[default]
    Eof,
    /// The poem is a netstring: one that was cut is none.
    Netstring,
}

/// A poem's SHA-256.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PoemHash(pub [u8; 32]);

impl fmt::Display for PoemHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for PoemHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not a SHA-256.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected 64 hexadecimal digits")]
pub struct ParsePoemHashError;

impl FromStr for PoemHash {
    type Err = ParsePoemHashError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits: Option<Vec<u8>> = text
            .chars()
            .map(|digit| digit.to_digit(16).map(|digit| digit as u8))
            .collect();
        let digits = digits.ok_or(ParsePoemHashError)?;
        let mut hash = [0; 32];
        if digits.len() != 2 * hash.len() {
            return Err(ParsePoemHashError);
        }
        for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = pair[0] << 4 | pair[1];
        }
        Ok(Self(hash))
    }
}

/// The beginning of a poem, as its length and its hash: enough to recognise it, without keeping it.
#[derive(Clone, Default)]
pub struct Prefix {
    len: u64,
    hasher: Sha256,
}

impl fmt::Debug for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes of {}", self.len, self.hash())
    }
}

impl Prefix {
    /// How many bytes it has.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// True if nothing is known of the poem yet.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The hash of these bytes.
    pub fn hash(&self) -> PoemHash {
        PoemHash(self.hasher.clone().finalize().into())
    }

    /// Adds the bytes that follow.
    pub fn extend(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
        self.len += bytes.len() as u64;
    }
}

/// The poem does not begin with the bytes that were passed on before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the poem changed within its first {known_bytes} bytes")]
pub struct PoemChanged {
    /// How many bytes were known.
    pub known_bytes: u64,
}

/// A poem read again from byte 0, of which the beginning was passed on already.
#[derive(Debug)]
pub struct Rereading {
    known: Prefix,
    read: Prefix,
}

impl Rereading {
    /// Begins again. With an empty prefix, every byte is new.
    pub fn new(known: Prefix) -> Self {
        Self {
            known,
            read: Prefix::default(),
        }
    }

    /// Takes the bytes that came next, and gives back those that are new. They are new only after the known ones, and
    /// only if those were the same again.
    ///
    /// # Errors
    /// The known bytes were not the same again.
    pub fn pass(&mut self, mut bytes: Bytes) -> Result<Bytes, PoemChanged> {
        let known_left = self.known.len().saturating_sub(self.read.len());
        if known_left > 0 {
            let again =
                usize::try_from(known_left).map_or(bytes.len(), |left| left.min(bytes.len()));
            self.read.extend(&bytes[..again]);
            bytes.advance(again);
            if self.read.len() == self.known.len() && self.read.hash() != self.known.hash() {
                return Err(PoemChanged {
                    known_bytes: self.known.len(),
                });
            }
        }
        self.read.extend(&bytes);
        Ok(bytes)
    }

    /// What was read so far.
    pub fn read(&self) -> &Prefix {
        &self.read
    }

    /// True while the bytes that come are known ones, and nothing is passed on.
    pub fn is_behind(&self) -> bool {
        self.read.len() < self.known.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(bytes: &[u8]) -> Prefix {
        let mut prefix = Prefix::default();
        prefix.extend(bytes);
        prefix
    }

    /// Reads `poem` in pieces of `piece` bytes after `known`; what is passed on.
    fn reread(known: &[u8], poem: &'static [u8], piece: usize) -> Result<Vec<u8>, PoemChanged> {
        let mut rereading = Rereading::new(prefix(known));
        let mut passed = Vec::new();
        for bytes in poem.chunks(piece) {
            passed.extend_from_slice(&rereading.pass(Bytes::from_static(bytes))?);
        }
        assert_eq!(rereading.read().hash(), prefix(poem).hash());
        Ok(passed)
    }

    #[test]
    fn a_poem_read_again_passes_on_new_bytes_only_however_it_is_cut() {
        let poem = b"She walks in beauty, like the night";
        for known in 0..=poem.len() {
            for piece in 1..=poem.len() {
                assert_eq!(reread(&poem[..known], poem, piece).unwrap(), &poem[known..]);
            }
        }
    }

    #[test]
    fn a_poem_that_changed_passes_on_nothing() {
        for piece in 1..20 {
            let error = reread(b"She walks", b"He walks in beauty", piece).unwrap_err();
            assert_eq!(error, PoemChanged { known_bytes: 9 });
        }
    }

    #[test]
    fn a_poem_shorter_than_what_is_known_is_behind() {
        let mut rereading = Rereading::new(prefix(b"She walks"));
        assert_eq!(rereading.pass(Bytes::from_static(b"She")).unwrap(), "");
        assert!(rereading.is_behind());
    }

    #[test]
    fn the_hash_of_nothing_is_the_known_one() {
        let text = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(Prefix::default().hash().to_string(), text);
        assert_eq!(text.parse(), Ok(Prefix::default().hash()));
        assert_eq!("e3b0".parse::<PoemHash>(), Err(ParsePoemHashError));
        assert_eq!("é".repeat(32).parse::<PoemHash>(), Err(ParsePoemHashError));
    }

    #[tokio::test(start_paused = true)]
    async fn a_late_timer_is_made_up_for_and_a_slow_reader_gets_no_burst() {
        let pace = Pace::TUTORIAL;
        let begin = Instant::now();
        let at = |ms| begin + Duration::from_millis(ms);
        let chunk = |left, late| pace.chunk(left, begin, at(late));
        assert_eq!(chunk(99, 3), (10, begin));
        assert_eq!(chunk(99, 699), (10, begin));
        assert_eq!(chunk(99, 700), (20, at(700)));
        assert_eq!(chunk(99, 2_099), (30, at(1_400)));
        assert_eq!(chunk(99, 5_599), (80, at(4_900)));
        assert_eq!(chunk(99, 60_000), (80, at(60_000)));
        assert_eq!(chunk(15, 700), (15, at(700)));
        assert_eq!(chunk(5, 3), (5, begin));

        assert_eq!(pace.next_due(begin, at(3)), at(700));
        assert_eq!(pace.next_due(begin, at(9000)), at(9000));
    }
}
