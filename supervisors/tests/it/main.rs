//! The crate, tested as its users see it.

mod adopt;
mod context;
mod events;
mod links;
mod monitors;
mod names;
mod otp;
mod panics;
mod report;
mod storm;
mod support;
mod traps;
