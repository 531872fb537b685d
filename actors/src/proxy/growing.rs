//! [`Growing`]: bytes that grow at the end while many read them, each from its own place. A value.
//!
//! Readers get pieces that they share, never copies. An upstream that sends a byte at a time must not cost a piece for
//! each byte, so small pieces at the end are joined as in a binary counter: a byte is copied a few times at most, and
//! what is left are pieces of [`PIECE_BYTES_MAX`] or nearly, and a handful of smaller ones behind them.

use bytes::{Bytes, BytesMut};

/// The longest piece that is made by joining smaller ones.
pub(crate) const PIECE_BYTES_MAX: usize = 64 * 1024;

#[derive(Debug, Default)]
pub(crate) struct Growing {
    pieces: Vec<Piece>,
    len: usize,
}

#[derive(Debug)]
struct Piece {
    start: usize,
    bytes: Bytes,
}

impl Growing {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Adds the bytes that follow.
    pub(crate) fn push(&mut self, bytes: Bytes) {
        if bytes.is_empty() {
            return;
        }
        self.pieces.push(Piece {
            start: self.len,
            bytes: bytes.clone(),
        });
        self.len += bytes.len();
        while let [.., before, last] = &self.pieces[..] {
            let joined = before.bytes.len() + last.bytes.len();
            if before.bytes.len() >= 2 * last.bytes.len() || joined > PIECE_BYTES_MAX {
                return;
            }
            let start = before.start;
            let mut bytes = BytesMut::with_capacity(joined);
            bytes.extend_from_slice(&before.bytes);
            bytes.extend_from_slice(&last.bytes);
            self.pieces.truncate(self.pieces.len() - 2);
            self.pieces.push(Piece {
                start,
                bytes: bytes.freeze(),
            });
        }
    }

    /// Some of the bytes from this place on; nothing at the end.
    pub(crate) fn from(&self, place: usize) -> Option<Bytes> {
        if place >= self.len {
            return None;
        }
        let at = self.pieces.partition_point(|piece| piece.start <= place) - 1;
        let piece = &self.pieces[at];
        Some(piece.bytes.slice(place - piece.start..))
    }

    /// All of them in one piece.
    pub(crate) fn whole(&self) -> Bytes {
        match &self.pieces[..] {
            [] => Bytes::new(),
            [only] => only.bytes.clone(),
            pieces => {
                let mut whole = BytesMut::with_capacity(self.len);
                for piece in pieces {
                    whole.extend_from_slice(&piece.bytes);
                }
                whole.freeze()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Reads to the end, piece by piece.
    fn read(growing: &Growing, mut place: usize) -> Vec<u8> {
        let mut heard = Vec::new();
        while let Some(bytes) = growing.from(place) {
            assert!(!bytes.is_empty());
            place += bytes.len();
            heard.extend_from_slice(&bytes);
        }
        heard
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn every_place_leads_to_the_same_end(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 0..50),
            place in 0..200usize,
        ) {
            let mut growing = Growing::default();
            for chunk in &chunks {
                growing.push(Bytes::copy_from_slice(chunk));
            }
            let text = chunks.concat();
            prop_assert_eq!(growing.len(), text.len());
            prop_assert_eq!(&growing.whole()[..], &text[..]);
            let place = place.min(text.len());
            prop_assert_eq!(read(&growing, place), &text[place..]);
        }
    }

    #[test]
    fn a_byte_at_a_time_does_not_cost_a_piece_for_each() {
        let mut growing = Growing::default();
        for byte in 0..1_000_000u32 {
            growing.push(Bytes::copy_from_slice(&[byte as u8]));
        }
        let pieces = growing.pieces.len();
        assert!(pieces <= 2 * 1_000_000 / PIECE_BYTES_MAX + 17, "{pieces}");
    }

    #[test]
    fn ever_shorter_chunks_are_joined_too() {
        let mut growing = Growing::default();
        for len in (1..2000).rev() {
            growing.push(vec![7; len].into());
        }
        let pieces = growing.pieces.len();
        assert!(
            pieces <= 2 * growing.len() / PIECE_BYTES_MAX + 17,
            "{pieces}"
        );
    }

    #[test]
    fn large_chunks_are_not_copied() {
        let mut growing = Growing::default();
        let chunk = Bytes::from(vec![1; PIECE_BYTES_MAX]);
        growing.push(chunk.clone());
        growing.push(chunk.clone());
        assert_eq!(growing.from(0).unwrap().as_ptr(), chunk.as_ptr());
        assert_eq!(
            growing.from(PIECE_BYTES_MAX).unwrap().as_ptr(),
            chunk.as_ptr()
        );
    }
}
