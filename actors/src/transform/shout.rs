//! `shout`: upper case.
//!
//! Unicode's, so that a sharp s becomes two letters. Bytes that are no UTF-8 stay as they are. Nothing is gibberish.

use super::{Transform, map_text};

pub(super) const TRANSFORM: Transform = Transform {
    name: "shout",
    about: "upper case",
    engine: |poem| Ok(map_text(poem, str::to_uppercase)),
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_loud_and_other_bytes_are_not_touched() {
        let loud = TRANSFORM.apply("Straße \u{2019}tis\n".as_bytes()).unwrap();
        assert_eq!(loud, "STRASSE \u{2019}TIS\n");
        assert_eq!(TRANSFORM.apply(b"a\xe9b").unwrap(), &b"A\xe9B"[..]);
    }
}
