//! The tests of the program from outside, in one binary.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod chaos;
mod cli;
mod crashes;
mod demo;
mod endpoints;
mod fuzzing;
mod getting;
mod hostile;
mod library;
mod load;
mod observe;
mod observing;
mod peers;
mod proxy;
mod serving;
mod steering;
mod support;
mod telling;
mod terminal;
mod tidy;
mod transform;
