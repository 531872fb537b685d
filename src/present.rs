//! Poems and progress as a person sees them: values in, text and bytes out.
//!
//! Nothing here opens a socket, reads a clock or knows where standard output leads; the commands pass writers and facts in.
//!
//! - [`order`]: which bytes of which poem come next.
//! - [`escape`]: a poem cannot take over the terminal.
//! - [`progress`]: bars, the status line, the tutorial's lines, or nothing.
//! - [`json`]: one line per event for programs.
//! - [`chaos`]: the report of a rehearsal.
//! - [`message`]: the sentences at the beginning and at the end.

pub mod chaos;
pub mod escape;
pub mod json;
pub mod message;
pub mod order;
pub mod progress;
mod spool;
