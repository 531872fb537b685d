//! Many readers, and readers who misbehave; as many as a few seconds allow.

use std::io::Write;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::support::{
    Output, assert_same, byron_after, connect, eventually, file, get, noise, poem, poem_path,
    serve_with, server, server_of,
};

/// More than the buffers of both sides of a connection hold, as large as Linux lets them grow.
const ENDLESS_POEM_BYTES: usize = 24 << 20;

/// One of these tests at a time: their descriptors together are more than a process has.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    // If another test failed, this one has nothing to do with it.
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn three_hundred_slow_readers_at_once_are_served_whole() {
    let _alone = alone();
    let server = server("fascination")
        .pace(20, Duration::from_millis(20))
        .start();
    // All are connected before the first is listened to.
    let streams: Vec<_> = (0..300).map(|_| connect(server.port())).collect();
    let readers: Vec<_> = streams.into_iter().map(Output::of).collect();
    get([server.port()]).run().code(0).said(poem("fascination"));
    for reader in readers {
        assert_same(&reader.whole(), &poem("fascination"));
    }
    server
        .stop()
        .code(0)
        .complained("served 301 poems, 185115 bytes\n");
}

#[test]
fn a_server_without_descriptors_serves_everybody_in_the_end() {
    let _alone = alone();
    let server = serve_with(byron_after("ulimit -S -n 64"), &poem_path("fascination"))
        .pace(200, Duration::from_millis(20))
        .start();
    let streams: Vec<_> = (0..200).map(|_| connect(server.port())).collect();
    let readers: Vec<_> = streams.into_iter().map(Output::of).collect();
    for reader in readers {
        assert_same(&reader.whole(), &poem("fascination"));
    }
    get([server.port()]).run().code(0).said(poem("fascination"));
    server.wait_for("accepts again; nobody waits");
    let finished = server.stop().code(0).complained("served 201 poems, ");
    let warnings = finished.stderr.matches("\"level\":\"WARN\"").count();
    let complaints = finished
        .stderr
        .matches("cannot accept; new readers wait")
        .count();
    assert!(
        complaints > 0 && warnings == 2 * complaints,
        "{}",
        finished.stderr
    );
}

#[test]
fn a_reader_who_never_reads_is_cut_off_and_keeps_nobody_waiting() {
    let _alone = alone();
    let text = noise(ENDLESS_POEM_BYTES);
    let (_directory, path) = file(&text);
    let server = server_of(&path).args(["--write-timeout", "500ms"]).start();
    let idle = connect(server.port());
    get([server.port()]).run().code(0).said(&text);
    // It learns of the reset when it says something itself; the beginning of the poem is still in its buffers.
    eventually("the reset", || (&idle).write_all(b"?").is_err());
    let (read, _) = Output::of(idle).wait_for_end();
    assert_same(&read, &text[..read.len()]);
    assert!(read.len() < text.len());
    get([server.port()]).run().code(0).said(&text);
    server.stop().code(0).complained("served 2 poems");
}

#[test]
fn two_hundred_readers_who_talk_first_get_every_byte() {
    let _alone = alone();
    let text = noise(1 << 20);
    let (_directory, path) = file(&text);
    let server = server_of(&path).start();
    let talking = |_| {
        let mut stream = connect(server.port());
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
        Output::of(stream)
    };
    let readers: Vec<_> = (0..200).map(talking).collect();
    for reader in readers {
        assert_same(&reader.whole(), &text);
    }
}

#[test]
fn one_get_may_have_a_hundred_targets() {
    let _alone = alone();
    let server = server("fascination").start();
    let directory = tempfile::tempdir().unwrap();
    let targets = (0..100).map(|number| format!("{}={number}.txt", server.port()));
    get(targets).with("-O", directory.path()).run().code(0);
    for number in 0..100 {
        let copy = std::fs::read(directory.path().join(format!("{number}.txt"))).unwrap();
        assert_same(&copy, &poem("fascination"));
    }
    let poems = poem("fascination").repeat(100);
    get([server.port(); 100]).run().code(0).said(poems);
}
