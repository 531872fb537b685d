//! `byronify`: a poem in Lord Byron's manner, by rules that anybody can follow with a pen.
//!
//! 1. **Diction** (`diction`): plain words become his words (the sea is the main, a horse a steed, perhaps is perchance),
//!    and whoever is addressed is ye, thou or thee.
//! 2. **Contractions** (`diction`): two words that his metre makes one ('tis, 'twas), and letters that it drops: o'er,
//!    ne'er, and the e of an ending that is not spoken, as in walk'd.
//! 3. **Apostrophes**: each stanza begins with an outcry, in turn Oh! Alas! Ah! Lo! And yet!
//! 4. **Exclamations**: each stanza ends with an exclamation mark, unless it ends with a question, and its first
//!    semicolon is a dash.
//! 5. **Ottava rima**, the stanza of Don Juan: the verses are gathered in stanzas of eight, set as its rhymes abababcc
//!    are: a at the margin, b indented by two, the couplet c by four. More than one stanza are numbered in Roman.
//!
//! A title (the first line, if a blank one follows) and a signature (the last one, if it begins with a dash) are no verses,
//! and stay as they are. Blank lines of the poem are not kept, nor is its own indentation. What is no UTF-8, and what is no poem (see `gibberish`)
//! is gibberish. Words are whatever Unicode calls letters, with apostrophes between them; only English ones are known.

mod diction;
mod gibberish;

use super::{Transform, TransformError};

pub(super) const TRANSFORM: Transform = Transform {
    name: "byronify",
    about: "in Lord Byron's manner: his words, his cries, his stanza",
    engine: |poem| {
        let text = str::from_utf8(poem).map_err(|error| {
            let place = error.valid_up_to();
            TransformError::gibberish(format!("no text at byte {place}"))
        })?;
        gibberish::check(text)?;
        Ok(byronify(text).into_bytes())
    },
};

/// The lines of a stanza.
const STANZA: usize = 8;

/// How far the verses of each rhyme are from the margin.
const INDENT: [&str; 3] = ["", "  ", "    "];

/// How stanzas begin, in turn.
const OUTCRIES: [&str; 5] = ["Oh!", "Alas!", "Ah!", "Lo!", "And yet!"];

fn byronify(text: &str) -> String {
    let (title, verses, signature) = parts(text);
    let verses: Vec<_> = verses.into_iter().map(diction::rewrite).collect();
    let stanzas = verses.len().div_ceil(STANZA);
    let mut poem = String::with_capacity(text.len() + text.len() / 4);
    if let Some(title) = title {
        poem.push_str(title);
        poem.push_str("\n\n");
    }
    for (at, verses) in verses.chunks(STANZA).enumerate() {
        if at > 0 {
            poem.push('\n');
        }
        if stanzas > 1 {
            poem.push_str(&roman(at + 1));
            poem.push('\n');
        }
        stanza(at, verses, &mut poem);
    }
    if let Some(signature) = signature {
        poem.push('\n');
        poem.push_str(signature);
        poem.push('\n');
    }
    poem
}

/// The title, the verses and the signature.
fn parts(text: &str) -> (Option<&str>, Vec<&str>, Option<&str>) {
    let mut lines = text.lines().map(str::trim);
    let (first, second) = (lines.next(), lines.next());
    let title = first.filter(|first| !first.is_empty() && second == Some(""));
    let verses = text.lines().skip(usize::from(title.is_some()));
    let mut verses: Vec<_> = verses
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    let signature = verses.pop_if(|last| last.starts_with(['-', '\u{2013}', '\u{2014}']));
    if verses.is_empty() {
        // All there is are verses.
        return (None, title.into_iter().chain(signature).collect(), None);
    }
    (title, verses, signature)
}

fn stanza(number: usize, verses: &[String], poem: &mut String) {
    let mut has_dash = false;
    for (at, verse) in verses.iter().enumerate() {
        poem.push_str(INDENT[rhyme(at, verses.len())]);
        if at == 0 {
            poem.push_str(OUTCRIES[number % OUTCRIES.len()]);
            poem.push(' ');
        }
        let verse = if at + 1 == verses.len() {
            exclaim(verse)
        } else {
            verse.clone()
        };
        match verse.split_once(';').filter(|_| !has_dash) {
            Some((before, after)) => {
                has_dash = true;
                poem.push_str(before);
                poem.push_str(" \u{2014}");
                poem.push_str(after);
            }
            None => poem.push_str(&verse),
        }
        poem.push('\n');
    }
}

