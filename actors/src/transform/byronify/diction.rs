//! Byron's words for other words: what a verse says, in his diction and with his contractions.
//!
//! Two words first (it is → 'tis), then one (over → o'er), then the ending (walked → walk'd). A word keeps the case that
//! it had: small, Capital or LOUD. You is thee at the end of a clause and after a preposition, thou before a verb that
//! has its form in the table, and ye elsewhere; your is thine before a vowel.

use std::borrow::Cow;

/// Two words with one space between them, in the order of the letters.
const PAIRS: &[(&str, &str)] = &[
    ("it is", "'tis"),
    ("it was", "'twas"),
    ("it were", "'twere"),
    ("it will", "'twill"),
    ("it would", "'twould"),
    ("you are", "thou art"),
    ("you can", "thou canst"),
    ("you could", "thou couldst"),
    ("you did", "thou didst"),
    ("you do", "thou dost"),
    ("you had", "thou hadst"),
    ("you have", "thou hast"),
    ("you may", "thou mayst"),
    ("you might", "thou mightst"),
    ("you must", "thou must"),
    ("you shall", "thou shalt"),
    ("you should", "thou shouldst"),
    ("you were", "thou wert"),
    ("you will", "thou wilt"),
    ("you would", "thou wouldst"),
];

/// One word, in the order of the letters.
const WORDS: &[(&str, &str)] = &[
    ("above", "o'er"),
    ("afternoon", "noontide"),
    ("against", "'gainst"),
    ("ago", "agone"),
    ("alive", "living"),
    ("among", "'mongst"),
    ("amongst", "'mongst"),
    ("anger", "ire"),
    ("angry", "wrathful"),
    ("anything", "aught"),
    ("army", "host"),
    ("away", "afar"),
    ("bad", "ill"),
    ("battle", "fray"),
    ("beautiful", "fair"),
    ("because", "since"),
    ("before", "ere"),
    ("beneath", "'neath"),
    ("between", "'twixt"),
    ("boat", "bark"),
    ("boy", "youth"),
    ("brave", "gallant"),
    ("coffin", "bier"),
    ("cup", "goblet"),
    ("dawn", "morn"),
    ("dead", "departed"),
    ("does", "doth"),
    ("enough", "enow"),
    ("even", "e'en"),
    ("evening", "eve"),
    ("ever", "e'er"),
    ("everyone", "all"),
    ("face", "visage"),
    ("flower", "flow'r"),
    ("foolish", "fond"),
    ("forest", "grove"),
    ("forever", "for e'er"),
    ("girl", "maid"),
    ("girls", "maids"),
    ("grave", "tomb"),
    ("happy", "blest"),
    ("has", "hath"),
    ("heaven", "heav'n"),
    ("horse", "steed"),
    ("horses", "steeds"),
    ("house", "hall"),
    ("kill", "slay"),
    ("killed", "slain"),
    ("lonely", "lone"),
    ("maybe", "perchance"),
    ("morning", "morn"),
    ("never", "ne'er"),
    ("nothing", "nought"),
    ("ocean", "deep"),
    ("often", "oft"),
    ("over", "o'er"),
    ("perhaps", "perchance"),
    ("power", "pow'r"),
    ("sad", "mournful"),
    ("sea", "main"),
    ("seas", "billows"),
    ("ship", "bark"),
    ("ships", "barks"),
    ("sky", "heav'n"),
    ("soldier", "warrior"),
    ("soldiers", "warriors"),
    ("soon", "anon"),
    ("sword", "blade"),
    ("taken", "ta'en"),
    ("think", "deem"),
    ("though", "tho'"),
    ("through", "thro'"),
    ("toward", "tow'rd"),
    ("towards", "tow'rds"),
    ("until", "till"),
    ("very", "most"),
    ("waves", "billows"),
    ("while", "whilst"),
    ("why", "wherefore"),
    ("wind", "gale"),
    ("winds", "gales"),
    ("woman", "dame"),
    ("woods", "groves"),
    ("yes", "aye"),
    ("yesterday", "yestereve"),
];

/// After one of these, you is thee.
const PREPOSITIONS: &[&str] = &[
    "about", "after", "at", "behind", "beside", "by", "for", "from", "in", "love", "loved", "near",
    "of", "on", "see", "than", "to", "unto", "upon", "with", "without",
];

/// Words in -ed whose e is not the ending's, or is spoken.
const SPOKEN: &[&str] = &[
    "beloved", "blessed", "crooked", "hundred", "kindred", "naked", "ragged", "rugged", "sacred",
    "wicked", "wretched",
];

