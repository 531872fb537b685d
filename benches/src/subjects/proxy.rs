//! The proxy: a hit beside what plain serving costs, and a thousand readers at once who find nothing in the cache.

use std::fs;
use std::time::Duration;

use anyhow::{Result, ensure};
use byron_benches::wall;

use super::poems::window;
use crate::bench::{Bench, text};
use crate::load::{Held, Wanted};
use crate::process::Process;
use crate::table::{OURS, Table};

/// How many come at once to an empty cache.
const CROWD: usize = 1_000;

/// How long the slowest may wait for the whole poem.
const CROWD_LIMIT: Duration = Duration::from_secs(60);

pub(crate) fn run(bench: &Bench) -> Result<Vec<Table>> {
    let poem = fs::read(bench.ecstasy())?;
    let mut hit = Table::new(
        "CPU of a proxy's hit of 3 kB, 64 clients",
        "us, less is better",
    );
    let (upstream_port, port) = (bench.port(), bench.port());
    let upstream = Process::server("0", &serve(bench, upstream_port, &[])?, upstream_port)?;
    let proxy = match Process::server("0", &proxy(bench, port, upstream_port)?, port) {
        Ok(proxy) => proxy,
        Err(error) => {
            hit.miss(OURS, format!("{error:#}"));
            return Ok(vec![hit]);
        }
    };
    for _ in 0..bench.rounds() {
        for (who, port, process) in [
            (OURS, port, &proxy),
            ("byron serve", upstream_port, &upstream),
        ] {
            let wanted = Wanted {
                port,
                clients: 64,
                says: &[],
                hears: &poem,
            };
            match window(bench, process, &wanted) {
                Ok((_, microseconds)) => hit.add(who, microseconds),
                Err(error) => hit.miss(who, error),
            }
        }
    }
    drop((proxy, upstream));
    Ok(vec![hit, crowd(bench, &poem)?])
}

fn serve(bench: &Bench, port: u16, more: &[&str]) -> Result<Vec<String>> {
    let mut command = [
        &bench.byron()?,
        "serve",
        &text(&bench.ecstasy()),
        "--port",
        &port.to_string(),
        "-q",
    ]
    .map(str::to_owned)
    .to_vec();
    command.extend(more.iter().map(|argument| (*argument).to_owned()));
    Ok(command)
}

fn proxy(bench: &Bench, port: u16, upstream: u16) -> Result<Vec<String>> {
    Ok([
        &bench.byron()?,
        "proxy",
        &format!("{port}={upstream}"),
        "--max-connections",
        "30000",
        "-q",
    ]
    .map(str::to_owned)
    .to_vec())
}

/// From the first connect until the last reader has the whole poem, beside the time that the slow server takes.
fn crowd(bench: &Bench, poem: &[u8]) -> Result<Table> {
    let mut table = Table::new(
        format!("{CROWD} readers at once of an empty proxy before a slow server"),
        "seconds until the last has the whole poem, less is better; one reader of the server itself is the limit",
    );
    for _ in 0..bench.rounds().min(3) {
        let (upstream_port, port) = (bench.port(), bench.port());
        let _upstream = Process::server(
            "0",
            &serve(
                bench,
                upstream_port,
                &["--num-bytes", "100", "--delay", "0.05"],
            )?,
            upstream_port,
        )?;
        let alone = gather(upstream_port, 1, poem)?;
        table.add("one reader, no proxy", alone);
        let _proxy = Process::server("0", &proxy(bench, port, upstream_port)?, port)?;
        // The look whether it accepts was a reader that has left: its fetch is called off.
        match gather(port, CROWD, poem) {
            Ok(seconds) => table.add(OURS, seconds),
            Err(error) => table.miss(OURS, error),
        }
    }
    Ok(table)
}

fn gather(port: u16, readers: usize, poem: &[u8]) -> Result<f64> {
    let begin = wall();
    let mut held = Held::connect(port, readers)?;
    while held.left < readers as u64 {
        held.listen(poem, Duration::from_millis(20))?;
        ensure!(
            held.wrong == 0,
            "{} readers heard something wrong",
            held.wrong
        );
        ensure!(
            wall() - begin < CROWD_LIMIT,
            "{} of {readers} got a poem",
            held.left
        );
    }
    Ok((wall() - begin).as_secs_f64())
}
