//! Sentences: what `get` says when it is over, and what `serve` says when it begins or cannot.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use super::escape::escape_name;
use crate::endpoint::PoemSource;
use crate::observe::model::Instance;

/// Ports below this one belong to the administrator.
const PRIVILEGED_PORTS_END: u16 = 1024;

/// A poem that did not arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure<'a> {
    /// The target as people see it: `127.0.0.1:10003`.
    pub target: &'a str,
    /// What happened: `connection refused`.
    pub message: &'a str,
    /// The stable word for it, for scripts: `refused`.
    pub kind: &'a str,
    /// How many connections were tried.
    pub attempts: u32,
    /// From the first attempt to the end of the last.
    pub elapsed: Duration,
    /// How much of the poem has been printed, which cannot be taken back.
    pub printed_bytes: u64,
}

/// The line for a poem that did not arrive.
///
/// ```
/// # use byron::present::message::*;
/// # use std::time::Duration;
/// let failure = Failure {
///     target: "127.0.0.1:10003", message: "connection refused", kind: "refused",
///     attempts: 3, elapsed: Duration::from_millis(610), printed_bytes: 0,
/// };
/// assert_eq!(failure_line(&failure), "byron: 127.0.0.1:10003: connection refused, 3 attempts in 0.6s [refused]");
/// ```
pub fn failure_line(failure: &Failure<'_>) -> String {
    let Failure {
        target,
        message,
        kind,
        attempts,
        elapsed,
        printed_bytes,
    } = *failure;
    let (target, message) = (escape_name(target), escape_name(message));
    let attempts = counted(u64::from(attempts), "attempt");
    let printed = match printed_bytes {
        0 => String::new(),
        bytes => format!(", after {} had been printed", counted(bytes, "byte")),
    };
    format!(
        "byron: {target}: {message}, {attempts} in {}{printed} [{kind}]",
        elapsed_text(elapsed)
    )
}

/// The line, with `-v`, for an attempt that failed and will be followed by another.
pub fn retry_line(target: &str, message: &str, after: Duration, kind: &str) -> String {
    let (target, message) = (escape_name(target), escape_name(message));
    format!(
        "byron: {target}: {message}; again in {} [{kind}]",
        elapsed_text(after)
    )
}

/// The line for a transform that failed and left the poem as it was.
///
/// ```
/// # use byron::present::message::kept_line;
/// assert_eq!(
///     kept_line("127.0.0.1:10001", "shout@127.0.0.1:11000", "connection refused"),
///     "byron: 127.0.0.1:10001: shout@127.0.0.1:11000: connection refused; the poem stays as it was [transform]"
/// );
/// ```
pub fn kept_line(target: &str, transform: &str, message: &str) -> String {
    let (target, transform) = (escape_name(target), escape_name(transform));
    let message = escape_name(message);
    format!("byron: {target}: {transform}: {message}; the poem stays as it was [transform]")
}

/// The last line: `byron: got 2 of 3 poems, 1268 bytes in 46.2s`.
pub fn summary_line(got: usize, asked: usize, bytes: u64, elapsed: Duration) -> String {
    let poems = if asked == 1 { "poem" } else { "poems" };
    format!(
        "byron: got {got} of {asked} {poems}, {} in {}",
        counted(bytes, "byte"),
        elapsed_text(elapsed)
    )
}

/// The tutorial's first line of a server, on standard output: `Serving poetry/ecstasy.txt on port 10000.`
pub fn serving_line(source: &PoemSource, place: &str) -> String {
    let source = match source {
        PoemSource::Stdin => "standard input".to_owned(),
        PoemSource::File(path) => escape_name(&path.to_string_lossy()),
    };
    format!("Serving {source} on {}.", escape_name(place))
}

/// Why a server cannot listen, and what to try; `main` puts the name of the program before it.
pub fn cannot_listen(listen_addr: SocketAddr, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            format!("cannot listen on {listen_addr}: address in use; try --port 0")
        }
        io::ErrorKind::AddrNotAvailable => {
            format!(
                "cannot listen on {listen_addr}: this machine has no such address; try localhost or *"
            )
        }
        io::ErrorKind::PermissionDenied if listen_addr.port() < PRIVILEGED_PORTS_END => format!(
            "cannot listen on {listen_addr}: port {} needs privileges; try a port from {PRIVILEGED_PORTS_END}, \
             or with systemd AmbientCapabilities=CAP_NET_BIND_SERVICE",
            listen_addr.port()
        ),
        _ => format!("cannot listen on {listen_addr}: {error}"),
    }
}

