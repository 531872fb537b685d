//! The `byron` program: parse, run, say in one line what went wrong, and end with a code that means something.

use std::env;
use std::io::{ErrorKind, Write};
use std::panic;
use std::process;

use byron::cli::{Cli, error_text};
use byron::commands;
use byron::exit_code::ExitCode;
use clap::Parser;

fn main() -> process::ExitCode {
    Cli::apply_colour_asked_for(env::args_os().skip(1));
    let code = match Cli::try_parse() {
        Ok(cli) => panic::catch_unwind(|| run(cli)).unwrap_or_else(|_| bug()),
        Err(error) => refused(&error),
    };
    code.into()
}

fn run(cli: Cli) -> ExitCode {
    commands::run(cli).unwrap_or_else(|error| {
        let code = commands::exit_code_of(&error);
        // Whoever reads `byron … | head` has what they wanted.
        if code != ExitCode::OutputClosed {
            complain(&format!("byron: {error:#}\n"));
        }
        code
    })
}

/// Help and the version come here too: clap has nothing to run.
fn refused(error: &clap::Error) -> ExitCode {
    if error.use_stderr() {
        complain(&error_text(error));
        return ExitCode::Usage;
    }
    match error.print() {
        Ok(()) => ExitCode::Done,
        Err(error) if error.kind() == ErrorKind::BrokenPipe => ExitCode::OutputClosed,
        Err(error) => {
            complain(&format!(
                "byron: cannot write to standard output: {error}\n"
            ));
            ExitCode::SomeFailed
        }
    }
}

fn bug() -> ExitCode {
    complain(concat!(
        "byron: this is a bug in byron ",
        env!("CARGO_PKG_VERSION"),
        "; please report it with the lines above: ",
        env!("CARGO_PKG_REPOSITORY"),
        "/issues\n"
    ));
    ExitCode::Bug
}

fn complain(text: &str) {
    // With standard error closed there is nobody to tell; the exit code remains.
    let _ = anstream::stderr().write_all(text.as_bytes());
}
