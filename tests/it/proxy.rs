//! `byron proxy` between the program's own servers and clients, and those of others.

use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::observe::ctl;
use crate::support::{
    ECSTASY_SHA256, FOREVER, Nobody, Output, Peer, Process, Server, assert_same, byron, connect,
    eventually, file, get, noise, poem, server, server_of, transform,
};

/// `byron proxy` with these arguments, once it has told its port.
fn proxy(args: &[&str]) -> Server {
    started(args, 1)
}

/// The same, once it has told so many ports.
fn started(args: &[&str], ports: usize) -> Server {
    let process = Process::start(byron().arg("proxy").args(args));
    let lines = process.stdout.wait_for_lines(ports);
    let port = |line: &String| {
        let (_, port) = line.rsplit_once(" on port ").unwrap();
        port.trim_end_matches('.').parse().unwrap()
    };
    Server {
        ports: lines.iter().map(port).collect(),
        process,
    }
}

/// In front of a port of this machine.
pub(crate) fn proxy_of(port: u16, args: &[&str]) -> Server {
    let port = port.to_string();
    let mut all = args.to_vec();
    all.push(&port);
    proxy(&all)
}

/// Waits until the log tells it so many times.
fn wait_for(server: &Server, text: &str, times: usize) {
    eventually(&format!("{times} x {text:?} in the log"), || {
        let said = server.process.stderr.so_far();
        String::from_utf8_lossy(&said).matches(text).count() >= times
    });
}

