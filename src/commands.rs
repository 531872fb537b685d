//! The commands, one file each, of one shape: arguments, config, what is done, how it ended.

use std::io::{self, Write};

use anyhow::bail;
use thiserror::Error;

use crate::cli::{Cli, Command};
use crate::exit_code::ExitCode;

pub mod completions;
pub mod man;

/// Does what the command line says.
pub fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    cli.apply_colour();
    match cli.command {
        Command::Get(get) => not_yet("get", &get.into_config()?),
        Command::Serve(serve) => not_yet("serve", &serve.into_config()?),
        Command::Demo(demo) => not_yet("demo", &demo.verbosity()),
        Command::Completions(arguments) => completions::run(&arguments),
        Command::Man(arguments) => man::run(&arguments),
    }
}

/// The exit code for an error that [`run`] returned.
pub fn exit_code_of(error: &anyhow::Error) -> ExitCode {
    if error.is::<crate::cli::UsageError>() {
        return ExitCode::Usage;
    }
    match error.downcast_ref::<WriteStdoutError>() {
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

/// Writes data that was asked for to standard output, as it is.
fn write_stdout(bytes: &[u8]) -> Result<(), WriteStdoutError> {
    let mut stdout = io::stdout().lock();
    stdout
        .write_all(bytes)
        .and_then(|()| stdout.flush())
        .map_err(WriteStdoutError)
}

fn not_yet(command: &str, config: &dyn std::fmt::Debug) -> anyhow::Result<ExitCode> {
    bail!("this build of byron has no `{command}` yet; it would have done: {config:?}")
}
