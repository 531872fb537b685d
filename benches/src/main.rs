//! Measures byron beside its peers, in one run; `benches/run` builds what it needs and starts it.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};
use byron_benches::wall;
use clap::Parser;
use serde::Serialize;

use crate::bench::Bench;
use crate::growth::Growth;
use crate::table::Table;

mod bench;
mod growth;
mod load;
mod process;
mod subjects;
mod table;

/// Measure byron beside its peers
#[derive(Parser)]
#[command(name = "benches/run")]
struct Arguments {
    /// Two minutes instead of as long as it takes
    #[arg(long)]
    quick: bool,

    /// Only these subjects
    #[arg(long, value_delimiter = ',', value_name = "SUBJECT")]
    only: Vec<String>,

    /// Write the tables, with every sample, to FILE as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    /// Write the tables to FILE as Markdown
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,

    /// Draw how costs grow with sizes into FILE, as SVG
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
}

/// Everything that was measured, and on what.
#[derive(Serialize)]
struct Report {
    machine: String,
    quick: bool,
    tables: Vec<Table>,
    growths: Vec<Growth>,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let root = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).canonicalize()?;
    let scratch = root.join("benches/target/peers");
    let bench = Bench::new(root, scratch, arguments.quick)?;
    for name in &arguments.only {
        if !subjects::ALL.iter().any(|(known, _)| known == name) {
            let names: Vec<_> = subjects::ALL.iter().map(|(name, _)| *name).collect();
            bail!("no subject {name}; there are {}", names.join(", "));
        }
    }
    let machine = machine();
    println!("{machine}\n");
    let begin = wall();
    let (mut tables, mut growths) = (Vec::new(), Vec::new());
    for (name, run) in subjects::ALL {
        if !arguments.only.is_empty() && !arguments.only.iter().any(|only| only == name) {
            continue;
        }
        eprintln!("{name} ...");
        let exhibits = run(&bench).with_context(|| format!("subject {name}"))?;
        for table in &exhibits.tables {
            println!("{}", table.markdown());
        }
        for growth in &exhibits.growths {
            println!("{}", growth.markdown());
        }
        tables.extend(exhibits.tables);
        growths.extend(exhibits.growths);
    }
    eprintln!("done in {} s", (wall() - begin).as_secs());
    if let Some(file) = arguments.markdown {
        let texts = tables.iter().map(Table::markdown);
        let text: Vec<_> = texts.chain(growths.iter().map(Growth::markdown)).collect();
        fs::write(&file, format!("{machine}\n\n{}", text.join("\n")))
            .with_context(|| file.display().to_string())?;
    }
    if let Some(file) = arguments.plot {
        growth::draw(&growths, &file).with_context(|| file.display().to_string())?;
    }
    if let Some(file) = arguments.json {
        let report = Report {
            machine,
            quick: arguments.quick,
            tables,
            growths,
        };
        fs::write(&file, serde_json::to_vec_pretty(&report)?)
            .with_context(|| file.display().to_string())?;
    }
    Ok(())
}

/// What it was measured on, in one line.
fn machine() -> String {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("unknown processor", |(_, model)| model);
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let rustc = Command::new("rustc")
        .arg("--version")
        .output()
        .map(|output| output.stdout)
        .unwrap_or_default();
    format!(
        "{processors} x {model}, Linux {}, {}",
        kernel.trim(),
        String::from_utf8_lossy(&rustc).trim()
    )
}
