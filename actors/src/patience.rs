//! [`Patient`]: a stream whose peer may not keep a writer waiting for ever.
//!
//! A write that makes no progress for as long as is allowed fails as timed out. How long a reader waits is its own decision:
//! what counts there is the time for a whole request, not for a byte of it.

use std::io;
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// A stream with a limit on the time that its peer takes nothing.
#[derive(Debug)]
pub(crate) struct Patient<S> {
    stream: S,
    write_timeout: Duration,
    /// While a write waits.
    sleep: Option<Pin<Box<Sleep>>>,
}

impl<S> Patient<S> {
    pub(crate) fn new(stream: S, write_timeout: Duration) -> Self {
        Self {
            stream,
            write_timeout,
            sleep: None,
        }
    }

    pub(crate) fn get_ref(&self) -> &S {
        &self.stream
    }

    pub(crate) fn into_inner(self) -> S {
        self.stream
    }

    /// Waits with a write that does not go on, up to the limit.
    fn limit<T>(
        &mut self,
        outcome: Poll<io::Result<T>>,
        task: &mut TaskContext<'_>,
    ) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.sleep = None;
            return outcome;
        }
        let until = Instant::now() + self.write_timeout;
        let sleep = self
            .sleep
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
        ready!(sleep.as_mut().poll(task));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        task: &mut TaskContext<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(task, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        task: &mut TaskContext<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(task, bytes);
        self.limit(outcome, task)
    }

    fn poll_flush(mut self: Pin<&mut Self>, task: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.stream).poll_flush(task);
        self.limit(outcome, task)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, task: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.stream).poll_shutdown(task);
        self.limit(outcome, task)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_takes_nothing_ends_the_write_and_one_that_takes_little_does_not() {
        let (near, mut far) = tokio::io::duplex(1);
        let limit = Duration::from_secs(60);
        let mut patient = Patient::new(near, limit);
        let slow_reader = tokio::spawn(async move {
            for _ in 0..4 {
                tokio::time::sleep(limit - Duration::from_secs(1)).await;
                far.read_u8().await.unwrap();
            }
            far
        });
        patient.write_all(b"poem").await.unwrap();
        let _far = slow_reader.await.unwrap();
        let begin = Instant::now();
        let error = patient.write_all(b"poem").await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(begin.elapsed().as_secs(), limit.as_secs());
    }
}
