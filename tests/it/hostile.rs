//! Ten thousand peers at once that only stay, on a transform server and on a library.
//!
//! As many as the descriptors of this process allow; each server has a process, and a limit, of its own.

use std::fs;
use std::net::TcpStream;

use crate::support::{Server, connect, eventually, get, poem, poem_path, server_of, transform};

/// How many stay, if there are descriptors for them.
const IDLE: usize = 10_000;

/// What each may cost the server, as the kernel counts its memory: the buffers of its socket are not in it.
const IDLE_BYTES_MAX: usize = 8 * 1024;

/// Descriptors that this process needs for itself.
const OTHER_DESCRIPTORS: usize = 200;

/// How many peers can be had.
fn idle_peers() -> usize {
    let limits = fs::read_to_string("/proc/self/limits").unwrap();
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max open files"));
    let soft = line.unwrap().split_whitespace().nth(3).unwrap();
    let soft = soft.parse().unwrap_or(usize::MAX);
    IDLE.min(soft.saturating_sub(OTHER_DESCRIPTORS))
}

/// The resident memory of a server.
fn resident_bytes(server: &Server) -> usize {
    let status = fs::read_to_string(format!("/proc/{}/status", server.process.pid())).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    let kibibytes: usize = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kibibytes * 1024
}

/// Peers who stay, and say nothing; the others are served meanwhile, and the end does not wait for them.
#[track_caller]
fn check(server: Server, serve_others: impl Fn(&Server)) {
    serve_others(&server);
    let before = resident_bytes(&server);
    let count = idle_peers();
    let peers: Vec<TcpStream> = (0..count).map(|_| connect(server.port())).collect();
    serve_others(&server);
    eventually("all are inside", || server.process.sockets() >= count);
    let each = resident_bytes(&server).saturating_sub(before) / count;
    assert!(each <= IDLE_BYTES_MAX, "{each} bytes for each of {count}");
    serve_others(&server);
    server.stop().code(0);
    drop(peers);
}

#[test]
fn ten_thousand_idle_peers_cost_a_transform_server_little() {
    let poem_server = crate::support::server("science").start();
    let arguments = ["--max-connections", "20000", "--request-timeout", "10m"];
    check(transform(arguments, 1), |server| {
        get([poem_server.port()])
            .args(["-t", &format!("shout@{}", server.port())])
            .run()
            .code(0)
            .quietly()
            .said(poem("science").to_ascii_uppercase());
    });
}

#[test]
fn ten_thousand_idle_peers_cost_a_library_little() {
    let library = server_of(poem_path("science").parent().unwrap())
        .args(["--library", "--max-connections", "20000"])
        .start();
    check(library, |server| {
        get([format!("lib:{}/science.txt", server.port())])
            .run()
            .code(0)
            .quietly()
            .said(poem("science"));
    });
}
