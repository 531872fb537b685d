//! Signals that ask a long-running command to end, or to show what it is doing.

use std::fs;
use std::future::pending;
use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::exit_code::ExitCode;

/// A request from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// SIGINT (Ctrl-C).
    Interrupt,
    /// SIGTERM, or SIGHUP when the terminal goes away.
    Terminate,
    /// SIGUSR2: show the tree.
    ShowTree,
}

impl Request {
    /// The exit code of a command that a signal cut short.
    pub fn exit_code(self) -> ExitCode {
        match self {
            Request::Interrupt => ExitCode::Interrupted,
            Request::Terminate | Request::ShowTree => ExitCode::Terminated,
        }
    }
}

/// The signals of this process, from the moment it was made.
#[derive(Debug)]
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
    /// None under `nohup`, or whatever else ignored it for us.
    hang_up: Option<Signal>,
    show_tree: Signal,
}

impl Signals {
    /// Takes the signals over from the system, which would end the program.
    pub fn listen() -> io::Result<Signals> {
        Ok(Signals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: match is_ignored(SignalKind::hangup()) {
                true => None,
                false => Some(signal(SignalKind::hangup())?),
            },
            show_tree: signal(SignalKind::user_defined2())?,
        })
    }

    /// The next request.
    pub async fn next(&mut self) -> Request {
        tokio::select! {
            _ = self.interrupt.recv() => Request::Interrupt,
            _ = self.terminate.recv() => Request::Terminate,
            () = received(&mut self.hang_up) => Request::Terminate,
            _ = self.show_tree.recv() => Request::ShowTree,
        }
    }

    /// The next request to end.
    pub async fn end(&mut self) -> Request {
        loop {
            let request = self.next().await;
            if request != Request::ShowTree {
                return request;
            }
        }
    }
}

async fn received(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => {
            signal.recv().await;
        }
        None => pending().await,
    }
}

/// Whether whoever started this program wants a signal to be ignored. Known on Linux only: elsewhere the question takes
/// unsafe code, and the answer is no.
fn is_ignored(kind: SignalKind) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or(0);
    ignored >> (kind.as_raw_value() - 1) & 1 == 1
}
