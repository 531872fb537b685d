//! The other side of the socket: asks an instance, follows it, and gives it orders.

mod events;

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{ACCEPT, CONTENT_TYPE, HOST};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::net::UnixStream;
use tokio::time::timeout;

pub use self::events::{EventStream, Told};
use super::address::{InstanceAddress, SshAddress};
use super::discovery::{self, FindInstanceError};
use super::model::VERSION;
use super::protocol::{Refusal, RefusalReason};
use crate::exit_code::ExitCode;

/// How long an instance may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the other machine may take to let us in: somebody may have to type a passphrase.
const SSH_TIMEOUT: Duration = Duration::from_secs(120);

/// How many bytes an answer may have: the tree of a very big program has a few of them.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Why an instance did not do what it was asked for.
#[derive(Debug, Error)]
pub enum ClientError {
    /// There is no such instance, or it is not known which.
    #[error(transparent)]
    Find(#[from] FindInstanceError),
    /// Nobody is at the socket.
    #[error("cannot reach {instance}")]
    Unreachable {
        /// Which.
        instance: String,
        /// What the system says.
        source: io::Error,
    },
    /// The connection was closed without an answer.
    #[error(
        "{instance} closed the connection without an answer; it takes those of its own user only"
    )]
    TurnedAway {
        /// Which.
        instance: String,
    },
    /// There is no way to the other machine; `ssh` has said why.
    #[error("ssh does not lead to {instance}: it ended with {}", ended(*.code))]
    Ssh {
        /// Which.
        instance: String,
        /// The exit code of `ssh`.
        code: Option<i32>,
    },
    /// It does not answer.
    #[error("{instance} does not answer")]
    Silent {
        /// Which.
        instance: String,
    },
    /// What it said is not to be understood.
    #[error("what {instance} says is not to be understood")]
    Garbled {
        /// Which.
        instance: String,
        /// What is wrong with it.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It speaks another version of the protocol.
    #[error("{instance} speaks version {spoken} of the protocol, and this byron ({}) version {VERSION}; use the byron it was started with", env!("CARGO_PKG_VERSION"))]
    Version {
        /// Which.
        instance: String,
        /// What it speaks.
        spoken: u64,
    },
    /// It said no.
    #[error("{message}")]
    Refused {
        /// The status of the answer.
        status: u16,
        /// A stable word for why.
        kind: String,
        /// Why.
        message: String,
    },
}

fn ended(code: Option<i32>) -> String {
    match code {
        Some(code) => format!("exit code {code}"),
        None => "a signal".to_owned(),
    }
}

impl ClientError {
    /// The exit code of a command that ends because of this.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            ClientError::Find(FindInstanceError::Several(_)) => ExitCode::Usage,
            ClientError::Find(FindInstanceError::None | FindInstanceError::Unknown { .. }) => {
                ExitCode::NotFound
            }
            ClientError::TurnedAway { .. } => ExitCode::Refused,
            ClientError::Refused { status: 404, .. } => ExitCode::NotFound,
            ClientError::Refused { status: 403, .. } => ExitCode::Refused,
            // What `byron ctl stdio` ended with on the other machine.
            ClientError::Ssh { code: Some(2), .. } => ExitCode::Usage,
            ClientError::Ssh { code: Some(4), .. } => ExitCode::NotFound,
            ClientError::Ssh { code: Some(5), .. } => ExitCode::Refused,
            _ => ExitCode::SomeFailed,
        }
    }
}

/// A connection to an instance.
#[derive(Debug)]
pub struct Client {
    /// What messages call it.
    instance: String,
    sender: SendRequest<Full<Bytes>>,
    /// The `ssh` that leads to it.
    tunnel: Option<Tunnel>,
}

