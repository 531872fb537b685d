//! A tree as text, one line a place.

use anstyle::Style;
use jiff::Timestamp;

use super::{BAD, DIM, Look, shape, style, words};
use crate::observe::model::{Dynamic, Flag, Node, State, Supervision, Tree};
use crate::present::escape::escape_name;

/// Of dynamic children that do not simply run, how many have a line of their own.
const ODD_CHILDREN_MAX: usize = 5;

/// How narrow the column of strategies and actors may get.
const WHAT_COLUMNS_MIN: usize = 12;

/// How short the last exit may get, before something else makes room for it.
const LAST_COLUMNS_MIN: usize = 28;

/// Under which keys an actor says where it answers; that stands beside the actor's name.
const ADDRESSES: [&str; 2] = ["listen_addr", "listen_addrs"];

/// OTP's word for a supervisor whose children come and go.
const DYNAMIC: &str = "simple_one_for_one";

/// The tree, one line a place, lines no longer than the look is wide. Dynamic children are counted in the line of their
/// supervisor; those that do not simply run have lines of their own.
pub fn tree_text(tree: &Tree, look: &Look) -> String {
    let mut rows = Vec::new();
    for root in &tree.roots {
        collect(root, "", "", tree.ts, &mut rows);
    }
    let columns = Columns::of(&rows, look.width);
    let mut text = String::new();
    for row in &rows {
        text.push_str(&row.line(&columns, look));
        text.push('\n');
    }
    text
}

/// One line before it is laid out.
struct Row {
    place: String,
    what: String,
    state: Option<(State, Vec<Flag>)>,
    time: String,
    facts: Vec<Fact>,
    last: Option<(String, bool)>,
}

/// Something worth a few columns, if there are any left: the least important go first.
struct Fact {
    rank: u8,
    text: String,
}

/// More important than how it ended the last time.
const VITAL: u8 = 4;
const ESSENTIAL: u8 = 3;
const USUAL: u8 = 2;
const EXTRA: u8 = 1;

struct Columns {
    place: usize,
    what: usize,
    state: usize,
    time: usize,
}

impl Columns {
    fn of(rows: &[Row], width: Option<usize>) -> Columns {
        let widest = |cell: &dyn Fn(&Row) -> usize| rows.iter().map(cell).max().unwrap_or(0);
        let mut columns = Columns {
            place: widest(&|row| words::width(&row.place)),
            what: widest(&|row| words::width(&row.what)),
            state: widest(&|row| words::width(&row.state_text())),
            time: widest(&|row| words::width(&row.time)),
        };
        let others = columns.place + columns.state + columns.time + 3 * GAP.len();
        if let Some(width) = width {
            let room = width.saturating_sub(others).max(WHAT_COLUMNS_MIN);
            columns.what = columns.what.min(room);
        }
        columns
    }
}

const GAP: &str = "  ";

fn padded(text: &str, columns: usize) -> String {
    let missing = columns.saturating_sub(words::width(text));
    format!("{text}{}", " ".repeat(missing))
}

impl Row {
    fn state_text(&self) -> String {
        let Some((state, flags)) = &self.state else {
            return String::new();
        };
        let mut text = format!("{} {}", shape(state), escape_name(state.as_str()));
        for flag in flags {
            text += &format!(" {}", escape_name(flag.as_str()));
        }
        text
    }

    fn line(&self, columns: &Columns, look: &Look) -> String {
        let plain = self.laid_out(columns, look, &|_, text| text.to_owned());
        match look.width {
            Some(width) if words::width(&plain) > width => words::cut(&plain, width),
            _ if !look.colour => plain,
            _ => self.laid_out(columns, look, &|style, text| {
                let letters = text.trim_end();
                look.paint(style, letters) + &text[letters.len()..]
            }),
        }
    }

    fn laid_out(
        &self,
        columns: &Columns,
        look: &Look,
        paint: &dyn Fn(Style, &str) -> String,
    ) -> String {
        let head = columns.place + columns.what + columns.state + columns.time + 4 * GAP.len();
        let (facts, last) = self.rest(look.width.map(|width| width.saturating_sub(head)));
        let mut cells = vec![
            padded(&self.place, columns.place),
            padded(&words::cut(&self.what, columns.what), columns.what),
        ];
        let state = padded(&self.state_text(), columns.state);
        cells.push(paint(self.state_style(), &state));
        cells.push(paint(DIM, &padded(&self.time, columns.time)));
        cells.extend(facts);
        if let Some((last, is_bad)) = last {
            cells.push(paint(if is_bad { BAD } else { DIM }, &last));
        }
        cells.join(GAP).trim_end().to_owned()
    }