/// Why a server cannot listen where another byron does, and what to try.
pub fn in_use_by(listen_addr: SocketAddr, holder: &Instance) -> String {
    let command = holder.command_line.get(1).map(String::as_str);
    let (command, name) = (
        escape_name(command.unwrap_or_default()),
        escape_name(&holder.name),
    );
    format!(
        "cannot listen on {listen_addr}: address in use by byron {command} \"{name}\" (pid {}); try --port 0 or: byron ctl -i {name} stop",
        holder.pid
    )
}

/// A span of time for people: tenths of a second up to ten minutes, then `12m05s` and `3h00m`.
pub fn elapsed_text(elapsed: Duration) -> String {
    let tenths = (elapsed + Duration::from_millis(50)).as_millis() / 100;
    let seconds = tenths / 10;
    match seconds {
        0..600 => format!("{seconds}.{}s", tenths % 10),
        600..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h{:02}m", seconds / 3600, seconds / 60 % 60),
    }
}

/// `1 byte`, `2 bytes`.
pub fn counted(number: u64, noun: &str) -> String {
    match number {
        1 => format!("1 {noun}"),
        _ => format!("{number} {noun}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_is_the_documented_one() {
        let elapsed = Duration::from_millis(46_240);
        assert_eq!(
            summary_line(2, 3, 1268, elapsed),
            "byron: got 2 of 3 poems, 1268 bytes in 46.2s"
        );
        assert_eq!(
            summary_line(0, 1, 0, Duration::ZERO),
            "byron: got 0 of 1 poem, 0 bytes in 0.0s"
        );
    }

    #[test]
    fn what_was_printed_of_a_failed_poem_is_told() {
        let failure = Failure {
            target: "a\x1b[m:1",
            message: "connection reset by the server",
            kind: "reset",
            attempts: 1,
            elapsed: Duration::from_secs(4),
            printed_bytes: 400,
        };
        assert_eq!(
            failure_line(&failure),
            r"byron: a\x1b[m:1: connection reset by the server, 1 attempt in 4.0s, after 400 bytes had been printed [reset]"
        );
    }

    #[test]
    fn a_server_says_what_it_serves_or_what_to_try() {
        assert_eq!(
            serving_line(&PoemSource::File("poetry/ecstasy.txt".into()), "port 10000"),
            "Serving poetry/ecstasy.txt on port 10000."
        );
        for (address, kind, message) in [
            (
                "127.0.0.1:10000",
                io::ErrorKind::AddrInUse,
                "cannot listen on 127.0.0.1:10000: address in use; try --port 0",
            ),
            (
                "[::1]:80",
                io::ErrorKind::PermissionDenied,
                "cannot listen on [::1]:80: port 80 needs privileges; try a port from 1024, or with systemd \
                 AmbientCapabilities=CAP_NET_BIND_SERVICE",
            ),
            (
                "192.0.2.1:1",
                io::ErrorKind::PermissionDenied,
                "cannot listen on 192.0.2.1:1: port 1 needs privileges; try a port from 1024, or with systemd AmbientCapabilities=CAP_NET_BIND_SERVICE",
            ),
            (
                "10.0.0.1:9999",
                io::ErrorKind::AddrNotAvailable,
                "cannot listen on 10.0.0.1:9999: this machine has no such address; try localhost or *",
            ),
        ] {
            assert_eq!(
                cannot_listen(address.parse().unwrap(), &kind.into()),
                message
            );
        }
    }

    #[test]
    fn long_times_stay_short() {
        for (milliseconds, text) in [
            (0, "0.0s"),
            (949, "0.9s"),
            (951, "1.0s"),
            (599_900, "599.9s"),
            (725_000, "12m05s"),
            (36_000_000, "10h00m"),
        ] {
            assert_eq!(elapsed_text(Duration::from_millis(milliseconds)), text);
        }
    }
}
