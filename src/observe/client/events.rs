//! Server-sent events, as they arrive: [`EventStream`].

use std::collections::VecDeque;
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::time::timeout;

use super::super::model::Line;
use super::super::protocol::End;
use super::{Client, ClientError};

/// How many bytes one event may have.
const EVENT_BYTES_MAX: usize = 8 * 1024 * 1024;

/// How long there may be silence: an instance says that it is alive three times as often.
const SILENCE_MAX: Duration = Duration::from_secs(45);

/// What an instance tells those who follow it.
#[derive(Debug, Clone, PartialEq)]
pub enum Told {
    /// Something happened, or something is missing.
    Line(Line),
    /// It ends.
    End(End),
}

/// The events of an instance, one after the other.
#[derive(Debug)]
pub struct EventStream {
    client: Client,
    body: Incoming,
    parser: Parser,
    ready: VecDeque<Told>,
    is_over: bool,
}

impl EventStream {
    pub(super) fn new(client: Client, body: Incoming) -> EventStream {
        EventStream {
            client,
            body,
            parser: Parser::default(),
            ready: VecDeque::new(),
            is_over: false,
        }
    }

    /// What messages call the instance.
    pub fn instance(&self) -> &str {
        self.client.instance()
    }

    /// The next one; `None` at the end, which comes without [`Told::End`] if the instance was killed.
    ///
    /// # Errors
    /// What comes is not to be understood, or nothing comes.
    pub async fn next(&mut self) -> Result<Option<Told>, ClientError> {
        loop {
            if let Some(told) = self.ready.pop_front() {
                return Ok(Some(told));
            }
            if self.is_over {
                return Ok(None);
            }
            let frame = match timeout(SILENCE_MAX, self.body.frame()).await {
                Ok(Some(Ok(frame))) => frame,
                // An instance that is killed ends in the middle.
                Ok(Some(Err(_)) | None) => {
                    self.is_over = true;
                    continue;
                }
                Err(_) => return Err(self.client.silent()),
            };
            if let Some(bytes) = frame.data_ref() {
                let told = self.parser.push(bytes);
                self.ready
                    .extend(told.map_err(|error| self.client.garbled(error))?);
            }
        }
    }
}

/// Takes a stream apart, wherever it is cut.
#[derive(Debug, Default)]
struct Parser {
    /// The beginning of a line.
    rest: Vec<u8>,
    event: String,
    data: String,
}

impl Parser {
    fn push(
        &mut self,
        bytes: &[u8],
    ) -> Result<Vec<Told>, Box<dyn std::error::Error + Send + Sync>> {
        let mut told = Vec::new();
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.rest.extend_from_slice(piece);
            if self.rest.len() + self.data.len() > EVENT_BYTES_MAX {
                return Err(format!("an event is longer than {EVENT_BYTES_MAX} bytes").into());
            }
            if self.rest.ends_with(b"\n") {
                let line = String::from_utf8(std::mem::take(&mut self.rest))?;
                told.extend(self.line(line.trim_end_matches(['\r', '\n']))?);
            }
        }
        Ok(told)
    }

    fn line(&mut self, line: &str) -> serde_json::Result<Option<Told>> {
        if line.is_empty() {
            let (event, data) = (
                std::mem::take(&mut self.event),
                std::mem::take(&mut self.data),
            );
            return match (event.as_str(), data.as_str()) {
                (_, "") => Ok(None),
                ("end", data) => serde_json::from_str(data).map(|end| Some(Told::End(end))),
                (_, data) => Line::from_json(data).map(|line| Some(Told::Line(line))),
            };
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.event),
            "data" => {
                if !self.data.is_empty() {
                    self.data.push('\n');
                }
                self.data.push_str(value);
            }
            // Comments, and what is for browsers.
            _ => {}
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::model::Gap;
    use super::*;

    const STREAM: &str = ": events after 3\n\nevent: gap\nid: 5\ndata: {\"v\":1,\"type\":\"gap\",\"after\":3,\"missed\":2}\n\n: nothing new\n\nid: 6\r\ndata: {\"v\":1,\"type\":\"gap\",\ndata: \"after\":5,\"missed\":1}\r\n\nevent: end\ndata: {\"v\":1,\"exit\":6}\n\n";

    fn expected() -> Vec<Told> {
        let gap = |after, missed| Told::Line(Line::Gap(Gap { after, missed }));
        let end = End {
            v: 1,
            exit: 6,
            why: String::new(),
        };
        vec![gap(3, 2), gap(5, 1), Told::End(end)]
    }

    #[test]
    fn a_stream_may_be_cut_anywhere() {
        for cut in 0..STREAM.len() {
            let (first, second) = STREAM.as_bytes().split_at(cut);
            let mut parser = Parser::default();
            let mut told = parser.push(first).unwrap();
            told.extend(parser.push(second).unwrap());
            assert_eq!(told, expected(), "cut at {cut}");
        }
    }

    #[test]
    fn an_event_without_end_is_refused_before_it_fills_the_memory() {
        let mut parser = Parser::default();
        let endless = vec![b'x'; EVENT_BYTES_MAX / 8];
        let refused = (0..9).find_map(|_| parser.push(&endless).err());
        assert_eq!(
            refused.unwrap().to_string(),
            format!("an event is longer than {EVENT_BYTES_MAX} bytes")
        );
    }
}
