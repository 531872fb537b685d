//! TLS of either side: whose certificates are shown, and whose are believed. Values, made from PEM files.
//!
//! The handshake itself is the stream's matter. No certificate error is ever passed over: there is no setting for that.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{
    self, AlertDescription, CertificateError, ClientConfig, RootCertStore, ServerConfig,
};
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// Who one is: a certificate, with those that lead to an authority behind it, and its key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Identity {
    /// The file with the certificates, one's own first.
    pub cert: PathBuf,
    /// The file with the key; it may be the same.
    pub key: PathBuf,
}

/// Whose certificates a client believes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Authorities {
    /// Those that this system trusts.
    System,
    /// Those in this file, and no others.
    File(PathBuf),
}

/// TLS cannot be had with these files.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsFileError {
    /// It cannot be read.
    #[error("cannot read {}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is not PEM, or a part of it is damaged.
    #[error("{} is not a PEM file: {problem}", .path.display())]
    NotPem {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// It has no certificate in it.
    #[error("no certificate in {}", .0.display())]
    NoCertificate(PathBuf),
    /// It has no key in it that can be used.
    #[error("no private key in {}", .0.display())]
    NoKey(PathBuf),
    /// The key is another one's, or of a kind that is not supported.
    #[error("{} does not go with {}: {problem}", .identity.key.display(), .identity.cert.display())]
    BadIdentity {
        /// The two files.
        identity: Identity,
        /// What is wrong.
        problem: String,
    },
    /// A certificate cannot be one of an authority.
    #[error("no authority can be made of {}: {problem}", .path.display())]
    BadAuthority {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The system trusts nobody.
    #[error("this system has no certificates of authorities; name a file of them")]
    NoSystemAuthorities,
}

/// A server's side of TLS.
#[derive(Clone)]
pub struct ServerTls(Arc<ServerConfig>);

/// A client's side of TLS.
#[derive(Clone)]
pub struct ClientTls(Arc<ClientConfig>);

impl ServerTls {
    /// Shows this identity; with authorities, lets nobody in whose certificate is not signed by one of them.
    ///
    /// # Errors
    /// A file is not what it should be.
    pub fn read(identity: &Identity, clients: Option<&Path>) -> Result<Self, TlsFileError> {
        let (certs, key) = read_identity(identity)?;
        let config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("the provider has the default versions");
        let config = match clients {
            None => config.with_no_client_auth(),
            Some(path) => {
                let roots = Arc::new(read_authorities(path)?);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider())
                    .build()
                    .map_err(|error| TlsFileError::BadAuthority {
                        path: path.to_owned(),
                        problem: error.to_string(),
                    })?;
                config.with_client_cert_verifier(verifier)
            }
        };
        let config = config.with_single_cert(certs, key);
        Ok(Self(Arc::new(config.map_err(bad_identity(identity))?)))
    }

    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        Arc::clone(&self.0).into()
    }
}

impl ClientTls {
    /// Believes these authorities, and shows this identity if the server asks.
    ///
    /// # Errors
    /// A file is not what it should be.
    pub fn read(
        authorities: &Authorities,
        identity: Option<&Identity>,
    ) -> Result<Self, TlsFileError> {
        let roots = match authorities {
            Authorities::System => system_authorities()?,
            Authorities::File(path) => read_authorities(path)?,
        };
        let config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("the provider has the default versions")
            .with_root_certificates(roots);
        let config = match identity {
            None => config.with_no_client_auth(),
            Some(identity) => {
                let (certs, key) = read_identity(identity)?;
                let config = config.with_client_auth_cert(certs, key);
                config.map_err(bad_identity(identity))?
            }
        };
        Ok(Self(Arc::new(config)))
    }

    pub(crate) fn connector(&self) -> TlsConnector {
        Arc::clone(&self.0).into()
    }
}

/// The same settings, read once.
impl PartialEq for ClientTls {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for ClientTls {}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServerTls")
    }
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientTls")
    }
}

/// ring, for it needs no cmake.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn bad_identity(identity: &Identity) -> impl FnOnce(rustls::Error) -> TlsFileError {
    let identity = identity.clone();
    move |error| TlsFileError::BadIdentity {
        identity,
        problem: error.to_string(),
    }
}

fn pem_error(path: &Path, error: pem::Error) -> TlsFileError {
    let path = path.to_owned();
    match error {
        pem::Error::Io(source) => TlsFileError::Read { path, source },
        other => TlsFileError::NotPem {
            path,
            problem: other.to_string(),
        },
    }
}

fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsFileError> {
    let certificates = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| pem_error(path, error))?;
    if certificates.is_empty() {
        return Err(TlsFileError::NoCertificate(path.to_owned()));
    }
    Ok(certificates)
}

type CertificatesAndKey = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn read_identity(identity: &Identity) -> Result<CertificatesAndKey, TlsFileError> {
    let certificates = read_certificates(&identity.cert)?;
    let key = PrivateKeyDer::from_pem_file(&identity.key).map_err(|error| match error {
        pem::Error::NoItemsFound => TlsFileError::NoKey(identity.key.clone()),
        other => pem_error(&identity.key, other),
    })?;
    Ok((certificates, key))
}

fn read_authorities(path: &Path) -> Result<RootCertStore, TlsFileError> {
    let mut roots = RootCertStore::empty();
    for certificate in read_certificates(path)? {
        let added = roots.add(certificate);
        added.map_err(|error| TlsFileError::BadAuthority {
            path: path.to_owned(),
            problem: error.to_string(),
        })?;
    }
    Ok(roots)
}

/// One of the system's certificates that cannot be read is one authority fewer, and no reason to trust nobody.
fn system_authorities() -> Result<RootCertStore, TlsFileError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(TlsFileError::NoSystemAuthorities);
    }
    Ok(roots)
}

/// The name that a server's certificate must be for; `None` if no certificate can be for it.
pub(crate) fn server_name(host: &str) -> Option<ServerName<'static>> {
    // A name that ends in a dot is the same name, and certificates never have the dot.
    let host = host.strip_suffix('.').unwrap_or(host);
    ServerName::try_from(host.to_owned()).ok()
}

/// What TLS says within an error of a stream, if it was TLS.
pub(crate) fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

/// In a person's words.
pub(crate) fn tls_text(error: &rustls::Error) -> String {
    let text = match error {
        rustls::Error::InvalidCertificate(problem) => match problem {
            // The latter: by somebody of the same name.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                "its certificate is signed by nobody who is trusted here"
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "its certificate has expired"
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "its certificate is not valid yet"
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "its certificate is for another name"
            }
            CertificateError::Revoked => "its certificate was revoked",
            _ => return error.to_string(),
        },
        rustls::Error::AlertReceived(AlertDescription::CertificateRequired) => {
            "it wants a certificate of ours"
        }
        rustls::Error::AlertReceived(
            AlertDescription::UnknownCA
            | AlertDescription::BadCertificate
            | AlertDescription::DecryptError
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown,
        ) => "it does not believe our certificate",
        rustls::Error::InvalidMessage(_) => "it does not speak TLS",
        _ => return error.to_string(),
    };
    text.to_owned()
}
