//! `byron ctl`: asks a running instance how it is, and has it do things.

mod act;
mod bundle;
mod cache;
mod stdio;

use std::time::Duration;

use actix::System;
use anyhow::Context;
use jiff::Timestamp;
use serde_json::json;

use super::{print, say, write_stdout};
use crate::cli::{Confirmation, CtlConfig, Verb};
use crate::exit_code::ExitCode;
use crate::host::logs::log_text;
use crate::host::terminal::look;
use crate::observe::InstanceAddress;
use crate::observe::client::{Client, ClientError, Told, percent_encoded};
use crate::observe::discovery::{self, FindInstanceError};
use crate::observe::model::{LogRecord, Tree};
use crate::observe::protocol::{Deed, End, Health, LogFilter, LogTail, Status};
use crate::observe::render::{status_text, tree_text, words};
use crate::observe::why::Chain;
use crate::present::escape::escape_name;

/// Does one thing to one instance.
pub fn run(config: CtlConfig) -> anyhow::Result<ExitCode> {
    System::new().block_on(ctl(config))
}

async fn ctl(config: CtlConfig) -> anyhow::Result<ExitCode> {
    let address = config.instance.as_ref();
    match &config.verb {
        Verb::Status => status(address, config.json).await,
        Verb::Tree => tree(address, config.json).await,
        Verb::IsRunning => is_running(address, config.json).await,
        Verb::Why(id) => why(address, config.json, id).await,
        Verb::Act {
            action,
            path,
            confirmation,
        } => act::act(address, config.json, *action, path, *confirmation).await,
        Verb::Stop(Confirmation::DryRun) => {
            let client = Client::connect(address).await?;
            print(&format!(
                "stop {}: ends it in order, as SIGTERM does\n",
                client.instance()
            ))?;
            Ok(ExitCode::Done)
        }
        Verb::Stop(_) => end(address, config.json, "/v1/stop", json!({})).await,
        Verb::Drain { limit } => {
            let body = json!({ "limit_s": limit.map(|limit| limit.as_secs_f64()) });
            end(address, config.json, "/v1/drain", body).await
        }
        Verb::LogLevel { filter, limit } => {
            log_level(address, config.json, filter.as_deref(), *limit).await
        }
        Verb::Logs(path) => logs(address, config.json, path.as_deref()).await,
        Verb::Bundle(output) => bundle::bundle(address, output.as_deref()).await,
        Verb::CacheLs => cache::ls(address, config.json).await,
        Verb::CachePurge { upstream, softly } => {
            cache::purge(address, config.json, upstream.as_deref(), *softly).await
        }
        Verb::Stdio => stdio::run(address),
    }
}

/// One instance, or all of them: that is how one finds out which there are.
async fn status(address: Option<&InstanceAddress>, is_json: bool) -> anyhow::Result<ExitCode> {
    let mut code = ExitCode::Done;
    let clients = match (address, discovery::running().map_err(ClientError::from)?) {
        (None, running) if running.len() > 1 => {
            let mut clients = Vec::new();
            for found in running {
                clients.push(Client::at(found.socket, found.instance.name).await);
            }
            clients
        }
        _ => vec![Client::connect(address).await],
    };
    let is_only = clients.len() == 1;
    for (number, client) in clients.into_iter().enumerate() {
        let told = match client {
            Ok(mut client) => client.get_bytes("/v1/status").await,
            Err(error) => Err(error),
        };
        match told {
            Ok(bytes) if is_json => write_stdout(&bytes)?,
            Ok(bytes) => {
                let status: Status =
                    serde_json::from_slice(&bytes).context("cannot read the status")?;
                let gap = if number > 0 { "\n" } else { "" };
                print(&format!(
                    "{gap}{}\n",
                    status_text(&status, Timestamp::now(), &look())
                ))?;
            }
            Err(error) if is_only => return Err(error.into()),
            // The others can still be told of.
            Err(error) => {
                say(&format!("{:#}", anyhow::Error::from(error)));
                code = ExitCode::SomeFailed;
            }
        }
    }
    Ok(code)
}

async fn tree(address: Option<&InstanceAddress>, is_json: bool) -> anyhow::Result<ExitCode> {
    let mut client = Client::connect(address).await?;
    if is_json {
        write_stdout(&client.get_bytes("/v1/tree").await?)?;
    } else {
        let tree: Tree = client.get("/v1/tree").await?;
        print(&tree_text(&tree, &look()))?;
    }
    Ok(ExitCode::Done)
}

async fn why(
    address: Option<&InstanceAddress>,
    is_json: bool,
    id: &str,
) -> anyhow::Result<ExitCode> {
    let mut client = Client::connect(address).await?;
    let path = format!("/v1/why/{}", percent_encoded(id));
    if is_json {
        write_stdout(&client.get_bytes(&path).await?)?;
    } else {
        let chain: Chain = client.get(&path).await?;
        print(&format!(
            "{}\n",
            chain.text(&look(), Timestamp::now()).trim_end()
        ))?;
    }
    Ok(ExitCode::Done)
}

