//! Logs on standard error: what the actors report, as much of it as was asked for.

use std::io::{self, IsTerminal, Write};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::cli::Verbosity;
use crate::present::escape::Escaper;

/// Begins to write the log. `BYRON_LOG` says what, in `tracing`'s words (`info,byron_supervisors=debug`); without it the
/// flags `-q` and `-v` do, with `normal` and `verbose` for what the command does not say itself.
pub fn init(verbosity: Verbosity, normal: &str, verbose: &str) {
    let default = match verbosity {
        Verbosity::Quiet => "off",
        Verbosity::Normal => normal,
        Verbosity::Verbose => verbose,
        Verbosity::Everything => "debug",
    };
    let filter = EnvFilter::try_from_env("BYRON_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(Stderr)
        .with_ansi(false)
        .with_target(false)
        .finish();
    // Only the first of a program's subscribers counts; tests run several commands in one.
    let _ = tracing::subscriber::set_global_default(subscriber);
}

/// Standard error, safe for a terminal: reports carry what peers and files said.
#[derive(Debug, Clone, Copy)]
struct Stderr;

impl MakeWriter<'_> for Stderr {
    type Writer = Safe;

    fn make_writer(&self) -> Safe {
        Safe
    }
}

struct Safe;

impl Write for Safe {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut stderr = io::stderr().lock();
        if stderr.is_terminal() {
            let (mut escaper, mut safe) = (Escaper::new(), Vec::new());
            escaper.push(line, &mut safe);
            escaper.finish(&mut safe);
            stderr.write_all(&safe)?;
        } else {
            stderr.write_all(line)?;
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
