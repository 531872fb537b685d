//! The poetry network over real loopback sockets.
//!
//! Nothing sleeps: a test waits for what it can observe, with a limit.

#![expect(
    clippy::unwrap_used,
    reason = "a test's helpers fail the test as its own lines do"
)]

mod chaos;
mod draining;
mod editing;
mod failures;
mod fuzzing;
mod gathering;
mod hostile;
mod lending;
mod limits;
mod proxy_support;
mod proxying;
mod proxying_failures;
mod reciting;
mod restarts;
mod storing;
mod support;
mod transforming;
mod transports;
