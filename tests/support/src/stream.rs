//! A connection to a server, in the open or over TLS. The servers of tests have the certificates of
//! `tests/tls`, which are for 127.0.0.1 and vouch for themselves.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{
    ALL_VERSIONS, ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    SupportedProtocolVersion,
};

/// Bytes to a server and back.
#[derive(Debug)]
pub enum Stream {
    /// In the open.
    Plain(TcpStream),
    /// Over TLS.
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Stream {
    /// Begins TLS on a connection.
    ///
    /// # Errors
    /// When the handshake fails, or the server does not show one of the certificates.
    pub fn secure(mut tcp: TcpStream) -> io::Result<Self> {
        let name = ServerName::from(tcp.peer_addr()?.ip());
        let connection = ClientConnection::new(Arc::new(config()), name);
        let mut connection = connection.map_err(io::Error::other)?;
        while connection.is_handshaking() {
            connection.complete_io(&mut tcp)?;
        }
        Ok(Self::Tls(Box::new(StreamOwned::new(connection, tcp))))
    }

    /// The connection below.
    pub fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(stream) => &stream.sock,
        }
    }
}

/// How a client that trusts the certificates of the tests speaks TLS.
///
/// # Panics
/// When they are missing.
pub fn config() -> ClientConfig {
    config_with(ALL_VERSIONS)
}

/// The same, in these versions.
///
/// # Panics
/// When the certificates are missing.
pub fn config_with(versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    for name in ["valid.pem", "other.pem"] {
        let certificate = CertificateDer::from_pem_file(certificate(name)).expect("a certificate");
        roots.add(certificate).expect("a root");
    }
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(versions)
        .expect("versions that the cryptography knows")
        .with_root_certificates(roots)
        .with_no_client_auth()
}

/// A file of `tests/tls`.
pub fn certificate(name: &str) -> PathBuf {
    let tests = concat!(env!("CARGO_MANIFEST_DIR"), "/../tls");
    PathBuf::from(tests).join(name)
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(tcp) => tcp.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(tcp) => tcp.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(tcp) => tcp.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}