impl Client {
    /// Connects to an instance; without an address, to the only one there is.
    ///
    /// # Errors
    /// There is none, there are several, or it cannot be reached.
    pub async fn connect(address: Option<&InstanceAddress>) -> Result<Client, ClientError> {
        let name = match address {
            Some(InstanceAddress::Ssh(ssh)) => return Client::over_ssh(ssh).await,
            Some(InstanceAddress::Socket(path)) => {
                return Client::at(path.clone(), format!("unix:{}", path.display())).await;
            }
            Some(InstanceAddress::Name(name)) => Some(name),
            None => None,
        };
        let found = discovery::find(name)?;
        Client::at(found.socket, found.instance.name).await
    }

    /// Connects to the instance at a socket.
    ///
    /// # Errors
    /// It cannot be reached.
    pub async fn at(socket: PathBuf, instance: String) -> Result<Client, ClientError> {
        match UnixStream::connect(&socket).await {
            Ok(stream) => Client::over(stream, instance, None).await,
            Err(source) => Err(ClientError::Unreachable { instance, source }),
        }
    }

    async fn over_ssh(address: &SshAddress) -> Result<Client, ClientError> {
        let instance = address.to_string();
        match Tunnel::open(address.arguments()) {
            Ok((tunnel, stream)) => Client::over(stream, instance, Some(tunnel)).await,
            Err(source) => Err(ClientError::Unreachable { instance, source }),
        }
    }

    async fn over(
        stream: UnixStream,
        instance: String,
        tunnel: Option<Tunnel>,
    ) -> Result<Client, ClientError> {
        match http1::handshake(TokioIo::new(stream)).await {
            Ok((sender, connection)) => {
                // It ends with the sender and what was answered; what went wrong is told with the answer.
                tokio::spawn(connection);
                Ok(Client {
                    instance,
                    sender,
                    tunnel,
                })
            }
            Err(error) => Err(ClientError::Garbled {
                instance,
                source: error.into(),
            }),
        }
    }

    /// What messages call the instance.
    pub fn instance(&self) -> &str {
        &self.instance
    }

    /// Asks for something.
    ///
    /// # Errors
    /// It says no, or nothing that is understood.
    pub async fn get<T: DeserializeOwned>(&mut self, path: &str) -> Result<T, ClientError> {
        let bytes = self.get_bytes(path).await?;
        self.understood(&bytes)
    }

    /// Asks for something, and answers the JSON as it came.
    ///
    /// # Errors
    /// As [`get`](Client::get).
    pub async fn get_bytes(&mut self, path: &str) -> Result<Bytes, ClientError> {
        let response = self.request(Method::GET, path, Bytes::new()).await?;
        self.body(response).await
    }

    /// Has something done.
    ///
    /// # Errors
    /// It says no, or nothing that is understood.
    pub async fn post<T: DeserializeOwned>(
        &mut self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        let body = serde_json::to_vec(body).map_err(|error| self.garbled(error))?;
        let response = self.request(Method::POST, path, body.into()).await?;
        let bytes = self.body(response).await?;
        self.understood(&bytes)
    }

    /// Follows the events after number `seq`; without one, those that are yet to come.
    ///
    /// # Errors
    /// It says no.
    pub async fn events(mut self, seq: Option<u64>) -> Result<EventStream, ClientError> {
        let path = match seq {
            Some(seq) => format!("/v1/events?since={seq}"),
            None => "/v1/events".to_owned(),
        };
        let response = self.request(Method::GET, &path, Bytes::new()).await?;
        Ok(EventStream::new(self, response.into_body()))
    }

