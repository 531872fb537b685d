//! The PROXY protocol's header, versions 1 and 2: who a proxy says it speaks for.
//!
//! Pure: bytes in, a header out, or the word that it is not complete. Strict, as the specification asks of receivers:
//! what is no header is refused at the first byte that shows it, and nothing is ever skipped in the hope of one.
//! <https://www.haproxy.org/download/2.9/doc/proxy-protocol.txt>

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

/// The longest header that is read. Version 1 ends after 107 bytes; version 2 may bring extensions, of which proxies in
/// use send some hundred bytes.
pub const PROXY_HEADER_BYTES_MAX: usize = 4096;

/// The longest line of version 1, with its end.
const LINE_BYTES_MAX: usize = 107;

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// The signature, the command, the family and the length.
const FIXED_BYTES: usize = 16;

/// What a header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProxyHeader {
    /// Who connected to the proxy; `None` if the proxy speaks for itself (a health check), or does not say.
    pub source: Option<SocketAddr>,
    /// How many bytes it took.
    pub bytes: usize,
}

/// How far a header is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadHeader {
    /// It is complete.
    Whole(ProxyHeader),
    /// So far it may become one.
    Part,
}

/// The bytes are no header of the PROXY protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseProxyHeaderError {
    /// It begins like neither version.
    #[error("no PROXY header")]
    Missing,
    /// A version that does not exist, or a command that nobody defined.
    #[error("a PROXY header of an unknown version or command")]
    Unknown,
    /// Too long.
    #[error("a PROXY header longer than {PROXY_HEADER_BYTES_MAX} bytes")]
    TooLong,
    /// Its line or its length is not what the specification allows.
    #[error("a malformed PROXY header")]
    Malformed,
}

/// Reads the header at the beginning of what a peer sent.
///
/// ```
/// use byron_actors::{ReadHeader, read_proxy_header};
///
/// let said = b"PROXY TCP4 192.0.2.1 192.0.2.2 51000 10000\r\nthe rest";
/// let Ok(ReadHeader::Whole(header)) = read_proxy_header(said) else { panic!("it is whole") };
/// assert_eq!(header.source, Some("192.0.2.1:51000".parse().unwrap()));
/// assert_eq!(&said[header.bytes..], b"the rest");
/// ```
///
/// # Errors
/// It is no header, whatever may follow.
pub fn read_proxy_header(said: &[u8]) -> Result<ReadHeader, ParseProxyHeaderError> {
    let begins = |with: &[u8]| said.iter().zip(with).all(|(said, with)| said == with);
    if begins(SIGNATURE) {
        read_binary(said)
    } else if begins(b"PROXY ") {
        read_line(said)
    } else {
        Err(ParseProxyHeaderError::Missing)
    }
}

fn read_line(said: &[u8]) -> Result<ReadHeader, ParseProxyHeaderError> {
    let inside = &said[..said.len().min(LINE_BYTES_MAX)];
    let Some(end) = inside.iter().position(|byte| *byte == b'\n') else {
        // The one carriage return may be here, its newline not.
        let line = inside.strip_suffix(b"\r").unwrap_or(inside);
        let is_line = line.iter().all(is_printable);
        if !is_line || said.len() >= LINE_BYTES_MAX {
            return Err(ParseProxyHeaderError::Malformed);
        }
        return Ok(ReadHeader::Part);
    };
    let line = inside[..end]
        .strip_suffix(b"\r")
        .filter(|line| line.iter().all(is_printable))
        .and_then(|line| std::str::from_utf8(line).ok())
        .and_then(|line| line.strip_prefix("PROXY "))
        .ok_or(ParseProxyHeaderError::Malformed)?;
    let source = read_words(line).ok_or(ParseProxyHeaderError::Malformed)?;
    Ok(ReadHeader::Whole(ProxyHeader {
        source,
        bytes: end + 1,
    }))
}

fn is_printable(byte: &u8) -> bool {
    matches!(byte, b' '..=b'~')
}

/// `TCP4 SOURCE DESTINATION PORT PORT`, or `UNKNOWN` and whatever follows; `None` if it is neither.
fn read_words(line: &str) -> Option<Option<SocketAddr>> {
    if line == "UNKNOWN" || line.starts_with("UNKNOWN ") {
        return Some(None);
    }
    let mut words = line.split(' ');
    let family = words.next()?;
    let (source, _destination) = match family {
        "TCP4" => (
            ip::<Ipv4Addr>(words.next()?)?,
            ip::<Ipv4Addr>(words.next()?)?,
        ),
        "TCP6" => (
            ip::<Ipv6Addr>(words.next()?)?,
            ip::<Ipv6Addr>(words.next()?)?,
        ),
        _ => return None,
    };
    let (port, _destination_port) = (port(words.next()?)?, port(words.next()?)?);
    if words.next().is_some() {
        return None;
    }
    Some(Some(SocketAddr::new(source, port)))
}

