//! Runs one side: feeds scenarios to a child process and reads their traces back, in order, with a limit.

use std::{
    fmt,
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, Command, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::Duration,
};

use serde_json::Value;

use super::scenario::Scenario;

/// The longest wait for the next finished scenario. They run concurrently and come in order: this covers the
/// slowest one (a few sleeps of 2.2 s) on a busy machine.
const SILENCE_MAX: Duration = Duration::from_secs(90);

/// What one scenario printed, without its last line.
pub(super) type Trace = Vec<Value>;

/// Why not all traces came back.
#[derive(Debug)]
pub(super) struct Stuck {
    scenario: Option<Scenario>,
    partial: Trace,
    why: String,
}

impl fmt::Display for Stuck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.why)?;
        if let Some(scenario) = &self.scenario {
            writeln!(f, "the first unfinished scenario ({}):", scenario.profile)?;
            writeln!(f, "{}", scenario.to_line())?;
        }
        writeln!(f, "its trace so far:")?;
        for line in &self.partial {
            writeln!(f, "  {line}")?;
        }
        Ok(())
    }
}

/// All traces, in the order of the scenarios, or why not.
pub(super) type Traces = Result<Vec<Trace>, Box<Stuck>>;

/// Runs `command` on all scenarios.
pub(super) fn run(mut command: Command, scenarios: &[Scenario]) -> Traces {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|err| panic!("cannot run {command:?}: {err}"));
    let lines = lines_of(&mut child);
    feed(&mut child, scenarios);

    let mut traces = Vec::with_capacity(scenarios.len());
    let mut trace = Trace::new();
    let stuck = loop {
        if traces.len() == scenarios.len() {
            break None;
        }
        match lines.recv_timeout(SILENCE_MAX) {
            Ok(line) => match serde_json::from_str::<Value>(&line) {
                Ok(value) if value.get("end").is_some() => {
                    let seed = scenarios[traces.len()].seed;
                    if value["end"] != seed {
                        break Some(format!("{line} came where the end of {seed} was due"));
                    }
                    traces.push(std::mem::take(&mut trace));
                }
                // The oracle could not do its work: that is no trace.
                Ok(value) if value.get("broken").is_some() => break Some(line),
                Ok(value) => trace.push(value),
                Err(err) => break Some(format!("a line that is not JSON ({err}): {line}")),
            },
            Err(RecvTimeoutError::Timeout) => {
                break Some(format!("{command:?} was silent for {SILENCE_MAX:?}"));
            }
            Err(RecvTimeoutError::Disconnected) => {
                break Some(format!("{command:?} ended too early"));
            }
        }
    };
    if stuck.is_some() {
        // It may be gone already; the report is about the scenario, not about that.
        drop(child.kill());
    }
    let status = child.wait().expect("a child process can be waited for");
    let why = match stuck {
        Some(why) => why,
        None if !status.success() => format!("{command:?}: {status} after all traces"),
        None => return Ok(traces),
    };
    let scenario = scenarios.get(traces.len()).cloned();
    Err(Box::new(Stuck {
        scenario,
        partial: trace,
        why,
    }))
}

/// The lines that belong to the protocol, read by a thread of their own.
fn lines_of(child: &mut Child) -> mpsc::Receiver<String> {
    let stdout = child.stdout.take().expect("stdout is piped");
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if line.starts_with('{') && sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

/// Writes all scenarios from a thread of its own: the child may print before it has read everything.
fn feed(child: &mut Child, scenarios: &[Scenario]) {
    let mut stdin = child.stdin.take().expect("stdin is piped");
    let lines: Vec<String> = scenarios.iter().map(Scenario::to_line).collect();
    thread::spawn(move || {
        for line in lines {
            // A child that ended early is reported by the reader.
            if writeln!(stdin, "{line}").is_err() {
                return;
            }
        }
    });
}
