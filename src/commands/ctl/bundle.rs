//! `byron ctl bundle`: all that is known of an instance in one file, to be attached to a report; `byron observe` reads it.

use std::env;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::Serialize;

use super::super::{print, write_stdout};
use crate::exit_code::ExitCode;
use crate::observe::client::Client;
use crate::observe::model::{Gap, Line, Tree};
use crate::observe::protocol::{LogTail, Recent, Status};
use crate::observe::redact::Redactor;
use crate::observe::{InstanceAddress, InstanceName};

/// Writes the file.
pub(super) async fn bundle(
    address: Option<&InstanceAddress>,
    output: Option<&Path>,
) -> anyhow::Result<ExitCode> {
    let mut client = Client::connect(address).await?;
    let status: Status = client.get("/v1/status").await?;
    let Recent { events, .. } = client.get("/v1/recent").await?;
    let tree: Tree = client.get("/v1/tree").await?;
    let LogTail { lines: logs, .. } = client.get("/v1/logs").await?;

    let name = status.instance.name.clone();
    let mut lines = Lines {
        text: Vec::new(),
        redactor: Redactor::new(env::var("HOME").ok()),
    };
    // A tree in which nothing has happened yet, so that the events build it up.
    let mut before = Tree::new(status.instance.started);
    let first = events.first().map_or(tree.seq + 1, |event| event.seq);
    let missed = first.saturating_sub(1);
    lines.put(&Line::Instance(Box::new(status.instance)))?;
    before.seq = missed;
    lines.put(&Line::Tree(Box::new(before)))?;
    if missed > 0 {
        lines.put(&Line::Gap(Gap { after: 0, missed }))?;
    }
    for event in events {
        lines.put(&Line::Event(Box::new(event)))?;
    }
    lines.put(&Line::Tree(Box::new(tree)))?;
    for log in logs {
        lines.put(&Line::Log(Box::new(log)))?;
    }
    let path = match output {
        Some(path) if path == Path::new("-") => {
            write_stdout(&lines.text)?;
            return Ok(ExitCode::Done);
        }
        Some(path) => path.to_owned(),
        None => PathBuf::from(format!("{}-bundle.jsonl", InstanceName::resembling(&name))),
    };
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&path)
        .and_then(|mut file| file.write_all(&lines.text))
        .with_context(|| format!("cannot write {}", path.display()))?;
    print(&format!(
        "{}: look through it before you send it; byron observe shows it\n",
        path.display()
    ))?;
    Ok(ExitCode::Done)
}

struct Lines {
    text: Vec<u8>,
    redactor: Redactor,
}

impl Lines {
    fn put(&mut self, line: &impl Serialize) -> anyhow::Result<()> {
        let mut value = serde_json::to_value(line)?;
        self.redactor.redact(&mut value);
        serde_json::to_writer(&mut self.text, &value)?;
        self.text.push(b'\n');
        Ok(())
    }
}
