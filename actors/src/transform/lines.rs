//! `lines`: the number of every fifth line in the margin, as editions have it.
//!
//! Lines of verse are counted, empty ones are not. The margin is as wide as the last number, and two spaces. Lines are
//! bytes between newlines, whatever they are. Nothing is gibberish.

use std::io::Write as _;

use super::{Transform, lines_of};

/// Which lines have their number in the margin.
const EVERY: usize = 5;

pub(super) const TRANSFORM: Transform = Transform {
    name: "lines",
    about: "the number of every fifth line in the margin",
    engine: |poem| Ok(number(poem)),
};

fn number(poem: &[u8]) -> Vec<u8> {
    let (lines, is_ended) = lines_of(poem);
    let lines: Vec<_> = lines.collect();
    let verses = lines.iter().filter(|line| is_verse(line)).count();
    let width = (verses - verses % EVERY).max(1).to_string().len();
    let mut answer = Vec::with_capacity(poem.len() + verses * (width + 2));
    let (mut verse, last) = (0, lines.len() - 1);
    for (at, line) in lines.into_iter().enumerate() {
        if is_verse(line) {
            verse += 1;
            let written = if verse % EVERY == 0 {
                write!(answer, "{verse:>width$}  ")
            } else {
                write!(answer, "{:width$}  ", "")
            };
            written.expect("memory takes every write");
        }
        answer.extend_from_slice(line);
        if at < last || is_ended {
            answer.push(b'\n');
        }
    }
    answer
}

fn is_verse(line: &[u8]) -> bool {
    !line.trim_ascii().is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fifth_verse_has_its_number() {
        let poem = "a\nb\n\nc\nd\ne\nf\ng\nh\ni\nj";
        let expected = "    a\n    b\n\n    c\n    d\n 5  e\n    f\n    g\n    h\n    i\n10  j";
        assert_eq!(TRANSFORM.apply(poem.as_bytes()).unwrap(), expected);
        assert_eq!(TRANSFORM.apply(b"").unwrap(), "");
        assert_eq!(TRANSFORM.apply(b"a\n").unwrap(), "   a\n");
    }
}
