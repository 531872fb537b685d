//! The parser of endpoints, by hand, so that every mistake is named with its column.
//!
//! The text is first cut into letters that know their column and whether a backslash took away their special meaning;
//! everything after works on runs of letters.

use std::net::Ipv6Addr;

use super::error::{ParseEndpointError, Role, nearest};
use super::letters::{Argument, Letter, Mistake, Text};
use super::values::{
    parse_backlog, parse_interface, parse_port, parse_remote_host, parse_remote_port, parse_timeout,
};
use super::{ConnectEndpoint, Host, Interface, ListenEndpoint};
use crate::quantity::quoted;

/// Longer inputs are refused unread: a host name has at most 253 bytes, and the keys add little.
const ENDPOINT_BYTES_MAX: usize = 1024;

/// Endpoint types of Twisted and of later versions; reserved, so that `unix:80` never means a host called "unix".
const LATER_SCHEMES: &[&str] = &[
    "tcp4", "tcp6", "unix", "tls", "ssl", "systemd", "fd", "haproxy", "stdio",
];

/// Reads where to listen.
///
/// ```
/// # use byron::endpoint::parse_listen;
/// assert_eq!(parse_listen("10000"), parse_listen("tcp:10000:interface=localhost"));
/// assert_eq!(
///     parse_listen("*:65536").unwrap_err().to_string(),
///     "invalid endpoint \"*:65536\": port above 65535 at column 3; expected PORT, HOST:PORT, *:PORT or an endpoint such as tcp:10000"
/// );
/// ```
pub fn parse_listen(input: &str) -> Result<ListenEndpoint, ParseEndpointError> {
    let error = |mistake: Mistake| mistake.into_error(Role::Listen, input);
    match shape(input).map_err(error)? {
        Shape::Short { host, port } => {
            let interface = host
                .map_or(Ok(Interface::Host(Host::Localhost)), parse_interface)
                .map_err(error)?;
            Ok(ListenEndpoint {
                interface,
                port: parse_port(&port).map_err(error)?,
                backlog: None,
            })
        }
        Shape::Tcp(arguments) => tcp_listen(arguments).map_err(error),
    }
}

/// Reads where to connect to.
///
/// ```
/// # use byron::endpoint::parse_connect;
/// assert_eq!(parse_connect("tcp:donne.example:80"), parse_connect("donne.example:80"));
/// assert_eq!(
///     parse_connect("1000x").unwrap_err().to_string(),
///     "invalid target \"1000x\": not a digit at column 5; expected PORT, HOST:PORT or an endpoint such as tcp:10000"
/// );
/// ```
pub fn parse_connect(input: &str) -> Result<ConnectEndpoint, ParseEndpointError> {
    let error = |mistake: Mistake| mistake.into_error(Role::Connect, input);
    match shape(input).map_err(error)? {
        Shape::Short { host, port } => {
            let host = host
                .map_or(Ok(Host::Localhost), parse_remote_host)
                .map_err(error)?;
            Ok(ConnectEndpoint {
                host,
                port: parse_remote_port(&port).map_err(error)?,
                connect_timeout: None,
            })
        }
        Shape::Tcp(arguments) => tcp_connect(arguments).map_err(error),
    }
}

/// Reads only the port of an endpoint to listen on; 0 is a free one.
pub fn parse_listen_port(input: &str) -> Result<u16, ParseEndpointError> {
    let error = |mistake: Mistake| mistake.into_error(Role::Port, input);
    check_letters(input).map_err(error)?;
    parse_port(&Text::plain_letters(input)).map_err(error)
}

/// Reads only the interface of an endpoint to listen on; an IPv6 address needs no brackets here.
pub fn parse_listen_interface(input: &str) -> Result<Interface, ParseEndpointError> {
    if let Ok(ip) = input.parse() {
        return Ok(Interface::Host(Host::Ip(ip)));
    }
    let error = |mistake: Mistake| mistake.into_error(Role::Interface, input);
    check_letters(input).map_err(error)?;
    parse_interface(Text::plain_letters(input)).map_err(error)
}

/// What the letters add up to before any of them is understood.
enum Shape {
    /// `PORT` and `HOST:PORT`.
    Short { host: Option<Text>, port: Text },
    /// `tcp:…`, cut at its colons.
    Tcp(Vec<Argument>),
}

