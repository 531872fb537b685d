//! `--json`: one event per line, for programs.
//!
//! Every line has `v`, the version of this format, and `event`. Keys may be added to a version; none is removed or changes
//! its meaning. `poem` is `{"text":…}`, or `{"bytes":"<base64>"}` if it is not UTF-8. Characters that could act on a terminal
//! are written as `\u` escapes, which mean the same to every reader of JSON.

use std::io::{self, Write};
use std::time::Duration;

use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::ser::Formatter;

use super::escape::acts_on_terminal;

/// The version of the format.
pub const VERSION: u8 = 1;

/// One line of `--json`; tasks are numbered from 1, as people count arguments.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "event", rename_all = "lowercase")]
#[expect(
    missing_docs,
    reason = "the fields are the keys of the format, the same in every variant"
)]
pub enum Event<'a> {
    /// A task begins. Only with `--json=events`, like the next three.
    Start { task: usize, target: &'a str },
    /// A connection stands; `peer_addr` is the address that answered.
    Connected {
        task: usize,
        target: &'a str,
        peer_addr: &'a str,
        attempt: u32,
    },
    /// `bytes` more of the poem, `total` in all.
    Chunk {
        task: usize,
        target: &'a str,
        bytes: u64,
        total: u64,
    },
    /// A transform of the poem was made, or left it as it was.
    Transformed {
        task: usize,
        target: &'a str,
        #[serde(flatten)]
        transform: &'a Transform,
    },
    /// An attempt failed and another follows after `delay_s`.
    Retry {
        task: usize,
        target: &'a str,
        kind: &'a str,
        attempt: u32,
        delay_s: Seconds,
        message: &'a str,
    },
    /// A task ended without its poem.
    Failed {
        task: usize,
        target: &'a str,
        kind: &'a str,
        attempts: u32,
        bytes: u64,
        elapsed_s: Seconds,
        message: &'a str,
    },
    /// A task ended with its poem.
    Poem {
        task: usize,
        target: &'a str,
        bytes: u64,
        sha256: &'a str,
        attempts: u32,
        elapsed_s: Seconds,
        end: &'a str,
        #[serde(skip_serializing_if = "<[_]>::is_empty")]
        transforms: &'a [Transform],
        poem: PoemBytes<'a>,
    },
    /// The last line.
    Summary {
        ok: usize,
        failed: usize,
        bytes: u64,
        elapsed_s: Seconds,
        exit: u8,
    },
}

/// A transform that a poem went through.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Transform {
    /// Its label.
    pub transform: String,
    /// Whether it was made; if not, the poem stayed as it was.
    pub ok: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// A span of time in seconds, to the millisecond.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seconds(pub Duration);

/// The bytes of a poem: text if they are, base64 otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoemBytes<'a>(pub &'a [u8]);

/// Writes `event` as one line.
pub fn write_event(event: &Event<'_>, out: &mut impl Write) -> io::Result<()> {
    #[derive(Serialize)]
    struct Line<'a> {
        v: u8,
        #[serde(flatten)]
        event: &'a Event<'a>,
    }
    out.write_all(line(&Line { v: VERSION, event })?.as_bytes())?;
    out.flush()
}

/// Any value as one line of JSON, its newline included.
///
/// # Errors
/// The value has no form in JSON.
pub fn line(value: &impl Serialize) -> serde_json::Result<String> {
    let mut line = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut line, TerminalSafe);
    value.serialize(&mut serializer)?;
    line.push(b'\n');
    Ok(String::from_utf8(line).expect("JSON is UTF-8"))
}

impl Serialize for Seconds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let milliseconds = (self.0 + Duration::from_micros(500)).as_millis();
        serializer.serialize_f64(milliseconds as f64 / 1000.0)
    }
}

impl Serialize for PoemBytes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        match str::from_utf8(self.0) {
            Ok(text) => map.serialize_entry("text", text)?,
            Err(_) => map.serialize_entry(
                "bytes",
                &format_args!("{}", Base64Display::new(self.0, &STANDARD)),
            )?,
        }
        map.end()
    }
}

/// Compact, with everything escaped that a terminal would act on; JSON itself asks for that below U+0020 only.
struct TerminalSafe;

