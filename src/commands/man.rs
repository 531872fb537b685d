//! `byron man [DIR]`: the manual, made from the same definition as the command line.

use std::fs;
use std::io;
use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, Command, CommandFactory};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use super::write_stdout;
use crate::cli::Cli;
use crate::exit_code::ExitCode;

/// What `byron man` understands.
#[derive(Debug, Args)]
pub struct ManArguments {
    /// Write byron.1 and a page for each command to DIR instead of printing byron.1
    #[arg(value_name = "DIR")]
    directory: Option<PathBuf>,
}

/// Prints the main page or writes all pages.
pub(super) fn run(arguments: &ManArguments) -> anyhow::Result<ExitCode> {
    let mut command = Cli::command();
    command.build();
    match &arguments.directory {
        None => write_stdout(&page(&command, "byron")?)?,
        Some(directory) => {
            fs::create_dir_all(directory)
                .with_context(|| format!("cannot make {}", directory.display()))?;
            for (name, page) in pages(&command)? {
                let path = directory.join(name);
                fs::write(&path, page)
                    .with_context(|| format!("cannot write {}", path.display()))?;
            }
        }
    }
    Ok(ExitCode::Done)
}

/// Every page with the name of its file.
fn pages(command: &Command) -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut pages = vec![("byron.1".to_owned(), page(command, "byron")?)];
    for subcommand in command.get_subcommands() {
        let name = format!("byron-{}", subcommand.get_name());
        pages.push((format!("{name}.1"), page(subcommand, &name)?));
    }
    Ok(pages)
}

fn page(command: &Command, name: &str) -> io::Result<Vec<u8>> {
    let examples = command.get_before_long_help().map(ToString::to_string);
    // The examples have a section of their own, so they do not belong to the description.
    let without_examples = command
        .clone()
        .name(name.to_owned())
        .before_long_help("")
        .before_help("");
    let man = Man::new(without_examples)
        .manual("byron")
        .source(concat!("byron ", env!("CARGO_PKG_VERSION")));
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut page)?;
    }
    if let Some(examples) = examples {
        examples_section(&examples).to_writer(&mut page)?;
    }
    exit_status_section().to_writer(&mut page)?;
    Ok(page)
}

fn examples_section(examples: &str) -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["EXAMPLES"]).control("nf", []);
    for line in examples.lines().filter(|line| *line != "Examples:") {
        roff.text([roman(line.trim())]).control("br", []);
    }
    roff.control("fi", []);
    roff
}

fn exit_status_section() -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["EXIT STATUS"]);
    for code in ExitCode::ALL {
        roff.control("TP", [])
            .text([bold(code.number().to_string())])
            .text([roman(code.sentence())]);
    }
    roff
}
