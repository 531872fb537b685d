//! Poems to whoever connects: what one costs, how many there can be, how long they take.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use byron_benches::pin;

use crate::bench::{Bench, text};
use crate::load::{self, Outcome, Wanted};
use crate::process::Process;
use crate::table::{OURS, Table};

const SMALL: &str = "3 kB";

/// A server beside byron: its name, and its command for a port, a file and so many threads.
struct Server {
    who: &'static str,
    command: fn(&Bench, u16, &Path, usize) -> Result<Vec<String>>,
}

const SERVERS: &[Server] = &[
    Server {
        who: OURS,
        command: byron,
    },
    Server {
        who: "C, close",
        command: |bench, port, file, threads| c(bench, "close", port, file, threads),
    },
    Server {
        who: "C, ends as correctly",
        command: |bench, port, file, threads| c(bench, "linger", port, file, threads),
    },
    Server {
        who: "raw tokio",
        command: tokio,
    },
    Server {
        who: "raw actix",
        command: |bench, port, file, _| rest(bench.peer("peer-actix")?, port, file),
    },
    Server {
        who: "nginx",
        command: nginx,
    },
    Server {
        who: "Go",
        command: |bench, port, file, _| rest(bench.peer("server-go")?, port, file),
    },
    Server {
        who: "Erlang",
        command: |bench, port, file, _| rest(bench.peer("server.erl")?, port, file),
    },
    Server {
        who: "Twisted",
        command: |bench, port, file, _| rest(bench.peer("server.py")?, port, file),
    },
];

pub(super) fn byron(bench: &Bench, port: u16, file: &Path, _: usize) -> Result<Vec<String>> {
    Ok([
        &bench.byron()?,
        "serve",
        &text(file),
        "--port",
        &port.to_string(),
        "--max-connections",
        "30000",
        "-q",
    ]
    .map(str::to_owned)
    .to_vec())
}

fn c(bench: &Bench, mode: &str, port: u16, file: &Path, threads: usize) -> Result<Vec<String>> {
    let mut command = bench.peer("server-c")?;
    command.extend([
        mode.to_owned(),
        port.to_string(),
        text(file),
        threads.to_string(),
    ]);
    Ok(command)
}

fn tokio(bench: &Bench, port: u16, file: &Path, threads: usize) -> Result<Vec<String>> {
    let mut command = bench.peer("peer-tokio")?;
    command.extend([
        "serve".to_owned(),
        port.to_string(),
        text(file),
        threads.to_string(),
    ]);
    Ok(command)
}

fn rest(mut command: Vec<String>, port: u16, file: &Path) -> Result<Vec<String>> {
    command.extend([port.to_string(), text(file)]);
    Ok(command)
}

/// `return` takes its text from the configuration, so nginx serves small poems only.
fn nginx(bench: &Bench, port: u16, file: &Path, threads: usize) -> Result<Vec<String>> {
    let mut command = bench.peer("nginx")?;
    let poem = fs::read_to_string(file)?;
    anyhow::ensure!(
        poem.len() < 4096,
        "its stream module returns no more than a line of its configuration"
    );
    let escaped = poem
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('$', "${dollar}");
    let configuration = bench.scratch(&format!("nginx-{port}.conf"));
    let module = "/usr/lib/nginx/modules/ngx_stream_module.so";
    let load = if Path::new(module).is_file() {
        format!("load_module {module};\n")
    } else {
        String::new()
    };
    let reuseport = if threads > 1 { " reuseport" } else { "" };
    fs::write(
        &configuration,
        format!(
            "{load}daemon off;\nworker_processes {threads};\npid {};\nerror_log /dev/null;\nuser root;\n\
             events {{ worker_connections 16384; }}\n\
             stream {{\n    geo $dollar {{ default \"$\"; }}\n    server {{\n        listen 127.0.0.1:{port} backlog=4096{reuseport};\n        return \"{escaped}\";\n    }}\n}}\n",
            text(&bench.scratch(&format!("nginx-{port}.pid")))
        ),
    )?;
    command.extend(["-c".to_owned(), text(&configuration)]);
    Ok(command)
}

pub(crate) fn run(bench: &Bench) -> Result<Vec<Table>> {
    let ecstasy = bench.ecstasy();
    let mut tables = one_core(bench, SMALL, &ecstasy, &[64, 512], SERVERS)?;
    tables.extend(one_core(
        bench,
        "64 kB",
        &bench.poem(64 << 10)?,
        &[64],
        SERVERS,
    )?);
    tables.push(large(bench)?);
    tables.push(saturated(bench)?);
    Ok(tables)
}

