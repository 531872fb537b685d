//! `--follow`: what happens, as it happens.

use futures_util::future::join_all;
use tokio::sync::mpsc;

use super::show_line;
use crate::commands::say;
use crate::exit_code::ExitCode;
use crate::observe::InstanceAddress;
use crate::observe::client::{Client, ClientError, EventStream, Told};
use crate::present::escape::escape_name;

/// How many lines of several instances may wait to be written.
const LINES_MAX: usize = 256;

/// Follows each until it ends.
pub(super) async fn all(
    addresses: &[Option<InstanceAddress>],
    since: Option<u64>,
    json: bool,
) -> anyhow::Result<ExitCode> {
    let streams = addresses.iter().map(|address| async move {
        let client = Client::connect(address.as_ref()).await?;
        client.events(since).await
    });
    let streams = join_all(streams)
        .await
        .into_iter()
        .collect::<Result<Vec<_>, ClientError>>()?;
    let is_labelled = streams.len() > 1;
    let (sender, mut lines) = mpsc::channel(LINES_MAX);
    for stream in streams {
        actix_rt::spawn(forward(stream, sender.clone()));
    }
    drop(sender);
    let mut code = ExitCode::Done;
    while let Some((instance, told)) = lines.recv().await {
        match told {
            Ok(Some(Told::Line(line))) => {
                let label = if is_labelled {
                    format!("{}: ", escape_name(&instance))
                } else {
                    String::new()
                };
                show_line(&line, json, &label)?;
            }
            Ok(told) => say(&end_text(&instance, told.as_ref())),
            Err(error) => {
                say(&format!("{:#}", anyhow::Error::from(error)));
                code = ExitCode::SomeFailed;
            }
        }
    }
    Ok(code)
}

type Heard = (String, Result<Option<Told>, ClientError>);

/// Passes on what an instance tells, up to its end.
async fn forward(mut stream: EventStream, lines: mpsc::Sender<Heard>) {
    let instance = stream.instance().to_owned();
    loop {
        let told = stream.next().await;
        let is_last = !matches!(told, Ok(Some(Told::Line(_))));
        if lines.send((instance.clone(), told)).await.is_err() || is_last {
            return;
        }
    }
}

/// How an instance ended.
pub(super) fn end_text(instance: &str, told: Option<&Told>) -> String {
    let instance = escape_name(instance);
    match told {
        Some(Told::End(end)) if end.exit == 0 => format!("{instance} has ended"),
        Some(Told::End(end)) => format!(
            "{instance} has ended with exit code {}: {}",
            end.exit,
            escape_name(&end.why)
        ),
        _ => format!("{instance} is gone without a word"),
    }
}
