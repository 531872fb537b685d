//! Events that go to the writing thread together: it is woken once for all that comes in a hurry, and at once for what comes
//! after a pause.

use std::time::Duration;

use byron_actors::{Event, Events, IN_FLIGHT_BYTES_MAX};
use tokio::time::{Instant, sleep_until};

/// How long an event may wait for others, if some were passed on just before.
const GATHER: Duration = Duration::from_millis(5);

/// How many events wait at most...
const BUNDLE_EVENTS_MAX: usize = 256;

/// ... and with how much of the poems: less than the credit of one, or its download would wait as well.
const BUNDLE_BYTES_MAX: usize = IN_FLIGHT_BYTES_MAX / 4;

/// Makes bundles of the events of one client.
pub(super) struct Bundles<'a> {
    events: &'a mut Events,
    bundle: Vec<Event>,
    bytes: usize,
    /// Before that, what comes waits for more.
    due: Instant,
}

impl<'a> Bundles<'a> {
    pub(super) fn of(events: &'a mut Events) -> Bundles<'a> {
        Bundles {
            events,
            bundle: Vec::new(),
            bytes: 0,
            due: Instant::now(),
        }
    }

    /// The next bundle, never empty; `None` when the events have ended. May be dropped and called again: nothing is lost.
    pub(super) async fn next(&mut self) -> Option<Vec<Event>> {
        while !self.is_full() {
            let known = self.bundle.len();
            tokio::select! {
                biased;
                came = self.events.recv_many(&mut self.bundle, BUNDLE_EVENTS_MAX - known) => {
                    if came == 0 {
                        break;
                    }
                    self.bytes += self.bundle[known..].iter().map(poem_bytes).sum::<usize>();
                }
                () = sleep_until(self.due), if known > 0 => break,
            }
        }
        self.take()
    }

    /// What waits, if anything does.
    pub(super) fn take(&mut self) -> Option<Vec<Event>> {
        self.bytes = 0;
        self.due = Instant::now() + GATHER;
        Some(std::mem::take(&mut self.bundle)).filter(|bundle| !bundle.is_empty())
    }

    fn is_full(&self) -> bool {
        let is_last = matches!(self.bundle.last(), Some(Event::Done { .. }));
        is_last || self.bytes >= BUNDLE_BYTES_MAX || self.bundle.len() >= BUNDLE_EVENTS_MAX
    }
}

fn poem_bytes(event: &Event) -> usize {
    match event {
        Event::Chunk(chunk) => chunk.bytes.len(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;

    const STARTED: fn(usize) -> Event = |task| Event::Started { task };

    #[tokio::test(start_paused = true)]
    async fn what_comes_after_a_pause_goes_at_once_and_what_follows_goes_together() {
        let (sender, mut events) = mpsc::unbounded_channel();
        let mut bundles = Bundles::of(&mut events);
        let begin = Instant::now();
        sender.send(STARTED(0)).unwrap();
        assert_eq!(bundles.next().await.unwrap().len(), 1);
        assert_eq!(begin.elapsed(), Duration::ZERO);
        let hurry = tokio::spawn(async move {
            for task in 1..4 {
                tokio::time::sleep(Duration::from_millis(1)).await;
                sender.send(STARTED(task)).unwrap();
            }
            tokio::time::sleep(GATHER * 10).await;
            sender.send(STARTED(4)).unwrap();
            sender
        });
        assert_eq!(bundles.next().await.unwrap().len(), 3);
        assert_eq!(begin.elapsed(), GATHER);
        assert_eq!(bundles.next().await.unwrap().len(), 1);
        assert_eq!(begin.elapsed(), GATHER * 10 + Duration::from_millis(3));
        drop(hurry.await.unwrap());
        assert!(bundles.next().await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn neither_the_last_event_nor_a_full_bundle_waits() {
        let (sender, mut events) = mpsc::unbounded_channel();
        let mut bundles = Bundles::of(&mut events);
        let begin = Instant::now();
        for task in 0..2 * BUNDLE_EVENTS_MAX + 1 {
            sender.send(STARTED(task)).unwrap();
        }
        let (poems, failed) = (0, 0);
        sender.send(Event::Done { poems, failed }).unwrap();
        for len in [BUNDLE_EVENTS_MAX, BUNDLE_EVENTS_MAX, 2] {
            assert_eq!(bundles.next().await.unwrap().len(), len);
        }
        assert_eq!(begin.elapsed(), Duration::ZERO);
    }
}
