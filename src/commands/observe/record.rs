//! `--record`: what an instance tells goes into a file, as `--record` of the instance itself would write it.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::Context;

use super::follow::end_text;
use super::show_line;
use crate::commands::say;
use crate::exit_code::ExitCode;
use crate::observe::InstanceAddress;
use crate::observe::client::{Client, Told};
use crate::observe::model::{Line, Tree};
use crate::observe::protocol::Status;

/// Records until the instance ends.
pub(super) async fn record(
    address: Option<&InstanceAddress>,
    path: &Path,
    follow: Option<Option<u64>>,
    json: bool,
) -> anyhow::Result<ExitCode> {
    let mut client = Client::connect(address).await?;
    let status: Status = client.get("/v1/status").await?;
    let tree: Tree = client.get("/v1/tree").await?;
    let seq = tree.seq;
    let mut stream = client.events(Some(seq)).await?;
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("cannot record to {}", path.display()))?;
    let mut put = |line: &Line| {
        let text = serde_json::to_string(line).map_err(io::Error::from);
        text.and_then(|text| file.write_all(format!("{text}\n").as_bytes()))
            .with_context(|| format!("cannot record to {}", path.display()))
    };
    put(&Line::Instance(Box::new(status.instance)))?;
    put(&Line::Tree(Box::new(tree)))?;
    let mut told = stream.next().await?;
    while let Some(Told::Line(line)) = &told {
        put(line)?;
        if let Line::Gap(_) = line {
            // Nobody knows what the events would have told; the tree does.
            let tree: Tree = Client::connect(address).await?.get("/v1/tree").await?;
            put(&Line::Tree(Box::new(tree)))?;
        }
        if follow.is_some() {
            show_line(line, json, "")?;
        }
        told = stream.next().await?;
    }
    say(&end_text(stream.instance(), told.as_ref()));
    Ok(ExitCode::Done)
}