    /// Sends a request, and waits for the beginning of an answer that is no refusal.
    async fn request(
        &mut self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Response<Incoming>, ClientError> {
        let request = Request::builder()
            .method(&method)
            .uri(path)
            .header(HOST, "byron")
            .header(ACCEPT, "application/json, text/event-stream");
        let request = match method {
            Method::POST => request.header(CONTENT_TYPE, "application/json"),
            _ => request,
        };
        let request = request
            .body(Full::new(body))
            .map_err(|error| self.garbled(error))?;
        let limit = match &self.tunnel {
            Some(_) => SSH_TIMEOUT,
            None => ANSWER_TIMEOUT,
        };
        let response = match timeout(limit, self.sender.send_request(request)).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return Err(self.lost(error)),
            Err(_) => return Err(self.silent()),
        };
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status().as_u16();
        let bytes = self.body(response).await?;
        let Refusal { error, .. } = self.understood(&bytes)?;
        let RefusalReason { kind, message } = error;
        Err(ClientError::Refused {
            status,
            kind,
            message,
        })
    }

    async fn body(&mut self, response: Response<Incoming>) -> Result<Bytes, ClientError> {
        let limited = Limited::new(response.into_body(), ANSWER_BYTES_MAX);
        match timeout(ANSWER_TIMEOUT, limited.collect()).await {
            Ok(Ok(body)) => Ok(body.to_bytes()),
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(self.garbled(format!(
                "its answer is longer than {ANSWER_BYTES_MAX} bytes"
            ))),
            Ok(Err(error)) => Err(self.garbled(error)),
            Err(_) => Err(self.silent()),
        }
    }

    /// Reads an answer, unless it is of a later version.
    fn understood<T: DeserializeOwned>(&self, bytes: &[u8]) -> Result<T, ClientError> {
        #[derive(Deserialize)]
        struct Version {
            v: u64,
        }
        if let Ok(Version { v: spoken }) = serde_json::from_slice(bytes)
            && spoken != u64::from(VERSION)
        {
            return Err(ClientError::Version {
                instance: self.instance.clone(),
                spoken,
            });
        }
        serde_json::from_slice(bytes).map_err(|error| self.garbled(error))
    }

    /// The connection ended where an answer should have begun.
    fn lost(&mut self, error: hyper::Error) -> ClientError {
        let instance = self.instance.clone();
        if let Some(tunnel) = &mut self.tunnel {
            return ClientError::Ssh {
                instance,
                code: tunnel.exit_code(),
            };
        }
        if error.is_incomplete_message() || error.is_canceled() || error.is_closed() {
            return ClientError::TurnedAway { instance };
        }
        self.garbled(error)
    }

    fn silent(&self) -> ClientError {
        ClientError::Silent {
            instance: self.instance.clone(),
        }
    }

    fn garbled(&self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> ClientError {
        ClientError::Garbled {
            instance: self.instance.clone(),
            source: source.into(),
        }
    }
}

/// A text as a part of a path or a query: what is neither letter, digit nor `-._~` as `%XX`.
pub fn percent_encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded += &format!("%{byte:02X}");
        }
    }
    encoded
}

/// A running `ssh`, whose standard input and output are the two directions of one socket.
#[derive(Debug)]
struct Tunnel(Child);

impl Tunnel {
    fn open(arguments: Vec<OsString>) -> io::Result<(Tunnel, UnixStream)> {
        let (ours, theirs) = StdUnixStream::pair()?;
        let stdout = OwnedFd::from(theirs.try_clone()?);
        let child = Command::new("ssh")
            .args(arguments)
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::from(stdout))
            .spawn()
            .map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => {
                    io::Error::new(error.kind(), "there is no ssh on the PATH")
                }
                _ => error,
            })?;
        ours.set_nonblocking(true)?;
        Ok((Tunnel(child), UnixStream::from_std(ours)?))
    }

    /// It has closed its side, so it has ended or is about to.
    fn exit_code(&mut self) -> Option<i32> {
        self.0.wait().ok()?.code()
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        // Without a reader it ends by itself, but not before it writes something.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_part_of_a_path() {
        assert_eq!(
            percent_encoded("byron/listener-0-::1?a=b&c"),
            "byron%2Flistener-0-%3A%3A1%3Fa%3Db%26c"
        );
        assert_eq!(percent_encoded("poëm *"), "po%C3%ABm%20%2A");
    }
}
