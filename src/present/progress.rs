//! Progress of several downloads: bars, one status line, the tutorial's lines, or nothing.
//!
//! [`choose`] decides which, from facts. Everything goes to standard error; standard output belongs to the poems.
//!
//! | `--progress` | poems and progress on the same terminal | progress on a terminal | no terminal       |
//! | ------------ | --------------------------------------- | ---------------------- | ----------------- |
//! | `auto`       | status line                             | bars                   | nothing           |
//! | `bars`       | status line                             | bars                   | nothing           |
//! | `classic`    | the tutorial's lines                    | the tutorial's lines   | the tutorial's lines |
//! | `none`       | nothing                                 | nothing                | nothing           |

use std::time::Duration;

pub use self::bars::{Bars, StatusLine};

mod bars;

/// The choice of `--progress`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Progress {
    /// Whatever suits the terminal.
    #[default]
    Auto,
    /// Bars, if there is a terminal for them.
    Bars,
    /// The lines of the tutorial's clients.
    Classic,
    /// Nothing.
    None,
}

/// The facts that [`choose`] decides upon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Surroundings {
    /// Poems are written to a terminal.
    pub poems_on_terminal: bool,
    /// Standard error is a terminal.
    pub stderr_is_terminal: bool,
    /// `TERM` is `dumb` or empty: lines cannot be overwritten.
    pub terminal_is_dumb: bool,
    /// Standard output gets JSON lines.
    pub json: bool,
    /// `--quiet`.
    pub quiet: bool,
}

/// What is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// One line per target.
    Bars,
    /// One line in all, between the lines of the poems.
    StatusLine,
    /// The lines of the tutorial's clients.
    Classic,
    /// Nothing.
    Nothing,
}

/// Decides what is shown.
pub fn choose(progress: Progress, surroundings: Surroundings) -> Shown {
    let Surroundings {
        poems_on_terminal,
        stderr_is_terminal,
        terminal_is_dumb,
        json,
        quiet,
    } = surroundings;
    match progress {
        Progress::None => Shown::Nothing,
        Progress::Classic => Shown::Classic,
        Progress::Auto if quiet => Shown::Nothing,
        Progress::Auto | Progress::Bars if !stderr_is_terminal || terminal_is_dumb => {
            Shown::Nothing
        }
        // Lines of JSON on a terminal are for copying; nothing may come between them.
        Progress::Auto if json && poems_on_terminal => Shown::Nothing,
        Progress::Auto | Progress::Bars if poems_on_terminal => Shown::StatusLine,
        Progress::Auto | Progress::Bars => Shown::Bars,
    }
}

/// How far one download is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// What it is doing.
    pub state: State,
    /// How much of the poem has arrived.
    pub bytes: u64,
    /// The size of the poem, if it is known beforehand.
    pub expected_bytes: Option<u64>,
    /// Since the task began; stands still when it is over.
    pub elapsed: Duration,
}

/// What a download is doing, in a word and not by colour alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Not begun: `--jobs` lets others go first.
    Queued,
    /// No connection yet.
    Connecting,
    /// Its bytes are printed as they arrive.
    Streaming,
    /// Its bytes arrive, but the poem with this number is printed first; numbers begin with 1.
    WaitingFor(usize),
    /// The poem is whole.
    Done,
    /// It will not arrive.
    Failed,
}

impl State {
    fn word(self) -> String {
        match self {
            State::Queued => "queued".to_owned(),
            State::Connecting => "connecting".to_owned(),
            State::Streaming => "streaming".to_owned(),
            State::WaitingFor(task) => format!("waiting for {task}"),
            State::Done => "done".to_owned(),
            State::Failed => "failed".to_owned(),
        }
    }
}

/// The line of one target: ` 1 127.0.0.1:10001   410 B   14 B/s   29s  streaming`. Tasks are numbered from 1.
pub fn bar_line(task: usize, label: &str, snapshot: &Snapshot) -> String {
    let Snapshot {
        state,
        bytes,
        expected_bytes,
        elapsed,
    } = *snapshot;
    let rate = (bytes as f64 / elapsed.as_secs_f64().max(0.001)).round() as u64;
    let percent = match expected_bytes {
        Some(expected) if expected > 0 => format!(
            " {:>4}",
            format!("{}%", bytes.min(expected) * 100 / expected)
        ),
        _ => String::new(),
    };
    let (amount, rate) = (size_text(bytes), format!("{}/s", size_text(rate)));
    let seconds = format!("{}s", elapsed.as_secs());
    format!(
        "{task:>2} {label} {amount:>7}{percent} {rate:>8} {seconds:>5}  {}",
        state.word()
    )
}

/// The one line for all targets: `byron: 1 of 3 poems, 1268 B, 46s`.
pub fn status_text(snapshots: &[Snapshot]) -> String {
    let done = snapshots
        .iter()
        .filter(|snapshot| snapshot.state == State::Done)
        .count();
    let failed = snapshots
        .iter()
        .filter(|snapshot| snapshot.state == State::Failed)
        .count();
    let bytes = snapshots.iter().map(|snapshot| snapshot.bytes).sum();
    let elapsed = snapshots
        .iter()
        .map(|snapshot| snapshot.elapsed)
        .max()
        .unwrap_or_default();
    let failed = if failed == 0 {
        String::new()
    } else {
        format!(", {failed} failed")
    };
    format!(
        "byron: {done} of {} poems{failed}, {}, {}s",
        snapshots.len(),
        size_text(bytes),
        elapsed.as_secs()
    )
}

