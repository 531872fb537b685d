//! Tells other programs that the ports are open: `--port-file` and `--ready-fd`.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;

use anyhow::Context;
use byron_actors::Address;
use byron_actors::tree::ServiceHandle;

use crate::cli::ServerSettings;

/// Writes where the services are, then the newline.
pub(super) fn tell(settings: &ServerSettings, services: &[&ServiceHandle]) -> anyhow::Result<()> {
    if let Some(path) = &settings.port_file {
        write_places(path, services).with_context(|| format!("cannot write {}", path.display()))?;
    }
    if let Some(fd) = settings.ready_fd {
        // A duplicate by name: taking an arbitrary number for an open file of one's own needs unsafe code.
        OpenOptions::new()
            .write(true)
            .open(format!("/dev/fd/{fd}"))
            .and_then(|mut file| file.write_all(b"\n"))
            .with_context(|| format!("cannot tell readiness on file descriptor {fd}"))?;
    }
    Ok(())
}

/// Whole or not there: whoever waits for the file reads complete lines.
fn write_places(path: &Path, services: &[&ServiceHandle]) -> std::io::Result<()> {
    let text: String = services
        .iter()
        .filter_map(|service| line(service))
        .collect();
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    fs::write(&new, text)?;
    fs::rename(&new, path)
}

/// What a client on this machine is given to connect: a port, or the endpoint of a Unix socket. Nobody else can come to a
/// connection that stands already.
fn line(service: &ServiceHandle) -> Option<String> {
    if service.is_connected() {
        return None;
    }
    match (service.port(), &service.addresses()[0]) {
        (Some(port), _) => Some(format!("{port}\n")),
        (None, Address::Unix(address)) => Some(format!("{address}\n")),
        (None, _) => None,
    }
}