async fn log_level(
    address: Option<&InstanceAddress>,
    is_json: bool,
    filter: Option<&str>,
    limit: Option<Duration>,
) -> anyhow::Result<ExitCode> {
    let mut client = Client::connect(address).await?;
    let told: LogFilter = match filter {
        None => client.get("/v1/log-level").await?,
        Some(filter) => {
            let filter = Some(filter).filter(|filter| *filter != "default");
            let for_s = limit.map(|limit| limit.as_secs_f64());
            let body = json!({ "filter": filter, "for_s": for_s });
            client.post("/v1/log-level", &body).await?
        }
    };
    if is_json {
        write_stdout(format!("{}\n", serde_json::to_string(&told)?).as_bytes())?;
    } else {
        let limit = limit.map(|limit| format!(" for {}", words::span(limit)));
        print(&format!(
            "{}{}\n",
            escape_name(&told.filter),
            limit.unwrap_or_default()
        ))?;
    }
    Ok(ExitCode::Done)
}

/// The last lines that are kept, as a terminal or a program wants them.
async fn logs(
    address: Option<&InstanceAddress>,
    is_json: bool,
    path: Option<&str>,
) -> anyhow::Result<ExitCode> {
    let mut client = Client::connect(address).await?;
    let LogTail { lines, missed, .. } = client.get("/v1/logs").await?;
    if missed > 0 && !is_json {
        say(&format!("{missed} lines before these are no longer kept"));
    }
    let look = look();
    let is_wanted = |record: &LogRecord| match (path, &record.path) {
        (None, _) => true,
        (Some(path), Some(of)) => is_below(of, path.trim_matches('/')),
        (Some(_), None) => false,
    };
    let mut text = String::new();
    for record in lines.iter().filter(|record| is_wanted(record)) {
        text += &match is_json {
            true => format!("{}\n", serde_json::to_string(record)?),
            false => format!("{}\n", log_text(record, &look).trim_end()),
        };
    }
    print(&text)?;
    Ok(ExitCode::Done)
}

/// Whether a place is this one or below it, the root named or not.
fn is_below(path: &str, place: &str) -> bool {
    let is_there = |path: &str| {
        path.strip_prefix(place)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    is_there(path) || path.split_once('/').is_some_and(|(_, rest)| is_there(rest))
}

/// As `systemctl is-active`: a word for a person, and the exit code for a program.
async fn is_running(address: Option<&InstanceAddress>, is_json: bool) -> anyhow::Result<ExitCode> {
    let answer = match Client::connect(address).await {
        Ok(mut client) => client.get::<Health>("/healthz").await.map(|_| ()),
        Err(error) => Err(error),
    };
    let was_cut_off = match address {
        Some(InstanceAddress::Name(name)) => discovery::was_cut_off(name),
        _ => false,
    };
    let code = match answer {
        Ok(()) => ExitCode::Done,
        Err(ClientError::Find(FindInstanceError::None)) => ExitCode::AllFailed,
        Err(ClientError::Find(FindInstanceError::Unknown { .. })) if was_cut_off => {
            ExitCode::AllFailed
        }
        // It holds its lock and nobody answers, or nobody is there any more.
        Err(ClientError::Unreachable { .. } | ClientError::Silent { .. }) => ExitCode::AllFailed,
        Err(error) => return Err(error.into()),
    };
    let is_running = code == ExitCode::Done;
    if is_json {
        write_stdout(format!("{}\n", json!({ "v": 1, "running": is_running })).as_bytes())?;
    } else {
        print(if is_running {
            "running\n"
        } else {
            "not running\n"
        })?;
    }
    Ok(code)
}

/// Has an instance end, and waits until it has.
async fn end(
    address: Option<&InstanceAddress>,
    is_json: bool,
    path: &str,
    body: serde_json::Value,
) -> anyhow::Result<ExitCode> {
    // Before it is told: nothing of its end is to be missed.
    let mut events = Client::connect(address).await?.events(None).await?;
    let mut client = Client::connect(address).await?;
    let _: Deed = client.post(path, &body).await?;
    let mut end = None;
    while let Some(told) = events.next().await? {
        if let Told::End(told) = told {
            end = Some(told);
        }
    }
    let name = client.instance();
    match end {
        Some(end) if is_json => {
            write_stdout(format!("{}\n", serde_json::to_string(&end)?).as_bytes())?
        }
        Some(End { exit: 0, .. }) => print(&format!("{name} has ended\n"))?,
        Some(End { exit, why, .. }) => {
            print(&format!("{name} has ended with exit code {exit}: {why}\n"))?
        }
        None => print(&format!("{name} is gone\n"))?,
    }
    Ok(ExitCode::Done)
}