/// The tutorial's line for a chunk. Tasks are numbered from 1.
pub fn classic_chunk(task: usize, bytes: u64, label: &str) -> String {
    format!("Task {task}: got {bytes} bytes of poetry from {label}")
}

/// The tutorial's line for the end of a poem.
pub fn classic_finished(task: usize) -> String {
    format!("Task {task} finished")
}

/// The tutorial's last line; the time is written as Python writes a `timedelta`.
///
/// ```
/// # use std::time::Duration;
/// let line = byron::present::progress::classic_total(1, Duration::from_millis(43_400));
/// assert_eq!(line, "Got 1 poems in 0:00:43.400000");
/// ```
pub fn classic_total(poems: usize, elapsed: Duration) -> String {
    let seconds = elapsed.as_secs();
    let days = match seconds / 86_400 {
        0 => String::new(),
        1 => "1 day, ".to_owned(),
        days => format!("{days} days, "),
    };
    let microseconds = match elapsed.subsec_micros() {
        0 => String::new(),
        microseconds => format!(".{microseconds:06}"),
    };
    let (hours, minutes, seconds) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("Got {poems} poems in {days}{hours}:{minutes:02}:{seconds:02}{microseconds}")
}

/// `410 B`, `14.3 KiB`.
fn size_text(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 10_000 {
        return format!("{bytes} B");
    }
    let mut amount = bytes as f64 / 1024.0;
    let mut unit = 0;
    while amount >= 1000.0 && unit + 1 < UNITS.len() {
        amount /= 1024.0;
        unit += 1;
    }
    format!("{amount:.1} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    const PIPED: Surroundings = Surroundings {
        poems_on_terminal: false,
        stderr_is_terminal: false,
        terminal_is_dumb: false,
        json: false,
        quiet: false,
    };

    fn snapshot(state: State, bytes: u64, seconds: u64) -> Snapshot {
        Snapshot {
            state,
            bytes,
            expected_bytes: None,
            elapsed: Duration::from_secs(seconds),
        }
    }

    #[test]
    fn what_is_shown_depends_on_the_terminal() {
        let bars = Surroundings {
            stderr_is_terminal: true,
            ..PIPED
        };
        let same = Surroundings {
            poems_on_terminal: true,
            ..bars
        };
        for (progress, surroundings, shown) in [
            (Progress::Auto, PIPED, Shown::Nothing),
            (Progress::Auto, bars, Shown::Bars),
            (Progress::Auto, same, Shown::StatusLine),
            (
                Progress::Auto,
                Surroundings {
                    poems_on_terminal: true,
                    ..PIPED
                },
                Shown::Nothing,
            ),
            (
                Progress::Auto,
                Surroundings {
                    terminal_is_dumb: true,
                    ..bars
                },
                Shown::Nothing,
            ),
            (
                Progress::Auto,
                Surroundings {
                    quiet: true,
                    ..bars
                },
                Shown::Nothing,
            ),
            (
                Progress::Auto,
                Surroundings { json: true, ..bars },
                Shown::Bars,
            ),
            (
                Progress::Auto,
                Surroundings { json: true, ..same },
                Shown::Nothing,
            ),
            (Progress::Bars, PIPED, Shown::Nothing),
            (Progress::Bars, same, Shown::StatusLine),
            (Progress::Classic, PIPED, Shown::Classic),
            (Progress::None, bars, Shown::Nothing),
        ] {
            assert_eq!(
                choose(progress, surroundings),
                shown,
                "{progress:?} {surroundings:?}"
            );
        }
    }

    #[test]
    fn classic_lines_are_the_tutorials() {
        assert_eq!(
            classic_chunk(1, 10, "127.0.0.1:10001"),
            "Task 1: got 10 bytes of poetry from 127.0.0.1:10001"
        );
        assert_eq!(classic_finished(1), "Task 1 finished");
        for (elapsed, text) in [
            (Duration::from_secs(60), "0:01:00"),
            (Duration::from_micros(1), "0:00:00.000001"),
            (Duration::from_secs(86_400 + 3_600), "1 day, 1:00:00"),
            (Duration::from_secs(2 * 86_400), "2 days, 0:00:00"),
        ] {
            assert_eq!(classic_total(3, elapsed), format!("Got 3 poems in {text}"));
        }
    }

    #[test]
    fn a_bar_tells_number_target_bytes_rate_time_and_state() {
        for (task, snapshot, line) in [
            (
                1,
                snapshot(State::Streaming, 410, 29),
                " 1 127.0.0.1:10001   410 B   14 B/s   29s  streaming",
            ),
            (
                2,
                snapshot(State::WaitingFor(1), 400, 29),
                " 2 127.0.0.1:10001   400 B   14 B/s   29s  waiting for 1",
            ),
            (
                3,
                Snapshot {
                    expected_bytes: Some(1000),
                    ..snapshot(State::Streaming, 500, 10)
                },
                " 3 127.0.0.1:10001   500 B  50%   50 B/s   10s  streaming",
            ),
            (
                4,
                snapshot(State::Connecting, 0, 0),
                " 4 127.0.0.1:10001     0 B    0 B/s    0s  connecting",
            ),
        ] {
            assert_eq!(bar_line(task, "127.0.0.1:10001", &snapshot), line);
        }
    }

    #[test]
    fn the_status_counts_poems_and_losses() {
        let snapshots = [
            snapshot(State::Done, 615, 43),
            snapshot(State::Failed, 0, 1),
            snapshot(State::Streaming, 20_000, 46),
        ];
        assert_eq!(
            status_text(&snapshots),
            "byron: 1 of 3 poems, 1 failed, 20.1 KiB, 46s"
        );
    }
}
