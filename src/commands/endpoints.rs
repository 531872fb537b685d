//! From an endpoint, which is words, to the sockets, files and certificates that the actors need.
//!
//! Reads files and looks names up; binds nothing and connects to nothing.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use anyhow::Context;
use byron_actors::tree::ServiceHandle;
use byron_actors::{
    Address, Authorities, BACKLOG, BindServerError, ClientTls, Front, Identity, Interfaces,
    ListenOn, ServerTls, Sockets, TransformStep, TransformedBy, Whereabouts, transform_named,
};

use crate::endpoint::{
    ConnectEndpoint, ConnectPlace, ConnectTls, Host, Interface, ListenEndpoint, ListenPlace,
    ListenTls, TransformArgument,
};
use crate::host::{descriptors, stdio};
use crate::observe::Registration;
use crate::observe::discovery;
use crate::present::message::{cannot_listen, in_use_by};

/// What people are told who write TLS's old name.
pub(super) const SSL_NOTICE: &str = "ssl: is the old name of tls:, and is read as such";

/// Where a service listens, and what lies before its protocol.
pub(super) fn listen_on(endpoint: &ListenEndpoint) -> anyhow::Result<ListenOn> {
    let backlog = endpoint.backlog.unwrap_or(BACKLOG);
    let sockets = match &endpoint.place {
        ListenPlace::Tcp { interface, port } => Sockets::Tcp {
            interfaces: match interface {
                Interface::Every => Interfaces::Every,
                Interface::Host(Host::Localhost) => Interfaces::Loopback,
                Interface::Host(Host::Ip(ip)) => Interfaces::These(vec![*ip]),
                Interface::Host(Host::Name(name)) => Interfaces::These(resolve(name)?),
            },
            port: *port,
            backlog,
        },
        ListenPlace::Unix { address, mode } => Sockets::Unix {
            address: address.clone(),
            mode: *mode,
            backlog,
        },
        ListenPlace::Systemd(name) => {
            let fds = descriptors::of_systemd(name)
                .with_context(|| format!("cannot listen on {endpoint}"))?;
            Sockets::Inherited(Arc::new(fds))
        }
        ListenPlace::Fd(number) => {
            let fd: OwnedFd = descriptors::take(*number)
                .with_context(|| format!("cannot listen on {endpoint}"))?;
            Sockets::Inherited(Arc::new(vec![fd]))
        }
        ListenPlace::Stdio => {
            let socket = stdio::connection().context("cannot make a connection of stdio:")?;
            Sockets::Connected(Arc::new(socket))
        }
    };
    let front = Front {
        proxied: endpoint.proxied,
        tls: endpoint.tls.as_ref().map(server_tls).transpose()?,
    };
    Ok(ListenOn { sockets, front })
}

fn resolve(name: &str) -> anyhow::Result<Vec<IpAddr>> {
    let found = (name, 0)
        .to_socket_addrs()
        .with_context(|| format!("cannot listen on {name}: no address of that name"))?;
    let mut ips: Vec<_> = found.map(|found: SocketAddr| found.ip()).collect();
    ips.dedup();
    Ok(ips)
}

fn server_tls(tls: &ListenTls) -> anyhow::Result<ServerTls> {
    let identity = Identity {
        cert: tls.cert.clone(),
        key: tls.key.as_ref().unwrap_or(&tls.cert).clone(),
    };
    Ok(ServerTls::read(&identity, tls.ca.as_deref())?)
}

/// Where a client connects to.
pub(super) fn whereabouts(endpoint: &ConnectEndpoint) -> anyhow::Result<Whereabouts> {
    let (at, host) = match &endpoint.place {
        ConnectPlace::Unix(address) => return Ok(Whereabouts::Unix(address.clone())),
        ConnectPlace::Tcp { host, port } => {
            let at = match (host.addresses(*port), host) {
                (Some(addresses), _) => Whereabouts::Addresses(addresses),
                (None, host) => Whereabouts::Name {
                    host: host.to_string(),
                    port: *port,
                },
            };
            (at, host)
        }
    };
    let Some(tls) = &endpoint.tls else {
        return Ok(at);
    };
    let host = match host {
        Host::Ip(ip) => ip.to_string(),
        host => host.to_string(),
    };
    Ok(Whereabouts::Tls {
        at: Box::new(at),
        name: tls.name.clone().unwrap_or(host),
        tls: client_tls(tls)?,
    })
}

