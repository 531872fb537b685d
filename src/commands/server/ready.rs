//! Tells other programs that the ports are open: `--port-file` and `--ready-fd`.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;

use anyhow::Context;

use crate::cli::ServerSettings;

/// Writes the ports, then the newline.
pub(super) fn tell(settings: &ServerSettings, ports: &[u16]) -> anyhow::Result<()> {
    if let Some(path) = &settings.port_file {
        write_ports(path, ports).with_context(|| format!("cannot write {}", path.display()))?;
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
fn write_ports(path: &Path, ports: &[u16]) -> std::io::Result<()> {
    let text: String = ports.iter().map(|port| format!("{port}\n")).collect();
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    fs::write(&new, text)?;
    fs::rename(&new, path)
}
