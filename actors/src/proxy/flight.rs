//! [`Flight`]: one poem on its way from the upstream to however many readers; the single flight.
//!
//! Plain shared state, not an actor. The fetch writes into it through the one [`Writer`]; each reader has a [`Seat`] and
//! reads from its own place, beginning with the first byte, at its own speed. It holds the poem as far as it is known, once
//! for all: a slow reader neither holds the fetch back nor costs memory of its own.
//!
//! How it ends is decided once. Only the fetch makes it whole; a writer that is dropped (a crash, a kill) has broken it,
//! and so no end of a fetch but the good one can look like the end of a poem.

use std::sync::Arc;

use byron_supervisors::Pid;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use super::growing::Growing;
use super::report::FetchReport;
use crate::download::{DownloadError, FailureKind};

/// What becomes of a fetch when its last reader leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Abandon {
    /// It is cancelled, as in the tutorial's Part 19.
    #[default]
    Cancel,
    /// It goes on, for the next reader.
    Finish,
}

/// Why a flight did not bring its poem.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(transparent)]
pub struct Broken(#[from] pub DownloadError);

/// How a flight ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ending {
    /// With the whole poem.
    Whole,
    /// Without it.
    Broken(DownloadError),
    /// Everybody had left.
    Abandoned,
}

#[derive(Debug)]
struct Inner {
    text: Growing,
    /// Once it has.
    ending: Option<Ending>,
    /// The fetch that has taken it up.
    fetch: Option<Pid>,
    /// Readers, and those of them who may have left: they have closed their side, and nothing has shown since that they
    /// still listen.
    seats: usize,
    doubtful: usize,
}

/// One poem on its way.
#[derive(Debug)]
pub(crate) struct Flight {
    abandon: Abandon,
    inner: Mutex<Inner>,
    /// Says that there is more, or that it is over.
    news: watch::Sender<()>,
    abandoned: Notify,
}

impl Flight {
    pub(crate) fn new(abandon: Abandon) -> Arc<Self> {
        Arc::new(Self {
            abandon,
            inner: Mutex::new(Inner {
                text: Growing::default(),
                ending: None,
                fetch: None,
                seats: 0,
                doubtful: 0,
            }),
            news: watch::Sender::new(()),
            abandoned: Notify::new(),
        })
    }

    /// One more reader; `None` if the poem does not come.
    pub(crate) fn join(self: &Arc<Self>) -> Option<Seat> {
        let mut inner = self.inner.lock();
        if matches!(inner.ending, Some(Ending::Broken(_) | Ending::Abandoned)) {
            return None;
        }
        inner.seats += 1;
        Some(Seat {
            flight: Arc::clone(self),
            news: self.news.subscribe(),
            place: 0,
            is_doubtful: false,
        })
    }

    /// The right to write into it, for the first fetch that asks.
    pub(crate) fn claim(self: &Arc<Self>, fetch: Pid) -> Option<Writer> {
        let mut inner = self.inner.lock();
        if inner.fetch.is_some() || inner.ending.is_some() {
            return None;
        }
        inner.fetch = Some(fetch);
        Some(Writer(Arc::clone(self)))
    }

    /// The fetch that has taken it up.
    pub(crate) fn fetch(&self) -> Option<Pid> {
        self.inner.lock().fetch
    }

    pub(crate) fn is_under_way(&self) -> bool {
        self.inner.lock().ending.is_none()
    }

    /// How it ended, if it has.
    pub(crate) fn ending(&self) -> Option<Ending> {
        self.inner.lock().ending.clone()
    }

    /// How far it is.
    pub(crate) fn progress(&self) -> FetchReport {
        let inner = self.inner.lock();
        FetchReport {
            pid: inner.fetch,
            bytes: inner.text.len(),
            readers: inner.seats,
        }
    }

