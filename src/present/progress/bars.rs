//! Lines on a terminal that are rewritten in place, and how they stay out of the way of the poems.

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{Snapshot, bar_line, status_text};

/// With more targets than this, the rest share one line.
const BARS_MAX: usize = 20;

/// What a terminal does with a line that is too long (DECAWM): cut it, or go on below.
const WRAP_OFF: &str = "\x1b[?7l";
const WRAP_ON: &str = "\x1b[?7h";

/// The lines of [`bar_line`] at the bottom of a terminal, rewritten in place and gone at the end.
#[derive(Debug)]
pub struct Bars {
    lines: MultiProgress,
    bars: Vec<ProgressBar>,
    labels: Vec<String>,
    rest: Option<ProgressBar>,
}

impl Bars {
    /// One line per label on standard error; nothing at all if that is no terminal.
    pub fn new(labels: &[String]) -> Bars {
        Bars::on(ProgressDrawTarget::stderr(), labels)
    }

    fn on(target: ProgressDrawTarget, labels: &[String]) -> Bars {
        let lines = MultiProgress::with_draw_target(target);
        let style = ProgressStyle::with_template("{msg}").expect("the template is constant");
        let line = || lines.add(ProgressBar::new_spinner().with_style(style.clone()));
        let bars: Vec<ProgressBar> = labels.iter().take(BARS_MAX).map(|_| line()).collect();
        let rest = (labels.len() > BARS_MAX).then(line);
        let width = labels
            .iter()
            .map(|label| label.chars().count())
            .max()
            .unwrap_or(0);
        let labels = labels
            .iter()
            .map(|label| format!("{label:<width$}"))
            .collect();
        Bars {
            lines,
            bars,
            labels,
            rest,
        }
    }

    /// Rewrites the lines; one snapshot per label.
    pub fn show(&self, snapshots: &[Snapshot]) {
        for (task, (bar, snapshot)) in self.bars.iter().zip(snapshots).enumerate() {
            bar.set_message(bar_line(task + 1, &self.labels[task], snapshot));
            bar.tick();
        }
        if let Some(rest) = &self.rest {
            let hidden = &snapshots[self.bars.len()..];
            rest.set_message(format!(
                "   and {} more; {}",
                hidden.len(),
                status_text(snapshots)
            ));
            rest.tick();
        }
    }

    /// Takes the lines away while something else is written to the terminal, and brings them back.
    pub fn suspend<T>(&self, write: impl FnOnce() -> T) -> T {
        self.lines.suspend(write)
    }

    /// Takes the lines away for good.
    pub fn clear(&self) {
        // A terminal that went away has nothing left to clear.
        let _ = self.lines.clear();
    }
}

/// The line of [`status_text`] on a terminal that shows the poems too: only between their lines, never inside one.
///
/// The text that these functions return goes to standard error as it is; a writer that strips colours would strip the codes
/// that take the line away.
#[derive(Clone, Debug, Default)]
pub struct StatusLine {
    shown: bool,
}

impl StatusLine {
    /// Shows `text` in place of what was shown, cut at `width` columns; `None` while a line of a poem is open.
    pub fn show(&mut self, text: &str, width: usize, at_line_start: bool) -> Option<String> {
        if !at_line_start {
            return None;
        }
        self.shown = true;
        let text: String = text.chars().take(width.saturating_sub(1)).collect();
        // The terminal itself cuts what is too long for it, however narrow somebody makes it meanwhile: a second line would
        // never be taken away again.
        Some(format!("{WRAP_OFF}\r{text}\x1b[K{WRAP_ON}"))
    }

    /// Takes the line away; to be written before anything else is.
    pub fn hide(&mut self) -> &'static str {
        if std::mem::take(&mut self.shown) {
            "\r\x1b[K"
        } else {
            ""
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use indicatif::InMemoryTerm;

    use super::*;
    use crate::present::progress::State;

    fn snapshot(state: State, bytes: u64, seconds: u64) -> Snapshot {
        Snapshot {
            state,
            bytes,
            expected_bytes: None,
            elapsed: Duration::from_secs(seconds),
        }
    }

    #[test]
    fn bars_are_rewritten_in_place_and_leave_nothing() {
        let terminal = InMemoryTerm::new(30, 100);
        let labels: Vec<String> = (10_001..10_024).map(|port| port.to_string()).collect();
        let bars = Bars::on(
            ProgressDrawTarget::term_like_with_hz(Box::new(terminal.clone()), 200),
            &labels,
        );
        for bytes in [10, 20] {
            bars.show(&vec![snapshot(State::Streaming, bytes, 1); labels.len()]);
            #[expect(
                clippy::disallowed_methods,
                reason = "indicatif draws at most 200 times a second of real time"
            )]
            std::thread::sleep(Duration::from_millis(20));
        }
        bars.show(&vec![snapshot(State::Streaming, 20, 1); labels.len()]);
        let screen = terminal.contents();
        assert_eq!(screen.lines().count(), BARS_MAX + 1, "{screen}");
        assert!(screen.starts_with(" 1 10001    20 B"), "{screen}");
        assert!(
            screen.ends_with("   and 3 more; byron: 0 of 23 poems, 460 B, 1s"),
            "{screen}"
        );
        bars.clear();
        assert_eq!(terminal.contents(), "");
    }

    #[test]
    fn the_status_line_never_cuts_a_line_of_a_poem() {
        let mut line = StatusLine::default();
        assert_eq!(line.hide(), "");
        assert_eq!(line.show("got 1", 80, false), None);
        assert_eq!(
            line.show("got 1", 4, true).unwrap(),
            "\x1b[?7l\rgot\x1b[K\x1b[?7h"
        );
        assert_eq!(line.hide(), "\r\x1b[K");
        assert_eq!(line.hide(), "");
    }
}