/// Refuses what no part of any endpoint can hold.
fn check_letters(input: &str) -> Result<(), Mistake> {
    if input.is_empty() {
        return Err(Mistake::nowhere("empty"));
    }
    if input.len() > ENDPOINT_BYTES_MAX {
        return Err(Mistake::nowhere(format!(
            "longer than {ENDPOINT_BYTES_MAX} bytes"
        )));
    }
    for (index, letter) in input.chars().enumerate() {
        if letter.is_ascii_control() {
            return Err(Mistake::at(index + 1, "a control character"));
        }
        if !letter.is_ascii() {
            let mistake = Mistake::at(index + 1, "not an ASCII character");
            return Err(mistake.say("write such names the way DNS has them, beginning with xn--"));
        }
    }
    Ok(())
}

fn shape(input: &str) -> Result<Shape, Mistake> {
    check_letters(input)?;
    let scheme = input
        .split_once(':')
        .map(|(scheme, _)| scheme.to_ascii_lowercase());
    match scheme.as_deref() {
        Some("tcp") => tcp_arguments(input),
        Some(later) if LATER_SCHEMES.contains(&later) => {
            let mistake = Mistake::at(1, format!("unsupported endpoint type {}", quoted(later)));
            Err(mistake.say("this version of byron knows PORT, HOST:PORT and tcp:"))
        }
        _ => short(input),
    }
}

/// `PORT`, `:PORT`, `HOST:PORT`, `[v6]:PORT`.
fn short(input: &str) -> Result<Shape, Mistake> {
    let whole = Text::plain_letters(input);
    if whole.letters[0].is('[') {
        let bracket = whole
            .position(']')
            .ok_or_else(|| Mistake::at(1, "a bracket that is never closed,"))?;
        return match whole.letters.get(bracket + 1) {
            Some(colon) if colon.is(':') => {
                let (host, port) = whole.cut(bracket + 1);
                Ok(Shape::Short {
                    host: Some(host),
                    port,
                })
            }
            Some(other) => Err(Mistake::at(other.column, "no colon after the bracket")),
            None => Err(Mistake::at(whole.end_column, "no port")),
        };
    }
    let colons = whole.letters.iter().filter(|letter| letter.is(':')).count();
    let Some(colon) = whole.position(':') else {
        let looks_like_host =
            input.contains('.') || input.starts_with(|letter: char| letter.is_ascii_alphabetic());
        if looks_like_host {
            return Err(Mistake::at(whole.end_column, "no port"));
        }
        return Ok(Shape::Short {
            host: None,
            port: whole,
        });
    };
    let (host, port) = whole.cut(colon);
    if colons > 1 {
        let host = host.plain();
        if host.len() > 1
            && host.starts_with(|letter: char| letter.is_ascii_alphabetic())
            && !host.contains('.')
        {
            let mistake = Mistake::at(1, format!("unknown endpoint type {}", quoted(&host)));
            return Err(match nearest(&host, &["tcp"]) {
                Some(meant) => mistake.say(format!("did you mean {meant}:")),
                None => mistake,
            });
        }
        if input.parse::<Ipv6Addr>().is_ok()
            || input
                .rsplit_once(':')
                .is_some_and(|(ip, _)| ip.parse::<Ipv6Addr>().is_ok())
        {
            return Err(
                Mistake::at(1, "an IPv6 address without brackets").say("write it as [::1]:10000")
            );
        }
        let second = port
            .position(':')
            .map_or(colon, |index| port.letters[index].column);
        return Err(Mistake::at(second, "a second colon"));
    }
    Ok(Shape::Short {
        host: Some(host).filter(|host| !host.letters.is_empty()),
        port,
    })
}