    /// Ends it, unless it has ended already. True if this call did.
    fn end(&self, ending: Ending) -> bool {
        let mut inner = self.inner.lock();
        let is_first = inner.ending.is_none();
        if is_first {
            inner.ending = Some(ending);
        }
        drop(inner);
        self.news.send_replace(());
        is_first
    }

    /// It does not come.
    pub(crate) fn break_off(&self, error: DownloadError) -> bool {
        self.end(Ending::Broken(error))
    }

    /// Whether nobody waits for it any more; from then on nobody can join.
    fn abandon_if_empty(&self, inner: &mut Inner) {
        if self.abandon == Abandon::Cancel
            && inner.seats == inner.doubtful
            && inner.ending.is_none()
        {
            inner.ending = Some(Ending::Abandoned);
            self.abandoned.notify_one();
            self.news.send_replace(());
        }
    }
}

/// The fetch's end of a flight. Dropped before [`finish`](Self::finish), it has broken the flight.
#[derive(Debug)]
pub(crate) struct Writer(Arc<Flight>);

impl Writer {
    /// Adds bytes for everybody.
    pub(crate) fn push(&self, bytes: Bytes) {
        self.0.inner.lock().text.push(bytes);
        self.0.news.send_replace(());
    }

    /// Everything that was pushed, in one piece.
    pub(crate) fn whole(&self) -> Bytes {
        self.0.inner.lock().text.whole()
    }

    /// The poem is whole. False if everybody has left before.
    pub(crate) fn finish(&self) -> bool {
        self.0.end(Ending::Whole)
    }

    /// The poem does not come. False if everybody has left before.
    pub(crate) fn fail(&self, error: DownloadError) -> bool {
        self.0.break_off(error)
    }

    /// Waits until nobody waits for it any more.
    pub(crate) async fn abandoned(&self) {
        self.0.abandoned.notified().await;
    }

    pub(crate) fn flight(&self) -> &Arc<Flight> {
        &self.0
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.fail(DownloadError::passing(FailureKind::Io, "the fetch crashed"));
    }
}

/// A reader's end of a flight.
#[derive(Debug)]
pub(crate) struct Seat {
    flight: Arc<Flight>,
    news: watch::Receiver<()>,
    place: usize,
    is_doubtful: bool,
}

impl Seat {
    /// The bytes that come next: at once if they are here, else when they come; `None` when the poem is over.
    ///
    /// Nothing is lost if the future is dropped.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Broken> {
        loop {
            // Before the look, or news between the two would be missed.
            self.news.borrow_and_update();
            {
                let inner = self.flight.inner.lock();
                if let Some(bytes) = inner.text.from(self.place) {
                    self.place += bytes.len();
                    return Ok(Some(bytes));
                }
                match &inner.ending {
                    None => {}
                    Some(Ending::Whole) => return Ok(None),
                    Some(Ending::Broken(error)) => return Err(error.clone().into()),
                    Some(Ending::Abandoned) => return Err(nobody_waits().into()),
                }
            }
            // The sender is the flight's, which this seat holds.
            let _ = self.news.changed().await;
        }
    }

    /// How many bytes this reader was given.
    pub(crate) fn place(&self) -> usize {
        self.place
    }

    /// Whether this reader may have left. A fetch that has only such readers left is cancelled.
    pub(crate) fn doubt(&mut self, is_doubtful: bool) {
        if self.is_doubtful == is_doubtful {
            return;
        }
        self.is_doubtful = is_doubtful;
        let mut inner = self.flight.inner.lock();
        if is_doubtful {
            inner.doubtful += 1;
            self.flight.abandon_if_empty(&mut inner);
        } else {
            inner.doubtful -= 1;
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut inner = self.flight.inner.lock();
        inner.seats -= 1;
        inner.doubtful -= usize::from(self.is_doubtful);
        self.flight.abandon_if_empty(&mut inner);
    }
}

