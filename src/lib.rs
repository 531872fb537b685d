//! Byron: poetry over TCP as supervised actors.
//!
//! This crate is the program `byron`: its command line, what a person sees of poems and progress, and its exit codes. The
//! actors are in `byron-actors`, supervision is in `byron-supervisors`. Only this crate prints, reads arguments or exits.

pub mod cli;
pub mod commands;
pub mod endpoint;
pub mod exit_code;
pub mod host;
pub mod observe;
pub mod output_file;
pub mod present;
pub mod quantity;

pub use exit_code::exit;
