//! Which instance is meant: a name, a socket, or one on another machine.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use thiserror::Error;

use super::name::{InstanceName, ParseInstanceNameError};
use crate::quantity::quoted;

/// An instance, as a person names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InstanceAddress {
    /// By its name, among this user's.
    Name(InstanceName),
    /// By its socket: `unix:PATH`, or a path with a slash in it.
    Socket(PathBuf),
    /// On another machine: `ssh://user@host:port/INSTANCE`.
    Ssh(SshAddress),
}

/// An instance that is reached over `ssh`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SshAddress {
    /// What `ssh` is told: `user@host`. Never begins with a dash, so that it is no option.
    host: String,
    port: Option<u16>,
    instance: Option<InstanceName>,
}

/// Why a text names no instance.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ParseInstanceAddressError {
    /// It is no name.
    #[error(transparent)]
    Name(#[from] ParseInstanceNameError),
    /// It is no path.
    #[error("invalid instance \"unix:\": no path; expected unix: and the path of a socket")]
    NoPath,
    /// It is nothing that `ssh` should be given.
    #[error("invalid instance {}: {problem}; expected ssh://user@host:port/INSTANCE, all but the host optional", quoted(.input))]
    Ssh {
        /// What was typed.
        input: String,
        /// What is wrong with it.
        problem: &'static str,
    },
}

impl FromStr for InstanceAddress {
    type Err = ParseInstanceAddressError;

    fn from_str(input: &str) -> Result<InstanceAddress, ParseInstanceAddressError> {
        if let Some(rest) = input.strip_prefix("ssh://") {
            return ssh(input, rest).map(InstanceAddress::Ssh);
        }
        if let Some(path) = input.strip_prefix("unix:") {
            if path.is_empty() {
                return Err(ParseInstanceAddressError::NoPath);
            }
            return Ok(InstanceAddress::Socket(PathBuf::from(path)));
        }
        if input.contains('/') {
            return Ok(InstanceAddress::Socket(PathBuf::from(input)));
        }
        Ok(InstanceAddress::Name(input.parse()?))
    }
}

fn ssh(input: &str, rest: &str) -> Result<SshAddress, ParseInstanceAddressError> {
    let fail = |problem| ParseInstanceAddressError::Ssh {
        input: input.to_owned(),
        problem,
    };
    let (machine, instance) = match rest.trim_end_matches('/').split_once('/') {
        Some((machine, instance)) => (machine, Some(instance.parse()?)),
        None => (rest.trim_end_matches('/'), None),
    };
    let (user, place) = match machine.rsplit_once('@') {
        Some((user, place)) => (Some(user), place),
        None => (None, machine),
    };
    // An IPv6 address stands in brackets, which ssh itself does not want.
    let (host, port) = match place.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']').ok_or_else(|| fail("no ]"))?;
            let port = match rest {
                "" => None,
                rest => Some(
                    rest.strip_prefix(':')
                        .ok_or_else(|| fail("no port after ]"))?,
                ),
            };
            (host, port)
        }
        None => match place.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (place, None),
        },
    };
    let is_word = |text: &str| {
        let may_be = |letter: char| letter.is_alphanumeric() || "._-:%".contains(letter);
        !text.is_empty() && !text.starts_with('-') && text.chars().all(may_be)
    };
    if !is_word(host) {
        return Err(fail("no host"));
    }
    if user.is_some_and(|user| !is_word(user)) {
        return Err(fail("no user before the @"));
    }
    let port = match port.map(str::parse) {
        None => None,
        Some(Ok(port)) if port > 0 => Some(port),
        Some(_) => return Err(fail("no port after the colon")),
    };
    Ok(SshAddress {
        host: match user {
            Some(user) => format!("{user}@{host}"),
            None => host.to_owned(),
        },
        port,
        instance,
    })
}

impl SshAddress {
    /// The arguments for `ssh`: what it runs there leads to the instance's socket.
    pub(super) fn arguments(&self) -> Vec<OsString> {
        let mut arguments = vec!["-T".to_owned()];
        if let Some(port) = self.port {
            arguments.extend(["-p".to_owned(), port.to_string()]);
        }
        arguments.push(self.host.clone());
        arguments.extend(["byron", "ctl", "stdio"].map(str::to_owned));
        if let Some(instance) = &self.instance {
            arguments.extend(["-i".to_owned(), instance.to_string()]);
        }
        arguments.into_iter().map(OsString::from).collect()
    }
}

impl fmt::Display for InstanceAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            InstanceAddress::Name(name) => name.fmt(f),
            InstanceAddress::Socket(path) => write!(f, "unix:{}", path.display()),
            InstanceAddress::Ssh(ssh) => ssh.fmt(f),
        }
    }
}

impl fmt::Display for SshAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ssh://{}", self.host)?;
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        if let Some(instance) = &self.instance {
            write!(f, "/{instance}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(address: &str) -> String {
        match address.parse() {
            Ok(InstanceAddress::Ssh(ssh)) => {
                let arguments = ssh.arguments().into_iter();
                let arguments: Vec<_> = arguments
                    .map(|argument| argument.into_string().unwrap())
                    .collect();
                arguments.join(" ")
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_name_a_path_and_another_machine_are_told_apart() {
        let path = |text: &str| InstanceAddress::Socket(PathBuf::from(text));
        assert_eq!("unix:p.sock".parse(), Ok(path("p.sock")));
        assert_eq!("./p.sock".parse(), Ok(path("./p.sock")));
        assert!(matches!("ecstasy-2".parse(), Ok(InstanceAddress::Name(_))));
        for (address, expected) in [
            ("ssh://donne", "-T donne byron ctl stdio"),
            (
                "ssh://john@donne/ecstasy",
                "-T john@donne byron ctl stdio -i ecstasy",
            ),
            (
                "ssh://john@donne:2222/",
                "-T -p 2222 john@donne byron ctl stdio",
            ),
            ("ssh://[::1]:22/a", "-T -p 22 ::1 byron ctl stdio -i a"),
        ] {
            assert_eq!(arguments(address), expected, "{address}");
        }
    }

    #[test]
    fn nothing_that_ssh_or_a_shell_would_misread_gets_through() {
        for address in [
            "ssh://-oProxyCommand=evil",
            "ssh://-l@host",
            "ssh://host/$(evil)",
            "ssh://ho st",
            "ssh://host;evil",
            "ssh://",
            "ssh://host:x",
            "ssh://host:0",
            "unix:",
            "a b",
        ] {
            assert!(address.parse::<InstanceAddress>().is_err(), "{address}");
        }
    }
}
