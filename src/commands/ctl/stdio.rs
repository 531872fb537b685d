//! `byron ctl stdio`: the far end of `ssh://`. What comes on standard input goes to the instance's socket, and back.

use std::io::{self, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::thread;

use anyhow::{Context, bail};

use crate::exit_code::ExitCode;
use crate::observe::InstanceAddress;
use crate::observe::client::ClientError;
use crate::observe::discovery;

/// Carries bytes both ways until the instance closes.
pub(super) fn run(address: Option<&InstanceAddress>) -> anyhow::Result<ExitCode> {
    let socket = socket(address)?;
    let stream = UnixStream::connect(&socket)
        .with_context(|| format!("cannot reach unix:{}", socket.display()))?;
    let mut to_instance = stream.try_clone().context("cannot use the socket twice")?;
    // Not waited for: it ends with its input, or with the program.
    thread::spawn(move || {
        let _ = io::copy(&mut io::stdin().lock(), &mut to_instance);
        let _ = to_instance.shutdown(Shutdown::Write);
    });
    let mut from_instance = stream;
    let mut stdout = io::stdout().lock();
    // Whoever was connected has gone: nobody is left to be told.
    let _ = io::copy(&mut from_instance, &mut stdout).and_then(|_| stdout.flush());
    Ok(ExitCode::Done)
}

fn socket(address: Option<&InstanceAddress>) -> anyhow::Result<PathBuf> {
    let name = match address {
        Some(InstanceAddress::Socket(path)) => return Ok(path.clone()),
        Some(InstanceAddress::Ssh(ssh)) => {
            bail!("{ssh} is on another machine; stdio is for one of this machine")
        }
        Some(InstanceAddress::Name(name)) => Some(name),
        None => None,
    };
    let found = discovery::find(name).map_err(ClientError::from)?;
    Ok(found.socket)
}
