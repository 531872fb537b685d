//! The process layer: starts, messages, ends, restarts, memory; byron beside actix, ractor, kameo and plain tokio.

use anyhow::{Context, Result};

use crate::bench::Bench;
use crate::process::spend;
use crate::table::{OURS, Table};

const FRAMEWORKS: [(&str, &str); 5] = [
    (OURS, "processes-byron"),
    ("raw tokio", "processes-tokio"),
    ("raw actix", "processes-actix"),
    ("ractor", "processes-ractor"),
    ("kameo", "processes-kameo"),
];

struct Subject {
    title: &'static str,
    unit: &'static str,
    metric: &'static str,
    size: u64,
    /// What the programs print, by this, is the number of the table.
    scale: f64,
    only_byron: bool,
}

const fn subject(
    title: &'static str,
    unit: &'static str,
    metric: &'static str,
    size: u64,
) -> Subject {
    Subject {
        title,
        unit,
        metric,
        size,
        scale: 1.0,
        only_byron: false,
    }
}

const NS: &str = "nanoseconds, less is better";

const SUBJECTS: &[Subject] = &[
    subject(
        "Start, monitor, stop, `Down`",
        "nanoseconds of CPU, less is better",
        "spawn",
        500_000,
    ),
    subject(
        "Idle actor, 100 000 of them",
        "bytes, less is better",
        "idle",
        1_000_000,
    ),
    subject(
        "Idle actor, 1 000 000 of them",
        "bytes, less is better",
        "idle",
        10_000_000,
    ),
    subject("Send on one arbiter", NS, "send", 10_000_000),
    subject("Send to another arbiter", NS, "send-across", 10_000_000),
    subject("Ask on one arbiter", NS, "ask", 1_000_000),
    subject("Ask another arbiter", NS, "ask-across", 100_000),
    subject("Error exit to `Down`", NS, "down-exit", 100_000),
    subject("Panic to `Down`", NS, "down-panic", 50_000),
    subject(
        "Error exit to restarted and answering",
        NS,
        "restart-exit",
        50_000,
    ),
    subject(
        "Panic to restarted and answering",
        NS,
        "restart-panic",
        50_000,
    ),
    subject(
        "Storm of 10 000 restarts after error exits",
        "nanoseconds each, less is better",
        "storm-exit",
        100_000,
    ),
    subject(
        "Storm of 10 000 restarts after panics",
        "nanoseconds each, less is better",
        "storm-panic",
        100_000,
    ),
    Subject {
        only_byron: true,
        ..subject(
            "The same on two arbiters, error exits",
            "nanoseconds each, less is better",
            "storm-exit-two",
            100_000,
        )
    },
    Subject {
        only_byron: true,
        ..subject(
            "The same on two arbiters, panics",
            "nanoseconds each, less is better",
            "storm-panic-two",
            100_000,
        )
    },
    Subject {
        only_byron: true,
        ..subject(
            "100 000 children of one dynamic supervisor: start",
            "nanoseconds of CPU each, less is better",
            "crowd-start",
            1_000_000,
        )
    },
    Subject {
        only_byron: true,
        ..subject(
            "100 000 children of one dynamic supervisor: exit",
            "nanoseconds of CPU each, less is better",
            "crowd-exit",
            1_000_000,
        )
    },
    Subject {
        only_byron: true,
        scale: 1e-9,
        ..subject(
            "100 000 children of one dynamic supervisor: shutdown of all",
            "seconds, less is better",
            "crowd-shutdown",
            1_000_000,
        )
    },
];

pub(crate) fn run(bench: &Bench) -> Result<Vec<Table>> {
    let mut tables = Vec::new();
    for subject in SUBJECTS {
        let mut table = Table::new(subject.title, subject.unit);
        // The numbers of children and actors are part of their subjects' names.
        let fixed = matches!(subject.metric, "idle")
            || subject.metric.starts_with("crowd")
            || subject.metric.starts_with("storm");
        let size = if fixed {
            subject.size / 10
        } else {
            bench.size(subject.size)
        };
        for _ in 0..bench.rounds() {
            for (who, program) in FRAMEWORKS {
                if (subject.only_byron && who != OURS) || is_without(who, subject.metric) {
                    continue;
                }
                match measure(bench, program, subject.metric, size) {
                    Ok(sample) => table.add(who, sample * subject.scale),
                    Err(error) => table.miss(who, format!("{error:#}")),
                }
            }
        }
        tables.push(table);
    }
    Ok(tables)
}

/// actix has neither monitors nor restarts after a panic.
fn is_without(who: &str, metric: &str) -> bool {
    who == "raw actix"
        && !matches!(
            metric,
            "spawn" | "idle" | "send" | "send-across" | "ask" | "ask-across"
        )
}

fn measure(bench: &Bench, program: &str, metric: &str, size: u64) -> Result<f64> {
    let mut command = bench.peer(program)?;
    command.extend([metric.to_owned(), size.to_string()]);
    let said = spend("0,1", &command)?.stdout;
    let said = String::from_utf8(said)?;
    said.trim()
        .parse()
        .with_context(|| format!("{program} {metric} says {said:?}"))
}
