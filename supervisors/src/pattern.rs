//! Patterns over paths: `poems/*`. Pure, but for [`find`], which looks at the trees.

use std::fmt;
use std::str::FromStr;

use crate::path::Path;
use crate::snapshot;

/// A path with wildcards.
///
/// | in a pattern | stands for |
/// | --- | --- |
/// | `*` | any characters of one id, none too |
/// | `?` | any one character of an id |
/// | `**` between slashes | any number of ids, none too; at the end at least one: everything below |
/// | anything else | itself |
///
/// ```
/// # use byron_supervisors::{Path, Pattern};
/// let path: Path = "byron/ecstasy/listeners/listener-0".parse()?;
/// for pattern in ["byron/ecstasy/*/*", "**/listener-?", "byron/**", "byron/**/listener*"] {
///     assert!(pattern.parse::<Pattern>()?.matches(&path), "{pattern}");
/// }
/// assert!(!"byron/*".parse::<Pattern>()?.matches(&path));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    text: Box<str>,
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    /// `**`
    Ids,
    /// One id, with or without wildcards.
    Id(Vec<char>),
}

/// The text is not a pattern: a part between two `/` is empty.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a path or a pattern; expected ids with `/` between them, such as `poems/*` or `root/poems/ecstasy`"
)]
pub struct ParsePatternError(String);

impl FromStr for Pattern {
    type Err = ParsePatternError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let part = |part: &str| match part {
            "" => Err(ParsePatternError(text.to_owned())),
            "**" => Ok(Part::Ids),
            id => Ok(Part::Id(id.chars().collect())),
        };
        let mut parts = text.split('/').map(part).collect::<Result<Vec<_>, _>>()?;
        if parts.last() == Some(&Part::Ids) {
            // At least one.
            parts.push(Part::Id(vec!['*']));
        }
        Ok(Self {
            text: text.into(),
            parts,
        })
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Pattern {
    /// Whether it says more than one place can be meant.
    pub fn is_glob(&self) -> bool {
        self.parts.iter().any(|part| match part {
            Part::Ids => true,
            Part::Id(id) => id.iter().any(|letter| matches!(letter, '*' | '?')),
        })
    }

    /// Whether the path is one of those that it stands for. An id may itself hold a `/`: it is then as good as two.
    pub fn matches(&self, path: &Path) -> bool {
        self.matches_text(&path.to_string())
    }

    fn matches_text(&self, path: &str) -> bool {
        let ids: Vec<_> = path.split('/').map(|id| id.chars().collect()).collect();
        matches(
            &self.parts,
            &ids,
            |part| *part == Part::Ids,
            |part, id: &Vec<char>| match part {
                Part::Ids => true,
                Part::Id(pattern) => matches(
                    pattern,
                    id,
                    |letter| *letter == '*',
                    |wanted, letter| *wanted == '?' || wanted == letter,
                ),
            },
        )
    }
}

/// Whether a list is what a pattern says, whose wildcards stand for any number of items. Takes as many steps as the
/// product of the two lengths at the most: when a try fails, only the last wildcard has to take one more.
fn matches<P, I>(
    pattern: &[P],
    items: &[I],
    is_wild: impl Fn(&P) -> bool,
    is_same: impl Fn(&P, &I) -> bool,
) -> bool {
    let (mut at, mut item) = (0, 0);
    // Where to go on if this fails: behind the last wildcard, with one more item for it.
    let mut again: Option<(usize, usize)> = None;
    while item < items.len() {
        match pattern.get(at) {
            Some(part) if is_wild(part) => {
                again = Some((at + 1, item));
                at += 1;
            }
            Some(part) if is_same(part, &items[item]) => (at, item) = (at + 1, item + 1),
            _ => {
                let Some((behind, taken)) = again else {
                    return false;
                };
                again = Some((behind, taken + 1));
                (at, item) = (behind, taken + 1);
            }
        }
    }
    pattern[at..].iter().all(is_wild)
}

/// The places of the running trees that a pattern stands for, in the order of the trees; also dynamic children that a
/// [`snapshot`](crate::snapshot()) does not show.
///
/// The root's id may be left out: a pattern that no place matches as it stands is tried below each root.
pub fn find(pattern: &Pattern) -> Vec<Path> {
    let all = snapshot::places();
    let whole = all.iter().filter(|path| pattern.matches(path));
    let found: Vec<_> = whole.cloned().collect();
    if !found.is_empty() {
        return found;
    }
    let below = |path: &Path| {
        let text = path.to_string();
        let root = path.lineage()[0].to_string();
        text.strip_prefix(&root)
            .and_then(|rest| rest.strip_prefix('/'))
            .is_some_and(|rest| pattern.matches_text(rest))
    };
    all.into_iter().filter(below).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert_eq, proptest};