fn nobody_waits() -> DownloadError {
    DownloadError::for_good(FailureKind::Cancelled, "nobody waits for it any more")
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn pid() -> Pid {
        "1".parse().unwrap()
    }

    fn heard(seat: &mut Seat) -> Option<Result<Option<Bytes>, Broken>> {
        seat.next().now_or_never()
    }

    fn bytes(text: &'static str) -> Bytes {
        Bytes::from_static(text.as_bytes())
    }

    #[test]
    fn a_joiner_hears_what_is_here_at_once_and_then_the_live_tail() {
        let flight = Flight::new(Abandon::Cancel);
        let mut first = flight.join().unwrap();
        let writer = flight.claim(pid()).unwrap();
        assert_eq!(heard(&mut first), None);
        writer.push(bytes("half "));
        assert_eq!(heard(&mut first), Some(Ok(Some(bytes("half ")))));
        let mut second = flight.join().unwrap();
        assert_eq!(heard(&mut second), Some(Ok(Some(bytes("half ")))));
        writer.push(bytes("a poem"));
        for seat in [&mut first, &mut second] {
            assert_eq!(heard(seat), Some(Ok(Some(bytes("a poem")))));
            assert_eq!(heard(seat), None);
        }
        assert!(writer.finish());
        drop(writer);
        assert_eq!(heard(&mut first), Some(Ok(None)));
        let mut late = flight.join().unwrap();
        assert_eq!(heard(&mut late), Some(Ok(Some(bytes("half a poem")))));
        assert_eq!(heard(&mut late), Some(Ok(None)));
    }

    #[test]
    fn a_writer_that_is_dropped_has_broken_it() {
        let flight = Flight::new(Abandon::Cancel);
        let mut seat = flight.join().unwrap();
        let writer = flight.claim(pid()).unwrap();
        writer.push(bytes("half"));
        drop(writer);
        assert_eq!(heard(&mut seat), Some(Ok(Some(bytes("half")))));
        let broken = heard(&mut seat).unwrap().unwrap_err();
        assert_eq!(broken.0.message, "the fetch crashed");
        assert!(flight.join().is_none());
    }

    #[test]
    fn only_one_fetch_writes() {
        let flight = Flight::new(Abandon::Finish);
        let writer = flight.claim(pid()).unwrap();
        assert!(flight.claim(pid()).is_none());
        drop(writer);
        assert!(flight.claim(pid()).is_none());
    }

    #[test]
    fn the_last_reader_who_leaves_abandons_it_and_nobody_joins_any_more() {
        let flight = Flight::new(Abandon::Cancel);
        let (first, second) = (flight.join().unwrap(), flight.join().unwrap());
        let writer = flight.claim(pid()).unwrap();
        drop(first);
        assert_eq!(writer.abandoned().now_or_never(), None);
        drop(second);
        assert_eq!(writer.abandoned().now_or_never(), Some(()));
        assert!(flight.join().is_none());
        assert!(
            !writer.finish(),
            "a poem that nobody waited for is not whole"
        );
    }

    #[test]
    fn a_flight_that_is_to_finish_is_never_abandoned() {
        let flight = Flight::new(Abandon::Finish);
        drop(flight.join().unwrap());
        let writer = flight.claim(pid()).unwrap();
        assert_eq!(writer.abandoned().now_or_never(), None);
        assert!(writer.finish());
    }

    #[test]
    fn readers_who_may_have_left_do_not_keep_it_alive() {
        let flight = Flight::new(Abandon::Cancel);
        let (mut first, mut second) = (flight.join().unwrap(), flight.join().unwrap());
        first.doubt(true);
        first.doubt(true);
        assert!(flight.is_under_way());
        first.doubt(false);
        second.doubt(true);
        assert!(flight.is_under_way());
        drop(second);
        assert!(flight.is_under_way());
        first.doubt(true);
        assert!(!flight.is_under_way());
        let broken = heard(&mut first).unwrap().unwrap_err();
        assert_eq!(broken.0.kind, FailureKind::Cancelled);
    }
}
