//! The poetry network over real loopback sockets.
//!
//! Nothing sleeps: a test waits for what it can observe, with a limit.

mod draining;
mod failures;
mod gathering;
mod limits;
mod reciting;
mod restarts;
mod support;
