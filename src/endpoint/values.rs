//! What may stand in an endpoint: ports, backlogs, timeouts, hosts and interfaces.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::time::Duration;

use byron_actors::UnixAddress;

use super::letters::{Mistake, Text};
use super::{Host, Interface};
use crate::quantity::{parse_seconds, quoted};

/// The longest name that DNS can hold.
const HOST_NAME_BYTES_MAX: usize = 253;
/// `sun_path` has one more, for the zero that ends it.
const UNIX_NAME_BYTES_MAX: usize = 107;
/// Read and write for everybody, and to execute, which means nothing.
const MODE_MAX: u32 = 0o777;
/// `listen(2)` takes a C int.
const BACKLOG_MAX: u32 = i32::MAX as u32;

pub(super) fn parse_port(text: &Text) -> Result<u16, Mistake> {
    u16::try_from(parse_number(text, "port", u32::from(u16::MAX))?)
        .map_err(|_| Mistake::at(text.column(), format!("port above {}", u16::MAX)))
}

pub(super) fn parse_remote_port(text: &Text) -> Result<u16, Mistake> {
    match parse_port(text)? {
        0 => Err(Mistake::at(text.column(), "port 0")
            .say("only a server may leave its port open, a client must name it")),
        port => Ok(port),
    }
}

pub(super) fn parse_backlog(text: Text) -> Result<u32, Mistake> {
    match parse_number(&text, "backlog", BACKLOG_MAX)? {
        0 => {
            Err(Mistake::at(text.column(), "backlog 0")
                .say("at least one reader must be able to wait"))
        }
        backlog => Ok(backlog),
    }
}

pub(super) fn parse_number(text: &Text, noun: &str, max: u32) -> Result<u32, Mistake> {
    if text.letters.is_empty() {
        return Err(Mistake::at(text.end_column, format!("no {noun}")));
    }
    let mut number: u32 = 0;
    for letter in &text.letters {
        let digit = letter
            .letter
            .to_digit(10)
            .ok_or_else(|| Mistake::at(letter.column, "not a digit"))?;
        let appended = number
            .checked_mul(10)
            .and_then(|number| number.checked_add(digit));
        number = appended.unwrap_or(u32::MAX);
    }
    if number > max {
        return Err(Mistake::at(text.column(), format!("{noun} above {max}")));
    }
    Ok(number)
}

pub(super) fn parse_timeout(text: Text) -> Result<Duration, Mistake> {
    let timeout =
        parse_seconds(&text.plain()).map_err(|error| Mistake::at(text.column(), error.to_string()));
    match timeout {
        Ok(Duration::ZERO) => Err(Mistake::at(text.column(), "a timeout of nothing")
            .say("leave it out to have the default")),
        Ok(timeout) => Ok(timeout),
        Err(mistake) => {
            Err(mistake.say("seconds such as 15, or a number with a unit such as 700ms"))
        }
    }
}

pub(super) fn parse_interface(text: Text) -> Result<Interface, Mistake> {
    if text.plain() == "*" {
        return Ok(Interface::Every);
    }
    if text.letters.is_empty() {
        let mistake = Mistake::at(text.end_column, "no interface");
        return Err(mistake.say("to listen on every one say interface=*"));
    }
    parse_host(text).map(Interface::Host)
}

pub(super) fn parse_remote_host(text: Text) -> Result<Host, Mistake> {
    if text.plain() == "*" {
        let mistake = Mistake::at(text.column(), "every interface");
        return Err(mistake.say("only a server can listen on *, a client needs a host"));
    }
    parse_host(text)
}

/// The interface of `tcp6:`: never one of IPv4 as well.
pub(super) fn parse_interface_ipv6(text: Text) -> Result<Interface, Mistake> {
    let column = text.column();
    let ip = match parse_interface(text)? {
        Interface::Every => Ipv6Addr::UNSPECIFIED,
        Interface::Host(Host::Localhost) => Ipv6Addr::LOCALHOST,
        Interface::Host(Host::Ip(IpAddr::V6(ip))) => ip,
        Interface::Host(Host::Ip(IpAddr::V4(_)) | Host::Name(_)) => {
            let mistake = Mistake::at(column, "not an IPv6 address");
            return Err(
                mistake.say("tcp6: takes an IPv6 address, localhost or *; tcp: takes the others")
            );
        }
    };
    Ok(Interface::Host(Host::Ip(ip.into())))
}

