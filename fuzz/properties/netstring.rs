//! What holds for netstrings, whatever a peer says. The fuzz target runs it without end, a test of `byron-actors` for a
//! moment.

use byron_actors::{Netstring, Unframing, frame, request};
use bytes::{Bytes, BytesMut};
use tokio_util::codec::Decoder;

/// The limit under which everything is read.
const BYTES_MAX: usize = 1000;

/// Fails if something does not hold. The first byte says how the others are cut.
pub(crate) fn check(data: &[u8]) {
    let Some((piece, said)) = data.split_first() else {
        return;
    };
    let whole = decode(said, said.len().max(1));
    let pieces = decode(said, usize::from(*piece) + 1);
    assert_eq!(whole, pieces, "it depends on how the bytes are cut");
    let (frames, error) = whole;
    let written: Vec<u8> = frames.iter().flat_map(|bytes| frame(bytes)).collect();
    assert!(said.starts_with(&written), "a frame is not what was said");
    for bytes in &frames {
        assert!(bytes.len() <= BYTES_MAX);
        if let Ok((name, poem)) = request(bytes.clone()) {
            assert!(!name.contains(&b'.'));
            assert_eq!([&name[..], b".", &poem[..]].concat(), bytes[..]);
        }
    }

    let mut unframing = Unframing::new(BYTES_MAX);
    let inside = unframing.pass(Bytes::copy_from_slice(said));
    match (frames.first(), inside) {
        (Some(first), Ok(inside)) => assert_eq!(*first, inside),
        (Some(first), Err(_)) => assert!(said.len() > frame(first).len(), "refused, but whole"),
        (None, Ok(_)) => assert!(!unframing.is_complete(), "whole, but refused"),
        (None, Err(inside)) => assert_eq!(Some(inside.to_string()), error),
    }
}

/// All frames, and what ended them.
fn decode(said: &[u8], piece: usize) -> (Vec<Bytes>, Option<String>) {
    let (mut codec, mut buffer, mut frames) =
        (Netstring::new(BYTES_MAX), BytesMut::new(), Vec::new());
    for piece in said.chunks(piece) {
        buffer.extend_from_slice(piece);
        loop {
            match codec.decode(&mut buffer) {
                Ok(Some(bytes)) => frames.push(bytes),
                Ok(None) => break,
                Err(error) => return (frames, Some(error.to_string())),
            }
        }
    }
    match codec.decode_eof(&mut buffer) {
        Ok(Some(bytes)) => panic!("{bytes:?} came of nothing"),
        Ok(None) => (frames, None),
        Err(error) => (frames, Some(error.to_string())),
    }
}
