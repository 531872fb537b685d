//! The log on standard error: what the actors and their supervisors report, as much of it as was asked for.
//!
//! For a person where standard error is a terminal, one JSON object a line otherwise; `BYRON_LOG_FORMAT` says which if that
//! is not what is wanted. A crash is one block or one line. The last lines are kept, for whoever asks later. What the
//! program itself says to a person (`byron: …`) is no part of the log.

mod layer;
mod tail;
mod text;

use std::env;
use std::io::{self, IsTerminal};
use std::sync::OnceLock;

use jiff::tz::TimeZone;
use parking_lot::Mutex;
use thiserror::Error;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{EnvFilter, Registry, reload};

use self::layer::LogLayer;
pub use self::tail::{TAIL_BYTES_MAX, TAIL_LINES_MAX, Tail, tail_since};
pub use self::text::line as log_text;
use crate::cli::Verbosity;
use crate::present::escape::escape_name;

/// Who says what is logged; in `tracing`'s words.
const FILTER_VARIABLE: &str = "BYRON_LOG";

/// Who says how: `auto`, `human` or `json`.
const FORMAT_VARIABLE: &str = "BYRON_LOG_FORMAT";

/// How a line of the log looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For a person: time, level, path, message, fields.
    Human,
    /// For programs: one object a line.
    Json,
}

impl Format {
    /// The format that was asked for, or the one that fits where the log goes.
    ///
    /// # Errors
    /// There is no such format.
    fn chosen(asked: Option<&str>, is_terminal: bool) -> Result<Format, String> {
        match asked {
            None | Some("" | "auto") if is_terminal => Ok(Format::Human),
            None | Some("" | "auto") => Ok(Format::Json),
            Some("human") => Ok(Format::Human),
            Some("json") => Ok(Format::Json),
            Some(other) => Err(format!(
                "{FORMAT_VARIABLE} is `{}`; expected auto, human or json",
                escape_name(other)
            )),
        }
    }
}

/// The filter in force, and how to put another in its place.
struct Filter {
    handle: reload::Handle<EnvFilter, Registry>,
    /// What was asked for when the program began.
    first: String,
    now: Mutex<String>,
}

static FILTER: OnceLock<Filter> = OnceLock::new();

/// Begins to write the log. `BYRON_LOG` says what, in `tracing`'s words (`info,byron_supervisors=debug`); without it the
/// flags `-q` and `-v` do, with `normal` and `verbose` for what the command does not say itself.
pub fn init(verbosity: Verbosity, normal: &str, verbose: &str) {
    let default = match verbosity {
        Verbosity::Quiet => "off",
        Verbosity::Normal => normal,
        Verbosity::Verbose => verbose,
        Verbosity::Everything => "debug",
    };
    let mut mistakes = Vec::new();
    let asked = env::var(FILTER_VARIABLE)
        .ok()
        .filter(|text| !text.is_empty());
    let mut text = default.to_owned();
    let mut filter = EnvFilter::new(default);
    if let Some(asked) = asked {
        match parse(&asked) {
            Ok(parsed) => (text, filter) = (asked, parsed),
            Err(error) => mistakes.push(format!("{FILTER_VARIABLE}: {error}")),
        }
    }
    let is_terminal = io::stderr().is_terminal();
    let format = Format::chosen(env::var(FORMAT_VARIABLE).ok().as_deref(), is_terminal);
    let format = format.unwrap_or_else(|mistake| {
        mistakes.push(mistake);
        Format::Json
    });
    let (filter, handle) = reload::Layer::new(filter);
    let layer = LogLayer::new(format, TimeZone::system());
    let subscriber = tracing_subscriber::registry().with(filter).with(layer);
    // Only the first of a program's subscribers counts; tests run several commands in one.
    if tracing::subscriber::set_global_default(subscriber).is_ok() {
        let _ = FILTER.set(Filter {
            handle,
            first: text.clone(),
            now: Mutex::new(text),
        });
    }
    for mistake in mistakes {
        tracing::warn!("{mistake}; it is ignored");
    }
}

/// The filter was not put in force.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SetFilterError {
    /// It is none.
    #[error(
        "`{text}` is no filter: {reason}; expected a level, or such as info,byron_supervisors=debug"
    )]
    Invalid {
        /// What was asked for.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// There is no log.
    #[error("this program writes no log")]
    NoLog,
}

/// Puts another filter in force, in the words of `BYRON_LOG`. Answers the one before.
///
/// # Errors
/// It is no filter, or there is no log.
pub fn set_filter(text: &str) -> Result<String, SetFilterError> {
    let parsed = parse(text)?;
    let filter = FILTER.get().ok_or(SetFilterError::NoLog)?;
    let mut now = filter.now.lock();
    filter
        .handle
        .reload(parsed)
        .map_err(|_| SetFilterError::NoLog)?;
    Ok(std::mem::replace(&mut *now, text.to_owned()))
}

/// Puts the filter in force with which the program began, and answers what it is.
///
/// # Errors
/// There is no log.
pub fn restore_filter() -> Result<String, SetFilterError> {
    let filter = FILTER.get().ok_or(SetFilterError::NoLog)?;
    set_filter(&filter.first)?;
    Ok(filter.first.clone())
}

/// The filter in force; `None` if there is no log.
pub fn filter() -> Option<String> {
    FILTER.get().map(|filter| filter.now.lock().clone())
}

fn parse(text: &str) -> Result<EnvFilter, SetFilterError> {
    let invalid = |reason: String| SetFilterError::Invalid {
        text: escape_name(text),
        reason,
    };
    if text.trim().is_empty() {
        return Err(invalid("it is empty".to_owned()));
    }
    EnvFilter::try_new(text).map_err(|error| invalid(escape_name(&error.to_string())))
}

#[cfg(test)]
mod tests;
