//! Compares two traces of one scenario.

use serde_json::{Value, json};

use super::runner::Trace;

/// Lists whose order means nothing.
const MULTISETS: [&str; 3] = ["stops", "downs", "calls"];

/// Every field of a line, in the order in which a difference is most telling.
const FIELDS: [&str; 8] = [
    "op", "events", "stops", "downs", "calls", "result", "root", "tree",
];

/// The first place where two traces differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Difference {
    /// The index in the trace.
    pub(super) line: usize,
    /// Empty if one side has no such line.
    pub(super) field: &'static str,
}

/// The first difference, or `None`: the traces mean the same.
pub(super) fn difference(ours: &Trace, theirs: &Trace) -> Option<Difference> {
    for line in 0..ours.len().max(theirs.len()) {
        let (Some(our), Some(their)) = (ours.get(line), theirs.get(line)) else {
            return Some(Difference { line, field: "" });
        };
        for field in FIELDS {
            if normal(our, field) != normal(their, field) {
                return Some(Difference { line, field });
            }
        }
    }
    None
}

/// A field as it is compared: multisets sorted, a missing list empty.
fn normal(line: &Value, field: &str) -> Value {
    let value = line.get(field).cloned();
    if MULTISETS.contains(&field) {
        let mut list = match value {
            Some(Value::Array(list)) => list,
            None => Vec::new(),
            Some(other) => return other,
        };
        list.sort_by_key(Value::to_string);
        return Value::Array(list);
    }
    match (field, value) {
        ("events", None) => json!([]),
        (_, value) => value.unwrap_or(Value::Null),
    }
}

/// Both traces, line under line, from the start to the first difference.
pub(super) fn side_by_side(ours: &Trace, theirs: &Trace) -> String {
    let Some(difference) = difference(ours, theirs) else {
        return "the traces agree\n".to_owned();
    };
    let mut text = String::new();
    for line in 0..=difference.line {
        let pair = [("byron", ours.get(line)), ("otp", theirs.get(line))];
        for field in FIELDS {
            let [our, their] = pair.map(|(_, value)| value.map(|value| normal(value, field)));
            if our == their {
                let shown = our.unwrap_or(Value::Null);
                if shown != json!([]) {
                    text.push_str(&format!("         {field:7} {shown}\n"));
                }
            } else {
                for (name, value) in [("byron", our), ("otp", their)] {
                    let shown = value.map_or("nothing".to_owned(), |value| value.to_string());
                    text.push_str(&format!("  >{name:5}  {field:7} {shown}\n"));
                }
            }
        }
        text.push('\n');
    }
    text
}

#[test]
fn order_matters_for_events_alone() {
    let first =
        vec![json!({"op": 0, "events": [1, 2], "downs": [["a", 1, "normal"], ["b", 1, "crash"]]})];
    let other = vec![
        json!({"op": 0, "events": [1, 2], "downs": [["b", 1, "crash"], ["a", 1, "normal"]], "calls": []}),
    ];
    assert_eq!(difference(&first, &other), None);
    let swapped = vec![json!({"op": 0, "events": [2, 1], "downs": first[0]["downs"]})];
    assert_eq!(
        difference(&first, &swapped),
        Some(Difference {
            line: 0,
            field: "events"
        })
    );
}
