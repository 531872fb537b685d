//! `byron ctl`: asks a running instance how it is, and has it do things.

mod act;
mod stdio;

use actix::System;
use anyhow::Context;
use jiff::Timestamp;
use serde_json::json;

use super::{print, say, write_stdout};
use crate::cli::{Confirmation, CtlConfig, Verb};
use crate::exit_code::ExitCode;
use crate::host::terminal::look;
use crate::observe::InstanceAddress;
use crate::observe::client::{Client, ClientError, Told, percent_encoded};
use crate::observe::discovery::{self, FindInstanceError};
use crate::observe::model::Tree;
use crate::observe::protocol::{Deed, End, Health, Status};
use crate::observe::render::{status_text, tree_text};
use crate::observe::why::Chain;

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