fn client_tls(tls: &ConnectTls) -> anyhow::Result<ClientTls> {
    let authorities = match &tls.ca {
        None => Authorities::System,
        Some(path) => Authorities::File(path.clone()),
    };
    let identity = tls.cert.as_ref().map(|cert| Identity {
        cert: cert.clone(),
        key: tls.key.as_ref().unwrap_or(cert).clone(),
    });
    Ok(ClientTls::read(&authorities, identity.as_ref())?)
}

/// Transforms and who makes each, for the actors.
pub(super) fn transform_steps(
    transforms: &[TransformArgument],
) -> anyhow::Result<Vec<TransformStep>> {
    let step = |transform: &TransformArgument| {
        Ok(TransformStep {
            label: transform.label(),
            by: match (&transform.endpoint, transform_named(&transform.name)) {
                (None, Some(here)) => TransformedBy::Here(*here),
                (None, None) => {
                    unreachable!("the command line knows the transforms of this program")
                }
                (Some(endpoint), _) => TransformedBy::Server {
                    name: transform.name.clone(),
                    whereabouts: whereabouts(endpoint)?,
                },
            },
        })
    };
    transforms.iter().map(step).collect()
}

/// Where a service is, in the tutorial's words if it has a port: `port 10000`, `unix:/run/byron/p.sock`.
pub(super) fn place_text(handle: &ServiceHandle) -> String {
    match (handle.port(), &handle.addresses()[0]) {
        _ if handle.is_connected() => "standard input and output".to_owned(),
        (Some(port), _) => format!("port {port}"),
        (None, local_addr) => local_addr.to_string(),
    }
}

/// What is special about how a service is reached, for a person: `, encrypted`.
pub(super) fn nature(endpoint: &ListenEndpoint) -> String {
    let mut nature = String::new();
    if let Some(tls) = &endpoint.tls {
        nature.push_str(", encrypted");
        if tls.ca.is_some() {
            nature.push_str(", for clients with certificates");
        }
    }
    if endpoint.proxied {
        nature.push_str(", behind a proxy");
    }
    nature
}

/// Why there is no server, and what to try.
pub(super) fn explain(error: BindServerError) -> anyhow::Error {
    let (listen_addr, kind) = match &error {
        BindServerError::AddressInUse(listen_addr) => (listen_addr, io::ErrorKind::AddrInUse),
        BindServerError::NeedsPrivileges(listen_addr) => {
            (listen_addr, io::ErrorKind::PermissionDenied)
        }
        BindServerError::NotAvailable(listen_addr) => {
            (listen_addr, io::ErrorKind::AddrNotAvailable)
        }
        _ => return error.into(),
    };
    match listen_addr {
        Address::Internet(addr) if kind == io::ErrorKind::AddrInUse => {
            anyhow::Error::msg(match holder(*addr) {
                Some(holder) => in_use_by(*addr, &holder.instance),
                None => cannot_listen(*addr, &kind.into()),
            })
        }
        Address::Internet(addr) => anyhow::Error::msg(cannot_listen(*addr, &kind.into())),
        Address::Unix(_) if kind == io::ErrorKind::AddrInUse => anyhow::Error::msg(format!(
            "cannot listen on {listen_addr}: another server does"
        )),
        _ => error.into(),
    }
}

/// The instance that has an address, if it is one of ours.
fn holder(taken: SocketAddr) -> Option<Registration> {
    let has_it = |found: &Registration| {
        let mut endpoints = found.instance.endpoints.iter();
        endpoints.any(|endpoint| {
            let local_addr = endpoint.at.parse::<SocketAddr>();
            local_addr.is_ok_and(|held| {
                let is_everywhere = held.ip().is_unspecified() || taken.ip().is_unspecified();
                held.port() == taken.port() && (is_everywhere || held.ip() == taken.ip())
            })
        })
    };
    let running = discovery::running().unwrap_or_default();
    running.into_iter().find(has_it)
}
