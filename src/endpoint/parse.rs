//! The parser of endpoints, by hand, so that every mistake is named with its column.
//!
//! The text is first cut into letters that know their column and whether a backslash took away their special meaning;
//! everything after works on runs of letters.

use std::net::Ipv6Addr;

use super::error::{ParseEndpointError, Role, nearest};
use super::letters::{Argument, Letter, Mistake, Text};
use super::values::{
    parse_backlog, parse_interface, parse_interface_ipv6, parse_mode, parse_number, parse_path,
    parse_port, parse_remote_host, parse_remote_port, parse_timeout, parse_unix_address,
};
use super::{
    ConnectEndpoint, ConnectPlace, ConnectTls, Host, Interface, ListenEndpoint, ListenPlace,
    ListenTls,
};
use crate::quantity::quoted;

/// Longer inputs are refused unread: a host name has at most 253 bytes, and three paths fit easily.
pub const ENDPOINT_BYTES_MAX: usize = 1024;

/// 0, 1 and 2 are the standard streams.
const FD_MIN: u32 = 3;
/// `RLIMIT_NOFILE` can be no higher anywhere.
const FD_MAX: u32 = i32::MAX as u32;

/// What an endpoint may begin with. `tcp4` is Twisted's, and reserved so that it never means a host.
const SCHEMES: &[&str] = &[
    "tcp", "tcp4", "tcp6", "unix", "tls", "ssl", "systemd", "fd", "haproxy", "stdio",
];

/// Of these, those that a client can connect to.
const CLIENT_SCHEMES: &[&str] = &["tcp", "unix", "tls", "ssl"];

/// Reads where to listen.
///
/// ```
/// # use byron::endpoint::parse_listen;
/// assert_eq!(parse_listen("10000"), parse_listen("tcp:10000:interface=localhost"));
/// assert_eq!(
///     parse_listen("*:65536").unwrap_err().to_string(),
///     "invalid endpoint \"*:65536\": port above 65535 at column 3; expected PORT, HOST:PORT, *:PORT or an endpoint such as unix:/run/p.sock"
/// );
/// ```
pub fn parse_listen(input: &str) -> Result<ListenEndpoint, ParseEndpointError> {
    let endpoint = check_letters(input).and_then(|()| listen(input));
    endpoint.map_err(|mistake| mistake.into_error(Role::Listen, input))
}

