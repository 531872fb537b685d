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

pub(crate) fn run(bench: &Bench) -> Result<Vec<Table>> {
    let file = bench.ecstasy();
    let poem = fs::read(&file)?;
    let chunks = poem.len().div_ceil(CHUNK_BYTES) as u64;
    let slowest = (chunks - 1) as f64 * PAUSE_MS as f64 / 1e3;
    let mut tables = vec![startup(bench, &poem)?];
    for servers in [1u16, 100, 1_000] {
        let first = bench.ports(servers);
        let mut farm = bench.peer("peer-tokio")?;
        farm.extend(
            [
                "farm",
                &first.to_string(),
                &servers.to_string(),
                &text(&file),
                &CHUNK_BYTES.to_string(),
                &PAUSE_MS.to_string(),
            ]
            .map(str::to_owned),
        );
        let _farm = Process::server("0", &farm, first + servers - 1)?;
        let ports: Vec<_> = (first..first + servers)
            .map(|port| port.to_string())
            .collect();
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
        for _ in 0..bench.rounds().min(5) {
            for (who, mut command) in clients(bench)? {
                command.extend(ports.iter().cloned());
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
            [&bench.byron()?, "get", "-q"].map(str::to_owned).to_vec(),
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

/// One poem of a server that says it at once: what a program adds to that by beginning and ending.
fn startup(bench: &Bench, poem: &[u8]) -> Result<Table> {
    let port = bench.port();
    let mut server = bench.peer("peer-tokio")?;
    server.extend(["serve", &port.to_string(), &text(&bench.ecstasy()), "1"].map(str::to_owned));
    let _server = Process::server("0", &server, port)?;
    let mut table = Table::new(
        "Get of one poem from a server that says it at once",
        "ms, less is better",
    );
    for _ in 0..bench.rounds() * 5 {
        for (who, mut command) in clients(bench)? {
            command.push(port.to_string());
            match whole(spend("1", &command)?, poem) {
                Ok(spent) => table.add(who, spent.wall.as_secs_f64() * 1e3),
                Err(error) => table.miss(who, error),
            }
        }
    }
    Ok(table)
}
