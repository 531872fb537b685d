//! `cargo +nightly fuzz run netstring`: netstrings of a peer who says anything.

#![no_main]

#[path = "../properties/netstring.rs"]
mod netstring;

libfuzzer_sys::fuzz_target!(|data: &[u8]| netstring::check(data));
