//! The commands, one file each, of one shape: arguments, config, what is done, how it ended.

use std::io::{self, Write};

use thiserror::Error;

use self::get::SinkError;
use crate::cli::{Cli, Command, Verbosity};
use crate::exit_code::ExitCode;
use crate::observe::client::ClientError;
use crate::observe::{About, ObserveSettings, Observer};

mod chaos;
pub mod completions;
pub mod ctl;
pub mod demo;
mod endpoints;
pub mod get;
pub mod man;
pub mod observe;
pub mod proxy;
pub mod serve;
mod server;
pub mod transform;

/// Does what the command line says.
pub fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    cli.apply_colour();
    match cli.command {
        Command::Get(get) => get::run(get.into_config()?),
        Command::Serve(serve) => serve::run(serve.into_config()?),
        Command::Transform(transform) => transform::run(transform.into_config()?),
        Command::Proxy(proxy) => proxy::run(proxy.into_config()?),
        Command::Observe(observe) => observe::run(observe.into_config()?),
        Command::Ctl(ctl) => ctl::run(ctl.into_config()),
        Command::Demo(demo) => demo::run(demo.verbosity()),
        Command::Completions(arguments) => completions::run(&arguments),
        Command::Man(arguments) => man::run(&arguments),
    }
}

/// The exit code for an error that [`run`] returned.
pub fn exit_code_of(error: &anyhow::Error) -> ExitCode {
    if error.is::<crate::cli::UsageError>() {
        return ExitCode::Usage;
    }
    if let Some(error) = error.downcast_ref::<ClientError>() {
        return error.exit_code();
    }
    let stdout = match error.downcast_ref::<SinkError>() {
        Some(SinkError::Stdout(stdout)) => Some(stdout),
        _ => error.downcast_ref::<WriteStdoutError>(),
    };
    match stdout {
        Some(WriteStdoutError(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            ExitCode::OutputClosed
        }
        _ => ExitCode::SomeFailed,
    }
}

/// Standard output does not take what was asked for; with a broken pipe its reader has had enough.
#[derive(Debug, Error)]
#[error("cannot write to standard output")]
pub struct WriteStdoutError(#[source] pub io::Error);

/// A line for a person on standard error.
fn say(line: &str) {
    // With standard error closed there is nobody to tell.
    let _ = writeln!(anstream::stderr(), "byron: {line}");
}

/// Opens the socket of a long-running command. Without one it goes on, unless it was asked for.
fn observed(
    settings: &ObserveSettings,
    verbosity: Verbosity,
    about: About,
) -> anyhow::Result<Observer> {
    let mut observer = crate::observe::open(settings, about, say)?;
    if let Some(failure) = observer.failure().filter(|_| verbosity > Verbosity::Quiet) {
        let failure = anyhow::Error::from(failure);
        say(&format!(
            "{failure:#}; nobody can observe or steer this byron (--observe=none says nothing)"
        ));
    }
    if let Some((name, socket)) = observer.whereabouts()
        && verbosity >= Verbosity::Verbose
    {
        let socket = socket.display();
        say(&format!("byron ctl -i {name} leads here, by {socket}"));
    }
    Ok(observer)
}

/// Writes text for a person to standard output, coloured if that is a terminal.
fn print(text: &str) -> Result<(), WriteStdoutError> {
    let mut stdout = anstream::stdout().lock();
    stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
        .map_err(WriteStdoutError)
}

/// Writes data that was asked for to standard output, as it is.
fn write_stdout(bytes: &[u8]) -> Result<(), WriteStdoutError> {
    let mut stdout = io::stdout().lock();
    stdout
        .write_all(bytes)
        .and_then(|()| stdout.flush())
        .map_err(WriteStdoutError)
}
