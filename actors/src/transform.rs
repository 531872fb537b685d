//! Transforms: what makes another poem of a poem. Pure, and of no protocol.
//!
//! One file is one engine, with one entry in [`TRANSFORMS`]. A poem is bytes; what an engine does with bytes that are no
//! text is its own decision, written at its top. An engine is a function of the poem alone, takes time and memory in
//! proportion to it, and answers at most [`GROWTH_MAX`] times its length, and a little.
//!
//! To add one: a file here with a `TRANSFORM`, a `mod` line, an entry in the list.

mod byronify;
mod cummingsify;
mod lines;
mod reverse;
mod shout;

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;

/// Every transform of this program, in the order in which they are listed.
pub static TRANSFORMS: &[Transform] = &[
    cummingsify::TRANSFORM,
    byronify::TRANSFORM,
    lines::TRANSFORM,
    reverse::TRANSFORM,
    shout::TRANSFORM,
];

/// How many times longer than the poem an answer may be.
pub const GROWTH_MAX: usize = 8;

/// By how much an answer may be longer beside that, so that a very short poem has room too.
pub const GROWTH_BYTES: usize = 256;

/// One transform.
#[derive(Clone, Copy)]
pub struct Transform {
    /// Its name, as requests say it: lower-case letters, no dot.
    pub name: &'static str,
    /// What it does, in one line.
    pub about: &'static str,
    /// Makes another poem of a poem.
    pub engine: fn(&[u8]) -> Result<Vec<u8>, TransformError>,
}

impl fmt::Debug for Transform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Transform").field(&self.name).finish()
    }
}

/// There is no other poem to be made of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TransformError {
    /// The tutorial's GibberishError: it was no poem in the first place.
    #[error("gibberish: {0}")]
    Gibberish(Cow<'static, str>),
    /// The answer would be longer than an answer may be.
    #[error("the answer is {bytes} bytes long, more than {bytes_max}")]
    TooLong {
        /// How long.
        bytes: usize,
        /// How long at the most.
        bytes_max: usize,
    },
}

impl TransformError {
    pub(crate) fn gibberish(why: impl Into<Cow<'static, str>>) -> Self {
        Self::Gibberish(why.into())
    }
}

impl Transform {
    /// Makes another poem of a poem.
    ///
    /// # Errors
    /// It is no poem, or the answer is too long.
    pub fn apply(&self, poem: &[u8]) -> Result<Bytes, TransformError> {
        let answer = (self.engine)(poem)?;
        let bytes_max = poem
            .len()
            .saturating_mul(GROWTH_MAX)
            .saturating_add(GROWTH_BYTES);
        if answer.len() > bytes_max {
            return Err(TransformError::TooLong {
                bytes: answer.len(),
                bytes_max,
            });
        }
        Ok(answer.into())
    }
}

/// The transform of that name among [`TRANSFORMS`].
///
/// ```
/// let cummingsify = byron_actors::transform_named("cummingsify").unwrap();
/// assert_eq!(cummingsify.apply(b"HERE IS MY POEM").unwrap(), "here is my poem");
/// ```
pub fn transform_named(name: &str) -> Option<&'static Transform> {
    TRANSFORMS.iter().find(|transform| transform.name == name)
}

/// Changes what is text in a poem, and leaves the bytes that are not as they are.
fn map_text(poem: &[u8], change: impl Fn(&str) -> String) -> Vec<u8> {
    // Most poems are text from end to end, and are changed in one piece.
    if let Ok(text) = str::from_utf8(poem) {
        return change(text).into_bytes();
    }
    let mut answer = Vec::with_capacity(poem.len());
    for chunk in poem.utf8_chunks() {
        answer.extend_from_slice(change(chunk.valid()).as_bytes());
        answer.extend_from_slice(chunk.invalid());
    }
    answer
}

/// The lines of a poem without their ends, and whether the last one has an end.
fn lines_of(poem: &[u8]) -> (impl DoubleEndedIterator<Item = &[u8]>, bool) {
    let (body, is_ended) = match poem.strip_suffix(b"\n") {
        Some(body) => (body, true),
        None => (poem, false),
    };
    (body.split(|byte| *byte == b'\n'), is_ended)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_can_stand_in_a_request_and_are_found() {
        for transform in TRANSFORMS {
            assert!(
                transform.name.bytes().all(|byte| byte.is_ascii_lowercase()),
                "{transform:?}"
            );
            let found = transform_named(transform.name).unwrap();
            assert_eq!(found.about, transform.about, "two of one name");
        }
        assert!(transform_named("translate").is_none());
    }

    /// Every byte there is, long lines, many lines, and letters that grow.
    fn strange_poems() -> Vec<Vec<u8>> {
        let every: Vec<u8> = (0..=255).collect();
        vec![
            Vec::new(),
            b"\n".repeat(5000),
            b"x\n".repeat(5000),
            b"a ".repeat(5000),
            b"it is you\r\n".repeat(900),
            "\u{130}\u{df}\u{149}\u{1f82}\u{fb03} the \u{2019}"
                .repeat(700)
                .into_bytes(),
            every.repeat(20),
            b"\xff\xfe".repeat(4000),
            b"'".repeat(9000),
            b"The sea over the heaven is walked!\n".repeat(300),
        ]
    }

    #[test]
    fn no_poem_is_too_strange_and_no_answer_too_long() {
        for transform in TRANSFORMS {
            for poem in strange_poems() {
                match transform.apply(&poem) {
                    Ok(answer) => assert_eq!(transform.apply(&poem).unwrap(), answer),
                    Err(error) => assert!(
                        matches!(error, TransformError::Gibberish(_)),
                        "{transform:?}: {error}"
                    ),
                }
            }
        }
    }

    #[test]
    fn an_answer_beyond_the_limit_is_an_error() {
        let flood = Transform {
            name: "flood",
            about: "",
            engine: |poem| Ok(poem.repeat(1000)),
        };
        assert_eq!(
            flood.apply(b"poem").unwrap_err().to_string(),
            "the answer is 4000 bytes long, more than 288"
        );
    }
}
