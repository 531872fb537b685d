//! The way of a client's [`Event`]s, from the actor that tells them to whoever takes them.
//!
//! A queue that is emptied in one go. Whoever tells knows what is in it, and wakes the other side once for all that comes in
//! a hurry, where a channel would wake it each time only to be told to wait for more.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, Waker};

use parking_lot::Mutex;
use tokio::time::{Instant, timeout_at};

use super::Event;
use crate::download::IN_FLIGHT_BYTES_MAX;

/// How many events do not wait for more...
const ENOUGH_EVENTS: usize = 256;

/// ... and how many bytes of the poems: less than the credit of one, or its download would wait as well.
const ENOUGH_BYTES: usize = IN_FLIGHT_BYTES_MAX / 4;

/// Makes a way for events.
pub fn telling() -> (Teller, Events) {
    let queue = Arc::new(Mutex::new(Queue::default()));
    (Teller(Arc::clone(&queue)), Events(queue))
}

#[derive(Debug, Default)]
struct Queue {
    events: VecDeque<Event>,
    /// How many bytes of poems are among them.
    bytes: usize,
    reader: Option<Reader>,
    has_ended: bool,
    is_abandoned: bool,
}

/// Whoever takes the events waits.
#[derive(Debug)]
struct Reader {
    waker: Waker,
    wants: Wanted,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Anything,
    /// So much that it is not to wait for more, or the last event.
    Enough,
}

impl Queue {
    fn has(&self, wanted: Wanted) -> bool {
        self.has_ended
            || match wanted {
                Wanted::Anything => !self.events.is_empty(),
                Wanted::Enough => {
                    self.events.len() >= ENOUGH_EVENTS
                        || self.bytes >= ENOUGH_BYTES
                        || matches!(self.events.back(), Some(Event::Done { .. }))
                }
            }
    }

    /// Whom to wake, outside the lock.
    #[must_use]
    fn satisfied(&mut self) -> Option<Waker> {
        let wants = self.reader.as_ref()?.wants;
        let reader = self.has(wants).then(|| self.reader.take())?;
        reader.map(|reader| reader.waker)
    }
}

/// Where a client's events go in; they end when it is dropped.
#[derive(Debug)]
pub struct Teller(Arc<Mutex<Queue>>);

impl Teller {
    /// Tells what happened.
    ///
    /// # Errors
    /// Nobody takes it any more.
    pub fn tell(&self, event: Event) -> Result<(), Event> {
        let mut queue = self.0.lock();
        if queue.is_abandoned {
            return Err(event);
        }
        queue.bytes += poem_bytes(&event);
        queue.events.push_back(event);
        let waker = queue.satisfied();
        drop(queue);
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(())
    }
}