/// The servers on processor 0, the clients on processor 1: CPU for each poem, and latency.
fn one_core(
    bench: &Bench,
    size: &str,
    file: &Path,
    crowds: &[usize],
    servers: &[Server],
) -> Result<Vec<Table>> {
    let poem = fs::read(file)?;
    let mut tables = Vec::new();
    let mut running = Vec::new();
    let mut missing = Vec::new();
    for server in servers {
        let port = bench.port();
        match (server.command)(bench, port, file, 1)
            .and_then(|command| Process::server("0", &command, port))
        {
            Ok(process) => running.push((server.who, port, process)),
            Err(error) => missing.push((server.who, error)),
        }
    }
    for clients in crowds {
        let mut cpu = Table::new(
            format!("CPU of a poem of {size}, {clients} clients"),
            "us, less is better",
        );
        let mut rate = Table::new(
            format!("Poems of {size}, {clients} clients, server on one core"),
            "poems a second, more is better",
        );
        let mut latency = Table::new(
            format!("Latency of a poem of {size}, {clients} clients, p99"),
            "ms, less is better",
        );
        for _ in 0..bench.rounds() {
            for (who, port, process) in &running {
                let wanted = Wanted {
                    port: *port,
                    clients: *clients,
                    says: &[],
                    hears: &poem,
                };
                match window(bench, process, &wanted) {
                    Ok((mut outcome, microseconds)) => {
                        cpu.add(who, microseconds);
                        rate.add(who, outcome.per_second());
                        latency.add(who, outcome.quantile_ms(0.99));
                        if outcome.wrong > 0 {
                            cpu.miss(
                                who,
                                format!(
                                    "{} of {} answers were wrong",
                                    outcome.wrong,
                                    outcome.whole + outcome.wrong
                                ),
                            );
                        }
                    }
                    Err(error) => cpu.miss(who, error),
                }
            }
        }
        for (who, error) in &missing {
            cpu.miss(who, format!("{error:#}"));
        }
        tables.extend([cpu, rate, latency]);
    }
    Ok(tables)
}

/// One measurement: what the clients heard, and the server's microseconds for each.
pub(super) fn window(
    bench: &Bench,
    process: &Process,
    wanted: &Wanted<'_>,
) -> Result<(Outcome, f64)> {
    let duration = bench.window();
    let outcome = std::thread::scope(|scope| {
        let load = scope.spawn(|| {
            pin(1);
            load::run(wanted, duration, || process.cpu())
        });
        load.join().expect("a load does not panic")
    })?;
    let each = outcome.metered.as_secs_f64() * 1e6 / outcome.whole as f64;
    Ok((outcome, each))
}

fn large(bench: &Bench) -> Result<Table> {
    const BYTES: usize = 8 << 20;
    let file = bench.poem(BYTES)?;
    let poem = fs::read(&file)?;
    let mut table = Table::new(
        "Poem of 8 MB, 4 clients, server on one core",
        "MB a second, more is better",
    );
    let mut running = Vec::new();
    for server in SERVERS {
        let port = bench.port();
        match (server.command)(bench, port, &file, 1)
            .and_then(|command| Process::server("0", &command, port))
        {
            Ok(process) => running.push((server.who, port, process)),
            Err(error) => table.miss(server.who, format!("{error:#}")),
        }
    }
    for _ in 0..bench.rounds() {
        for (who, port, process) in &running {
            let wanted = Wanted {
                port: *port,
                clients: 4,
                says: &[],
                hears: &poem,
            };
            match window(bench, process, &wanted) {
                Ok((outcome, _)) => table.add(who, outcome.megabytes_per_second()),
                Err(error) => table.miss(who, error),
            }
        }
    }
    Ok(table)
}

/// Two threads serve, two load; the machine decides who runs where.
fn saturated(bench: &Bench) -> Result<Table> {
    let file = bench.ecstasy();
    let poem = fs::read(&file)?;
    let mut table = Table::new(
        "Both cores full: two serving threads, two loads of 64 clients",
        "poems a second, more is better",
    );
    let mut running = Vec::new();
    for server in SERVERS
        .iter()
        .filter(|server| !matches!(server.who, "raw actix" | "Twisted" | "Erlang"))
    {
        let port = bench.port();
        match (server.command)(bench, port, &file, 2)
            .and_then(|command| Process::server("0,1", &command, port))
        {
            Ok(process) => running.push((server.who, port, process)),
            Err(error) => table.miss(server.who, format!("{error:#}")),
        }
    }
    for _ in 0..bench.rounds() {
        for (who, port, _process) in &running {
            match saturate(bench, *port, 64, &poem) {
                Ok(per_second) => table.add(who, per_second),
                Err(error) => table.miss(who, error),
            }
        }
    }
    Ok(table)
}

/// Poems a second that two loads get, each with so many clients.
pub(super) fn saturate(bench: &Bench, port: u16, clients: usize, poem: &[u8]) -> Result<f64> {
    let wanted = Wanted {
        port,
        clients,
        says: &[],
        hears: poem,
    };
    let duration = bench.window();
    let outcomes = std::thread::scope(|scope| {
        let loads: Vec<_> = (0..2)
            .map(|_| scope.spawn(|| load::run(&wanted, duration, || Ok(Duration::ZERO))))
            .collect();
        loads
            .into_iter()
            .map(|load| load.join().expect("a load does not panic"))
            .collect::<Result<Vec<_>>>()
    })?;
    Ok(outcomes.iter().map(Outcome::per_second).sum())
}
