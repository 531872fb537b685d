//! A consequence as one line for a person.

use std::collections::BTreeMap;
use std::fmt;

use super::Consequence;
use crate::child_spec::ChildId;
use crate::path::Path;
use crate::snapshot::human;

/// How many places a list names; the others it counts.
const NAMED_MAX: usize = 6;

impl fmt::Display for Consequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: ", self.action, self.path)?;
        let mut parts = Vec::new();
        let (restarted, started): (Vec<_>, Vec<_>) = self
            .starts
            .iter()
            .partition(|path| self.ends.contains(path));
        let is_coming_back = |path: &&Path| !restarted.contains(path);
        let ended: Vec<_> = self.ends.iter().filter(is_coming_back).collect();
        for (verb, places) in [
            ("ends", &ended),
            ("restarts", &restarted),
            ("starts", &started),
        ] {
            if !places.is_empty() {
                parts.push(format!("{verb} {}", list(places)));
            }
        }
        if !self.unknown_below.is_empty() {
            parts.push("and what is below".to_owned());
        }
        if !self.forgets.is_empty() {
            parts.push(format!(
                "forgets {}",
                list(&self.forgets.iter().collect::<Vec<_>>())
            ));
        }
        parts.extend(self.dropped().into_iter().map(|(id, count)| match count {
            0 => format!("drops no {id}"),
            1 => format!("drops 1 {id}"),
            count => format!("drops {count} {id}s"),
        }));
        f.write_str(&parts.join(", "))?;
        if let Some((least, most)) = self.delay {
            if least == most {
                write!(f, ", after {}", human(least))?;
            } else {
                write!(f, ", after {} to {}", human(least), human(most))?;
            }
        }
        for path in &self.gives_up {
            write!(f, "; {path} gives up")?;
        }
        for (path, budget) in self
            .budgets
            .iter()
            .filter(|(path, _)| !self.gives_up.contains(path))
        {
            if budget.limit == u32::MAX {
                continue;
            }
            match self.gives_up.is_empty() {
                true => write!(f, "; budget {budget} afterwards")?,
                false => write!(f, "; budget of {path} {budget} afterwards")?,
            }
        }
        if self.ends_tree {
            f.write_str("; the whole tree ends")?;
        }
        if !self.is_certain {
            f.write_str(" (at worst: something else is under way)")?;
        }
        Ok(())
    }
}

impl Consequence {
    /// How many dynamic children end, by what they are.
    fn dropped(&self) -> BTreeMap<ChildId, usize> {
        let mut dropped = BTreeMap::new();
        for drops in &self.drops {
            *dropped.entry(ChildId::clone(&drops.id)).or_default() += drops.count;
        }
        dropped
    }
}

fn list(places: &[&Path]) -> String {
    let named = places.iter().take(NAMED_MAX);
    let mut ids: Vec<_> = named.map(|path| path.id().into_owned()).collect();
    if places.len() > NAMED_MAX {
        ids.push(format!("and {} more", places.len() - NAMED_MAX));
    }
    let noun = if places.len() == 1 {
        "child"
    } else {
        "children"
    };
    format!("{} {noun} ({})", places.len(), ids.join(", "))
}