impl Formatter for TerminalSafe {
    fn write_string_fragment<W: Write + ?Sized>(
        &mut self,
        out: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut rest = fragment;
        while let Some((index, letter)) = rest
            .char_indices()
            .find(|(_, letter)| acts_on_terminal(*letter))
        {
            out.write_all(&rest.as_bytes()[..index])?;
            write!(out, "\\u{:04x}", u32::from(letter))?;
            rest = &rest[index + letter.len_utf8()..];
        }
        out.write_all(rest.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(event: &Event<'_>) -> String {
        let mut out = Vec::new();
        write_event(event, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn poem(bytes: &[u8]) -> Event<'_> {
        Event::Poem {
            task: 1,
            target: "127.0.0.1:10001",
            bytes: 615,
            sha256: "9c1e",
            attempts: 1,
            elapsed_s: Seconds(Duration::from_millis(43_400)),
            end: "eof",
            transforms: &[],
            poem: PoemBytes(bytes),
        }
    }

    #[test]
    fn lines_are_the_documented_ones() {
        let failed = Event::Failed {
            task: 2,
            target: "127.0.0.1:10003",
            kind: "refused",
            attempts: 3,
            bytes: 0,
            elapsed_s: Seconds(Duration::from_micros(609_700)),
            message: "connection refused",
        };
        assert_eq!(
            written(&failed),
            r#"{"v":1,"event":"failed","task":2,"target":"127.0.0.1:10003","kind":"refused","attempts":3,"bytes":0,"elapsed_s":0.61,"message":"connection refused"}
"#
        );
        assert_eq!(
            written(&poem(b"...")),
            r#"{"v":1,"event":"poem","task":1,"target":"127.0.0.1:10001","bytes":615,"sha256":"9c1e","attempts":1,"elapsed_s":43.4,"end":"eof","poem":{"text":"..."}}
"#
        );
        let summary = Event::Summary {
            ok: 1,
            failed: 1,
            bytes: 615,
            elapsed_s: Seconds(Duration::from_millis(43_400)),
            exit: 1,
        };
        assert_eq!(
            written(&summary),
            r#"{"v":1,"event":"summary","ok":1,"failed":1,"bytes":615,"elapsed_s":43.4,"exit":1}
"#
        );
    }

    #[test]
    fn events_have_their_own_lines() {
        let target = "127.0.0.1:10001";
        for (event, expected) in [
            (
                Event::Start { task: 1, target },
                r#"{"v":1,"event":"start","task":1,"target":"127.0.0.1:10001"}"#,
            ),
            (
                Event::Chunk {
                    task: 1,
                    target,
                    bytes: 10,
                    total: 410,
                },
                r#"{"v":1,"event":"chunk","task":1,"target":"127.0.0.1:10001","bytes":10,"total":410}"#,
            ),
        ] {
            assert_eq!(written(&event), format!("{expected}\n"));
        }
    }

    #[test]
    fn transforms_stand_before_the_poem() {
        let transforms = [
            Transform {
                transform: "byronify".to_owned(),
                ok: true,
                message: None,
            },
            Transform {
                transform: "shout@127.0.0.1:1".to_owned(),
                ok: false,
                message: Some("connection refused".to_owned()),
            },
        ];
        let mut poem = poem(b"...");
        if let Event::Poem { transforms: of, .. } = &mut poem {
            *of = &transforms;
        }
        let expected = r#""end":"eof","transforms":[{"transform":"byronify","ok":true},{"transform":"shout@127.0.0.1:1","ok":false,"message":"connection refused"}],"poem":{"text":"..."}}"#;
        assert!(
            written(&poem).ends_with(&format!("{expected}\n")),
            "{}",
            written(&poem)
        );
        let event = Event::Transformed {
            task: 1,
            target: "127.0.0.1:10001",
            transform: &transforms[0],
        };
        assert_eq!(
            written(&event),
            r#"{"v":1,"event":"transformed","task":1,"target":"127.0.0.1:10001","transform":"byronify","ok":true}
"#
        );
    }

    #[test]
    fn a_poem_that_is_not_utf8_is_base64() {
        assert!(written(&poem(b"\xff\xfe\xfd")).ends_with("\"poem\":{\"bytes\":\"//79\"}}\n"));
    }

    #[test]
    fn nothing_in_a_line_acts_on_a_terminal_and_nothing_is_lost() {
        let text = "\u{1b}[2J \u{9b}2J \u{202e}x\u{7f}\n\"quoted\" 🌙";
        let line = written(&poem(text.as_bytes()));
        assert!(!line.chars().any(acts_on_terminal), "{line}");
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["poem"]["text"], text);
    }
}
