//! A tree for Graphviz: `byron observe --dot | dot -Tsvg`.

use std::fmt::Write as _;

use super::{shape, words};
use crate::observe::model::{Node, State, Tree};
use crate::present::escape::escape_name;

/// The tree in Graphviz's language.
pub fn dot(tree: &Tree) -> String {
    let mut text = String::from(
        "digraph byron {\n  rankdir=LR;\n  node [shape=box, style=\"rounded,filled\", fontname=\"sans-serif\"];\n",
    );
    for node in tree.nodes() {
        let name = quoted(&node.path);
        let label = quoted(&label(node));
        let fill = fill(&node.state);
        writeln!(text, "  {name} [label={label}, fillcolor=\"{fill}\"];")
            .expect("a String takes every text");
        for child in &node.children {
            writeln!(text, "  {name} -> {};", quoted(&child.path))
                .expect("a String takes every text");
        }
    }
    text.push_str("}\n");
    text
}

fn label(node: &Node) -> String {
    let mut lines = vec![escape_name(node.name())];
    match &node.supervisor {
        Some(supervisor) => {
            let budget = supervisor.budget.as_ref();
            let budget =
                budget.map_or_else(String::new, |budget| format!(" {}", words::budget(budget)));
            lines.push(format!("{}{budget}", escape_name(&supervisor.strategy)));
        }
        None if !node.actor.is_empty() => lines.push(words::type_name(&node.actor)),
        None => {}
    }
    lines.push(format!(
        "{} {}",
        shape(&node.state),
        escape_name(node.state.as_str())
    ));
    if node.restarts > 0 {
        lines.push(format!("restarts {}", node.restarts));
    }
    if let Some(exit) = &node.last_exit {
        lines.push(format!("last: {}", words::short_reason(&exit.reason)));
    }
    lines.join("\n")
}

/// Colours that are told apart in grey, too; the label has the state's word and shape.
fn fill(state: &State) -> &'static str {
    match state {
        State::Running => "#d8f5d8",
        State::Starting | State::Restarting | State::Backoff | State::Suspended => "#ffe9a8",
        State::Draining | State::Stopping => "#cfe8ff",
        State::Failed => "#ffb3b3",
        State::Stopped | State::Exited | State::Other(_) => "#e6e6e6",
    }
}

/// A text as Graphviz takes it. What could act on a terminal is escaped already; a backslash is Graphviz's own too.
fn quoted(text: &str) -> String {
    let text = text.replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{}\"", text.replace('\n', "\\n"))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use snapbox::IntoData;

    use super::*;
    use crate::observe::model::{Budget, LastExit, Reason, ReasonKind, Supervision};

    #[test]
    fn names_and_reasons_cannot_end_a_label() {
        let mut root = Node::new("root", State::Running);
        root.supervisor = Some(Supervision {
            strategy: "one_for_one".into(),
            budget: Some(Budget {
                used: 1,
                intensity: 3,
                period: std::time::Duration::from_secs(5),
            }),
            ..Supervision::default()
        });
        let mut child = Node::new("root/a\"b\\", State::Backoff);
        child.restarts = 2;
        child.last_exit = Some(LastExit {
            reason: Reason {
                text: "say \"no\"\n\u{1b}[2J".into(),
                ..Reason::new(ReasonKind::Error)
            },
            ts: Timestamp::UNIX_EPOCH,
            event: None,
        });
        root.children.push(child);
        let tree = Tree {
            roots: vec![root],
            ..Tree::new(Timestamp::UNIX_EPOCH)
        };
        snapbox::assert_data_eq!(
            dot(&tree),
            snapbox::str![[r##"
digraph byron {
  rankdir=LR;
  node [shape=box, style="rounded,filled", fontname="sans-serif"];
  "root" [label="root\none_for_one 1/3 in 5s\n● RUNNING", fillcolor="#d8f5d8"];
  "root" -> "root/a\"b\\";
  "root/a\"b\\" [label="a\"b\\\n◌ BACKOFF\nrestarts 2\nlast: error \"say \"no\"\\n\\x1b[2J\"", fillcolor="#ffe9a8"];
}

"##]]
            .raw()
        );
    }
}
