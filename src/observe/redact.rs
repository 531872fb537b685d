//! What is left out of a file that a person sends to others: where he lives, and who his readers are.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use serde_json::Value;

/// Replaces, everywhere in JSON, the home directory by `~`, and addresses of other machines by `address-1`, `address-2`, …:
/// the same one always by the same word.
#[derive(Debug, Default)]
pub struct Redactor {
    home: Option<String>,
    addresses: HashMap<IpAddr, usize>,
}

impl Redactor {
    /// For someone whose home is there.
    pub fn new(home: Option<String>) -> Redactor {
        Redactor {
            home: home.filter(|home| home.trim_matches('/').len() > 1),
            addresses: HashMap::new(),
        }
    }

    /// Redacts every text in a value; keys are the program's own.
    pub fn redact(&mut self, value: &mut Value) {
        match value {
            Value::String(text) => *text = self.text(text),
            Value::Array(values) => values.iter_mut().for_each(|value| self.redact(value)),
            Value::Object(entries) => entries.values_mut().for_each(|value| self.redact(value)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    fn text(&mut self, text: &str) -> String {
        let text = match &self.home {
            Some(home) => text.replace(home.trim_end_matches('/'), "~"),
            None => text.to_owned(),
        };
        let is_part = |letter: char| letter.is_ascii_hexdigit() || ".:[]".contains(letter);
        let mut redacted = String::new();
        let mut rest = text.as_str();
        while !rest.is_empty() {
            let end = rest.find(|letter| !is_part(letter)).unwrap_or(rest.len());
            let (word, behind) = rest.split_at(end);
            redacted += &self.word(word);
            let next = behind.chars().next().map_or(0, char::len_utf8);
            redacted += &behind[..next];
            rest = &behind[next..];
        }
        redacted
    }

    /// A word of letters that an address can have; whatever ends a sentence is no part of it.
    fn word(&mut self, word: &str) -> String {
        let bare = word.trim_end_matches(['.', ':']);
        let end = &word[bare.len()..];
        // `::` ends in what was taken for the end of a sentence.
        for (bare, end) in [(word, ""), (bare, end)] {
            if let Ok(address) = bare.parse::<SocketAddr>() {
                return match self.name(address.ip()) {
                    Some(name) => format!("{name}:{}{end}", address.port()),
                    None => word.to_owned(),
                };
            }
            let inside = bare.trim_start_matches('[').trim_end_matches(']');
            if let Ok(address) = inside.parse::<IpAddr>() {
                return match self.name(address) {
                    Some(name) => format!("{name}{end}"),
                    None => word.to_owned(),
                };
            }
        }
        word.to_owned()
    }

    /// None for this machine, whichever it is.
    fn name(&mut self, address: IpAddr) -> Option<String> {
        if address.is_loopback() || address.is_unspecified() {
            return None;
        }
        let next = self.addresses.len() + 1;
        let number = *self.addresses.entry(address).or_insert(next);
        Some(format!("address-{number}"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn homes_and_other_machines_are_replaced_and_this_one_is_not() {
        let mut redactor = Redactor::new(Some("/home/john".to_owned()));
        let mut value = json!({
            "command_line": ["byron", "serve", "/home/john/poems/a.txt"],
            "reason": {"text": "reset by 192.0.2.7:4242, then 192.0.2.7. And [2001:db8::1]:80"},
            "at": "127.0.0.1:10000",
            "any": "[::]:80 and ::1",
            "file": "src/serve.rs:88:17",
            "path": "byron/ecstasy-1/listeners/listener-0-10.0.0.1",
            "seq": 918,
        });
        redactor.redact(&mut value);
        assert_eq!(
            value,
            json!({
                "command_line": ["byron", "serve", "~/poems/a.txt"],
                "reason": {"text": "reset by address-2:4242, then address-2. And address-3:80"},
                "at": "127.0.0.1:10000",
                "any": "[::]:80 and ::1",
                "file": "src/serve.rs:88:17",
                "path": "byron/ecstasy-1/listeners/listener-0-address-1",
                "seq": 918,
            })
        );
    }

    #[test]
    fn a_root_directory_as_home_redacts_nothing() {
        let mut redactor = Redactor::new(Some("/".to_owned()));
        let mut value = json!("/etc/passwd");
        redactor.redact(&mut value);
        assert_eq!(value, json!("/etc/passwd"));
    }
}
