//! Tables: samples of several programs in one run, their medians, their spread, and byron's ratio to each.

use std::fmt::Write as _;

use serde::Serialize;

/// What one program did in every round.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Row {
    pub(crate) who: String,
    pub(crate) samples: Vec<f64>,
}

impl Row {
    pub(crate) fn median(&self) -> f64 {
        let mut sorted = self.samples.clone();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
    }

    /// The least and the most.
    pub(crate) fn spread(&self) -> (f64, f64) {
        let min = self.samples.iter().copied().fold(f64::INFINITY, f64::min);
        let max = self
            .samples
            .iter()
            .copied()
            .fold(f64::NEG_INFINITY, f64::max);
        (min, max)
    }
}

/// One subject.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Table {
    pub(crate) title: String,
    /// Of the numbers, with what is better: `us CPU per poem, less is better`.
    pub(crate) unit: String,
    pub(crate) rows: Vec<Row>,
    /// What could not be measured, and why.
    pub(crate) missing: Vec<String>,
}

/// What ratios are taken of.
pub(crate) const OURS: &str = "byron";

impl Table {
    pub(crate) fn new(title: impl Into<String>, unit: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            unit: unit.into(),
            rows: Vec::new(),
            missing: Vec::new(),
        }
    }

    /// One more sample of a program.
    pub(crate) fn add(&mut self, who: &str, sample: f64) {
        match self.rows.iter_mut().find(|row| row.who == who) {
            Some(row) => row.samples.push(sample),
            None => self.rows.push(Row {
                who: who.to_owned(),
                samples: vec![sample],
            }),
        }
    }

    pub(crate) fn miss(&mut self, who: &str, why: impl std::fmt::Display) {
        let line = format!("{who}: {why:#}");
        if !self.missing.contains(&line) {
            self.missing.push(line);
        }
    }

    /// byron's median by that of another.
    pub(crate) fn ratio(&self, who: &str) -> Option<f64> {
        let of = |name: &str| {
            self.rows
                .iter()
                .find(|row| row.who == name)
                .map(Row::median)
        };
        Some(of(OURS)? / of(who)?)
    }

    /// For a terminal and for Markdown alike.
    pub(crate) fn markdown(&self) -> String {
        let mut text = format!("### {}\n\n{}\n\n", self.title, self.unit);
        let _ = writeln!(
            text,
            "| | median | least | most | byron / it |\n| --- | ---: | ---: | ---: | ---: |"
        );
        for row in &self.rows {
            let (least, most) = row.spread();
            let name = if row.who == OURS {
                format!("**{}**", row.who)
            } else {
                row.who.clone()
            };
            let ratio = match self.ratio(&row.who) {
                Some(ratio) if row.who != OURS => format!("{ratio:.2}"),
                _ => String::new(),
            };
            let _ = writeln!(
                text,
                "| {name} | {} | {} | {} | {ratio} |",
                number(row.median()),
                number(least),
                number(most)
            );
        }
        for missing in &self.missing {
            let _ = writeln!(text, "\nNot measured: {missing}.");
        }
        text
    }
}

/// Three digits that mean something.
pub(crate) fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 10_000.0 => format!("{value:.0}"),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_of_medians() {
        let mut table = Table::new("poems", "us");
        for sample in [3.0, 1.0, 2.0] {
            table.add(OURS, sample);
            table.add("peer", sample * 2.0);
        }
        table.miss("go", "not installed");
        assert_eq!(table.ratio("peer"), Some(0.5));
        assert_eq!(
            table.markdown(),
            "### poems\n\nus\n\n| | median | least | most | byron / it |\n| --- | ---: | ---: | ---: | ---: |\n\
             | **byron** | 2.00 | 1.00 | 3.00 |  |\n| peer | 4.00 | 2.00 | 6.00 | 0.50 |\n\nNot measured: go: not installed.\n"
        );
    }
}
