//! The transform service: one netstring in, one out.

use std::fs;

use anyhow::Result;

use super::poems::window;
use crate::bench::Bench;
use crate::load::Wanted;
use crate::process::Process;
use crate::table::{OURS, Table};

pub(crate) fn run(bench: &Bench) -> Result<Vec<Table>> {
    let poem = fs::read_to_string(bench.ecstasy())?;
    let request = format!("cummingsify.{poem}");
    let request = format!("{}:{request},", request.len());
    let lower = poem.to_lowercase();
    let answer = format!("{}:{lower},", lower.len());
    let mut tables = Vec::new();
    let mut running = Vec::new();
    let mut missing = Vec::new();
    for who in [OURS, "raw tokio", "Twisted"] {
        let port = bench.port();
        let started =
            command(bench, who, port).and_then(|command| Process::server("0", &command, port));
        match started {
            Ok(process) => running.push((who, port, process)),
            Err(error) => missing.push((who, error)),
        }
    }
    for clients in [64, 512] {
        let mut table = Table::new(
            format!("CPU of a transform of 3 kB, {clients} clients"),
            "us, less is better",
        );
        for _ in 0..bench.rounds() {
            for (who, port, process) in &running {
                let wanted = Wanted {
                    port: *port,
                    clients,
                    says: request.as_bytes(),
                    hears: answer.as_bytes(),
                };
                match window(bench, process, &wanted) {
                    Ok((_, microseconds)) => table.add(who, microseconds),
                    Err(error) => table.miss(who, error),
                }
            }
        }
        for (who, error) in &missing {
            table.miss(who, format!("{error:#}"));
        }
        tables.push(table);
    }
    Ok(tables)
}

fn command(bench: &Bench, who: &str, port: u16) -> Result<Vec<String>> {
    let (mut command, arguments) = match who {
        OURS => (vec![bench.byron()?], ["transform", "--port"].as_slice()),
        "raw tokio" => (bench.peer("peer-tokio")?, ["transform"].as_slice()),
        _ => (bench.peer("server.py")?, ["transform"].as_slice()),
    };
    command.extend(arguments.iter().map(|argument| (*argument).to_owned()));
    command.push(port.to_string());
    if who == OURS {
        command.extend(["--max-connections", "30000", "-q"].map(str::to_owned));
    }
    Ok(command)
}
