//! What a unit costs byron at ten times the size: poems with more clients at once, and longer poems.

use std::fs;

use anyhow::Result;

use super::poems::{byron, saturate, window};
use crate::bench::Bench;
use crate::growth::Growth;
use crate::load::Wanted;
use crate::process::Process;

/// Clients at once; the first and every second more, each ten times the one before, are all there is time for if it is short.
const CROWDS: [usize; 5] = [16, 50, 160, 500, 1_600];

/// Megabytes of a poem, likewise.
const LENGTHS: [f64; 5] = [0.8, 2.5, 8.0, 25.0, 80.0];

fn sizes<T: Copy>(bench: &Bench, all: &[T]) -> Vec<T> {
    let step = if bench.quick { 2 } else { 1 };
    all.iter().copied().step_by(step).collect()
}

pub(crate) fn run(bench: &Bench) -> Result<Vec<Growth>> {
    let mut growths = crowds(bench)?.to_vec();
    growths.push(full(bench)?);
    growths.push(lengths(bench)?);
    Ok(growths)
}

/// byron with the tutorial's poem, on these processors.
fn serve(bench: &Bench, processors: &str) -> Result<(u16, Vec<u8>, Process)> {
    let (file, port) = (bench.ecstasy(), bench.port());
    let command = byron(bench, port, &file, 1)?;
    Ok((
        port,
        fs::read(&file)?,
        Process::server(processors, &command, port)?,
    ))
}

fn crowds(bench: &Bench) -> Result<[Growth; 2]> {
    let mut cpu = Growth::new("CPU of a poem of 3 kB", "us", "clients at once");
    let mut latency = Growth::new(
        "latency of a poem of 3 kB, p99, for each client",
        "us",
        "clients at once",
    );
    let (port, poem, process) = serve(bench, "0")?;
    for _ in 0..bench.rounds() {
        for clients in sizes(bench, &CROWDS) {
            let wanted = Wanted {
                port,
                clients,
                says: &[],
                hears: &poem,
            };
            let (mut outcome, microseconds) = window(bench, &process, &wanted)?;
            cpu.add(clients as f64, microseconds);
            let each = outcome.quantile_ms(0.99) * 1e3 / clients as f64;
            latency.add(clients as f64, each);
        }
    }
    Ok([cpu, latency])
}

/// Both cores full.
fn full(bench: &Bench) -> Result<Growth> {
    let mut growth = Growth::new(
        "time of the machine for a poem of 3 kB, both cores full",
        "us",
        "clients at once",
    );
    let (port, poem, _process) = serve(bench, "0,1")?;
    for _ in 0..bench.rounds() {
        for clients in sizes(bench, &CROWDS) {
            let per_second = saturate(bench, port, clients / 2, &poem)?;
            growth.add(clients as f64, 1e6 / per_second);
        }
    }
    Ok(growth)
}

fn lengths(bench: &Bench) -> Result<Growth> {
    let mut growth = Growth::new("CPU of a megabyte of a poem", "us", "MB of a poem");
    let mut running = Vec::new();
    for megabytes in sizes(bench, &LENGTHS) {
        let file = bench.poem((megabytes * 1e6) as usize)?;
        let port = bench.port();
        let process = Process::server("0", &byron(bench, port, &file, 1)?, port)?;
        running.push((megabytes, port, fs::read(&file)?, process));
    }
    for _ in 0..bench.rounds() {
        for (megabytes, port, poem, process) in &running {
            let wanted = Wanted {
                port: *port,
                clients: 4,
                says: &[],
                hears: poem,
            };
            let (outcome, _) = window(bench, process, &wanted)?;
            let heard = outcome.bytes as f64 / 1e6;
            growth.add(*megabytes, outcome.metered.as_secs_f64() * 1e6 / heard);
        }
    }
    Ok(growth)
}
