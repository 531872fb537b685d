//! Terminal-safe text: a poem cannot move the cursor, change the title or hide what it says.
//!
//! Shown instead of sent: the C0 controls but newline and tab, DEL, the C1 controls (U+0080 to U+009F), the characters that
//! change the direction of writing, and bytes that are not UTF-8. Only for terminals; pipes and files get every byte as it is.

use std::fmt::Write;
use std::str;

/// Escapes a poem that arrives in pieces, which may be cut in the middle of a character.
#[derive(Clone, Debug, Default)]
pub struct Escaper {
    /// The beginning of a character whose end has not arrived: never more than 3 bytes.
    pending: Vec<u8>,
}

impl Escaper {
    /// An escaper at the beginning of a poem.
    pub fn new() -> Escaper {
        Escaper::default()
    }

    /// Appends `chunk`, escaped, to `shown`; the first bytes of an unfinished character wait for the next chunk.
    pub fn push(&mut self, chunk: &[u8], shown: &mut Vec<u8>) {
        let joined;
        let mut rest = if self.pending.is_empty() {
            chunk
        } else {
            joined = [self.pending.as_slice(), chunk].concat();
            self.pending.clear();
            &joined
        };
        loop {
            match str::from_utf8(rest) {
                Ok(text) => return push_text(text, shown),
                Err(error) => {
                    let (valid, after) = rest.split_at(error.valid_up_to());
                    push_text(str::from_utf8(valid).expect("from_utf8 said so"), shown);
                    let Some(invalid_bytes) = error.error_len() else {
                        self.pending.extend_from_slice(after);
                        return;
                    };
                    push_bytes(&after[..invalid_bytes], shown);
                    rest = &after[invalid_bytes..];
                }
            }
        }
    }

    /// Appends what still waited for its end, which will not come.
    pub fn finish(&mut self, shown: &mut Vec<u8>) {
        push_bytes(&self.pending, shown);
        self.pending.clear();
    }
}

/// `text` with everything escaped that could act on a terminal, newline and tab too: for a name inside a message.
pub fn escape_name(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for letter in text.chars() {
        if matches!(letter, '\n' | '\t') || acts_on_terminal(letter) {
            push_letter(letter, &mut shown);
        } else {
            shown.push(letter);
        }
    }
    shown
}

/// Whether a terminal might do something other than show `letter`.
pub(super) fn acts_on_terminal(letter: char) -> bool {
    match letter {
        '\n' | '\t' => false,
        '\u{0}'..='\u{1f}' | '\u{7f}'..='\u{9f}' => true,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
            true
        }
        _ => false,
    }
}

fn push_text(text: &str, shown: &mut Vec<u8>) {
    let mut rest = text;
    while let Some((index, letter)) = rest
        .char_indices()
        .find(|(_, letter)| acts_on_terminal(*letter))
    {
        shown.extend_from_slice(&rest.as_bytes()[..index]);
        let mut escaped = String::new();
        push_letter(letter, &mut escaped);
        shown.extend_from_slice(escaped.as_bytes());
        rest = &rest[index + letter.len_utf8()..];
    }
    shown.extend_from_slice(rest.as_bytes());
}

fn push_letter(letter: char, shown: &mut String) {
    let code = u32::from(letter);
    let written = if letter.is_ascii() {
        write!(shown, "\\x{code:02x}")
    } else {
        write!(shown, "\\u{{{code:x}}}")
    };
    written.expect("a String takes every text");
}

fn push_bytes(bytes: &[u8], shown: &mut Vec<u8>) {
    for byte in bytes {
        shown.extend_from_slice(format!("\\x{byte:02x}").as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(chunks: &[&[u8]]) -> String {
        let (mut escaper, mut shown) = (Escaper::new(), Vec::new());
        for chunk in chunks {
            escaper.push(chunk, &mut shown);
            assert!(escaper.pending.len() <= 3);
        }
        escaper.finish(&mut shown);
        String::from_utf8(shown).unwrap()
    }

    #[test]
    fn what_acts_on_a_terminal_is_shown_instead() {
        for (poem, expected) in [
            (b"tab\tand\nnewline".as_slice(), "tab\tand\nnewline"),
            (b"\x1b]0;title\x07", r"\x1b]0;title\x07"),
            (b"\x1b[2J", r"\x1b[2J"),
            (b"over\rwritten\x7f", r"over\x0dwritten\x7f"),
            ("c1 \u{9b}2J \u{85}".as_bytes(), r"c1 \u{9b}2J \u{85}"),
            (b"raw c1 \x9b2J", r"raw c1 \x9b2J"),
            (
                "\u{202e}mirror\u{2069}\u{200f}\u{61c}".as_bytes(),
                r"\u{202e}mirror\u{2069}\u{200f}\u{61c}",
            ),
            (b"\xff\xfe cut \xe2\x82", r"\xff\xfe cut \xe2\x82"),
            ("naïve café 诗 🌙".as_bytes(), "naïve café 诗 🌙"),
        ] {
            assert_eq!(shown(&[poem]), expected);
        }
    }

    #[test]
    fn a_character_may_be_cut_anywhere() {
        assert_eq!(shown(&[b"\xf0\x9f", b"\x8c", b"\x99!"]), "🌙!");
        assert_eq!(shown(&[b"\xc2", b"\x9b2J"]), r"\u{9b}2J");
        assert_eq!(shown(&[b"\xe2\x80", b"x"]), r"\xe2\x80x");
    }

    #[test]
    fn names_stay_on_one_line() {
        assert_eq!(escape_name("a\nb\x1b[m"), r"a\x0ab\x1b[m");
    }

    proptest! {
        #[test]
        fn where_a_poem_is_cut_makes_no_difference(poem in any::<Vec<u8>>(), cuts in any::<Vec<prop::sample::Index>>()) {
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(poem.len() + 1)).collect();
            cuts.extend([0, poem.len()]);
            cuts.sort_unstable();
            let chunks: Vec<&[u8]> = cuts.windows(2).map(|cut| &poem[cut[0]..cut[1]]).collect();
            let whole = shown(&[&poem]);
            prop_assert_eq!(&shown(&chunks), &whole);
            prop_assert!(!whole.chars().any(acts_on_terminal));
        }
    }
}
