//! The model as text for a person, and as a picture for Graphviz.
//!
//! Values in, text out: nothing here reads a clock or knows where the text goes. A state is always a word and a shape;
//! colour only repeats it. Whatever a process, a peer or a file has said is escaped.

mod crash;
mod dot;
mod event;
mod status;
mod tree;
pub(crate) mod words;

use anstyle::{AnsiColor, Style};
use jiff::Timestamp;
use jiff::tz::TimeZone;

pub use self::crash::CrashReport;
pub use self::dot::dot;
pub use self::event::event_line;
pub(crate) use self::event::what as event_words;
pub use self::status::status_text;
pub use self::tree::tree_text;
use super::model::State;

/// How text for a person is to look.
#[derive(Debug, Clone)]
pub struct Look {
    /// How many columns there are; `None` if lines may be of any length.
    pub width: Option<usize>,
    /// Whether colours are wanted.
    pub colour: bool,
    /// Where the person is.
    pub zone: TimeZone,
}

impl Look {
    /// For a file or a pipe: no colours, lines of any length.
    pub fn plain() -> Look {
        Look {
            width: None,
            colour: false,
            zone: TimeZone::system(),
        }
    }

    /// The time of day, to the millisecond.
    pub fn time(&self, ts: Timestamp) -> String {
        let time = ts.to_zoned_datetime(self.zone.clone());
        time.strftime("%H:%M:%S%.3f").to_string()
    }

    /// The text in this style, if colours are wanted.
    pub(crate) fn paint(&self, style: Style, text: &str) -> String {
        if self.colour && !text.is_empty() {
            format!("{style}{text}{style:#}")
        } else {
            text.to_owned()
        }
    }
}

/// The shape that goes with the state's word.
pub(crate) fn shape(state: &State) -> &'static str {
    match state {
        State::Running => "●",
        State::Starting | State::Restarting => "◍",
        State::Backoff => "◌",
        State::Draining | State::Stopping => "◐",
        State::Suspended => "‖",
        State::Stopped | State::Exited => "○",
        State::Failed => "✗",
        State::Other(_) => "?",
    }
}

fn style(state: &State) -> Style {
    let colour = match state {
        State::Running => AnsiColor::Green,
        State::Starting | State::Restarting | State::Backoff | State::Suspended => {
            AnsiColor::Yellow
        }
        State::Draining | State::Stopping => AnsiColor::Cyan,
        State::Failed => AnsiColor::Red,
        State::Stopped | State::Exited | State::Other(_) => return Style::new().dimmed(),
    };
    colour.on_default()
}

/// What went wrong.
pub(crate) const BAD: Style = AnsiColor::Red.on_default();

/// What is there to be skipped.
pub(crate) const DIM: Style = Style::new().dimmed();

/// What is to be seen first.
pub(crate) const STRONG: Style = Style::new().bold();