fn ip<Ip: FromStr + Into<IpAddr>>(word: &str) -> Option<IpAddr> {
    word.parse::<Ip>().ok().map(Into::into)
}

/// Digits only, and no zero in front.
fn port(word: &str) -> Option<u16> {
    let is_plain =
        word.bytes().all(|byte| byte.is_ascii_digit()) && (word == "0" || !word.starts_with('0'));
    word.parse().ok().filter(|_| is_plain)
}

fn read_binary(said: &[u8]) -> Result<ReadHeader, ParseProxyHeaderError> {
    // Each byte is looked at as soon as it is here.
    let is_local = match said.get(12) {
        None => return Ok(ReadHeader::Part),
        Some(0x20) => true,
        Some(0x21) => false,
        Some(_) => return Err(ParseProxyHeaderError::Unknown),
    };
    let addresses_bytes = match said.get(13) {
        None => return Ok(ReadHeader::Part),
        Some(0x00) => 0,
        Some(0x11) => 12,
        Some(0x21) => 36,
        Some(0x31) => 216,
        // Datagrams do not come over a stream.
        Some(_) => return Err(ParseProxyHeaderError::Malformed),
    };
    let (Some(high), Some(low)) = (said.get(14), said.get(15)) else {
        return Ok(ReadHeader::Part);
    };
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    let bytes = FIXED_BYTES + length;
    if bytes > PROXY_HEADER_BYTES_MAX {
        return Err(ParseProxyHeaderError::TooLong);
    }
    if length < addresses_bytes {
        return Err(ParseProxyHeaderError::Malformed);
    }
    let Some(rest) = said.get(FIXED_BYTES..bytes) else {
        return Ok(ReadHeader::Part);
    };
    let (addresses, extensions) = rest.split_at(addresses_bytes);
    // What an unspecified family is followed by is nobody's business.
    if addresses_bytes > 0 && !are_extensions(extensions) {
        return Err(ParseProxyHeaderError::Malformed);
    }
    let source = if is_local { None } else { source(addresses) };
    Ok(ReadHeader::Whole(ProxyHeader { source, bytes }))
}

/// Source address, destination address, source port, destination port.
fn source(addresses: &[u8]) -> Option<SocketAddr> {
    let port_at = |at: usize| {
        Some(u16::from_be_bytes([
            *addresses.get(at)?,
            *addresses.get(at + 1)?,
        ]))
    };
    match addresses.len() {
        12 => {
            let ip: [u8; 4] = addresses.get(..4)?.try_into().ok()?;
            Some((Ipv4Addr::from(ip), port_at(8)?).into())
        }
        36 => {
            let ip: [u8; 16] = addresses.get(..16)?.try_into().ok()?;
            Some((Ipv6Addr::from(ip), port_at(32)?).into())
        }
        // A Unix socket, whose name says nothing on this machine.
        _ => None,
    }
}

