//! The fuzz targets of endpoints and of proxies' headers, for a moment, on a stable compiler: seeds from the corpus,
//! changed at random.

use std::fs;
use std::path::Path;

#[path = "../../fuzz/properties/endpoint.rs"]
mod endpoint;
#[path = "../../fuzz/properties/proxy_header.rs"]
mod proxy_header;

/// How many inputs are made up.
const ROUNDS: usize = 20_000;

/// The longest of them.
const BYTES_MAX: usize = 5000;

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(target);
    let files = fs::read_dir(corpus).unwrap();
    files
        .map(|file| fs::read(file.unwrap().path()).unwrap())
        .collect()
}

/// Changes an input a little: a byte, a word of the language, a piece twice, a piece less, or another seed's end.
fn mutate(input: &mut Vec<u8>, seeds: &[Vec<u8>], words: &[&[u8]], random: &mut fastrand::Rng) {
    let at = random.usize(..=input.len());
    match random.u8(..7) {
        0 => input.insert(at, random.u8(..)),
        1 => drop(input.splice(at..at, random.choice(words).unwrap().iter().copied())),
        2 => input.truncate(at),
        3 => drop(input.drain(at..(at + random.usize(..8)).min(input.len()))),
        4 => input.extend_from_within(at..),
        5 if at < input.len() => input[at] = random.u8(..),
        _ => input.extend_from_slice(random.choice(seeds).unwrap()),
    }
    input.truncate(BYTES_MAX);
}

/// Checks seeds and what comes of them.
fn run(target: &str, words: &[&[u8]], check: fn(&[u8])) {
    let mut seeds = seeds(target);
    assert!(!seeds.is_empty());
    // The order of a directory is nobody's promise, and a failure is to repeat itself.
    seeds.sort();
    let mut random = fastrand::Rng::with_seed(1824);
    for _ in 0..ROUNDS {
        let mut input = random.choice(&seeds).unwrap().clone();
        for _ in 0..random.u8(..5) {
            mutate(&mut input, &seeds, words, &mut random);
        }
        let outcome = std::panic::catch_unwind(|| check(&input));
        assert!(outcome.is_ok(), "{}", input.escape_ascii());
    }
}

#[test]
fn endpoints_hold_whatever_is_typed() {
    let words: [&[u8]; 14] = [
        b":",
        b"=",
        b"\\",
        b"[",
        b"]",
        b"@",
        b"/",
        b"*",
        b"tls:",
        b"unix:",
        b"haproxy:",
        b":cert=",
        b":name=",
        "ä".as_bytes(),
    ];
    run("endpoint", &words, endpoint::check);
}

#[test]
fn headers_of_proxies_hold_whatever_is_said() {
    let words: [&[u8]; 8] = [
        b"\r\n",
        b" ",
        b"PROXY ",
        b"TCP4",
        b"\0",
        b"\xff\xff",
        b"65536",
        b"\r\n\r\n\0\r\nQUIT\n",
    ];
    run("proxy_header", &words, proxy_header::check);
}
