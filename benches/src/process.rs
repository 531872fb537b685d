//! The programs that are measured: started on a processor, asked by `/proc` what they use, ended.

use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use byron_benches::wall;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::{TimeVal, TimeValLike};

/// How long a server may take until it accepts.
const START_LIMIT: Duration = Duration::from_secs(20);

/// A program that is ended when this is dropped.
pub(crate) struct Process(Child);

impl Process {
    /// Starts a program, on these processors (`0` or `0,1`), without what would slow it down.
    pub(crate) fn start(processors: &str, command: &[String]) -> Result<Self> {
        let child = quiet(processors, command).stdout(Stdio::null()).spawn();
        Ok(Self(child.with_context(|| {
            format!("cannot start {}", command.join(" "))
        })?))
    }

    /// Starts a server and waits until it accepts.
    pub(crate) fn server(processors: &str, command: &[String], port: u16) -> Result<Self> {
        let mut process = Self::start(processors, command)?;
        let begin = wall();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            if let Some(status) = process.0.try_wait()? {
                bail!("{} ended: {status}", command.join(" "));
            }
            if wall() - begin > START_LIMIT {
                bail!("{} does not accept", command.join(" "));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(process)
    }

    /// The processor time of all its living threads so far. `taskset` has become the program itself.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        let mut nanoseconds = 0;
        for pid in self.family()? {
            for task in fs::read_dir(format!("/proc/{pid}/task"))? {
                let schedstat =
                    fs::read_to_string(task?.path().join("schedstat")).unwrap_or_default();
                let running = schedstat.split(' ').next().unwrap_or_default();
                nanoseconds += running.trim().parse::<u64>().unwrap_or(0);
            }
        }
        Ok(Duration::from_nanos(nanoseconds))
    }

    /// The memory in use now, in bytes.
    pub(crate) fn resident_bytes(&self) -> Result<u64> {
        let mut bytes = 0;
        for pid in self.family()? {
            bytes += status_bytes(pid, "VmRSS:")?;
        }
        Ok(bytes)
    }

    /// Itself, and the processes that it has started (nginx's workers).
    fn family(&self) -> Result<Vec<u32>> {
        let own = self.0.id();
        let children = fs::read_to_string(format!("/proc/{own}/task/{own}/children"))?;
        let children = children
            .split_whitespace()
            .filter_map(|pid| pid.parse().ok());
        Ok(std::iter::once(own).chain(children).collect())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Parents first: nginx starts a worker again that dies before its master.
        for pid in self.family().unwrap_or_default() {
            let _ = Command::new("kill")
                .arg("-KILL")
                .arg(pid.to_string())
                .stderr(Stdio::null())
                .status();
        }
        let _ = self.0.wait();
    }
}

fn status_bytes(pid: u32, field: &str) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let kilobytes = status.lines().find_map(|line| {
        line.strip_prefix(field)?
            .split_whitespace()
            .next()?
            .parse::<u64>()
            .ok()
    });
    Ok(kilobytes.unwrap_or(0) * 1024)
}

fn quiet(processors: &str, command: &[String]) -> Command {
    // Whoever ends this program ends what it measures, or the next run would share its ports.
    let mut quiet = Command::new("setpriv");
    quiet
        .args(["--pdeathsig", "KILL", "taskset", "-c", processors])
        .args(command)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .env_remove("RUST_BACKTRACE")
        .env_remove("RUST_LOG")
        .env_remove("BYRON_LOG")
        // Erlang is killed like the others, and has nothing to tell.
        .env("ERL_CRASH_DUMP_SECONDS", "0");
    quiet
}

/// What one run of a program to its end used.
pub(crate) struct Spent {
    pub(crate) wall: Duration,
    pub(crate) cpu: Duration,
    /// The most memory that was seen in use.
    pub(crate) resident_bytes: u64,
    pub(crate) stdout: Vec<u8>,
}

/// Runs a program to its end.
pub(crate) fn spend(processors: &str, command: &[String]) -> Result<Spent> {
    let before = children_cpu()?;
    let begin = wall();
    let mut child = quiet(processors, command).stdout(Stdio::piped()).spawn()?;
    let (pid, mut stdout) = (child.id(), child.stdout.take().expect("it is piped"));
    let reader = std::thread::spawn(move || {
        let mut said = Vec::new();
        std::io::Read::read_to_end(&mut stdout, &mut said).map(|_| said)
    });
    let mut resident_bytes = 0;
    while !reader.is_finished() {
        resident_bytes = resident_bytes.max(status_bytes(pid, "VmHWM:").unwrap_or(0));
        std::thread::sleep(Duration::from_millis(1));
    }
    let status = child.wait()?;
    let wall = wall() - begin;
    if !status.success() {
        bail!("{} ended: {status}", command.join(" "));
    }
    let stdout = reader.join().expect("it reads")?;
    Ok(Spent {
        wall,
        cpu: children_cpu()? - before,
        resident_bytes,
        stdout,
    })
}

/// The processor time of all children that have ended.
fn children_cpu() -> Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let of =
        |time: TimeVal| Duration::from_micros(u64::try_from(time.num_microseconds()).unwrap_or(0));
    Ok(of(usage.user_time()) + of(usage.system_time()))
}

/// Whether a program is installed.
pub(crate) fn has(program: &str) -> bool {
    let found = std::env::var_os("PATH").map(|path| {
        std::env::split_paths(&path)
            .map(|folder| folder.join(program))
            .find(|path| path.is_file())
    });
    matches!(found, Some(Some(_)))
}

/// A program that was built beside this one.
pub(crate) fn sibling(name: &str) -> Result<String> {
    let own: PathBuf = std::env::current_exe()?;
    Ok(own.with_file_name(name).to_string_lossy().into_owned())
}
