//! The terminal that standard output leads to, if it does.

use std::env;
use std::io::{self, IsTerminal};

use jiff::tz::TimeZone;

use crate::observe::render::Look;

/// How text for standard output is to look. Colours are taken away later where they are not wanted.
pub fn look() -> Look {
    Look {
        width: width(),
        colour: true,
        zone: TimeZone::system(),
    }
}

/// How many columns there are; `None` if nobody counts them.
fn width() -> Option<usize> {
    let stdout = io::stdout();
    if !stdout.is_terminal() {
        return None;
    }
    let asked = env::var("COLUMNS")
        .ok()
        .and_then(|columns| columns.parse().ok());
    asked.or_else(|| {
        let size = rustix::termios::tcgetwinsize(&stdout).ok()?;
        Some(usize::from(size.ws_col)).filter(|columns| *columns > 0)
    })
}
