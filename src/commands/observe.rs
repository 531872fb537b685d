//! `byron observe`: how instances are, what happens there, and what a recorded file tells.

mod follow;
mod record;
mod recorded;

use actix::System;
use jiff::Timestamp;
use serde::Serialize;

use super::{WriteStdoutError, print, write_stdout};
use crate::cli::{ObserveConfig, View};
use crate::exit_code::ExitCode;
use crate::host::terminal::look;
use crate::observe::InstanceAddress;
use crate::observe::client::Client;
use crate::observe::model::{Event, Line, Tree, VERSION};
use crate::observe::protocol::{Recent, Status};
use crate::observe::render::{dot, event_line, status_text, tree_text};

/// How many of the last events are shown below a tree.
const EVENTS_SHOWN: u64 = 10;

/// Shows what was asked for.
pub fn run(config: ObserveConfig) -> anyhow::Result<ExitCode> {
    if let Some(file) = &config.file {
        return recorded::show(file, &config.view, config.json);
    }
    System::new().block_on(observe(config))
}

async fn observe(config: ObserveConfig) -> anyhow::Result<ExitCode> {
    let ObserveConfig {
        instances,
        view,
        json,
        ..
    } = config;
    // The only one, if none is named.
    let addresses: Vec<Option<InstanceAddress>> = match instances.is_empty() {
        true => vec![None],
        false => instances.into_iter().map(Some).collect(),
    };
    match view {
        View::Follow(since) => follow::all(&addresses, since, json).await,
        View::Record { path, follow } => {
            let address = addresses.into_iter().next().flatten();
            record::record(address.as_ref(), &path, follow, json).await
        }
        View::Dot => {
            for address in &addresses {
                let tree: Tree = Client::connect(address.as_ref())
                    .await?
                    .get("/v1/tree")
                    .await?;
                write_stdout(dot(&tree).as_bytes())?;
            }
            Ok(ExitCode::Done)
        }
        // The others are for files, which the command line has made sure of.
        View::Once | View::At(_) | View::Step | View::Why(_) => {
            for (number, address) in addresses.iter().enumerate() {
                let gap = if number > 0 { "\n" } else { "" };
                once(address.as_ref(), json, gap).await?;
            }
            Ok(ExitCode::Done)
        }
    }
}

/// An instance at one moment, for programs.
#[derive(Serialize)]
struct Seen<'a> {
    v: u32,
    status: &'a Status,
    tree: &'a Tree,
    events: &'a [Event],
}

/// A heading, the tree, and what happened last.
async fn once(address: Option<&InstanceAddress>, json: bool, gap: &str) -> anyhow::Result<()> {
    let mut client = Client::connect(address).await?;
    let status: Status = client.get("/v1/status").await?;
    let tree: Tree = client.get("/v1/tree").await?;
    let Recent { events, .. } = client
        .get(&format!("/v1/recent?count={EVENTS_SHOWN}"))
        .await?;
    if json {
        let seen = Seen {
            v: VERSION,
            status: &status,
            tree: &tree,
            events: &events,
        };
        write_stdout(format!("{}\n", serde_json::to_string(&seen)?).as_bytes())?;
        return Ok(());
    }
    let look = look();
    let mut text = format!(
        "{gap}{}\n\n{}",
        status_text(&status, Timestamp::now(), &look),
        tree_text(&tree, &look)
    );
    if !events.is_empty() {
        text.push('\n');
    }
    for event in &events {
        text += &event_line(event, &look);
        text.push('\n');
    }
    print(&text)?;
    Ok(())
}

/// One line of a stream or a recording, for a person or as it came. A tree has no line.
fn show_line(line: &Line, json: bool, before: &str) -> Result<(), WriteStdoutError> {
    if json {
        let text = serde_json::to_string(line).unwrap_or_default();
        return write_stdout(format!("{text}\n").as_bytes());
    }
    match line {
        Line::Event(event) => print(&format!("{before}{}\n", event_line(event, &look()))),
        Line::Gap(gap) => print(&format!(
            "{before}-- {} events after #{} are missing here: there was no room for them --\n",
            gap.missed, gap.after
        )),
        _ => Ok(()),
    }
}
