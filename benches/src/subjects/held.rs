//! Very many slow readers: what each costs in memory while it is held, and in CPU while it dribbles.

use std::fs;
use std::time::Duration;

use anyhow::{Result, ensure};
use byron_benches::{pin, wall};

use crate::bench::{Bench, text};
use crate::load::Held;
use crate::process::Process;
use crate::table::{OURS, Table};

/// Each reader gets so much...
const CHUNK_BYTES: usize = 10;
/// ... each so many milliseconds.
const PAUSE_MS: u64 = 100;
/// How long until all have heard something.
const CONNECT_LIMIT: Duration = Duration::from_secs(60);
/// Descriptors that the programs need for themselves.
const SPARE: usize = 900;

pub(crate) fn run(bench: &Bench) -> Result<Vec<Table>> {
    let most = descriptors()?.saturating_sub(SPARE).min(19_000);
    let crowds = [10_000.min(most), most];
    let crowds = if bench.quick { &crowds[..1] } else { &crowds };
    let mut tables = Vec::new();
    for &readers in crowds {
        tables.extend(hold(bench, readers)?);
    }
    Ok(tables)
}

fn descriptors() -> Result<usize> {
    let limits = fs::read_to_string("/proc/self/limits")?;
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max open files"));
    let soft = line.and_then(|line| line.split_whitespace().nth(3)?.parse().ok());
    Ok(soft.unwrap_or(1024))
}

fn commands(bench: &Bench, port: u16, file: &str) -> Vec<(&'static str, Result<Vec<String>>)> {
    let (port, bytes, pause) = (
        port.to_string(),
        CHUNK_BYTES.to_string(),
        PAUSE_MS.to_string(),
    );
    let with = |peer: &str, arguments: &[&str]| {
        bench.peer(peer).map(|mut command| {
            command.extend(arguments.iter().map(|argument| (*argument).to_owned()));
            command
        })
    };
    let delay = format!("{}", PAUSE_MS as f64 / 1e3);
    let byron = bench.byron().map(|byron| {
        [
            &byron,
            "serve",
            file,
            "--port",
            &port,
            "--num-bytes",
            &bytes,
            "--delay",
            &delay,
            "--max-connections",
            "30000",
            "-q",
        ]
        .map(str::to_owned)
        .to_vec()
    });
    vec![
        (OURS, byron),
        (
            "C, a ring of timers",
            with("server-c", &["slow", &port, file, "1", &bytes, &pause]),
        ),
        (
            "raw tokio",
            with("peer-tokio", &["slow", &port, file, &bytes, &pause]),
        ),
        (
            "raw actix",
            with("peer-actix", &[&port, file, &bytes, &pause]),
        ),
        ("Go", with("server-go", &[&port, file, &bytes, &pause])),
        ("Erlang", with("server.erl", &[&port, file, &bytes, &pause])),
        ("Twisted", with("server.py", &[&port, file, &bytes, &pause])),
    ]
}

fn hold(bench: &Bench, readers: usize) -> Result<[Table; 2]> {
    let mut memory = Table::new(
        format!("{readers} readers held, {CHUNK_BYTES} bytes each {PAUSE_MS} ms: memory of each"),
        "bytes, less is better",
    );
    let mut cpu = Table::new(
        format!("{readers} readers held: CPU of a chunk"),
        "us, less is better",
    );
    let file = bench.poem(64 << 10)?;
    let poem = fs::read(&file)?;
    let rounds = if bench.quick { 1 } else { 3 };
    for _ in 0..rounds {
        // Ports that no server of an earlier round has left in TIME_WAIT.
        let names = commands(bench, 0, &text(&file)).len();
        for number in 0..names {
            let port = bench.port();
            let (who, command) = commands(bench, port, &text(&file)).swap_remove(number);
            if bench.quick && matches!(who, "Erlang" | "Twisted" | "Go") {
                continue;
            }
            match command.and_then(|command| one(&command, port, readers, &poem, bench)) {
                Ok((bytes, microseconds)) => {
                    memory.add(who, bytes);
                    cpu.add(who, microseconds);
                }
                Err(error) => memory.miss(who, format!("{error:#}")),
            }
        }
    }
    Ok([memory, cpu])
}

fn one(
    command: &[String],
    port: u16,
    readers: usize,
    poem: &[u8],
    bench: &Bench,
) -> Result<(f64, f64)> {
    let process = Process::server("0", command, port)?;
    let window = bench.window();
    std::thread::scope(|scope| {
        let measure = scope.spawn(|| -> Result<(f64, f64)> {
            pin(1);
            let before = process.resident_bytes()?;
            let mut held = Held::connect(port, readers)?;
            let begin = wall();
            while held.served() < readers {
                held.listen(poem, Duration::from_millis(200))?;
                ensure!(
                    wall() - begin < CONNECT_LIMIT,
                    "{} of {readers} were served in {CONNECT_LIMIT:?}",
                    held.served()
                );
            }
            held.listen(poem, Duration::from_secs(1))?;
            let bytes = (process.resident_bytes()?.saturating_sub(before)) as f64 / readers as f64;
            let (cpu, heard) = (process.cpu()?, held.bytes);
            held.listen(poem, window)?;
            let chunks = (held.bytes - heard) as f64 / CHUNK_BYTES as f64;
            let spent = (process.cpu()? - cpu).as_secs_f64() * 1e6;
            ensure!(
                held.wrong == 0,
                "{} readers heard something wrong",
                held.wrong
            );
            ensure!(held.left == 0, "{} readers were left early", held.left);
            Ok((bytes, spent / chunks))
        });
        measure.join().expect("it does not panic")
    })
}