/// The arguments after `tcp:`, each with its key if it has one.
fn tcp_arguments(input: &str) -> Result<Shape, Mistake> {
    let mut letters = Vec::new();
    let mut characters = input.chars().zip(1..).skip("tcp:".len());
    while let Some((letter, column)) = characters.next() {
        if letter == '\\' {
            let (letter, _) = characters
                .next()
                .ok_or_else(|| Mistake::at(column, "a backslash before nothing"))?;
            letters.push(Letter {
                letter,
                column,
                literal: true,
            });
        } else {
            letters.push(Letter {
                letter,
                column,
                literal: false,
            });
        }
    }
    let after = Text {
        letters,
        end_column: input.len() + 1,
    };
    let arguments = after
        .arguments()
        .into_iter()
        .map(|argument| match argument.position('=') {
            Some(equals) => {
                let (key, value) = argument.cut(equals);
                Argument {
                    key: Some(key),
                    value,
                }
            }
            None => Argument {
                key: None,
                value: argument,
            },
        });
    Ok(Shape::Tcp(arguments.collect()))
}

fn tcp_listen(arguments: Vec<Argument>) -> Result<ListenEndpoint, Mistake> {
    let [port, interface, backlog] = by_key(arguments, ["port", "interface", "backlog"], 1)?;
    let port = port.ok_or_else(|| Mistake::nowhere("no port"))?;
    Ok(ListenEndpoint {
        port: parse_port(&port)?,
        interface: interface.map_or(Ok(Interface::Host(Host::Localhost)), parse_interface)?,
        backlog: backlog.map(parse_backlog).transpose()?,
    })
}

fn tcp_connect(mut arguments: Vec<Argument>) -> Result<ConnectEndpoint, Mistake> {
    // `tcp:10000`, and `tcp:80:host=donne.example` as Twisted allows: the only bare value is the port then.
    let bare: Vec<usize> = (0..arguments.len())
        .filter(|index| arguments[*index].key.is_none())
        .collect();
    let has = |key: &str| {
        arguments.iter().any(|argument| {
            argument
                .key
                .as_ref()
                .is_some_and(|found| found.plain() == key)
        })
    };
    if let [only] = bare[..] {
        let digits = arguments[only]
            .value
            .letters
            .iter()
            .all(|letter| letter.letter.is_ascii_digit());
        if has("host") || (digits && !has("port")) {
            let column = arguments[only].value.column();
            let letters = "port"
                .chars()
                .map(|letter| Letter {
                    letter,
                    column,
                    literal: true,
                })
                .collect();
            arguments[only].key = Some(Text {
                letters,
                end_column: column,
            });
        }
    }
    let [host, port, timeout] = by_key(arguments, ["host", "port", "timeout"], 2)?;
    let Some(port) = port else {
        return Err(match host {
            Some(host) => Mistake::at(host.end_column, "no port"),
            None => Mistake::nowhere("no port"),
        });
    };
    Ok(ConnectEndpoint {
        host: host.map_or(Ok(Host::Localhost), parse_remote_host)?,
        port: parse_remote_port(&port)?,
        connect_timeout: timeout.map(parse_timeout).transpose()?,
    })
}

/// Sorts arguments by key; bare values take the first `bare_max` keys in order.
fn by_key<const KEYS: usize>(
    arguments: Vec<Argument>,
    keys: [&str; KEYS],
    bare_max: usize,
) -> Result<[Option<Text>; KEYS], Mistake> {
    let mut values = [const { None }; KEYS];
    let mut bare = 0;
    for Argument { key, value } in arguments {
        let column = key.as_ref().map_or(value.column(), Text::column);
        let index = match &key {
            Some(key) => {
                let typed = key.plain();
                keys.iter()
                    .position(|known| *known == typed)
                    .ok_or_else(|| unknown_key(key, &keys))?
            }
            None if bare < bare_max => {
                bare += 1;
                bare - 1
            }
            None => {
                return Err(Mistake::at(column, "a value without a key")
                    .say(format!("the keys are {}", keys.join(", "))));
            }
        };
        if values[index].is_some() {
            return Err(Mistake::at(column, format!("a second {}", keys[index])).say("say it once"));
        }
        values[index] = Some(value);
    }
    Ok(values)
}

fn unknown_key(key: &Text, keys: &[&str]) -> Mistake {
    let mistake = Mistake::at(
        key.column(),
        format!("unknown key {}", quoted(&key.plain())),
    );
    mistake.say(match nearest(&key.plain(), keys) {
        Some(meant) => format!("did you mean {meant}="),
        None => format!("the keys are {}", keys.join(", ")),
    })
}

#[cfg(test)]
mod tests;
