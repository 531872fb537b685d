//! A running instance's entry in the [directory](super::directory): its name, and how to reach it.
//!
//! Three files: `NAME.lock` is locked for as long as the program runs, and nothing else says that it does; `NAME.json`
//! is who it is; `NAME.sock` is the socket. A program that was killed leaves them behind without the lock: nobody lists
//! it, and the next of its name takes the files over.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::model::{Instance, VERSION};
use super::name::InstanceName;

/// Readable and writable by its owner alone.
const MODE: u32 = 0o600;

/// How often a lock is tried: whoever lists the instances holds it for a moment too.
const LOCK_ATTEMPTS: u32 = 5;

/// How long between two attempts.
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// How many numbers are tried after a name that is taken.
const NUMBERS_MAX: u32 = 1000;

/// How many bytes of an entry are read.
const ENTRY_BYTES_MAX: u64 = 1024 * 1024;

/// Who an instance is, and where its socket is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Registration {
    /// The version of the format.
    pub v: u32,
    /// The socket that it answers on.
    pub socket: PathBuf,
    /// Who it is.
    #[serde(flatten)]
    pub instance: Instance,
}

/// What name an instance wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// This one, or none.
    Exactly(InstanceName),
    /// This one, or else with a number behind it.
    Like(InstanceName),
}

/// Why an instance cannot have the name it wants.
#[derive(Debug, Error)]
pub enum ClaimError {
    /// A program that runs has it.
    #[error("the name {name} is taken by {}; choose another --name, or: byron ctl -i {name} stop", holder(*.pid))]
    Taken {
        /// The name.
        name: InstanceName,
        /// Who has it, if it says so.
        pid: Option<u32>,
    },
    /// The system refuses.
    #[error("cannot write {}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

fn holder(pid: Option<u32>) -> String {
    match pid {
        Some(pid) => format!("another byron (pid {pid})"),
        None => "another byron".to_owned(),
    }
}

/// A name that is ours while this is kept.
#[derive(Debug)]
pub(super) struct Claim {
    pub(super) name: InstanceName,
    directory: PathBuf,
    /// Locked.
    _lock: File,
}

impl Claim {
    /// Takes a name.
    pub(super) fn take(directory: &Path, wanted: Wanted) -> Result<Claim, ClaimError> {
        match wanted {
            Wanted::Exactly(name) => Claim::take_exactly(directory, name),
            Wanted::Like(name) => {
                let mut number = 1;
                loop {
                    match Claim::take_exactly(directory, name.with_number(number)) {
                        Err(ClaimError::Taken { .. }) if number < NUMBERS_MAX => number += 1,
                        result => return result,
                    }
                }
            }
        }
    }

    fn take_exactly(directory: &Path, name: InstanceName) -> Result<Claim, ClaimError> {
        let path = lock_path(directory, &name);
        let unusable = |source| ClaimError::Unusable {
            path: path.clone(),
            source,
        };
        for attempt in 1..=LOCK_ATTEMPTS {
            if attempt > 1 {
                thread::park_timeout(LOCK_PAUSE);
            }
            let lock = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(false)
                .mode(MODE)
                .open(&path)
                .map_err(unusable)?;
            match lock.try_lock() {
                // Its last holder may have removed it between our two steps: then the next program would make a new one.
                Ok(()) if is_at(&lock, &path) => {
                    return Ok(Claim {
                        name,
                        directory: directory.to_owned(),
                        _lock: lock,
                    });
                }
                Ok(()) | Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => return Err(unusable(error)),
            }
        }
        let pid = read(&entry_path(directory, &name))
            .ok()
            .map(|registration| registration.instance.pid);
        Err(ClaimError::Taken { name, pid })
    }

    /// Where the socket is, unless it was asked for elsewhere.
    pub(super) fn socket_path(&self) -> PathBuf {
        file(&self.directory, &self.name, "sock")
    }

    /// Tells everybody who looks. Whole or not at all.
    pub(super) fn publish(&self, socket: &Path, instance: Instance) -> Result<(), ClaimError> {
        let path = entry_path(&self.directory, &self.name);
        let registration = Registration {
            v: VERSION,
            socket: socket.to_owned(),
            instance,
        };
        write_whole(&path, &registration).map_err(|source| ClaimError::Unusable { path, source })
    }
}

/// The lock last: whoever gets it finds the place tidied.
impl Drop for Claim {
    fn drop(&mut self) {
        for path in [
            entry_path(&self.directory, &self.name),
            self.socket_path(),
            lock_path(&self.directory, &self.name),
        ] {
            // What stays is taken over by the next of this name.
            let _ = fs::remove_file(path);
        }
    }
}

fn write_whole(path: &Path, registration: &Registration) -> io::Result<()> {
    let new = path.with_extension("json.new");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(MODE)
        .open(&new)?;
    serde_json::to_writer(&mut file, registration)?;
    file.write_all(b"\n")?;
    fs::rename(&new, path)
}

/// The instances that run, by name. What cannot be read is not listed.
pub(super) fn running(directory: &Path) -> io::Result<Vec<Registration>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let is_lock = path
            .extension()
            .is_some_and(|extension| extension == "lock");
        if is_lock && is_locked(&path) {
            // One that is just starting has no entry yet.
            found.extend(read(&path.with_extension("json")));
        }
    }
    found.sort_by(|one, other| one.instance.name.cmp(&other.instance.name));
    Ok(found)
}