/// Reads where to connect to.
///
/// ```
/// # use byron::endpoint::parse_connect;
/// assert_eq!(parse_connect("tcp:donne.example:80"), parse_connect("donne.example:80"));
/// assert_eq!(
///     parse_connect("1000x").unwrap_err().to_string(),
///     "invalid target \"1000x\": not a digit at column 5; expected PORT, HOST:PORT or an endpoint such as unix:/run/p.sock"
/// );
/// ```
pub fn parse_connect(input: &str) -> Result<ConnectEndpoint, ParseEndpointError> {
    let endpoint = check_letters(input).and_then(|()| connect(input));
    endpoint.map_err(|mistake| mistake.into_error(Role::Connect, input))
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

/// Whether a text begins as an endpoint with a scheme does: `unix:…`, in capitals too.
pub(super) fn has_scheme(input: &str) -> bool {
    scheme_of(input).is_some()
}

/// The scheme that the input begins with, and the column after its colon.
fn scheme_of(input: &str) -> Option<(&'static str, usize)> {
    let (scheme, _) = input.split_once(':')?;
    let known = SCHEMES
        .iter()
        .find(|known| known.eq_ignore_ascii_case(scheme))?;
    Some((known, scheme.len() + 1))
}

fn listen(input: &str) -> Result<ListenEndpoint, Mistake> {
    let Some((scheme, after)) = scheme_of(input) else {
        let (host, port) = short(input)?;
        let interface = host.map_or(Ok(Interface::Host(Host::Localhost)), parse_interface)?;
        return Ok(ListenEndpoint::tcp(interface, parse_port(&port)?));
    };
    if scheme == "haproxy" {
        return listen_behind_proxy(input, after);
    }
    let arguments = arguments(input, after)?;
    match scheme {
        "tcp" => listen_tcp(arguments, parse_interface, Host::Localhost),
        "tcp6" => {
            let loopback = Host::Ip(Ipv6Addr::LOCALHOST.into());
            listen_tcp(arguments, parse_interface_ipv6, loopback)
        }
        "tls" | "ssl" => listen_tls(arguments, scheme == "ssl"),
        "unix" => listen_unix(arguments),
        "systemd" => listen_systemd(arguments),
        "fd" => listen_fd(arguments),
        "stdio" => listen_stdio(arguments),
        other => Err(unsupported(other, SCHEMES)),
    }
}

fn connect(input: &str) -> Result<ConnectEndpoint, Mistake> {
    let Some((scheme, after)) = scheme_of(input) else {
        let (host, port) = short(input)?;
        let host = host.map_or(Ok(Host::Localhost), parse_remote_host)?;
        return Ok(ConnectEndpoint::tcp(host, parse_remote_port(&port)?));
    };
    if !CLIENT_SCHEMES.contains(&scheme) {
        return Err(unsupported(scheme, CLIENT_SCHEMES));
    }
    let arguments = arguments(input, after)?;
    match scheme {
        "unix" => connect_unix(arguments),
        "tcp" => connect_tcp(arguments),
        _ => connect_tls(arguments, scheme == "ssl"),
    }
}

fn unsupported(scheme: &str, known: &[&str]) -> Mistake {
    let (problem, known) = if known == CLIENT_SCHEMES && scheme != "tcp4" {
        ("only a server can be at", CLIENT_SCHEMES.join(":, "))
    } else {
        let known: Vec<_> = known
            .iter()
            .copied()
            .filter(|known| *known != "tcp4")
            .collect();
        ("unsupported endpoint type", known.join(":, "))
    };
    Mistake::at(1, format!("{problem} {scheme}:")).say(format!("the types are {known}:"))
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
    // Files may have any name, hosts may not.
    let may_have_path = has_scheme(input);
    for (index, letter) in input.chars().enumerate() {
        if letter.is_control() {
            return Err(Mistake::at(index + 1, "a control character"));
        }
        if !letter.is_ascii() && !may_have_path {
            let mistake = Mistake::at(index + 1, "not an ASCII character");
            return Err(mistake.say("write such names the way DNS has them, beginning with xn--"));
        }
    }
    Ok(())
}

/// `PORT`, `:PORT`, `HOST:PORT`, `[v6]:PORT`.
fn short(input: &str) -> Result<(Option<Text>, Text), Mistake> {
    let whole = Text::plain_letters(input);
    if whole.letters[0].is('[') {
        let bracket = whole
            .position(']')
            .ok_or_else(|| Mistake::at(1, "a bracket that is never closed,"))?;
        return match whole.letters.get(bracket + 1) {
            Some(colon) if colon.is(':') => {
                let (host, port) = whole.cut(bracket + 1);
                Ok((Some(host), port))
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
        return Ok((None, whole));
    };
    let (host, port) = whole.cut(colon);
    if colons > 1 {
        let host = host.plain();
        if host.len() > 1
            && host.starts_with(|letter: char| letter.is_ascii_alphabetic())
            && !host.contains('.')
        {
            let mistake = Mistake::at(1, format!("unknown endpoint type {}", quoted(&host)));
            return Err(match nearest(&host.to_ascii_lowercase(), SCHEMES) {
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
    Ok((Some(host).filter(|host| !host.letters.is_empty()), port))
}

/// The arguments after the scheme, each with its key if it has one.
fn arguments(input: &str, after: usize) -> Result<Vec<Argument>, Mistake> {
    let mut letters = Vec::new();
    let mut characters = input.chars().zip(1..).skip(after);
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
        end_column: input.chars().count() + 1,
    };
    let argument = |argument: Text| match argument.position('=') {
        Some(equals) if is_key(&argument.letters[..equals]) => {
            let (key, value) = argument.cut(equals);
            Argument {
                key: Some(key),
                value,
            }
        }
        _ => Argument {
            key: None,
            value: argument,
        },
    };
    Ok(after.arguments().into_iter().map(argument).collect())
}

/// What stands before an equals sign may also be a part of a path.
fn is_key(letters: &[Letter]) -> bool {
    let is_letter = |letter: &Letter| letter.letter.is_ascii_alphabetic() || letter.is('_');
    !letters.is_empty() && letters.iter().all(is_letter)
}

fn listen_behind_proxy(input: &str, after: usize) -> Result<ListenEndpoint, Mistake> {
    let inner = &input[after..];
    if inner.is_empty() {
        return Err(Mistake::at(after + 1, "no endpoint").say("such as haproxy:tcp:10000"));
    }
    let endpoint = listen(inner).map_err(|mistake| mistake.shifted(after))?;
    if endpoint.proxied {
        return Err(Mistake::at(after + 1, "a second haproxy:").say("say it once"));
    }
    if endpoint.place == ListenPlace::Stdio {
        return Err(Mistake::at(after + 1, "stdio: behind a proxy")
            .say("a proxy needs a socket to connect to"));
    }
    Ok(ListenEndpoint {
        proxied: true,
        ..endpoint
    })
}

fn listen_tcp(
    arguments: Vec<Argument>,
    parse_interface: impl FnOnce(Text) -> Result<Interface, Mistake>,
    default: Host,
) -> Result<ListenEndpoint, Mistake> {
    let [port, interface, backlog] = by_key(arguments, ["port", "interface", "backlog"], 1)?;
    let port = port.ok_or_else(|| Mistake::nowhere("no port"))?;
    let port = parse_port(&port)?;
    let interface = interface.map_or(Ok(Interface::Host(default)), parse_interface)?;
    Ok(ListenEndpoint {
        backlog: backlog.map(parse_backlog).transpose()?,
        ..ListenEndpoint::tcp(interface, port)
    })
}

fn listen_tls(arguments: Vec<Argument>, is_called_ssl: bool) -> Result<ListenEndpoint, Mistake> {
    let keys = ["port", "cert", "key", "ca", "interface", "backlog"];
    let [port, cert, key, ca, interface, backlog] = by_key(arguments, keys, 1)?;
    let port = port.ok_or_else(|| Mistake::nowhere("no port"))?;
    let port = parse_port(&port)?;
    let cert = cert.ok_or_else(|| {
        Mistake::nowhere("no certificate").say("name its file: tls:10443:cert=c.pem:key=k.pem")
    })?;
    let interface = interface.map_or(Ok(Interface::Host(Host::Localhost)), parse_interface)?;
    Ok(ListenEndpoint {
        backlog: backlog.map(parse_backlog).transpose()?,
        tls: Some(ListenTls {
            cert: parse_path(cert)?,
            key: key.map(parse_path).transpose()?,
            ca: ca.map(parse_path).transpose()?,
            is_called_ssl,
        }),
        ..ListenEndpoint::tcp(interface, port)
    })
}

fn listen_unix(arguments: Vec<Argument>) -> Result<ListenEndpoint, Mistake> {
    let [path, mode, backlog] = by_key(arguments, ["path", "mode", "backlog"], 1)?;
    let path = path.ok_or_else(|| Mistake::nowhere("no path"))?;
    let address = parse_unix_address(&path)?;
    let mode_column = mode.as_ref().map(Text::column);
    let mode = mode.map(parse_mode).transpose()?;
    if let (byron_actors::UnixAddress::Abstract(_), Some(column)) = (&address, mode_column) {
        return Err(Mistake::at(column, "permissions of a name that is no file")
            .say("anyone on this machine can connect to it; a path has permissions"));
    }
    Ok(ListenEndpoint {
        backlog: backlog.map(parse_backlog).transpose()?,
        ..ListenPlace::Unix { address, mode }.into()
    })
}

fn listen_systemd(arguments: Vec<Argument>) -> Result<ListenEndpoint, Mistake> {
    let [name] = by_key(arguments, ["name"], 1)?;
    let name = name
        .filter(|name| !name.letters.is_empty())
        .ok_or_else(|| {
            Mistake::nowhere("no name")
                .say("that of FileDescriptorName= in the socket unit: systemd:name=poem")
        })?;
    Ok(ListenPlace::Systemd(name.plain()).into())
}

fn listen_fd(arguments: Vec<Argument>) -> Result<ListenEndpoint, Mistake> {
    let [number] = by_key(arguments, ["number"], 1)?;
    let number = number.ok_or_else(|| Mistake::nowhere("no file descriptor"))?;
    let fd = parse_number(&number, "file descriptor", FD_MAX)?;
    if fd < FD_MIN {
        return Err(
            Mistake::at(number.column(), format!("file descriptor {fd}"))
                .say("0, 1 and 2 are standard streams; stdio: means a connection on them"),
        );
    }
    Ok(ListenPlace::Fd(fd).into())
}

fn listen_stdio(arguments: Vec<Argument>) -> Result<ListenEndpoint, Mistake> {
    match &arguments[..] {
        [only] if only.key.is_none() && only.value.letters.is_empty() => {
            Ok(ListenPlace::Stdio.into())
        }
        [first, ..] => {
            let column = first.key.as_ref().unwrap_or(&first.value).column();
            Err(Mistake::at(column, "stdio: takes no values").say("write stdio:"))
        }
        [] => Ok(ListenPlace::Stdio.into()),
    }
}

fn connect_unix(arguments: Vec<Argument>) -> Result<ConnectEndpoint, Mistake> {
    let [path, timeout] = by_key(arguments, ["path", "timeout"], 1)?;
    let path = path.ok_or_else(|| Mistake::nowhere("no path"))?;
    Ok(ConnectEndpoint {
        connect_timeout: timeout.map(parse_timeout).transpose()?,
        ..ConnectPlace::Unix(parse_unix_address(&path)?).into()
    })
}

fn connect_tcp(mut arguments: Vec<Argument>) -> Result<ConnectEndpoint, Mistake> {
    name_the_port(&mut arguments);
    let [host, port, timeout] = by_key(arguments, ["host", "port", "timeout"], 2)?;
    let (host, port) = host_and_port(host, port)?;
    Ok(ConnectEndpoint {
        connect_timeout: timeout.map(parse_timeout).transpose()?,
        ..ConnectEndpoint::tcp(host, port)
    })
}

fn connect_tls(
    mut arguments: Vec<Argument>,
    is_called_ssl: bool,
) -> Result<ConnectEndpoint, Mistake> {
    name_the_port(&mut arguments);
    let keys = ["host", "port", "ca", "cert", "key", "name", "timeout"];
    let [host, port, ca, cert, key, name, timeout] = by_key(arguments, keys, 2)?;
    let (host, port) = host_and_port(host, port)?;
    if let (None, Some(key)) = (&cert, &key) {
        return Err(Mistake::at(key.column(), "a key without a certificate")
            .say("name its file too: cert=c.pem"));
    }
    // The letters of a host, which is what it replaces.
    let name = match name {
        None => None,
        Some(name) => {
            let plain = name.plain();
            parse_remote_host(name)?;
            Some(plain.trim_matches(['[', ']']).to_owned())
        }
    };
    Ok(ConnectEndpoint {
        connect_timeout: timeout.map(parse_timeout).transpose()?,
        tls: Some(ConnectTls {
            ca: ca.map(parse_path).transpose()?,
            cert: cert.map(parse_path).transpose()?,
            key: key.map(parse_path).transpose()?,
            name,
            is_called_ssl,
        }),
        ..ConnectEndpoint::tcp(host, port)
    })
}

/// `tcp:10000`, and `tcp:80:host=donne.example` as Twisted allows: the only bare value is the port then.
fn name_the_port(arguments: &mut [Argument]) {
    let bare: Vec<usize> = (0..arguments.len())
        .filter(|index| arguments[*index].key.is_none())
        .collect();
    let [only] = bare[..] else {
        return;
    };
    let has = |key: &str| {
        let keys = arguments
            .iter()
            .filter_map(|argument| argument.key.as_ref());
        keys.map(Text::plain).any(|found| found == key)
    };
    let is_number = arguments[only]
        .value
        .letters
        .iter()
        .all(|letter| letter.letter.is_ascii_digit());
    if has("host") || (is_number && !has("port")) {
        let column = arguments[only].value.column();
        let letters = "port".chars().map(|letter| Letter {
            letter,
            column,
            literal: true,
        });
        arguments[only].key = Some(Text {
            letters: letters.collect(),
            end_column: column,
        });
    }
}

fn host_and_port(host: Option<Text>, port: Option<Text>) -> Result<(Host, u16), Mistake> {
    let Some(port) = port else {
        return Err(match host {
            Some(host) => Mistake::at(host.end_column, "no port"),
            None => Mistake::nowhere("no port"),
        });
    };
    let host = host.map_or(Ok(Host::Localhost), parse_remote_host)?;
    Ok((host, parse_remote_port(&port)?))
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
