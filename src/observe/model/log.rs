//! One line of the log, as data: [`LogRecord`].

use std::fmt;

use jiff::Timestamp;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

/// What was written to the log, by the program or by one of its processes: one line of the log's JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LogRecord {
    /// When.
    pub ts: Timestamp,
    /// How urgent: `ERROR`, `WARN`, `INFO`, `DEBUG`, `TRACE`.
    pub level: String,
    /// Where the process that it is about stands in its tree.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Which incarnation of its place the process is, from 1.
    #[serde(default, rename = "inc", skip_serializing_if = "Option::is_none")]
    pub incarnation: Option<u64>,
    /// The event that it tells of: its number, or a word for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<Value>,
    /// What happened, in a sentence.
    pub msg: String,
    /// The part of the program that says it.
    #[serde(default)]
    pub target: String,
    /// What else is known, in the order in which it was said; keys of the line itself.
    #[serde(flatten)]
    pub fields: Fields,
}

impl LogRecord {
    /// The keys that are not fields.
    pub const OWN_KEYS: &[&str] = &["ts", "level", "path", "inc", "event", "msg", "target"];
}

/// Keys and values, in their order.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Fields(pub Vec<(String, Value)>);

impl Fields {
    /// The value under this key.
    pub fn value(&self, key: &str) -> Option<&Value> {
        let mut entries = self.0.iter();
        entries
            .find(|(known, _)| known == key)
            .map(|(_, value)| value)
    }

    /// The text under this key.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.value(key)?.as_str()
    }

    /// The number under this key.
    pub fn number(&self, key: &str) -> Option<u64> {
        self.value(key)?.as_u64()
    }
}

impl Serialize for Fields {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(key, value)| (key, value)))
    }
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Fields, D::Error> {
        struct Entries;

        impl<'de> Visitor<'de> for Entries {
            type Value = Fields;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Fields, M::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Fields(entries))
            }
        }

        deserializer.deserialize_map(Entries)
    }
}