/// A file, or after `@` a name that is none.
pub(super) fn parse_unix_address(text: &Text) -> Result<UnixAddress, Mistake> {
    let is_abstract = text.letters.first().is_some_and(|letter| letter.is('@'));
    let name = text.plain();
    let bytes = name.len() - usize::from(is_abstract);
    if bytes == 0 {
        let mistake = Mistake::at(text.end_column, "no path");
        return Err(
            mistake.say("such as unix:/run/byron/p.sock, or unix:@name for a name that is no file")
        );
    }
    if bytes > UNIX_NAME_BYTES_MAX {
        return Err(Mistake::at(
            text.column(),
            format!("a path of more than {UNIX_NAME_BYTES_MAX} bytes"),
        )
        .say("the system allows no longer one for a socket"));
    }
    Ok(match name.strip_prefix('@').filter(|_| is_abstract) {
        Some(name) => UnixAddress::Abstract(name.as_bytes().to_owned()),
        None => UnixAddress::Path(name.into()),
    })
}

pub(super) fn parse_path(text: Text) -> Result<PathBuf, Mistake> {
    if text.letters.is_empty() {
        return Err(Mistake::at(text.end_column, "no path"));
    }
    Ok(text.plain().into())
}

/// Permissions, in the octal digits of `chmod`.
pub(super) fn parse_mode(text: Text) -> Result<u32, Mistake> {
    let plain = text.plain();
    let is_octal = !plain.is_empty() && plain.bytes().all(|digit| matches!(digit, b'0'..=b'7'));
    let mode = u32::from_str_radix(&plain, 8).ok();
    mode.filter(|mode| is_octal && *mode <= MODE_MAX)
        .ok_or_else(|| {
            let mistake = Mistake::at(text.column(), "not the permissions of a file");
            mistake.say("three octal digits, such as 660")
        })
}

pub(super) fn parse_host(text: Text) -> Result<Host, Mistake> {
    let Some(first) = text.letters.first() else {
        return Err(Mistake::at(text.end_column, "no host"));
    };
    let plain = text.plain();
    if first.is('[') {
        let inside = plain
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'));
        let ip = inside.and_then(|inside| inside.parse::<Ipv6Addr>().ok());
        return ip
            .map(|ip| Host::Ip(IpAddr::V6(ip)))
            .ok_or_else(|| Mistake::at(first.column, "not an IPv6 address"));
    }
    if let Ok(ip) = plain.parse() {
        return Ok(Host::Ip(ip));
    }
    if plain.eq_ignore_ascii_case("localhost") {
        return Ok(Host::Localhost);
    }
    let allowed =
        |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '-' | '_');
    if let Some(letter) = text.letters.iter().find(|letter| !allowed(letter.letter)) {
        let mistake = Mistake::at(
            letter.column,
            format!("{} in a host name", quoted(&letter.letter.to_string())),
        );
        return Err(mistake.say("host names have letters, digits, dots and hyphens"));
    }
    if plain.len() > HOST_NAME_BYTES_MAX {
        return Err(Mistake::at(
            first.column,
            format!("a host name of more than {HOST_NAME_BYTES_MAX} bytes"),
        ));
    }
    let mut labels = plain.strip_suffix('.').unwrap_or(&plain).split('.');
    if labels.clone().any(str::is_empty) {
        return Err(Mistake::at(
            first.column,
            "a host name with nothing between two dots",
        ));
    }
    // The system would take `127.1` and `256` for addresses of its own invention.
    let numeric = labels
        .next_back()
        .is_some_and(|label| label.bytes().all(|byte| byte.is_ascii_digit()));
    if numeric {
        debug_assert!(plain.parse::<Ipv4Addr>().is_err());
        return Err(Mistake::at(first.column, "not an IPv4 address"));
    }
    Ok(Host::Name(plain))
}
