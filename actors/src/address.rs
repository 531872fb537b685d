//! Where a socket is: [`Address`], of either end, of every kind of socket. Values only.

use std::fmt;
use std::net::SocketAddr;
use std::os::unix::net;
use std::path::PathBuf;

/// The name of a Unix socket.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum UnixAddress {
    /// A file.
    Path(PathBuf),
    /// A name that is no file, and is gone with its socket (Linux).
    Abstract(Vec<u8>),
}

/// Where one end of a connection is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Address {
    /// An internet address and port.
    Internet(SocketAddr),
    /// A Unix socket with a name.
    Unix(UnixAddress),
    /// A socket without a name: the client's end of a Unix socket, and one end of a pair.
    Unnamed,
}

impl Address {
    /// The internet address, if it is one.
    pub fn internet(&self) -> Option<SocketAddr> {
        match self {
            Self::Internet(addr) => Some(*addr),
            Self::Unix(_) | Self::Unnamed => None,
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(addr: SocketAddr) -> Self {
        Self::Internet(addr)
    }
}

impl From<net::SocketAddr> for Address {
    fn from(addr: net::SocketAddr) -> Self {
        if let Some(path) = addr.as_pathname() {
            return Self::Unix(UnixAddress::Path(path.to_owned()));
        }
        #[cfg(target_os = "linux")]
        {
            use std::os::linux::net::SocketAddrExt;
            if let Some(name) = addr.as_abstract_name() {
                return Self::Unix(UnixAddress::Abstract(name.to_owned()));
            }
        }
        Self::Unnamed
    }
}

/// As endpoints are written, with a backslash before what would end the name: `unix:/run/byron/p.sock`, `unix:@name`.
impl fmt::Display for UnixAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::Path(path) => path.to_string_lossy(),
            Self::Abstract(name) => String::from_utf8_lossy(name),
        };
        f.write_str("unix:")?;
        if matches!(self, Self::Abstract(_)) {
            f.write_str("@")?;
        }
        for (at, letter) in name.chars().enumerate() {
            // An equals sign could end a key, and `@` begins a name that is no file.
            let is_special = matches!(letter, ':' | '\\' | '[' | ']' | '=')
                || (letter == '@' && at == 0 && matches!(self, Self::Path(_)));
            if is_special {
                f.write_str("\\")?;
            }
            write!(f, "{letter}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Internet(addr) => addr.fmt(f),
            Self::Unix(address) => address.fmt(f),
            Self::Unnamed => f.write_str("unnamed socket"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unix_socket_is_shown_as_its_endpoint() {
        for (address, shown) in [
            (UnixAddress::Path("/run/p.sock".into()), "unix:/run/p.sock"),
            (UnixAddress::Path("a:b".into()), r"unix:a\:b"),
            (UnixAddress::Path("@a=b".into()), r"unix:\@a\=b"),
            (UnixAddress::Abstract(b"name".to_vec()), "unix:@name"),
        ] {
            assert_eq!(Address::Unix(address).to_string(), shown);
        }
    }
}
