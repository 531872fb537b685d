//! The events as a stream, for one follower.
//!
//! What a follower has not read yet is nowhere but in the ring of events, which is there anyway: one that reads slowly
//! costs no memory and keeps no actor waiting. What the ring throws away meanwhile the follower has missed, and is told
//! how much (`gap`).

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::web::Bytes;
use byron_supervisors::{Events, next_events};
use futures_util::{FutureExt, Stream, stream};
use serde::Serialize;
use tokio::sync::watch;
use tokio::time::sleep;

use super::super::model::{Event, Gap, Line};
use super::super::protocol::End;
use super::Shared;
use super::answer::Refused;

/// How many may follow at once.
pub(super) const FOLLOWERS_MAX: u64 = 32;

/// How long there may be silence, so that both sides notice when the other is gone.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// One who follows; counted while this is kept.
pub(super) struct Follower {
    shared: Arc<Shared>,
    /// The last event that it was told of.
    seq: u64,
    ending: watch::Receiver<Option<End>>,
    is_greeted: bool,
    is_over: bool,
}

impl Follower {
    /// Begins after event `seq`.
    pub(super) fn new(shared: Arc<Shared>, seq: u64) -> Result<Follower, Refused> {
        let others = shared.followers.fetch_add(1, Ordering::Relaxed);
        let ending = shared.ending.subscribe();
        // Counted out again when it is dropped, also here.
        let follower = Follower {
            shared,
            seq,
            ending,
            is_greeted: false,
            is_over: false,
        };
        if others >= FOLLOWERS_MAX {
            return Err(Refused::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "too_many",
                format!("{FOLLOWERS_MAX} follow already; no more can"),
            ));
        }
        Ok(follower)
    }

    /// The stream of server-sent events.
    pub(super) fn stream(self) -> impl Stream<Item = Result<Bytes, std::io::Error>> {
        stream::unfold(self, |mut follower| async move {
            let chunk = follower.next().await?;
            Some((Ok(chunk), follower))
        })
    }

    /// Called only when there is room to write, so this is where a slow follower waits.
    async fn next(&mut self) -> Option<Bytes> {
        if self.is_over {
            return None;
        }
        if !self.is_greeted {
            self.is_greeted = true;
            return Some(Bytes::from(format!(": events after {}\n\n", self.seq)));
        }
        let mut chunk = Vec::new();
        let end = tokio::select! {
            events = next_events(self.seq) => {
                self.tell(events, &mut chunk);
                None
            }
            () = sleep(HEARTBEAT) => {
                chunk.extend_from_slice(b": nothing new\n\n");
                None
            }
            end = ended(&mut self.ending) => Some(end),
        };
        if let Some(end) = end {
            // What brought the end about is told before it.
            while let Some(events) = next_events(self.seq).now_or_never() {
                self.tell(events, &mut chunk);
            }
            put(&mut chunk, Some("end"), None, &end);
            self.is_over = true;
        }
        Some(Bytes::from(chunk))
    }

    fn tell(&mut self, events: Events, chunk: &mut Vec<u8>) {
        if events.missed > 0 {
            self.shared
                .missed
                .fetch_add(events.missed, Ordering::Relaxed);
            let gap = Gap {
                after: self.seq,
                missed: events.missed,
            };
            self.seq += events.missed;
            put(chunk, Some("gap"), Some(self.seq), &Line::Gap(gap));
        }
        for event in &events.events {
            self.seq = event.seq;
            let line = Line::Event(Box::new(Event::from(event)));
            put(chunk, None, Some(self.seq), &line);
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.shared.followers.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Waits until the instance ends.
async fn ended(ending: &mut watch::Receiver<Option<End>>) -> End {
    match ending.wait_for(Option::is_some).await {
        Ok(end) => end.clone(),
        Err(_) => None,
    }
    .unwrap_or_else(End::unknown)
}

/// One server-sent event. JSON has no line breaks of its own.
fn put(chunk: &mut Vec<u8>, event: Option<&str>, id: Option<u64>, data: &impl Serialize) {
    // Writing to memory does not fail, and the model has no maps with keys that are no texts.
    if let Some(event) = event {
        let _ = writeln!(chunk, "event: {event}");
    }
    if let Some(id) = id {
        let _ = writeln!(chunk, "id: {id}");
    }
    chunk.extend_from_slice(b"data: ");
    let _ = serde_json::to_writer(&mut *chunk, data);
    chunk.extend_from_slice(b"\n\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_a_few_lines_and_an_empty_one() {
        let mut chunk = Vec::new();
        let gap = Line::Gap(Gap {
            after: 3,
            missed: 2,
        });
        put(&mut chunk, Some("gap"), Some(5), &gap);
        assert_eq!(
            String::from_utf8(chunk).unwrap(),
            "event: gap\nid: 5\ndata: {\"v\":1,\"type\":\"gap\",\"after\":3,\"missed\":2}\n\n"
        );
    }
}