    fn state_style(&self) -> Style {
        match &self.state {
            Some((state, flags)) if flags.is_empty() => style(state),
            Some(_) => BAD,
            None => Style::new(),
        }
    }

    /// What fits into so many columns.
    fn rest(&self, room: Option<usize>) -> (Vec<String>, Option<(String, bool)>) {
        let mut facts: Vec<&Fact> = self.facts.iter().collect();
        let mut last = self.last.clone();
        let texts = |facts: &[&Fact]| facts.iter().map(|fact| fact.text.clone()).collect();
        let Some(room) = room else {
            return (texts(&facts), last);
        };
        let columns = |facts: &[&Fact]| -> usize {
            let columns = facts.iter().map(|fact| words::width(&fact.text));
            columns.sum::<usize>() + GAP.len() * facts.len()
        };
        loop {
            let last_columns = last.as_ref().map_or(0, |(text, _)| words::width(text));
            if columns(&facts) + last_columns.min(LAST_COLUMNS_MIN) <= room {
                break;
            }
            let least = facts.iter().map(|fact| fact.rank).min();
            match facts.iter().rposition(|fact| Some(fact.rank) == least) {
                Some(_) if least == Some(VITAL) && last.is_some() => last = None,
                // Something is said, as much of it as there is room for.
                Some(0) if facts.len() == 1 && last.is_none() => {
                    return (vec![words::cut(&facts[0].text, room)], None);
                }
                Some(at) => drop(facts.remove(at)),
                None => break,
            }
        }
        let left = room.saturating_sub(columns(&facts));
        let last = last
            .map(|(text, is_bad)| (words::cut(&text, left), is_bad))
            .filter(|(text, _)| !text.is_empty());
        (texts(&facts), last)
    }
}

fn collect(node: &Node, lead: &str, below: &str, now: Timestamp, rows: &mut Vec<Row>) {
    rows.push(row(node, lead, now));
    let (shown, more) = shown_children(node);
    for (number, child) in shown.iter().enumerate() {
        let is_last = number + 1 == shown.len() && more == 0;
        let (branch, trunk) = if is_last {
            ("└─ ", "   ")
        } else {
            ("├─ ", "│  ")
        };
        let (lead, below) = (format!("{below}{branch}"), format!("{below}{trunk}"));
        collect(child, &lead, &below, now, rows);
    }
    if more > 0 {
        rows.push(Row {
            place: format!("{below}└─ and {more} more"),
            what: String::new(),
            state: None,
            time: String::new(),
            facts: Vec::new(),
            last: None,
        });
    }
}

/// The children that have lines, and how many others should have.
fn shown_children(node: &Node) -> (Vec<&Node>, u64) {
    let total = node
        .supervisor
        .as_ref()
        .map_or(0, |supervisor| supervisor.children_total);
    if !is_dynamic(node) {
        let hidden = total.saturating_sub(node.children.len() as u64);
        return (node.children.iter().collect(), hidden);
    }
    let is_odd = |child: &&Node| child.state != State::Running || !child.flags.is_empty();
    let mut odd: Vec<_> = node.children.iter().filter(is_odd).collect();
    let more = odd.len().saturating_sub(ODD_CHILDREN_MAX);
    odd.truncate(ODD_CHILDREN_MAX);
    (odd, more as u64)
}

fn is_dynamic(node: &Node) -> bool {
    node.supervisor
        .as_ref()
        .is_some_and(|supervisor| supervisor.dynamic.is_some() || supervisor.strategy == DYNAMIC)
}

fn row(node: &Node, lead: &str, now: Timestamp) -> Row {
    let next = node.next_attempt.map(|next| {
        let span = words::between(now, next);
        format!("next in {}", words::exact_span(span))
    });
    let time = next.or_else(|| node.uptime.map(words::span));
    Row {
        place: format!("{lead}{}", escape_name(node.name())),
        what: what(node),
        state: Some((node.state.clone(), node.flags.clone())),
        time: time.unwrap_or_default(),
        facts: facts(node),
        last: last(node, now),
    }
}