    use super::*;

    fn does_match(pattern: &str, path: &str) -> bool {
        let pattern: Pattern = pattern.parse().expect("a pattern");
        pattern.matches_text(path)
    }

    #[test]
    fn a_pattern_matches_what_its_table_says() {
        let table = [
            ("a/b", "a/b", true),
            ("a/b", "a/bc", false),
            ("a/b", "a", false),
            ("a", "a/b", false),
            ("*", "a", true),
            ("*", "a/b", false),
            ("a/*", "a/b", true),
            ("a/*/c", "a/b/c", true),
            ("a/l*-0-*", "a/listener-0-127.0.0.1", true),
            ("a/l*-1-*", "a/listener-0-127.0.0.1", false),
            ("a/?", "a/b", true),
            ("a/?", "a/bc", false),
            ("**", "a", true),
            ("**", "a/b/c", true),
            ("a/**", "a/b", true),
            ("a/**", "a/b/c", true),
            ("a/**", "a", false),
            ("**/c", "c", true),
            ("**/c", "a/b/c", true),
            ("**/c", "a/c/b", false),
            ("a/**/c", "a/c", true),
            ("a/**/c", "a/b/b/c", true),
            ("a/**/b/*", "a/x/b/y/b/z", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
        ];
        for (pattern, path, wanted) in table {
            assert_eq!(does_match(pattern, path), wanted, "{pattern} and {path}");
        }
    }

    #[test]
    fn an_empty_part_is_refused_with_the_text_that_has_it() {
        for text in ["", "/", "a/", "/a", "a//b"] {
            let error = text.parse::<Pattern>().expect_err("a part is empty");
            assert!(
                error
                    .to_string()
                    .starts_with(&format!("`{text}` is not a path"))
            );
        }
    }

    #[test]
    fn a_long_pattern_of_wildcards_takes_no_longer_than_it_is_long() {
        let pattern = "*a".repeat(200);
        assert!(!does_match(
            &pattern,
            &"a".repeat(10_000).replace("aa", "ab")
        ));
    }

    proptest! {
        #[test]
        fn it_says_what_the_definition_says(pattern in "[ab*?]{1,6}(/([ab*?]{1,3}|\\*\\*)){0,3}", path in "[ab]{1,4}(/[ab]{1,3}){0,4}") {
            let is_match = naive_path(&pattern.split('/').collect::<Vec<_>>(), &path.split('/').collect::<Vec<_>>());
            prop_assert_eq!(does_match(&pattern, &path), is_match);
        }
    }

    fn naive_path(pattern: &[&str], path: &[&str]) -> bool {
        match pattern {
            [] => path.is_empty(),
            ["**"] => !path.is_empty(),
            ["**", rest @ ..] => (0..=path.len()).any(|taken| naive_path(rest, &path[taken..])),
            [id, rest @ ..] => {
                !path.is_empty()
                    && naive_id(id.as_bytes(), path[0].as_bytes())
                    && naive_path(rest, &path[1..])
            }
        }
    }

    fn naive_id(pattern: &[u8], id: &[u8]) -> bool {
        match pattern {
            [] => id.is_empty(),
            [b'*', rest @ ..] => (0..=id.len()).any(|taken| naive_id(rest, &id[taken..])),
            [b'?', rest @ ..] => !id.is_empty() && naive_id(rest, &id[1..]),
            [letter, rest @ ..] => id.first() == Some(letter) && naive_id(rest, &id[1..]),
        }
    }
}