enum Piece<'a> {
    Word(&'a str),
    Other(&'a str),
}

/// One verse.
pub(super) fn rewrite(verse: &str) -> String {
    let pieces = pieces(verse);
    let mut said = String::with_capacity(verse.len() + 8);
    let mut before = None;
    let mut at = 0;
    while let Some(piece) = pieces.get(at) {
        let (word, next) = match piece {
            Piece::Other(other) => {
                said.push_str(other);
                at += 1;
                continue;
            }
            Piece::Word(word) => (*word, Next::of(&pieces[at + 1..])),
        };
        let pair = match next {
            Next::Word(next) => find(PAIRS, &format!("{word} {next}").to_lowercase()),
            Next::End => None,
        };
        match pair {
            Some(one) => {
                said.push_str(&in_the_case_of(word, one));
                at += 3;
            }
            None => {
                said.push_str(&rewrite_word(word, before, next));
                at += 1;
            }
        }
        before = Some(word);
    }
    said
}

/// What follows a word.
#[derive(Clone, Copy)]
enum Next<'a> {
    /// A word, after one space.
    Word(&'a str),
    /// Something that ends a clause, or a verse.
    End,
}

impl<'a> Next<'a> {
    fn of(pieces: &[Piece<'a>]) -> Self {
        match pieces {
            [Piece::Other(" "), Piece::Word(word), ..] => Self::Word(word),
            _ => Self::End,
        }
    }
}

fn rewrite_word<'a>(word: &'a str, before: Option<&str>, next: Next<'_>) -> Cow<'a, str> {
    let small = word.to_lowercase();
    let is_addressed = |before: &str| PREPOSITIONS.contains(&before.to_lowercase().as_str());
    let other = match small.as_str() {
        "you" => match next {
            Next::Word(_) if !before.is_some_and(is_addressed) => Some("ye"),
            _ => Some("thee"),
        },
        "your" => match next {
            Next::Word(next) if begins_with_vowel(next) => Some("thine"),
            _ => Some("thy"),
        },
        "yours" => Some("thine"),
        "yourself" => Some("thyself"),
        small => find(WORDS, small),
    };
    match other {
        Some(other) => in_the_case_of(word, other).into(),
        None => unspoken(word, &small).map_or(word.into(), Cow::from),
    }
}

/// The word without the e of its ending, if that is not spoken: not after t and d, nor where it is part of the stem.
fn unspoken(word: &str, small: &str) -> Option<String> {
    let stem = small.strip_suffix("ed")?;
    let last = *stem.as_bytes().last()?;
    let is_ending = stem.len() >= 3
        && word.is_ascii()
        && !matches!(last, b'e' | b't' | b'd' | b'i' | b'u')
        && stem.contains(['a', 'e', 'i', 'o', 'u', 'y'])
        && !SPOKEN.contains(&small);
    is_ending.then(|| format!("{}'{}", &word[..stem.len()], &word[word.len() - 1..]))
}

fn begins_with_vowel(word: &str) -> bool {
    word.starts_with(['a', 'e', 'i', 'o', 'u', 'A', 'E', 'I', 'O', 'U'])
}

fn find(table: &'static [(&str, &str)], word: &str) -> Option<&'static str> {
    let at = table.binary_search_by_key(&word, |(word, _)| word).ok()?;
    Some(table[at].1)
}

/// `other` in the case of `word`: small, Capital or LOUD.
fn in_the_case_of(word: &str, other: &str) -> String {
    let mut letters = word.chars().filter(|letter| letter.is_alphabetic());
    let is_capital = letters.next().is_some_and(char::is_uppercase);
    let has_more = letters.clone().next().is_some();
    if is_capital && has_more && letters.all(char::is_uppercase) {
        return other.to_uppercase();
    }
    if !is_capital {
        return other.to_owned();
    }
    let first = other.find(char::is_alphabetic).unwrap_or(0);
    let (before, from) = other.split_at(first);
    let (letter, rest) = from.split_at(1.min(from.len()));
    format!("{before}{}{rest}", letter.to_uppercase())
}

/// Words, with apostrophes between their letters, and what stands between words.
fn pieces(verse: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut rest = verse;
    while !rest.is_empty() {
        let word = word_len(rest);
        let other = rest.find(char::is_alphabetic).unwrap_or(rest.len());
        let (piece, left) = rest.split_at(word.max(other));
        pieces.push(match word {
            0 => Piece::Other(piece),
            _ => Piece::Word(piece),
        });
        rest = left;
    }
    pieces
}

/// How long the word is with which a text begins.
fn word_len(text: &str) -> usize {
    let mut end = 0;
    let mut letters = text.char_indices().peekable();
    while let Some((at, letter)) = letters.next() {
        let is_inside = matches!(letter, '\'' | '\u{2019}')
            && at > 0
            && letters.peek().is_some_and(|(_, next)| next.is_alphabetic());
        if !letter.is_alphabetic() && !is_inside {
            break;
        }
        end = at + letter.len_utf8();
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_are_in_order_and_say_nothing_twice() {
        for table in [PAIRS, WORDS] {
            assert!(
                table.windows(2).all(|pair| pair[0].0 < pair[1].0),
                "out of order: {:?}",
                table.windows(2).find(|pair| pair[0].0 >= pair[1].0)
            );
        }
    }

    #[test]
    fn words_become_his() {
        for (verse, expected) in [
            ("It is the sea", "'Tis the main"),
            ("IT WAS OVER", "'TWAS O'ER"),
            ("it  is", "it  is"),
            ("I never saw you, nor you me", "I ne'er saw thee, nor ye me"),
            ("with you and of you", "with thee and of thee"),
            (
                "You are your own, and your love's",
                "Thou art thine own, and thy love's",
            ),
            ("don't over-think", "don't o'er-deem"),
            ("\u{fc}ber over \u{2019}over", "\u{fc}ber o'er \u{2019}o'er"),
            ("", ""),
            ("1824; 36", "1824; 36"),
        ] {
            assert_eq!(rewrite(verse), expected, "{verse}");
        }
    }

    #[test]
    fn an_ending_that_is_not_spoken_loses_its_e() {
        for (word, expected) in [
            ("walked", "walk'd"),
            ("Mellowed", "Mellow'd"),
            ("LOVED", "LOV'D"),
            ("wanted", "wanted"),
            ("ended", "ended"),
            ("freed", "freed"),
            ("red", "red"),
            ("need", "need"),
            ("shred", "shred"),
            ("sacred", "sacred"),
            ("died", "died"),
            ("\u{fc}bed", "\u{fc}bed"),
        ] {
            assert_eq!(rewrite(word), expected);
        }
    }
}