fn what(node: &Node) -> String {
    match &node.supervisor {
        Some(supervisor) => match &supervisor.budget {
            Some(budget) if !is_dynamic(node) || budget.used > 0 => format!(
                "{} {}",
                escape_name(&supervisor.strategy),
                words::budget(budget)
            ),
            _ => escape_name(&supervisor.strategy),
        },
        None => {
            let actor = words::type_name(&node.actor);
            match ADDRESSES.iter().find_map(|key| node.details.value(key)) {
                Some(address) => format!("{actor} {}", escape_name(address)),
                None => actor,
            }
        }
    }
}

fn facts(node: &Node) -> Vec<Fact> {
    let mut facts = Vec::new();
    let mut add = |rank, text: String| facts.push(Fact { rank, text });
    if let Some(supervisor) = node.supervisor.as_ref().filter(|_| is_dynamic(node)) {
        add(VITAL, crowd(supervisor));
    }
    if let Some(who) = &node.stopped_by {
        add(VITAL, format!("by {}", escape_name(who)));
    }
    if let Some(handling) = node.handling.as_ref().filter(|_| !node.flags.is_empty()) {
        let message = words::type_name(&handling.message);
        let span = words::exact_span(handling.span);
        add(VITAL, format!("in {message} for {span}"));
    }
    if let Some(pid) = node.waits_for {
        add(ESSENTIAL, format!("waits for {}", words::pid_text(pid)));
    }
    if let Some(sibling) = &node.waits_for_sibling {
        add(VITAL, format!("waits for {}", escape_name(sibling)));
    }
    if node.restarts > 0 {
        add(ESSENTIAL, format!("restarts {}", node.restarts));
    }
    if let Some(mailbox) = &node.mailbox
        && (mailbox.len > 0 || mailbox.capacity.is_some())
    {
        add(USUAL, words::mailbox(mailbox));
    }
    let lost = node.messages.as_ref().and_then(|messages| messages.lost);
    if let Some(lost) = lost {
        add(ESSENTIAL, format!("{lost} lost"));
    }
    // What a supervisor handles is the tree's own business.
    if let Some(messages) = node.messages.as_ref().filter(|_| node.supervisor.is_none()) {
        match messages.per_second {
            Some(rate) if rate >= 0.05 => add(EXTRA, format!("{} msg/s", rate_text(rate))),
            None if messages.handled > 0 => {
                add(EXTRA, words::counted(messages.handled, "message"));
            }
            _ => {}
        }
    }
    for (key, value) in node.details.0.iter().filter(|(key, _)| !is_address(key)) {
        add(
            USUAL,
            format!("{} {}", escape_name(key), words::one_line(value)),
        );
    }
    facts
}

fn is_address(key: &str) -> bool {
    ADDRESSES.contains(&key)
}

/// `12 now, 340 started, 3 crashed`.
fn crowd(supervisor: &Supervision) -> String {
    let mut parts = vec![format!("{} now", supervisor.children_total)];
    if let Some(Dynamic {
        started,
        restarted,
        crashed,
        ..
    }) = &supervisor.dynamic
    {
        parts.push(format!("{started} started"));
        for (count, word) in [(restarted, "restarted"), (crashed, "crashed")] {
            if *count > 0 {
                parts.push(format!("{count} {word}"));
            }
        }
    }
    parts.join(", ")
}

/// The last exit, of the place itself or among its crowd, and whether it was a bad one.
fn last(node: &Node, now: Timestamp) -> Option<(String, bool)> {
    let crowd = node.supervisor.as_ref();
    let crowd = crowd.and_then(|supervisor| supervisor.dynamic.as_ref());
    let of_crowd = crowd.and_then(|crowd| crowd.exits.last());
    let of_crowd = of_crowd.map(|exit| &exit.exit);
    let exit = match (&node.last_exit, of_crowd) {
        (Some(own), Some(other)) => Some(if own.ts >= other.ts { own } else { other }),
        (own, other) => own.as_ref().or(other),
    }?;
    let is_bad = !exit.reason.kind.is_normal();
    Some((format!("last: {}", words::last_exit(exit, now)), is_bad))
}

fn rate_text(rate: f64) -> String {
    if rate < 10.0 {
        format!("{rate:.1}")
    } else {
        format!("{rate:.0}")
    }
}

#[cfg(test)]
mod tests;