#[test]
fn a_proxy_serves_a_poem_that_outlives_its_server() {
    let upstream = server("ecstasy").start();
    let proxy = proxy_of(upstream.port(), &["-v"]);
    let line = String::from_utf8(proxy.process.stdout.so_far()).unwrap();
    assert_eq!(
        line,
        format!(
            "Proxying 127.0.0.1:{} on port {}.\n",
            upstream.port(),
            proxy.port()
        )
    );
    get([proxy.port()])
        .run()
        .code(0)
        .quietly()
        .said(poem("ecstasy"));
    wait_for(&proxy, "fetched and kept", 1);
    upstream.kill();
    for _ in 0..3 {
        get([proxy.port()])
            .run()
            .code(0)
            .quietly()
            .said(poem("ecstasy"));
    }
    wait_for(&proxy, r#""status":"MISS""#, 1);
    wait_for(&proxy, r#""status":"HIT""#, 3);
    let finished = proxy.stop().code(0);
    assert!(
        finished.stderr.contains("served 4 poems"),
        "{}",
        finished.stderr
    );
    assert!(
        finished
            .stderr
            .contains("HIT 75%  1 poem 3.0kB fresh 1h59m"),
        "{}",
        finished.stderr
    );
}

#[test]
fn a_thousand_readers_at_once_are_one_connection_to_a_slow_server() {
    let text = noise(40);
    let (_directory, path) = file(&text);
    let upstream = server_of(&path)
        .args(["-v"])
        .pace(10, Duration::from_millis(500))
        .start();
    let proxy = proxy_of(upstream.port(), &[]);
    let readers: Vec<_> = (0..1000)
        .map(|_| Output::of(connect(proxy.port())))
        .collect();
    for chunks in 1..=4 {
        for reader in &readers {
            assert_same(
                &reader.wait_for_bytes(10 * chunks)[..10 * chunks],
                &text[..10 * chunks],
            );
        }
    }
    for reader in &readers {
        assert_same(&reader.whole(), &text);
    }
    drop(readers);
    proxy
        .stop()
        .code(0)
        .complained("served 1000 poems, 40000 bytes");
    upstream
        .stop()
        .code(0)
        .complained("served 1 poem, 40 bytes");
}

#[test]
fn when_every_reader_is_killed_the_server_is_left_within_a_moment() {
    let peer = Peer::listen();
    let proxy = proxy_of(peer.port(), &[]);
    let readers: Vec<_> = (0..20).map(|_| get([proxy.port()]).start()).collect();
    let mut upstream = peer.accept();
    std::io::Write::write_all(&mut upstream, b"half a ").unwrap();
    for reader in &readers {
        reader.stdout.wait_for_bytes(7);
    }
    // Killed: each is one closed connection, as from a machine that took its leave.
    for reader in &readers {
        reader.signal("KILL");
    }
    // The server says nothing more, and is left all the same.
    let left = Output::of(upstream);
    left.wait_for_end().1.ok();
    assert!(peer.is_alone());
    drop(proxy);
}

#[test]
fn a_server_that_dies_in_mid_poem_leaves_no_poem_behind() {
    let peer = Peer::listen();
    let proxy = proxy_of(peer.port(), &[]);
    let readers: Vec<_> = (0..5).map(|_| Output::of(connect(proxy.port()))).collect();
    let mut upstream = peer.accept();
    std::io::Write::write_all(&mut upstream, b"half a ").unwrap();
    for reader in &readers {
        reader.wait_for_bytes(7);
    }
    reset(upstream);
    for reader in readers {
        assert_same(&reader.cut_off(), b"half a ");
    }
    proxy.wait_for("connection reset by");
    // The next reader's fetch is the next attempt, and nothing of the first one is left.
    let reader = Output::of(connect(proxy.port()));
    let mut upstream = peer.accept();
    std::io::Write::write_all(&mut upstream, b"a whole poem").unwrap();
    drop(upstream);
    assert_same(&reader.whole(), b"a whole poem");
}

/// Closes as a program that was killed does.
fn reset(stream: TcpStream) {
    socket2::SockRef::from(&stream)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
}

#[test]
fn the_old_poem_is_served_if_the_server_is_gone() {
    let upstream = server("science").start();
    let proxy = proxy_of(upstream.port(), &["-v", "--ttl", "1ns", "--grace", "off"]);
    get([proxy.port()]).run().code(0).said(poem("science"));
    upstream.kill();
    for _ in 0..2 {
        get([proxy.port()])
            .run()
            .code(0)
            .quietly()
            .said(poem("science"));
    }
    wait_for(&proxy, r#""status":"EXPIRED""#, 1);
    wait_for(&proxy, r#""status":"STALE""#, 1);
}

#[test]
fn without_an_old_poem_a_dead_server_is_a_reset_and_not_a_stampede() {
    let nobody = Nobody::new();
    let proxy = proxy(&["-v", "--error-ttl", "1h", &nobody.target().to_string()]);
    for _ in 0..3 {
        get([proxy.port()])
            .with("--retry", "0")
            .run()
            .code(3)
            .complained("[reset]");
    }
    wait_for(&proxy, r#""status":"MISS""#, 1);
    wait_for(&proxy, r#""status":"ERROR""#, 2);
    let finished = proxy.stop().code(0);
    assert_eq!(
        finished.stderr.matches("the fetch failed").count(),
        1,
        "{}",
        finished.stderr
    );
}

#[test]
fn a_poem_that_is_too_long_is_cut_off() {
    let upstream = server("ecstasy").start();
    let proxy = proxy_of(upstream.port(), &["--max-poem", "1kB"]);
    get([proxy.port()])
        .with("--retry", "0")
        .run()
        .code(3)
        .complained("[reset]");
    proxy.wait_for("longer than 1000 bytes");
}

#[test]
fn a_poem_that_is_known_beforehand_is_that_one_or_none() {
    let upstream = server("ecstasy").start();
    let known = proxy_of(
        upstream.port(),
        &["--sha256", ECSTASY_SHA256, "--expect-bytes", "3003"],
    );
    get([known.port()]).run().code(0).said(poem("ecstasy"));
    let other = proxy_of(upstream.port(), &["--sha256", &"0".repeat(64)]);
    get([other.port()])
        .with("--retry", "0")
        .run()
        .code(3)
        .complained("[reset]");
    other.wait_for(&format!("the SHA-256 is {ECSTASY_SHA256}, not 0000"));
    let longer = proxy_of(upstream.port(), &["--expect-bytes", "3004"]);
    get([longer.port()])
        .with("--retry", "0")
        .run()
        .code(3)
        .complained("[reset]");
    longer.wait_for("ended after 3003 of 3004 bytes");
}

#[test]
fn what_is_stored_is_there_again_when_the_program_is() {
    let directory = tempfile::tempdir().unwrap();
    let store = directory.path().join("poems.redb");
    let store = store.to_str().unwrap();
    let upstream = server("fascination").start();
    let first = proxy_of(upstream.port(), &["--store", store]);
    get([first.port()]).run().code(0).said(poem("fascination"));
    // A second one has to find a store of its own.
    let mut second = byron();
    second.args(["proxy", "--store", store, "1"]);
    let message = format!("byron: the store {store} is in use by another program\n");
    Process::start(&mut second)
        .finish()
        .code(1)
        .said("")
        .complained(&message);
    first.stop().code(0);
    let port = upstream.port();
    upstream.kill();
    let again = proxy_of(port, &["--store", store]);
    get([again.port()])
        .run()
        .code(0)
        .quietly()
        .said(poem("fascination"));
    again.stop().code(0).complained("HIT 100%");
    check_damage(Path::new(store));
}

fn check_damage(store: &Path) {
    fs::write(store, "these are the wrong trousers").unwrap();
    let mut proxy = byron();
    proxy.args(["proxy", "--store", store.to_str().unwrap(), "1"]);
    Process::start(&mut proxy)
        .finish()
        .code(1)
        .said("")
        .complained("is not a store, or damaged");
}

#[test]
fn several_upstreams_have_a_port_each() {
    let (first, second) = (server("science").start(), server("fascination").start());
    let upstreams = [first.port(), second.port()].map(|port| format!("0={port}"));
    let proxy = started(&upstreams.each_ref().map(String::as_str), 2);
    let poems = [poem("science"), poem("fascination")].concat();
    get(&proxy.ports).run().code(0).quietly().said(poems);
}

#[test]
fn a_reader_with_nothing_to_say_hears_a_slow_poem_to_its_end() {
    let upstream = server("science")
        .pace(50, Duration::from_millis(20))
        .start();
    let proxy = proxy_of(upstream.port(), &[]);
    let port = proxy.port().to_string();
    let mut netcat = Command::new("nc");
    netcat
        .args(["-N", "127.0.0.1", &port])
        .stdin(std::process::Stdio::null());
    Process::start(&mut netcat)
        .finish()
        .code(0)
        .said(poem("science"));
}

#[test]
fn a_drain_lets_those_who_wait_have_their_poem() {
    let peer = Peer::listen();
    let proxy = proxy_of(peer.port(), &["--drain", "1h"]);
    let reader = Output::of(connect(proxy.port()));
    let mut upstream = peer.accept();
    std::io::Write::write_all(&mut upstream, b"half ").unwrap();
    reader.wait_for_bytes(5);
    proxy.process.signal("TERM");
    proxy.wait_for("1 poem still going");
    std::io::Write::write_all(&mut upstream, b"a poem").unwrap();
    drop(upstream);
    assert_same(&reader.whole(), b"half a poem");
    proxy.process.finish().code(0);
}

#[test]
fn a_drain_that_is_over_cuts_them_off() {
    let upstream = server("ecstasy").pace(10, FOREVER).start();
    let proxy = proxy_of(upstream.port(), &["--drain", "0s"]);
    let reader = Output::of(connect(proxy.port()));
    reader.wait_for_bytes(10);
    proxy.stop().code(7);
    assert_eq!(reader.cut_off().len(), 10);
}

#[test]
fn what_is_kept_is_the_transformed_poem() {
    let upstream = server("science").start();
    let transformers = transform(["--only", "cummingsify"], 1);
    let step = format!("cummingsify@{}", transformers.port());
    let proxy = proxy_of(upstream.port(), &["-t", &step, "-t", "lines"]);
    let line = String::from_utf8(proxy.process.stdout.so_far()).unwrap();
    let through = format!(
        "through cummingsify@127.0.0.1:{}, lines on port",
        transformers.port()
    );
    assert!(line.contains(&through), "{line}");
    let local = get([upstream.port()])
        .args(["-t", "cummingsify", "-t", "lines"])
        .run()
        .code(0)
        .stdout;
    get([proxy.port()]).run().code(0).quietly().said(&local);
    // The transforms are asked once, as the server is.
    transformers.kill();
    upstream.kill();
    get([proxy.port()]).run().code(0).quietly().said(&local);
}

#[test]
fn a_transform_that_nobody_makes_is_a_reset_and_not_the_original() {
    let upstream = server("science").start();
    let nobody = Nobody::new();
    let step = format!("cummingsify@{}", nobody.target());
    let proxy = proxy_of(upstream.port(), &["-v", "-t", &step]);
    get([proxy.port()])
        .with("--retry", "0")
        .run()
        .code(3)
        .said("")
        .complained("[reset]");
    proxy.wait_for(r#""kind":"transform""#);
}

#[test]
fn ctl_lists_what_is_kept_and_purges_it_hard_and_softly() {
    let upstream = server("science").start();
    let port = upstream.port().to_string();
    let proxy = proxy(&["--name", "cached", &port]);
    let label = format!("127.0.0.1:{port}");
    let ls = || String::from_utf8(ctl("-i cached cache ls").code(0).stdout).unwrap();
    assert_eq!(ls(), format!("{label}  no reader yet  nothing kept\n"));
    get([proxy.port()]).run().code(0).said(poem("science"));
    get([proxy.port()]).run().code(0).said(poem("science"));
    assert_eq!(ls(), format!("{label}  HIT 50%  1 poem 653B fresh 1h59m\n"));
    let json = ctl("-i cached --json cache ls").code(0).json().remove(0);
    assert_eq!(json["caches"][0]["readers"]["HIT"], 1);
    assert_eq!(json["caches"][0]["kept"]["bytes"], 653);

    ctl("-i cached cache purge --soft")
        .code(0)
        .said(format!("purged softly {label}\n"));
    upstream.kill();
    get([proxy.port()]).run().code(0).said(poem("science"));
    ctl(&format!("-i cached cache purge {port}"))
        .code(0)
        .said(format!("purged {label}\n"));
    ctl("-i cached cache purge")
        .code(0)
        .said(format!("nothing was kept of {label}\n"));
    get([proxy.port()])
        .with("--retry", "0")
        .run()
        .code(3)
        .complained("[reset]");
    let unknown = ctl("-i cached cache purge 1");
    unknown
        .code(4)
        .complained(&format!("no such upstream; there is {label}"));
    drop(proxy);
}

#[test]
fn whoever_keeps_nothing_says_so() {
    let _server = server("science").args(["--name", "plain"]).start();
    ctl("-i plain cache ls")
        .code(0)
        .said("plain is no proxy, and keeps nothing\n");
    ctl("-i plain cache purge")
        .code(4)
        .complained("plain is no proxy, and keeps nothing");
}

#[test]
fn a_kill_of_the_cache_in_mid_fetch_leaves_nobody_with_half_a_poem() {
    let peer = Peer::listen();
    let proxy = proxy_of(peer.port(), &["--name", "killed"]);
    let readers: Vec<_> = (0..50).map(|_| Output::of(connect(proxy.port()))).collect();
    let mut upstream = peer.accept();
    std::io::Write::write_all(&mut upstream, b"half ").unwrap();
    for reader in &readers {
        reader.wait_for_bytes(5);
    }
    ctl(&format!(
        "-i killed kill byron/127.0.0.1:{}/cache --yes",
        peer.port()
    ))
    .code(0);
    std::io::Write::write_all(&mut upstream, b"a poem").unwrap();
    drop(upstream);
    for reader in &readers {
        assert_same(&reader.whole(), b"half a poem");
    }
    // What was fetched across the crash is kept.
    get([proxy.port()]).run().code(0).said("half a poem");
    assert!(peer.is_alone());
}

#[test]
fn a_framed_poem_that_is_cut_is_no_poem_however_orderly_the_end() {
    let upstream = server("science").args(["--frame", "netstring"]).start();
    let proxy = proxy_of(upstream.port(), &["--frame", "netstring"]);
    for _ in 0..2 {
        let got = get([proxy.port()]).with("--frame", "netstring").run();
        got.code(0).quietly().said(poem("science"));
    }
    let peer = Peer::listen();
    let proxy = proxy_of(peer.port(), &["--frame", "netstring"]);
    let reader = Output::of(connect(proxy.port()));
    let mut upstream = peer.accept();
    std::io::Write::write_all(&mut upstream, b"6:a po").unwrap();
    drop(upstream);
    assert_same(&reader.cut_off(), b"6:a po");
    // A whole one is passed on when its comma is, whether or not the server hangs up.
    let reader = Output::of(connect(proxy.port()));
    let mut upstream = peer.accept();
    std::io::Write::write_all(&mut upstream, b"6:a poem,").unwrap();
    assert_same(&reader.whole(), b"6:a poem,");
}

#[test]
fn transforms_see_the_poem_and_not_its_frame() {
    let peer = Peer::listen();
    let proxy = proxy_of(peer.port(), &["--frame", "netstring", "-t", "cummingsify"]);
    let reader = Output::of(connect(proxy.port()));
    let mut upstream = peer.accept();
    std::io::Write::write_all(&mut upstream, b"6:A POEM,").unwrap();
    assert_same(&reader.whole(), b"6:a poem,");
}
