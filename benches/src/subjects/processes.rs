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
    /// 0 where it is measured only when time is short.
    size: u64,
    /// The size when time is short; 0 where it is not measured then.
    quick_size: u64,
    /// What the programs print, by this, is the number of the table.
    scale: f64,
    only_byron: bool,
}

const fn subject(
    title: &'static str,
    unit: &'static str,
    metric: &'static str,
    sizes: (u64, u64),
) -> Subject {
    Subject {
        title,
        unit,
        metric,
        size: sizes.0,
        quick_size: sizes.1,
        scale: 1.0,
        only_byron: false,
    }
}

/// Of byron alone.
const fn ours(
    title: &'static str,
    unit: &'static str,
    metric: &'static str,
    sizes: (u64, u64),
) -> Subject {
    Subject {
        only_byron: true,
        ..subject(title, unit, metric, sizes)
    }
}

const NS: &str = "nanoseconds, less is better";
const NS_OF_CPU: &str = "nanoseconds of CPU, less is better";
const NS_EACH: &str = "nanoseconds each, less is better";
const NS_OF_CPU_EACH: &str = "nanoseconds of CPU each, less is better";
const BYTES: &str = "bytes, less is better";

/// The numbers of actors and children are part of their subjects' names, and are the same however short time is.
const STORM: (u64, u64) = (10_000, 10_000);
const CROWD: (u64, u64) = (100_000, 100_000);

const SUBJECTS: &[Subject] = &[
    subject(
        "Start, monitor, stop, `Down`",
        NS_OF_CPU,
        "spawn",
        (500_000, 20_000),
    ),
    subject("Idle actor, 10 000 of them", BYTES, "idle", (0, 10_000)),
    subject("Idle actor, 100 000 of them", BYTES, "idle", (100_000, 0)),
    subject(
        "Idle actor, 1 000 000 of them",
        BYTES,
        "idle",
        (1_000_000, 0),
    ),
    subject("Send on one arbiter", NS, "send", (10_000_000, 500_000)),
    subject(
        "Send to another arbiter",
        NS,
        "send-across",
        (10_000_000, 300_000),
    ),
    subject("Ask on one arbiter", NS, "ask", (1_000_000, 50_000)),
    subject("Ask another arbiter", NS, "ask-across", (100_000, 1_000)),
    subject("Error exit to `Down`", NS, "down-exit", (100_000, 10_000)),
    subject("Panic to `Down`", NS, "down-panic", (50_000, 5_000)),
    subject(
        "Error exit to restarted and answering",
        NS,
        "restart-exit",
        (50_000, 10_000),
    ),
    subject(
        "Panic to restarted and answering",
        NS,
        "restart-panic",
        (50_000, 5_000),
    ),
    subject(
        "Storm of 10 000 restarts after error exits",
        NS_EACH,
        "storm-exit",
        STORM,
    ),
    subject(
        "Storm of 10 000 restarts after panics",
        NS_EACH,
        "storm-panic",
        STORM,
    ),
    ours(
        "The same on two arbiters, error exits",
        NS_EACH,
        "storm-exit-two",
        STORM,
    ),
    ours(
        "The same on two arbiters, panics",
        NS_EACH,
        "storm-panic-two",
        STORM,
    ),
    ours(
        "100 000 children of one dynamic supervisor: start",
        NS_OF_CPU_EACH,
        "crowd-start",
        CROWD,
    ),
    ours(
        "100 000 children of one dynamic supervisor: exit",
        NS_OF_CPU_EACH,
        "crowd-exit",
        CROWD,
    ),
    Subject {
        scale: 1e-9,
        ..ours(
            "100 000 children of one dynamic supervisor: shutdown of all",
            "seconds, less is better",
            "crowd-shutdown",
            CROWD,
        )
    },
];

/// What something costs at a size, and at ten times that size.
struct Growth {
    what: &'static str,
    metric: &'static str,
    size: u64,
    /// The programs print the cost of all of them, not of one.
    of_all: bool,
}

const fn growth(what: &'static str, metric: &'static str, size: u64) -> Growth {
    Growth {
        what,
        metric,
        size,
        of_all: false,
    }
}

const GROWTH: &[Growth] = &[
    growth(
        "start, monitor, stop, `Down` among 10 000 and 100 000 processes",
        "spawn-among",
        10_000,
    ),
    growth("bytes of 10 000 and 100 000 idle actors", "idle", 10_000),
    growth(
        "restart after an error exit among 100 and 1 000 siblings",
        "restart-among",
        100,
    ),
    growth(
        "start of 10 000 and 100 000 children",
        "crowd-start",
        10_000,
    ),
    growth("exit of 10 000 and 100 000 children", "crowd-exit", 10_000),
    Growth {
        of_all: true,
        ..growth(
            "shutdown of 10 000 and 100 000 children",
            "crowd-shutdown",
            10_000,
        )
    },
];

pub(crate) fn run(bench: &Bench) -> Result<Vec<Table>> {
    let mut tables = Vec::new();
    for subject in SUBJECTS {
        let size = if bench.quick {
            subject.quick_size
        } else {
            subject.size
        };
        if size == 0 {
            continue;
        }
        let mut table = Table::new(subject.title, subject.unit);
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
    tables.push(grown(bench));
    Ok(tables)
}

/// The cost of one at ten times the size, by that at the size, of the same round.
fn grown(bench: &Bench) -> Table {
    let mut table = Table::new(
        "Growth of byron's processes",
        "the cost of one where there are ten times as many, by the cost where there are so many; 1.2 at most",
    );
    for growth in GROWTH {
        for _ in 0..bench.rounds() {
            let ratio = |growth: &Growth| -> Result<f64> {
                let [few, many] = [growth.size, 10 * growth.size]
                    .map(|size| measure(bench, "processes-byron", growth.metric, size));
                let ratio = many? / few?;
                Ok(if growth.of_all { ratio / 10.0 } else { ratio })
            };
            match ratio(growth) {
                Ok(ratio) => table.add(growth.what, ratio),
                Err(error) => table.miss(growth.what, format!("{error:#}")),
            }
        }
    }
    table
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
