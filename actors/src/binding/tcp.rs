//! TCP: the addresses of a server, one socket for each arbiter and address.
//!
//! On Linux each arbiter has a socket of its own (`SO_REUSEPORT`), so that a connection is accepted where it will live;
//! elsewhere the arbiters share one.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use super::{BindServerError, Bound, Interfaces, Source};
use crate::socket::Listening;

/// How many ports are tried until one is free in both families.
const PAIR_ATTEMPTS_MAX: usize = 32;

/// Binds every address to the same port.
pub(super) fn bind(
    interfaces: &Interfaces,
    port: u16,
    backlog: u32,
    arbiters: usize,
) -> Result<Bound, BindServerError> {
    let mut attempt = 1;
    loop {
        match bind_once(interfaces, port, backlog, arbiters) {
            // The port that the system chose in one family may be taken in the other.
            Err(BindServerError::AddressInUse(_)) if port == 0 && attempt < PAIR_ATTEMPTS_MAX => {
                attempt += 1;
            }
            outcome => return outcome,
        }
    }
}

fn bind_once(
    interfaces: &Interfaces,
    mut port: u16,
    backlog: u32,
    arbiters: usize,
) -> Result<Bound, BindServerError> {
    let mut bound = Bound::new(arbiters);
    for (ip, is_optional) in addresses(interfaces) {
        let listen_addr = SocketAddr::new(ip, port);
        let outcome = bind_group(listen_addr, backlog, arbiters)
            .and_then(|group| group[0].local_addr().map(|local_addr| (local_addr, group)));
        let (local_addr, group) = match outcome {
            Ok(outcome) => outcome,
            Err(source) if is_optional && is_missing_address(&source) => continue,
            Err(source) => return Err(BindServerError::new(listen_addr.into(), source)),
        };
        port = local_addr.port();
        let group = group.into_iter().map(Listening::Tcp);
        bound.add(local_addr.into(), group.map(Source::Listening));
    }
    Ok(bound)
}

/// The addresses in order, each with whether the server can do without it.
fn addresses(interfaces: &Interfaces) -> Vec<(IpAddr, bool)> {
    match interfaces {
        Interfaces::Loopback => vec![
            (Ipv4Addr::LOCALHOST.into(), false),
            (Ipv6Addr::LOCALHOST.into(), true),
        ],
        Interfaces::Every => vec![
            (Ipv4Addr::UNSPECIFIED.into(), false),
            (Ipv6Addr::UNSPECIFIED.into(), true),
        ],
        Interfaces::These(ips) => ips.iter().map(|ip| (*ip, false)).collect(),
    }
}

/// The machine lacks this address, or its whole family.
fn is_missing_address(error: &io::Error) -> bool {
    // EAFNOSUPPORT, whose `ErrorKind` is not stable.
    const AF_NOT_SUPPORTED: i32 = if cfg!(target_os = "linux") { 97 } else { 47 };
    error.kind() == io::ErrorKind::AddrNotAvailable
        || error.raw_os_error() == Some(AF_NOT_SUPPORTED)
}

/// Binds one socket for each arbiter to one address, and listens on all of them.
///
/// The first is bound alone: with `SO_REUSEPORT` from the start, two servers of one user would share a port and neither
/// would notice. The others join it afterwards.
fn bind_group(
    listen_addr: SocketAddr,
    backlog: u32,
    arbiters: usize,
) -> io::Result<Vec<TcpListener>> {
    let first = bind_socket(listen_addr, false)?;
    let listen_addr = first
        .local_addr()?
        .as_socket()
        .ok_or_else(|| io::Error::other("not an internet address"))?;
    let mut group = vec![first];
    if cfg!(target_os = "linux") && arbiters > 1 {
        #[cfg(target_os = "linux")]
        group[0].set_reuse_port(true)?;
        for _ in 1..arbiters {
            group.push(bind_socket(listen_addr, true)?);
        }
    }
    let backlog = i32::try_from(backlog).unwrap_or(i32::MAX);
    for socket in &group {
        socket.listen(backlog)?;
    }
    let mut group: Vec<TcpListener> = group.into_iter().map(TcpListener::from).collect();
    while group.len() < arbiters {
        group.push(group[0].try_clone()?);
    }
    Ok(group)
}

fn bind_socket(listen_addr: SocketAddr, reuse_port: bool) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(listen_addr),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_nonblocking(true)?;
    socket.set_reuse_address(true)?;
    #[cfg(target_os = "linux")]
    socket.set_reuse_port(reuse_port)?;
    let _ = reuse_port;
    if listen_addr.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // Linux hands both options down to accepted sockets; see `connection` for what they are for.
    socket.set_linger(Some(Duration::ZERO))?;
    socket.set_tcp_nodelay(true)?;
    socket.bind(&listen_addr.into())?;
    Ok(socket)
}
