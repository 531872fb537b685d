//! File descriptors that whoever started this program has opened for it: by number, and by name from systemd.
//!
//! Taking a number for an open file of one's own needs unsafe code; asking the kernel for a copy of what this process has
//! under it does not (`pidfd_getfd`, Linux 5.6). The original stays open, too: what waits in its queue when the program
//! ends is whoever's else holds it.

use std::env;
use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::process;

use thiserror::Error;

/// The first descriptor that systemd passes.
const FIRST: u32 = 3;

/// More sockets than that are a mistake in the environment.
const SOCKETS_MAX: u32 = 1024;

/// There is no such descriptor for us.
#[derive(Debug, Error)]
pub enum DescriptorError {
    /// Nobody passed any.
    #[error(
        "no socket was passed to this process; systemd sets LISTEN_FDS for the service of a socket unit"
    )]
    NotPassed,
    /// They are for another process.
    #[error("the sockets are for process {0}, this is {1}")]
    ForAnother(String, u32),
    /// The environment makes no sense.
    #[error("LISTEN_FDS={0:?} is no number of sockets")]
    BadCount(String),
    /// None has this name.
    #[error("no socket called {wanted}; there are: {}", .names.join(", "))]
    NoSuchName {
        /// The name.
        wanted: String,
        /// Those that there are.
        names: Vec<String>,
    },
    /// It is not open, or the kernel does not give it.
    #[error("cannot take file descriptor {number}")]
    Take {
        /// Which.
        number: u32,
        /// Why.
        source: io::Error,
    },
}

/// A copy of an open file descriptor of this process.
///
/// # Errors
/// It is not open, or the kernel is too old, or forbids it.
pub fn take(number: u32) -> Result<OwnedFd, DescriptorError> {
    copy(number).map_err(|source| DescriptorError::Take { number, source })
}

#[cfg(target_os = "linux")]
fn copy(number: u32) -> io::Result<OwnedFd> {
    use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
    let number = i32::try_from(number).map_err(|_| io::ErrorKind::InvalidInput)?;
    let this = pidfd_open(getpid(), PidfdFlags::empty())?;
    Ok(pidfd_getfd(this, number, PidfdGetfdFlags::empty())?)
}

#[cfg(not(target_os = "linux"))]
fn copy(_: u32) -> io::Result<OwnedFd> {
    Err(io::ErrorKind::Unsupported.into())
}

/// All sockets of this name that systemd has passed.
///
/// # Errors
/// There is none.
pub fn of_systemd(name: &str) -> Result<Vec<OwnedFd>, DescriptorError> {
    let text = |key| {
        env::var_os(key)
            .map(OsString::into_string)
            .and_then(Result::ok)
    };
    let passed = Passed {
        pid: text("LISTEN_PID"),
        count: text("LISTEN_FDS"),
        names: text("LISTEN_FDNAMES"),
    };
    passed
        .numbers(name, process::id())?
        .into_iter()
        .map(take)
        .collect()
}

/// What `sd_listen_fds_with_names(3)` reads of the environment.
#[derive(Debug, Default, Clone)]
struct Passed {
    pid: Option<String>,
    count: Option<String>,
    names: Option<String>,
}

impl Passed {
    /// The descriptors of a name.
    fn numbers(&self, wanted: &str, this: u32) -> Result<Vec<u32>, DescriptorError> {
        let (Some(pid), Some(count)) = (&self.pid, &self.count) else {
            return Err(DescriptorError::NotPassed);
        };
        if pid.parse() != Ok(this) {
            return Err(DescriptorError::ForAnother(pid.clone(), this));
        }
        let number = count.parse().ok().filter(|count| *count <= SOCKETS_MAX);
        let number: u32 = number.ok_or_else(|| DescriptorError::BadCount(count.clone()))?;
        // Without names all are called "unknown", as systemd does.
        let mut names: Vec<&str> = match &self.names {
            Some(names) => names.split(':').collect(),
            None => Vec::new(),
        };
        names.resize(number as usize, "unknown");
        let of_name: Vec<u32> = (FIRST..)
            .zip(&names)
            .filter(|(_, name)| **name == wanted)
            .map(|(fd, _)| fd)
            .collect();
        if of_name.is_empty() {
            return Err(DescriptorError::NoSuchName {
                wanted: wanted.to_owned(),
                names: names.into_iter().map(str::to_owned).collect(),
            });
        }
        Ok(of_name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed(pid: &str, count: &str, names: Option<&str>) -> Passed {
        Passed {
            pid: Some(pid.to_owned()),
            count: Some(count.to_owned()),
            names: names.map(str::to_owned),
        }
    }

    #[test]
    fn sockets_are_found_by_name() {
        let three = passed("7", "3", Some("poem:web:poem"));
        assert_eq!(three.numbers("poem", 7).unwrap(), [3, 5]);
        assert_eq!(three.numbers("web", 7).unwrap(), [4]);
        assert_eq!(
            passed("7", "2", None).numbers("unknown", 7).unwrap(),
            [3, 4]
        );
    }

    #[test]
    fn what_is_not_for_us_is_refused_with_the_reason() {
        for (passed, error) in [
            (
                Passed::default(),
                "no socket was passed to this process; systemd sets LISTEN_FDS for the service of a socket unit",
            ),
            (
                passed("8", "1", None),
                "the sockets are for process 8, this is 7",
            ),
            (
                passed("7", "x", None),
                "LISTEN_FDS=\"x\" is no number of sockets",
            ),
            (
                passed("7", "4096", None),
                "LISTEN_FDS=\"4096\" is no number of sockets",
            ),
            (
                passed("7", "2", Some("a:b")),
                "no socket called poem; there are: a, b",
            ),
        ] {
            assert_eq!(passed.numbers("poem", 7).unwrap_err().to_string(), error);
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_copy_is_the_same_file_and_nothing_comes_of_a_closed_one() {
        use std::io::{Read, Write};
        use std::os::fd::AsRawFd;
        let (mut reader, writer) = io::pipe().unwrap();
        let copy = take(u32::try_from(writer.as_raw_fd()).unwrap()).unwrap();
        drop(writer);
        std::fs::File::from(copy).write_all(b"poem").unwrap();
        let mut heard = String::new();
        reader.read_to_string(&mut heard).unwrap();
        assert_eq!(heard, "poem");
        assert!(take(1_000_000).is_err());
    }
}
