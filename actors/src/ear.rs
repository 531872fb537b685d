//! [`Ear`]: hears what a server says, as it comes, until it has been silent for too long.
//!
//! A download and a fetch have one. A server that never stops is never timed: the one timer there is looks at the clock when
//! it rings, and is set again if something was heard meanwhile.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

/// The most that is heard at once.
pub(crate) const HEARD_BYTES_MAX: usize = 64 * 1024;

thread_local! {
    /// Every ear of this arbiter reads into the same place, and copies out what it got.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; HEARD_BYTES_MAX].into());
}

/// Hears what one server says.
#[derive(Debug)]
pub(crate) struct Ear<S> {
    stream: S,
    alarm: Pin<Box<Sleep>>,
}

/// Nothing was heard.
#[derive(Debug)]
pub(crate) enum HearError {
    /// The server has been silent for as long as it may be.
    Silence,
    /// The stream failed.
    Io(io::Error),
}

impl<S: AsyncRead + Unpin> Ear<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self {
            stream,
            // As far away as can be, so that the first limit sets it: one that is due at once would wake its owner for nothing.
            alarm: Box::pin(sleep(Duration::MAX)),
        }
    }

    pub(crate) fn stream(&self) -> &S {
        &self.stream
    }

    pub(crate) fn stream_mut(&mut self) -> &mut S {
        &mut self.stream
    }

    /// What comes next, if it comes within the limit, counted from now; empty at the end.
    pub(crate) async fn hear(&mut self, limit: Duration) -> Result<Bytes, HearError> {
        let until = Instant::now() + limit;
        poll_fn(|task| match self.poll_heard(task) {
            Poll::Ready(heard) => Poll::Ready(heard.map_err(HearError::Io)),
            Poll::Pending => self
                .poll_alarm(until, task)
                .map(|()| Err(HearError::Silence)),
        })
        .await
    }

    fn poll_heard(&mut self, task: &mut TaskContext<'_>) -> Poll<io::Result<Bytes>> {
        SCRATCH.with_borrow_mut(|scratch| {
            let mut buffer = ReadBuf::new(scratch);
            ready!(Pin::new(&mut self.stream).poll_read(task, &mut buffer))?;
            Poll::Ready(Ok(Bytes::copy_from_slice(buffer.filled())))
        })
    }

    /// Ready at `until`. An alarm that rings too early is set again; only one that would ring too late is set now.
    fn poll_alarm(&mut self, until: Instant, task: &mut TaskContext<'_>) -> Poll<()> {
        if until < self.alarm.deadline() {
            self.alarm.as_mut().reset(until);
        }
        loop {
            ready!(self.alarm.as_mut().poll(task));
            if until <= self.alarm.deadline() {
                return Poll::Ready(());
            }
            self.alarm.as_mut().reset(until);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);

    fn is_silence(heard: &Result<Bytes, HearError>) -> bool {
        matches!(heard, Err(HearError::Silence))
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_is_silent_from_its_last_word_on_however_long_it_has_spoken() {
        let (near, mut far) = tokio::io::duplex(64);
        let mut ear = Ear::new(near);
        let server = tokio::spawn(async move {
            for _ in 0..5 {
                tokio::time::sleep(LIMIT - Duration::from_secs(1)).await;
                far.write_all(b"poem").await.unwrap();
            }
            far
        });
        for _ in 0..5 {
            assert_eq!(ear.hear(LIMIT).await.unwrap(), "poem");
        }
        let begin = Instant::now();
        assert!(is_silence(&ear.hear(LIMIT).await));
        assert_eq!(begin.elapsed().as_secs(), LIMIT.as_secs());
        // Whoever goes on listening gives it as long again.
        assert!(is_silence(&ear.hear(LIMIT).await));
        assert_eq!(begin.elapsed().as_secs(), 2 * LIMIT.as_secs());
        drop(server.await.unwrap());
        assert_eq!(ear.hear(LIMIT).await.unwrap(), "");
    }

    #[tokio::test(start_paused = true)]
    async fn a_shorter_limit_counts_at_once() {
        let (near, mut far) = tokio::io::duplex(64);
        let mut ear = Ear::new(near);
        let server = tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            far.write_all(b"poem").await.unwrap();
            far
        });
        assert_eq!(ear.hear(LIMIT).await.unwrap(), "poem");
        let begin = Instant::now();
        assert!(is_silence(&ear.hear(Duration::from_secs(5)).await));
        assert_eq!(begin.elapsed().as_secs(), 5);
        drop(server.await.unwrap());
    }
}
