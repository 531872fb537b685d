//! `cargo +nightly fuzz run endpoint`: endpoints, typed by anybody.

#![no_main]

#[path = "../properties/endpoint.rs"]
mod endpoint;

libfuzzer_sys::fuzz_target!(|data: &[u8]| endpoint::check(data));