/// Which rhyme the verse has in a stanza of so many: the last two of four and more are the couplet.
fn rhyme(at: usize, verses: usize) -> usize {
    if verses >= 4 && at + 2 >= verses {
        2
    } else {
        at % 2
    }
}

/// Ends a verse with an exclamation, inside the quotation marks if there are any.
fn exclaim(verse: &str) -> String {
    let inside = verse.trim_end_matches(['"', '\'', '\u{201d}', '\u{2019}', ')', ']']);
    let quotes = &verse[inside.len()..];
    if inside.ends_with(['!', '?']) {
        return verse.to_owned();
    }
    let bare = inside.trim_end_matches(['.', ',', ';', ':', '-', '\u{2014}', ' ']);
    if bare.is_empty() {
        return format!("{verse}!");
    }
    format!("{bare}!{quotes}")
}

/// A number as a stanza has it above it.
fn roman(mut number: usize) -> String {
    const DIGITS: [(usize, &str); 13] = [
        (1000, "M"),
        (900, "CM"),
        (500, "D"),
        (400, "CD"),
        (100, "C"),
        (90, "XC"),
        (50, "L"),
        (40, "XL"),
        (10, "X"),
        (9, "IX"),
        (5, "V"),
        (4, "IV"),
        (1, "I"),
    ];
    // Rome did not count further; and an M for every thousand would make long poems longer than they may be.
    if number >= 4000 {
        return number.to_string();
    }
    let mut text = String::new();
    for (value, digit) in DIGITS {
        while number >= value {
            number -= value;
            text.push_str(digit);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn byronify(poem: &str) -> String {
        String::from_utf8(TRANSFORM.apply(poem.as_bytes()).unwrap().into()).unwrap()
    }

    #[test]
    fn a_stanza_is_byrons() {
        let poem = "\
The sea is calm; you never walked over it.
It was often dark before the morning, perhaps.

Your horse is beautiful, and it is happy.
He looked for nothing, while I wanted you.
";
        let expected = "\
Oh! The main is calm \u{2014} ye ne'er walk'd o'er it.
  'Twas oft dark ere the morn, perchance.
    Thy steed is fair, and 'tis blest.
    He look'd for nought, whilst I wanted thee!
";
        assert_eq!(byronify(poem), expected);
    }

    #[test]
    fn eight_verses_are_a_stanza_and_stanzas_are_numbered() {
        let poem: String = (1..=10)
            .map(|at| format!("   verse number {at}\n"))
            .collect();
        let indents: Vec<_> = byronify(&poem)
            .lines()
            .map(|line| line.len() - line.trim_start().len())
            .collect();
        //           I                           -  II
        assert_eq!(indents, [0, 0, 2, 0, 2, 0, 2, 4, 4, 0, 0, 0, 2]);
        let said = byronify(&poem);
        assert!(said.starts_with("I\nOh! verse number 1\n"), "{said}");
        assert!(
            said.contains("    verse number 8!\n\nII\nAlas! verse number 9\n"),
            "{said}"
        );
    }

    #[test]
    fn a_title_and_a_signature_are_no_verses() {
        let poem = "The Sea\n\nIt is over.\nIt was the sea.\n\n-- Nobody over there\n";
        let expected = "The Sea\n\nOh! 'Tis o'er.\n  'Twas the main!\n\n-- Nobody over there\n";
        assert_eq!(byronify(poem), expected);
        assert_eq!(
            byronify("The sea over there\n\n"),
            "Oh! The main o'er there!\n"
        );
    }

    #[test]
    fn the_end_of_a_stanza_is_a_cry_unless_it_is_a_question() {
        for (verse, end) in [
            ("I am.", "I am!"),
            ("I am,", "I am!"),
            ("\"I am.\"", "\"I am!\""),
            ("am I?", "am I?"),
            ("am I?\"", "am I?\""),
            ("I am!", "I am!"),
            ("...", "...!"),
        ] {
            assert_eq!(exclaim(verse), end);
        }
    }

    #[test]
    fn numbers_are_roman_as_long_as_rome_counted() {
        for (number, text) in [
            (1, "I"),
            (4, "IV"),
            (49, "XLIX"),
            (1824, "MDCCCXXIV"),
            (4000, "4000"),
        ] {
            assert_eq!(roman(number), text);
        }
    }

    #[test]
    fn what_is_no_text_is_gibberish() {
        assert_eq!(
            TRANSFORM.apply(b"ab\xff").unwrap_err().to_string(),
            "gibberish: no text at byte 2"
        );
    }
}
