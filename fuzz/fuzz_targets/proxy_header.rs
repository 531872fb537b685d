//! `cargo +nightly fuzz run proxy_header`: headers of a proxy that says anything.

#![no_main]

#[path = "../properties/proxy_header.rs"]
mod proxy_header;

libfuzzer_sys::fuzz_target!(|data: &[u8]| proxy_header::check(data));