/// Whether the program that made the lock runs.
fn is_locked(path: &Path) -> bool {
    File::open(path)
        .is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

/// Whether a program of this name ran, and was killed before it could clean up.
pub(super) fn is_left_behind(directory: &Path, name: &InstanceName) -> bool {
    let path = lock_path(directory, name);
    path.exists() && !is_locked(&path)
}

fn read(path: &Path) -> io::Result<Registration> {
    let file = io::Read::take(File::open(path)?, ENTRY_BYTES_MAX);
    Ok(serde_json::from_reader(io::BufReader::new(file))?)
}

/// Whether `path` still leads to this file.
fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::symlink_metadata(path)) {
        (Ok(ours), Ok(there)) => (ours.dev(), ours.ino()) == (there.dev(), there.ino()),
        _ => false,
    }
}

fn lock_path(directory: &Path, name: &InstanceName) -> PathBuf {
    file(directory, name, "lock")
}

fn entry_path(directory: &Path, name: &InstanceName) -> PathBuf {
    file(directory, name, "json")
}

/// Not `with_extension`: a name may have a dot.
fn file(directory: &Path, name: &InstanceName, extension: &str) -> PathBuf {
    directory.join(format!("{name}.{extension}"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use jiff::Timestamp;

    use super::*;

    fn name(text: &str) -> InstanceName {
        text.parse().unwrap()
    }

    fn instance(name: &str, pid: u32) -> Instance {
        Instance {
            name: name.to_owned(),
            pid,
            uid: None,
            command_line: Vec::new(),
            version: String::new(),
            started: Timestamp::UNIX_EPOCH,
            endpoints: Vec::new(),
        }
    }

    fn listed(directory: &Path) -> Vec<(String, u32)> {
        running(directory)
            .unwrap()
            .into_iter()
            .map(|found| (found.instance.name, found.instance.pid))
            .collect()
    }

    #[test]
    fn an_instance_is_listed_while_it_runs_and_no_longer() {
        let there = tempfile::tempdir().unwrap();
        let claim = Claim::take(there.path(), Wanted::Exactly(name("v1.5"))).unwrap();
        assert_eq!(listed(there.path()), [], "it has not said who it is");
        claim
            .publish(&claim.socket_path(), instance("v1.5", 7))
            .unwrap();
        assert_eq!(listed(there.path()), [("v1.5".to_owned(), 7)]);
        let entry = fs::metadata(there.path().join("v1.5.json")).unwrap();
        assert_eq!(entry.permissions().mode() & 0o777, 0o600);
        drop(claim);
        assert_eq!(fs::read_dir(there.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_a_killed_program_left_behind_is_not_listed_and_is_taken_over() {
        let there = tempfile::tempdir().unwrap();
        let claim = Claim::take(there.path(), Wanted::Exactly(name("ecstasy"))).unwrap();
        claim
            .publish(&claim.socket_path(), instance("ecstasy", 7))
            .unwrap();
        for file in ["ecstasy.lock", "ecstasy.json"] {
            fs::copy(
                there.path().join(file),
                there.path().join(format!("old-{file}")),
            )
            .unwrap();
        }
        assert_eq!(listed(there.path()), [("ecstasy".to_owned(), 7)]);
        let again = Claim::take(there.path(), Wanted::Exactly(name("old-ecstasy"))).unwrap();
        assert_eq!(again.name.as_str(), "old-ecstasy");
    }

    #[test]
    fn a_name_that_is_taken_is_an_error_or_gets_a_number() {
        let there = tempfile::tempdir().unwrap();
        let take = |wanted| Claim::take(there.path(), wanted);
        let first = take(Wanted::Like(name("ecstasy"))).unwrap();
        first
            .publish(&first.socket_path(), instance("ecstasy", 4242))
            .unwrap();
        let second = take(Wanted::Like(name("ecstasy"))).unwrap();
        let third = take(Wanted::Like(name("ecstasy"))).unwrap();
        assert_eq!(
            [
                first.name.as_str(),
                second.name.as_str(),
                third.name.as_str()
            ],
            ["ecstasy", "ecstasy-2", "ecstasy-3"]
        );
        assert_eq!(
            take(Wanted::Exactly(name("ecstasy")))
                .unwrap_err()
                .to_string(),
            "the name ecstasy is taken by another byron (pid 4242); choose another --name, or: byron ctl -i ecstasy stop"
        );
        drop(second);
        let again = take(Wanted::Like(name("ecstasy"))).unwrap();
        assert_eq!(again.name.as_str(), "ecstasy-2");
    }

    #[test]
    fn whoever_lists_the_instances_does_not_take_their_names() {
        let there = tempfile::tempdir().unwrap();
        let path = there.path().join("ecstasy.lock");
        let lister = File::create(&path).unwrap();
        lister.try_lock_shared().unwrap();
        thread::scope(|scope| {
            let claim = scope.spawn(|| Claim::take(there.path(), Wanted::Exactly(name("ecstasy"))));
            thread::park_timeout(LOCK_PAUSE);
            lister.unlock().unwrap();
            assert!(claim.join().unwrap().is_ok());
        });
    }
}
