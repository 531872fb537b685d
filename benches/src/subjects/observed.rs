//! What it costs a server to be looked at: nobody looks, nobody could, somebody follows everything.

use std::fs;

use anyhow::Result;

use super::poems::window;
use crate::bench::{Bench, text};
use crate::load::Wanted;
use crate::process::Process;
use crate::table::{OURS, Table};

pub(crate) fn run(bench: &Bench) -> Result<Vec<Table>> {
    let poem = fs::read(bench.ecstasy())?;
    let mut table = Table::new(
        "CPU of a poem of 3 kB, 64 clients, while somebody looks",
        "us, less is better",
    );
    let followed_socket = text(&bench.scratch("followed.sock"));
    let observe = format!("--observe=unix:{followed_socket}");
    let mut running = Vec::new();
    for (who, more) in [
        (OURS, "--observe=unix:"),
        ("with --observe=none", "--observe=none"),
        ("with a follower", observe.as_str()),
    ] {
        let port = bench.port();
        let own_socket = format!("{more}{}", text(&bench.scratch("unfollowed.sock")));
        let more = if who == OURS { &own_socket } else { more };
        let file = text(&bench.ecstasy());
        let command = [
            &bench.byron()?,
            "serve",
            &file,
            "--port",
            &port.to_string(),
            "-q",
            more,
        ];
        let command = command.map(str::to_owned).to_vec();
        running.push((who, port, Process::server("0", &command, port)?));
    }
    let follow = [
        &bench.byron()?,
        "observe",
        "--follow",
        "--json",
        &format!("unix:{followed_socket}"),
    ];
    let _follower = Process::start("1", &follow.map(str::to_owned))?;
    for _ in 0..bench.rounds() {
        for (who, port, process) in &running {
            let wanted = Wanted {
                port: *port,
                clients: 64,
                says: &[],
                hears: &poem,
            };
            match window(bench, process, &wanted) {
                Ok((_, microseconds)) => table.add(who, microseconds),
                Err(error) => table.miss(who, error),
            }
        }
    }
    Ok(vec![table])
}
