//! The client: many slow servers at once, and how long it takes to begin.

use std::fs;

use anyhow::{Result, ensure};

use crate::bench::{Bench, text};
use crate::process::{Process, Spent, spend};
use crate::table::{OURS, Table};

/// Each server says so much...
const CHUNK_BYTES: usize = 100;
/// ... each so many milliseconds.
const PAUSE_MS: u64 = 100;

/// How many servers there are at once.
const SERVERS: [u16; 3] = [1, 100, 1_000];

pub(crate) fn run(bench: &Bench) -> Result<Vec<Table>> {
    let file = bench.ecstasy();
    let poem = fs::read(&file)?;
    let chunks = poem.len().div_ceil(CHUNK_BYTES) as u64;
    let slowest = (chunks - 1) as f64 * PAUSE_MS as f64 / 1e3;
    let mut tables = Vec::new();
    for servers in SERVERS {
        tables.push(startup(bench, &poem, servers)?);
    }
    // Slow poems take what they take; the largest crowd tells most.
    let crowds = if bench.quick { &SERVERS[2..] } else { &SERVERS };
    for &servers in crowds {
        let first = bench.ports(servers);
        let _farm = farm(bench, first, servers, CHUNK_BYTES, PAUSE_MS)?;
        let expected = poem.repeat(servers.into());
        let mut wall = Table::new(
            format!(
                "Get from {servers} slow servers at once: time over the slowest of {slowest} s"
            ),
            "ratio, less is better",
        );
        let mut cpu = Table::new(
            format!("Get from {servers} slow servers at once: CPU"),
            "ms, less is better",
        );
        let mut memory = Table::new(
            format!("Get from {servers} slow servers at once: memory"),
            "MB, less is better",
        );
        for _ in 0..bench.rounds() {
            for (who, mut command) in clients(bench)? {
                command.extend(ports(first, servers));
                match whole(spend("1", &command)?, &expected) {
                    Ok(spent) => {
                        wall.add(who, spent.wall.as_secs_f64() / slowest);
                        cpu.add(who, spent.cpu.as_secs_f64() * 1e3);
                        memory.add(who, spent.resident_bytes as f64 / 1e6);
                    }
                    Err(error) => wall.miss(who, error),
                }
            }
        }
        tables.extend([wall, cpu, memory]);
    }
    Ok(tables)
}

fn clients(bench: &Bench) -> Result<[(&'static str, Vec<String>); 2]> {
    let mut tokio = bench.peer("peer-tokio")?;
    tokio.push("get".to_owned());
    Ok([
        (
            OURS,
            // The peer has no second attempt either; one that is needed is told as a failure.
            [&bench.byron()?, "get", "-q", "--retry", "0"]
                .map(str::to_owned)
                .to_vec(),
        ),
        ("raw tokio", tokio),
    ])
}

fn whole(spent: Spent, expected: &[u8]) -> Result<Spent> {
    ensure!(
        spent.stdout == expected,
        "it printed {} bytes of {}, or others",
        spent.stdout.len(),
        expected.len()
    );
    Ok(spent)
}

/// So many servers that say the tutorial's poem in chunks.
fn farm(bench: &Bench, first: u16, servers: u16, bytes: usize, pause_ms: u64) -> Result<Process> {
    let mut farm = bench.peer("peer-tokio")?;
    farm.extend(
        [
            "farm",
            &first.to_string(),
            &servers.to_string(),
            &text(&bench.ecstasy()),
            &bytes.to_string(),
            &pause_ms.to_string(),
        ]
        .map(str::to_owned),
    );
    Process::server("0", &farm, first + servers - 1)
}

fn ports(first: u16, servers: u16) -> impl Iterator<Item = String> {
    (first..first + servers).map(|port| port.to_string())
}

/// Poems of servers that say them at once: what a program adds to that by beginning, connecting and ending.
fn startup(bench: &Bench, poem: &[u8], servers: u16) -> Result<Table> {
    let first = bench.ports(servers);
    let _farm = farm(bench, first, servers, poem.len(), 0)?;
    let expected = poem.repeat(servers.into());
    let mut table = Table::new(
        format!("Get from {servers} servers that say their poems at once"),
        "ms, less is better",
    );
    for _ in 0..bench.rounds() * 5 {
        for (who, mut command) in clients(bench)? {
            command.extend(ports(first, servers));
            match whole(spend("1", &command)?, &expected) {
                Ok(spent) => table.add(who, spent.wall.as_secs_f64() * 1e3),
                Err(error) => table.miss(who, error),
            }
        }
    }
    Ok(table)
}
