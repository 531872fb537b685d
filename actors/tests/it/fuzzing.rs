//! The fuzz targets of this crate, for a moment, on a stable compiler: seeds from the corpus, changed at random.

use std::fs;
use std::path::Path;

use netstring::check;

#[path = "../../../fuzz/properties/netstring.rs"]
mod netstring;

/// How many inputs are made up.
const ROUNDS: usize = 20_000;

/// The longest of them.
const BYTES_MAX: usize = 3000;

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../fuzz/corpus")
        .join(target);
    let files = fs::read_dir(corpus).unwrap();
    files
        .map(|file| fs::read(file.unwrap().path()).unwrap())
        .collect()
}

/// Changes an input a little: a byte, a piece twice, a piece less, or another seed's end.
fn mutate(input: &mut Vec<u8>, seeds: &[Vec<u8>], random: &mut fastrand::Rng) {
    const WORDS: [&[u8]; 10] = [
        b"0", b"1", b"9", b":", b",", b".", b"\0", b"\xff", b"999", b"1000:",
    ];
    let at = random.usize(..=input.len());
    match random.u8(..6) {
        0 => input.insert(at, random.u8(..)),
        1 => drop(input.splice(at..at, random.choice(WORDS).unwrap().iter().copied())),
        2 => input.truncate(at),
        3 => drop(input.drain(at..(at + random.usize(..8)).min(input.len()))),
        4 => input.extend_from_within(at..),
        _ => input.extend_from_slice(random.choice(seeds).unwrap()),
    }
    input.truncate(BYTES_MAX);
}

#[test]
fn netstrings_hold_whatever_is_said() {
    let seeds = seeds("netstring");
    assert!(!seeds.is_empty());
    let mut random = fastrand::Rng::with_seed(1824);
    for _ in 0..ROUNDS {
        let mut input = random.choice(&seeds).unwrap().clone();
        for _ in 0..random.u8(..5) {
            mutate(&mut input, &seeds, &mut random);
        }
        let shown = input.escape_ascii().to_string();
        let outcome = std::panic::catch_unwind(|| check(&input));
        assert!(outcome.is_ok(), "{shown}");
    }
}
