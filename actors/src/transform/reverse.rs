//! `reverse`: the last line first.
//!
//! Lines are bytes between newlines, whatever they are. A last line without a newline gets one, and the new last line
//! has none: the poem is as long as before. Nothing is gibberish.

use super::{Transform, lines_of};

pub(super) const TRANSFORM: Transform = Transform {
    name: "reverse",
    about: "the last line first",
    engine: |poem| {
        let (lines, is_ended) = lines_of(poem);
        let lines: Vec<_> = lines.rev().collect();
        let mut answer = lines.join(&b'\n');
        answer.extend(is_ended.then_some(b'\n'));
        Ok(answer)
    },
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twice_is_the_poem_again() {
        for poem in ["", "\n", "a", "a\nb", "a\nb\n", "\n\na\r\n", "a\n\nb\n"] {
            let once = TRANSFORM.apply(poem.as_bytes()).unwrap();
            assert_eq!(once.len(), poem.len());
            assert_eq!(TRANSFORM.apply(&once).unwrap(), poem);
        }
        assert_eq!(TRANSFORM.apply(b"a\nb\xff\n").unwrap(), &b"b\xff\na\n"[..]);
    }
}
