//! A recorded file: its last tree, the tree at any event, and what happened in between.

use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal};
use std::path::Path;

use anyhow::{Context, bail};
use jiff::Timestamp;

use super::show_line;
use crate::cli::View;
use crate::commands::{print, say, write_stdout};
use crate::exit_code::ExitCode;
use crate::host::terminal::look;
use crate::observe::client::ClientError;
use crate::observe::discovery::command_text;
use crate::observe::model::{Event, Line};
use crate::observe::render::{dot, event_line, tree_text};
use crate::observe::replay::{Reader, Recording};
use crate::observe::why;
use crate::present::escape::escape_name;

/// Shows what was asked for.
pub(super) fn show(path: &Path, view: &View, json: bool) -> anyhow::Result<ExitCode> {
    let whose = || path.display().to_string();
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let input = BufReader::new(file);
    if let View::Follow(since) = view {
        return follow(input, since.unwrap_or(0), json).with_context(whose);
    }
    let recording = Recording::read(input).with_context(whose)?;
    if recording.was_cut {
        say(&format!(
            "{}: its last line is cut; all before it is read",
            path.display()
        ));
    }
    match view {
        View::At(seq) => show_tree(&recording, *seq, json)?,
        View::Step => step(&recording)?,
        View::Why(id) => show_why(&recording, id, json)?,
        View::Dot => {
            let (tree, _) = tree_at(&recording, u64::MAX)?;
            write_stdout(dot(&tree).as_bytes())?;
        }
        View::Once | View::Follow(_) | View::Record { .. } => {
            if !json {
                print(&format!("{}\n\n", heading(&recording)))?;
            }
            show_tree(&recording, u64::MAX, json)?;
        }
    }
    Ok(ExitCode::Done)
}

/// All events, however long the file is.
fn follow(input: impl BufRead, since: u64, json: bool) -> anyhow::Result<ExitCode> {
    for line in Reader::new(input)? {
        let line = line?;
        let is_before = matches!(&line, Line::Event(event) if event.seq <= since);
        if !is_before {
            show_line(&line, json, "")?;
        }
    }
    Ok(ExitCode::Done)
}

/// Who it was.
fn heading(recording: &Recording) -> String {
    let instance = &recording.instance;
    let events = recording.events().count() as u64;
    format!(
        "{} - {}, as it was recorded: pid {}, started {}, {} events",
        escape_name(&instance.name),
        escape_name(&command_text(&instance.command_line)),
        instance.pid,
        instance.started,
        events,
    )
}

fn tree_at(recording: &Recording, seq: u64) -> anyhow::Result<(crate::observe::model::Tree, u64)> {
    match recording.tree_at(seq) {
        Some(found) => Ok(found),
        None => bail!("event #{seq} was before the recording began"),
    }
}

fn show_tree(recording: &Recording, seq: u64, json: bool) -> anyhow::Result<()> {
    let (tree, missed) = tree_at(recording, seq)?;
    if json {
        return Ok(write_stdout(
            format!("{}\n", serde_json::to_string(&tree)?).as_bytes(),
        )?);
    }
    let look = look();
    let mut text = String::new();
    if let Some(event) = recording.events().filter(|event| event.seq <= seq).last() {
        text = format!("{}\n\n", event_line(event, &look));
    }
    if missed > 0 {
        text +=
            &format!("{missed} events are missing before this: the tree may have been another\n\n");
    }
    text += &tree_text(&tree, &look);
    print(&text)?;
    Ok(())
}

fn show_why(recording: &Recording, id: &str, json: bool) -> anyhow::Result<()> {
    let events: Vec<Event> = recording.events().cloned().collect();
    let tree = recording.tree_at(u64::MAX).map(|(tree, _)| tree);
    let now = tree.as_ref().map_or_else(Timestamp::now, |tree| tree.ts);
    let not_found = |error: why::WhyError| ClientError::Refused {
        status: 404,
        kind: "event".to_owned(),
        message: error.to_string(),
    };
    let id = why::Id::parse(id).map_err(not_found)?;
    let chain = why::why(&events, tree.as_ref(), &id).map_err(not_found)?;
    if json {
        write_stdout(format!("{}\n", serde_json::to_string(&chain)?).as_bytes())?;
    } else {
        print(&format!("{}\n", chain.text(&look(), now)))?;
    }
    Ok(())
}

/// Event after event, as standard input says.
fn step(recording: &Recording) -> anyhow::Result<()> {
    let seqs: Vec<u64> = recording.events().map(|event| event.seq).collect();
    if seqs.is_empty() {
        bail!("there are no events to step through");
    }
    let mut at = 0;
    let mut lines = io::stdin().lock().lines();
    loop {
        show_tree(recording, seqs[at], false)?;
        if io::stdin().is_terminal() {
            print(&format!(
                "\n{} of {}: Enter or j for the next, k for the one before, a number for that event, q to end: ",
                at + 1,
                seqs.len()
            ))?;
        }
        let Some(line) = lines.next().transpose().context("cannot read what to do")? else {
            return Ok(());
        };
        match stepped(&seqs, at, line.trim()) {
            Step::To(next) => at = next,
            Step::Unknown => say("Enter, j, k, a number, or q"),
            Step::End => return Ok(()),
        }
    }
}

/// Where a word leads.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    To(usize),
    Unknown,
    End,
}

fn stepped(seqs: &[u64], at: usize, word: &str) -> Step {
    let last = seqs.len() - 1;
    match word {
        "" | "j" => Step::To((at + 1).min(last)),
        "k" => Step::To(at.saturating_sub(1)),
        "g" => Step::To(0),
        "G" => Step::To(last),
        "q" => Step::End,
        number => match number.trim_start_matches('#').parse::<u64>() {
            Ok(seq) => Step::To(seqs.partition_point(|known| *known < seq).min(last)),
            Err(_) => Step::Unknown,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_stay_within_the_recording() {
        let seqs = [3, 4, 9];
        for (at, word, expected) in [
            (0, "", Step::To(1)),
            (2, "j", Step::To(2)),
            (0, "k", Step::To(0)),
            (0, "#5", Step::To(2)),
            (0, "4", Step::To(1)),
            (0, "100", Step::To(2)),
            (2, "g", Step::To(0)),
            (0, "G", Step::To(2)),
            (1, "what", Step::Unknown),
            (1, "q", Step::End),
        ] {
            assert_eq!(stepped(&seqs, at, word), expected, "{word}");
        }
    }
}
