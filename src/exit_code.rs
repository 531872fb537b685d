//! Every exit code of the program, with one sentence each.
//!
//! Scripts rely on these numbers; they are the section EXIT STATUS of the manual, and never "the number of failures".

use std::process;

/// How the program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ExitCode {
    /// Everything that was asked for is done.
    Done = 0,
    /// Some of the work failed, or a server could not start.
    SomeFailed = 1,
    /// The command line is wrong; nothing was done.
    Usage = 2,
    /// `get` got none of the poems, or the instance that `ctl is-running` asks for is not running.
    AllFailed = 3,
    /// There is no such instance, child or event.
    NotFound = 4,
    /// Refused: not allowed, or not confirmed.
    Refused = 5,
    /// The root supervisor gave up.
    GaveUp = 6,
    /// The drain deadline passed and connections were reset.
    DrainExpired = 7,
    /// A bug in byron; the message says how to report it.
    Bug = 70,
    /// Stopped by SIGINT.
    Interrupted = 130,
    /// The reader of standard output went away.
    OutputClosed = 141,
    /// Stopped by SIGTERM or SIGHUP.
    Terminated = 143,
}

/// The exit codes as plain numbers, for programs that start `byron` and look at what became of it.
pub mod exit {
    use super::ExitCode;

    /// Everything that was asked for is done.
    pub const DONE: u8 = ExitCode::Done as u8;
    /// Some of the work failed, or a server could not start.
    pub const SOME_FAILED: u8 = ExitCode::SomeFailed as u8;
    /// The command line is wrong; nothing was done.
    pub const USAGE: u8 = ExitCode::Usage as u8;
    /// `get` got none of the poems, or the instance that `ctl is-running` asks for is not running.
    pub const ALL_FAILED: u8 = ExitCode::AllFailed as u8;
    /// There is no such instance, child or event.
    pub const NOT_FOUND: u8 = ExitCode::NotFound as u8;
    /// Refused: not allowed, or not confirmed.
    pub const REFUSED: u8 = ExitCode::Refused as u8;
    /// The root supervisor gave up.
    pub const GAVE_UP: u8 = ExitCode::GaveUp as u8;
    /// The drain deadline passed and connections were reset.
    pub const DRAIN_EXPIRED: u8 = ExitCode::DrainExpired as u8;
    /// A bug in byron; the message says how to report it.
    pub const BUG: u8 = ExitCode::Bug as u8;
    /// Stopped by SIGINT.
    pub const INTERRUPTED: u8 = ExitCode::Interrupted as u8;
    /// The reader of standard output went away.
    pub const OUTPUT_CLOSED: u8 = ExitCode::OutputClosed as u8;
    /// Stopped by SIGTERM or SIGHUP.
    pub const TERMINATED: u8 = ExitCode::Terminated as u8;
}

impl ExitCode {
    /// All of them, in the order of their numbers.
    pub const ALL: [ExitCode; 12] = [
        ExitCode::Done,
        ExitCode::SomeFailed,
        ExitCode::Usage,
        ExitCode::AllFailed,
        ExitCode::NotFound,
        ExitCode::Refused,
        ExitCode::GaveUp,
        ExitCode::DrainExpired,
        ExitCode::Bug,
        ExitCode::Interrupted,
        ExitCode::OutputClosed,
        ExitCode::Terminated,
    ];

    /// The number that the shell sees.
    pub fn number(self) -> u8 {
        self as u8
    }

    /// The sentence for the manual.
    pub fn sentence(self) -> &'static str {
        match self {
            ExitCode::Done => "Everything that was asked for is done.",
            ExitCode::SomeFailed => "Some of the work failed, or a server could not start.",
            ExitCode::Usage => "The command line is wrong; nothing was done.",
            ExitCode::AllFailed => "get got none of the poems, or the instance is not running.",
            ExitCode::NotFound => "There is no such instance, child or event.",
            ExitCode::Refused => "Refused: not allowed, or not confirmed.",
            ExitCode::GaveUp => {
                "The root supervisor gave up: too many restarts in too short a time."
            }
            ExitCode::DrainExpired => "The drain deadline passed and connections were reset.",
            ExitCode::Bug => "A bug in byron; the message says how to report it.",
            ExitCode::Interrupted => "Stopped by SIGINT.",
            ExitCode::OutputClosed => "The reader of standard output went away.",
            ExitCode::Terminated => "Stopped by SIGTERM or SIGHUP.",
        }
    }

    /// The outcome of fetching `asked` poems of which `failed` did not arrive.
    pub fn of_poems(asked: usize, failed: usize) -> ExitCode {
        match failed {
            0 => ExitCode::Done,
            _ if failed < asked => ExitCode::SomeFailed,
            _ => ExitCode::AllFailed,
        }
    }
}

impl From<ExitCode> for process::ExitCode {
    fn from(code: ExitCode) -> process::ExitCode {
        process::ExitCode::from(code.number())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_the_documented_ones() {
        assert_eq!(
            ExitCode::ALL.map(ExitCode::number),
            [0, 1, 2, 3, 4, 5, 6, 7, 70, 130, 141, 143]
        );
    }

    #[test]
    fn one_lost_poem_is_not_all_lost() {
        assert_eq!(ExitCode::of_poems(3, 0), ExitCode::Done);
        assert_eq!(ExitCode::of_poems(3, 1), ExitCode::SomeFailed);
        assert_eq!(ExitCode::of_poems(3, 3), ExitCode::AllFailed);
        assert_eq!(ExitCode::of_poems(1, 1), ExitCode::AllFailed);
    }
}
