//! Text of others that is kept or shown: it has an end, and one can see where it was cut.

use std::fmt;

/// What stands where something is missing.
const MARK: char = '…';

/// At most so many bytes of a text, whole characters only, and the mark if there were more.
pub(crate) fn cut(text: &mut String, bytes_max: usize) {
    if text.len() > bytes_max {
        text.truncate(end_within(text, bytes_max));
        text.push(MARK);
    }
}

/// Where the last character ends that has room.
fn end_within(text: &str, bytes_max: usize) -> usize {
    let is_end = |at: &usize| text.is_char_boundary(*at);
    (0..=bytes_max).rev().find(is_end).unwrap_or_default()
}

/// Takes so many bytes of text and refuses the rest, so that whoever writes stops.
pub(crate) struct Bounded {
    text: String,
    bytes_max: usize,
    is_cut: bool,
}

impl Bounded {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self {
            text: String::new(),
            bytes_max,
            is_cut: false,
        }
    }

    pub(crate) fn into_text(self) -> String {
        self.text
    }
}

impl fmt::Write for Bounded {
    fn write_str(&mut self, more: &str) -> fmt::Result {
        if self.is_cut {
            return Err(fmt::Error);
        }
        let room = self.bytes_max - self.text.len();
        if more.len() <= room {
            self.text.push_str(more);
            return Ok(());
        }
        self.text.push_str(&more[..end_within(more, room)]);
        self.text.push(MARK);
        self.is_cut = true;
        Err(fmt::Error)
    }
}

#[cfg(test)]
mod tests {
    use fmt::Write as _;

    use super::*;

    #[test]
    fn a_text_is_cut_between_characters_and_says_so() {
        for (text, kept) in [
            ("", ""),
            ("four", "four"),
            ("fours", "four…"),
            ("für Elise", "für…"),
        ] {
            let mut text = text.to_owned();
            cut(&mut text, 4);
            assert_eq!(text, kept);
        }
    }

    #[test]
    fn whoever_writes_too_much_is_stopped() {
        let mut bounded = Bounded::new(4);
        assert!(bounded.write_str("für").is_ok());
        assert!(bounded.write_str(" Elise").is_err());
        assert!(bounded.write_str("!").is_err());
        assert_eq!(bounded.into_text(), "für…");
    }
}