impl Drop for Teller {
    fn drop(&mut self) {
        let mut queue = self.0.lock();
        queue.has_ended = true;
        let waker = queue.satisfied();
        drop(queue);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// Where a client's events come out. Bounded by the credit of each poem, not by a number of events.
#[derive(Debug)]
pub struct Events(Arc<Mutex<Queue>>);

impl Events {
    /// The next event; `None` when they have ended. Nothing is lost if this is dropped before.
    pub async fn recv(&mut self) -> Option<Event> {
        poll_fn(|task| self.poll_recv(task)).await
    }

    pub(crate) fn poll_recv(&mut self, task: &mut TaskContext<'_>) -> Poll<Option<Event>> {
        self.poll_there(Wanted::Anything, task)
            .map(|()| self.try_recv())
    }

    /// The next event, if it is there.
    pub fn try_recv(&mut self) -> Option<Event> {
        let mut queue = self.0.lock();
        let event = queue.events.pop_front()?;
        queue.bytes -= poem_bytes(&event);
        Some(event)
    }

    /// All that is there.
    pub fn take(&mut self) -> VecDeque<Event> {
        let mut queue = self.0.lock();
        queue.bytes = 0;
        std::mem::take(&mut queue.events)
    }

    /// All that has come by `due`, and the first that comes if nothing has; sooner if there is much of it, or the last
    /// event. Never empty; `None` when the events have ended. Nothing is lost if this is dropped before.
    pub async fn gather(&mut self, due: Instant) -> Option<VecDeque<Event>> {
        if Instant::now() < due {
            // Late or not, what has come is taken.
            let _ = timeout_at(due, self.there(Wanted::Enough)).await;
        }
        self.there(Wanted::Anything).await;
        Some(self.take()).filter(|events| !events.is_empty())
    }

    async fn there(&self, wanted: Wanted) {
        poll_fn(|task| self.poll_there(wanted, task)).await;
    }

    fn poll_there(&self, wants: Wanted, task: &TaskContext<'_>) -> Poll<()> {
        let mut queue = self.0.lock();
        if queue.has(wants) {
            return Poll::Ready(());
        }
        let waker = task.waker().clone();
        queue.reader = Some(Reader { waker, wants });
        Poll::Pending
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        let mut queue = self.0.lock();
        queue.is_abandoned = true;
        let events = std::mem::take(&mut queue.events);
        drop(queue);
        drop(events);
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
    use std::time::Duration;

    use bytes::Bytes;

    use super::*;
    use crate::coordinator::Chunk;

    const STARTED: fn(usize) -> Event = |task| Event::Started { task };
    const DONE: Event = Event::Done {
        poems: 0,
        failed: 0,
    };
    const PATIENCE: Duration = Duration::from_millis(5);

    #[tokio::test(start_paused = true)]
    async fn what_comes_after_a_pause_is_taken_at_once_and_what_follows_together() {
        let (teller, mut events) = telling();
        let begin = Instant::now();
        teller.tell(STARTED(0)).unwrap();
        assert_eq!(events.gather(begin).await.unwrap().len(), 1);
        assert_eq!(begin.elapsed(), Duration::ZERO);
        let hurry = tokio::spawn(async move {
            for task in 1..4 {
                tokio::time::sleep(Duration::from_millis(1)).await;
                teller.tell(STARTED(task)).unwrap();
            }
            tokio::time::sleep(PATIENCE * 10).await;
            teller.tell(STARTED(4)).unwrap();
            teller
        });
        let due = begin + PATIENCE;
        assert_eq!(events.gather(due).await.unwrap().len(), 3);
        assert_eq!(begin.elapsed(), PATIENCE);
        assert_eq!(events.gather(due + PATIENCE).await.unwrap().len(), 1);
        assert_eq!(begin.elapsed(), PATIENCE * 10 + Duration::from_millis(3));
        drop(hurry.await.unwrap());
        assert!(events.gather(begin).await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn neither_the_last_event_nor_much_of_them_waits() {
        let (teller, mut events) = telling();
        let begin = Instant::now();
        let due = begin + PATIENCE;
        let much = Chunk::without_credit(0, Bytes::from(vec![0; ENOUGH_BYTES]));
        let many: Vec<_> = (0..ENOUGH_EVENTS).map(STARTED).collect();
        for told in [many, vec![Event::Chunk(much)], vec![STARTED(0), DONE]] {
            let count = told.len();
            let gathered = tokio::join!(events.gather(due), async {
                tokio::task::yield_now().await;
                told.into_iter()
                    .for_each(|event| teller.tell(event).unwrap());
            });
            assert_eq!(gathered.0.unwrap().len(), count);
        }
        assert_eq!(begin.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn events_end_with_their_teller_and_telling_with_whoever_takes_them() {
        let (teller, mut events) = telling();
        teller.tell(STARTED(0)).unwrap();
        drop(teller);
        assert!(matches!(
            events.recv().await,
            Some(Event::Started { task: 0 })
        ));
        assert!(events.recv().await.is_none());
        let (teller, events) = telling();
        teller.tell(STARTED(0)).unwrap();
        drop(events);
        assert!(teller.tell(STARTED(1)).is_err());
    }
}