/// Each a type, a length of two bytes, and so many bytes; they fill the header to its end.
fn are_extensions(mut bytes: &[u8]) -> bool {
    while let [_, high, low, rest @ ..] = bytes {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        match rest.get(length..) {
            Some(next) => bytes = next,
            None => return false,
        }
    }
    bytes.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source_of(said: &[u8]) -> Option<SocketAddr> {
        match read_proxy_header(said) {
            Ok(ReadHeader::Whole(header)) => {
                assert_eq!(header.bytes, said.len());
                header.source
            }
            other => panic!("{}: {other:?}", said.escape_ascii()),
        }
    }

    fn binary(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len()).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[command, family], &length, body].concat()
    }

    const V4: &[u8] = &[192, 0, 2, 1, 192, 0, 2, 2, 0xc7, 0x38, 0x27, 0x10];

    #[test]
    fn both_versions_name_the_source() {
        let v4 = Some("192.0.2.1:51000".parse().unwrap());
        let v6 = Some("[2001:db8::1]:51000".parse().unwrap());
        assert_eq!(
            source_of(b"PROXY TCP4 192.0.2.1 192.0.2.2 51000 10000\r\n"),
            v4
        );
        assert_eq!(source_of(b"PROXY TCP6 2001:db8::1 ::1 51000 10000\r\n"), v6);
        assert_eq!(source_of(b"PROXY UNKNOWN\r\n"), None);
        assert_eq!(source_of(b"PROXY UNKNOWN ffff::1 x y\r\n"), None);
        assert_eq!(source_of(&binary(0x21, 0x11, V4)), v4);
        assert_eq!(source_of(&binary(0x20, 0x11, V4)), None);
        assert_eq!(source_of(&binary(0x20, 0x00, b"")), None);
        assert_eq!(source_of(&binary(0x21, 0x31, &[7; 216])), None);
        let with_extension = [V4, &[0x04, 0, 2, 9, 9]].concat();
        assert_eq!(source_of(&binary(0x21, 0x11, &with_extension)), v4);
        let mut addresses = [0; 36];
        addresses[..4].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
        addresses[15] = 1;
        addresses[32..34].copy_from_slice(&51000_u16.to_be_bytes());
        assert_eq!(source_of(&binary(0x21, 0x21, &addresses)), v6);
    }

    #[test]
    fn every_beginning_of_a_header_may_become_one() {
        for said in [
            b"PROXY TCP4 192.0.2.1 192.0.2.2 51000 10000\r\n".to_vec(),
            b"PROXY UNKNOWN\r\n".to_vec(),
            binary(0x21, 0x11, V4),
        ] {
            for length in 0..said.len() {
                assert_eq!(read_proxy_header(&said[..length]), Ok(ReadHeader::Part));
            }
        }
    }

    #[test]
    fn what_is_no_header_is_refused() {
        use ParseProxyHeaderError::*;
        let long = [b"PROXY UNKNOWN ".to_vec(), vec![b'x'; 107]].concat();
        let mut too_long = binary(0x21, 0x11, V4);
        too_long[14..16].copy_from_slice(&[0xff, 0xff]);
        for (said, error) in [
            (b"GET / HTTP/1.1\r\n".to_vec(), Missing),
            (b"PROXY-".to_vec(), Missing),
            (b"\x16\x03\x01".to_vec(), Missing),
            (
                b"PROXY TCP4 192.0.2.1 192.0.2.2 51000 10000\n".to_vec(),
                Malformed,
            ),
            (
                b"PROXY TCP4 192.0.2.1 192.0.2.2 051000 10000\r\n".to_vec(),
                Malformed,
            ),
            (
                b"PROXY TCP4 192.0.2.1 192.0.2.2 +1 10000\r\n".to_vec(),
                Malformed,
            ),
            (
                b"PROXY TCP4 192.0.2.1 192.0.2.2 65536 10000\r\n".to_vec(),
                Malformed,
            ),
            (b"PROXY TCP4 ::1 ::1 1 1\r\n".to_vec(), Malformed),
            (
                b"PROXY TCP4 192.0.2.1 192.0.2.2 1 1 \r\n".to_vec(),
                Malformed,
            ),
            (
                b"PROXY TCP4  192.0.2.1 192.0.2.2 1 1\r\n".to_vec(),
                Malformed,
            ),
            (
                b"PROXY UDP4 192.0.2.1 192.0.2.2 1 1\r\n".to_vec(),
                Malformed,
            ),
            (b"PROXY \0".to_vec(), Malformed),
            (b"PROXY \rx".to_vec(), Malformed),
            (b"PROXY UNKNOWN a\rb\r\n".to_vec(), Malformed),
            (b"PROXY UNKNOWN \xff\r\n".to_vec(), Malformed),
            (long, Malformed),
            (binary(0x31, 0x11, V4), Unknown),
            (binary(0x22, 0x11, V4), Unknown),
            (binary(0x21, 0x12, V4), Malformed),
            (binary(0x21, 0x11, &V4[..11]), Malformed),
            (binary(0x21, 0x11, &[V4, &[4, 0, 9]].concat()), Malformed),
            (too_long, TooLong),
        ] {
            assert_eq!(
                read_proxy_header(&said),
                Err(error),
                "{}",
                said.escape_ascii()
            );
        }
    }

    #[test]
    fn a_line_that_never_ends_is_refused_at_its_longest() {
        let line = [&b"PROXY UNKNOWN "[..], &[b'x'; 92]].concat();
        assert_eq!(line.len(), 106);
        assert_eq!(read_proxy_header(&line), Ok(ReadHeader::Part));
        let line = [line, b"x".to_vec()].concat();
        assert_eq!(
            read_proxy_header(&line),
            Err(ParseProxyHeaderError::Malformed)
        );
    }
}
