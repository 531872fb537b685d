//! Which processes a rule is about. Pure: names in, yes or no out.

use std::fmt;

/// The names a process goes by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Names<'a> {
    /// `root/poems/ecstasy`; a dynamic child ends in its number.
    pub(crate) path: &'a str,
    /// What a dynamic child was started from.
    pub(crate) template: Option<&'a str>,
    /// The actor's type, as `std::any::type_name` says it.
    pub(crate) actor: &'a str,
}

/// What stands before the colon of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pattern {
    text: Box<str>,
    /// The segments, and whether the first is the root; or one word for any of a process's own names.
    form: Form,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Form {
    Word(Box<str>),
    Path {
        segments: Vec<Box<str>>,
        is_rooted: bool,
    },
}

impl Pattern {
    /// `None` if a path has an empty segment.
    pub(crate) fn new(text: &str) -> Option<Self> {
        let form = if text.contains('/') {
            let (is_rooted, rest) = match text.strip_prefix('/') {
                Some(rest) => (true, rest),
                None => (false, text),
            };
            let segments: Vec<Box<str>> = rest.split('/').map(Box::from).collect();
            if segments.iter().any(|segment| segment.is_empty()) {
                return None;
            }
            Form::Path {
                segments,
                is_rooted,
            }
        } else if text == "**" {
            Form::Word("*".into())
        } else {
            Form::Word(text.to_lowercase().into())
        };
        Some(Self {
            text: text.into(),
            form,
        })
    }

    pub(crate) fn matches(&self, names: Names<'_>) -> bool {
        let path: Vec<&str> = names.path.split('/').collect();
        match &self.form {
            Form::Word(word) => {
                let own = path.last().copied();
                [own, names.template, Some(short_type(names.actor))]
                    .into_iter()
                    .flatten()
                    .any(|name| matches_letters(word, &name.to_lowercase()))
            }
            Form::Path {
                segments,
                is_rooted,
            } => {
                let by_template = names.template.map(|template| {
                    let mut path = path.clone();
                    path.pop();
                    path.push(template);
                    path
                });
                [Some(path), by_template]
                    .into_iter()
                    .flatten()
                    .any(|path| matches_path(segments, *is_rooted, &path))
            }
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// `byron_actors::connection::Connection<T>` is a `Connection`.
fn short_type(actor: &str) -> &str {
    let plain = actor.split('<').next().unwrap_or(actor);
    plain.rsplit("::").next().unwrap_or(plain)
}

fn matches_path(segments: &[Box<str>], is_rooted: bool, path: &[&str]) -> bool {
    let begins = if is_rooted { 1 } else { path.len() };
    (0..begins).any(|begin| matches_segments(segments, &path[begin..]))
}

/// Counts on [`parse`](super::parse)'s limit on the length of a pattern.
fn matches_segments(segments: &[Box<str>], path: &[&str]) -> bool {
    let Some((first, rest)) = segments.split_first() else {
        return path.is_empty();
    };
    if &**first == "**" {
        return (0..=path.len()).any(|skip| matches_segments(rest, &path[skip..]));
    }
    path.split_first()
        .is_some_and(|(name, below)| matches_letters(first, name) && matches_segments(rest, below))
}

/// `*` and `?`, in time proportional to both lengths multiplied: the last star is all there is to come back to.
fn matches_letters(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), name.chars().collect());
    let (mut at, mut in_name) = (0, 0);
    let mut star = None;
    while in_name < name.len() {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at, in_name));
                at += 1;
            }
            Some(letter) if *letter == '?' || *letter == name[in_name] => {
                at += 1;
                in_name += 1;
            }
            _ => match &mut star {
                Some((star, taken)) => {
                    *taken += 1;
                    (at, in_name) = (*star + 1, *taken);
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|letter| *letter == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, path: &str, template: Option<&str>) -> bool {
        let names = Names {
            path,
            template,
            actor: "byron_actors::connection::Connection<a::Tls>",
        };
        Pattern::new(pattern).expect("a pattern").matches(names)
    }

    #[test]
    fn a_word_is_any_of_a_process_own_names() {
        for pattern in [
            "17",
            "reader",
            "connection",
            "CONNECTION",
            "re*",
            "1?",
            "*",
            "**",
        ] {
            assert!(
                matches(pattern, "root/readers/17", Some("Reader")),
                "{pattern}"
            );
        }
        for pattern in ["readers", "root", "tls", "connect", "1??", ""] {
            assert!(
                !matches(pattern, "root/readers/17", Some("Reader")),
                "{pattern}"
            );
        }
    }

    #[test]
    fn a_path_is_compared_from_any_segment_to_the_end() {
        let path = "root/poems/ecstasy/server";
        for pattern in [
            "poems/*/server",
            "ecstasy/server",
            "/root/**",
            "/**",
            "poems/**",
            "/root/**/server",
            "**/server",
            "*/s?rver",
        ] {
            assert!(matches(pattern, path, None), "{pattern}");
        }
        for pattern in [
            "poems/*",
            "/poems/**",
            "poems/server",
            "root/poems",
            "/server",
            "ecstasy/Server",
            "/root/*",
        ] {
            assert!(!matches(pattern, path, None), "{pattern}");
        }
    }

    #[test]
    fn a_dynamic_child_ends_in_its_number_or_its_template() {
        for pattern in [
            "readers/17",
            "readers/reader",
            "/root/readers/*",
            "readers/**",
        ] {
            assert!(
                matches(pattern, "root/readers/17", Some("reader")),
                "{pattern}"
            );
        }
        assert!(!matches("readers/reader", "root/readers/17", None));
    }

    #[test]
    fn stars_do_not_make_it_slow() {
        let pattern = "*a".repeat(100) + "b";
        assert!(!matches_letters(&pattern, &"a".repeat(10_000)));
    }

    #[test]
    fn an_empty_segment_is_no_pattern() {
        for pattern in ["a//b", "a/", "/", "//a"] {
            assert_eq!(Pattern::new(pattern), None, "{pattern}");
        }
    }
}
