//! What is no poem. Lenient: a poem needs no rhyme and no metre, but words.
//!
//! - It has at least three words.
//! - At least half of what is not space is letters.
//! - At least half of its words can be said: none has more than twenty-four letters, and those of Latin letters have a vowel
//!   among them, or a y.
//! - It has no control characters but the ends of lines and tabs.

use super::super::TransformError;

const WORDS_MIN: usize = 3;

/// Longer words are in chemistry, not in poetry.
const WORD_LETTERS_MAX: usize = 24;

pub(super) fn check(text: &str) -> Result<(), TransformError> {
    let is_strange = |letter: &char| letter.is_control() && !matches!(letter, '\n' | '\r' | '\t');
    if let Some(letter) = text.chars().find(is_strange) {
        let code = u32::from(letter);
        return Err(TransformError::gibberish(format!(
            "the control character U+{code:04X}"
        )));
    }
    let words = || {
        text.split(|letter: char| !letter.is_alphabetic())
            .filter(|word| !word.is_empty())
    };
    let count = words().count();
    if count < WORDS_MIN {
        return Err(TransformError::gibberish(format!(
            "less than {WORDS_MIN} words"
        )));
    }
    let signs = text
        .chars()
        .filter(|letter| !letter.is_whitespace())
        .count();
    let letters = text.chars().filter(|letter| letter.is_alphabetic()).count();
    if 2 * letters < signs {
        return Err(TransformError::gibberish("more signs than letters"));
    }
    if 2 * words().filter(|word| can_be_said(word)).count() < count {
        return Err(TransformError::gibberish("words that nobody can say"));
    }
    Ok(())
}

fn can_be_said(word: &str) -> bool {
    let is_short = word.chars().nth(WORD_LETTERS_MAX).is_none();
    let has_vowel = word.contains(|letter: char| {
        !letter.is_ascii()
            || matches!(
                letter.to_ascii_lowercase(),
                'a' | 'e' | 'i' | 'o' | 'u' | 'y'
            )
    });
    is_short && has_vowel
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_poem_is_made_of_words_that_can_be_said() {
        let long = "a".repeat(25);
        for (text, why) in [
            ("", "less than 3 words"),
            ("Ozymandias", "less than 3 words"),
            ("1 2 3 4 5 6", "less than 3 words"),
            ("<a> = {b} + [c];", "more signs than letters"),
            ("xkcd qwrt zxcv hjkl", "words that nobody can say"),
            (&format!("{long} {long} my love"), ""),
            (
                &format!("{long} {long} {long} love"),
                "words that nobody can say",
            ),
            (
                "she walks\u{1b}[2J in beauty",
                "the control character U+001B",
            ),
            ("she walks in\0beauty", "the control character U+0000"),
            ("She walks in beauty", ""),
            ("Über allen Gipfeln", ""),
            ("Зимний вечер тих", ""),
            ("hmm, hush, my love", ""),
        ] {
            let found = check(text).err().map(|error| error.to_string());
            let expected = (!why.is_empty()).then(|| format!("gibberish: {why}"));
            assert_eq!(found, expected, "{text}");
        }
    }
}
