//! The server's certificate, and the TLS handshakes that use it. Its files may be replaced while
//! the server runs.

use std::fmt::{self, Display};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use sha2::{Digest, Sha256};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::base::error::{Error, Result};

/// A certificate with its key, for a server that speaks TLS with its clients: `wss:` and `https:`,
/// and nothing else on its port. See [`Builder::tls`](crate::Builder::tls).
///
/// Clones share the certificate, so that a program can keep one to [`reload`](Self::reload) it. The
/// server speaks TLS 1.2 and 1.3, agrees on HTTP/1.1, and lets clients that come back resume with a
/// ticket.
#[derive(Clone)]
pub struct Tls {
    config: Arc<ServerConfig>,
    source: Arc<Source>,
}

/// The files of the certificate, and the certificate in use.
struct Source {
    certificates: PathBuf,
    key: PathBuf,
    provider: Arc<CryptoProvider>,
    shown: RwLock<Arc<CertifiedKey>>,
    /// The fingerprint of the files that were read last, whether or not they could be used. Locked
    /// while files are read.
    latest: Mutex<Fingerprint>,
    /// How often the files could not be used when they were read again.
    failures: Arc<AtomicU64>,
}

type Fingerprint = [u8; 32];

/// The contents of the files.
struct Contents {
    certificates: Vec<u8>,
    key: Vec<u8>,
}

impl Tls {
    /// Reads a certificate and its private key, in PEM. The certificates between it and its
    /// authority follow it in its file. The key may be in the same file.
    ///
    /// # Errors
    ///
    /// Of kind [`Configuration`](crate::ErrorKind::Configuration) if a file cannot be read, has no
    /// certificate or no key, or if the two do not belong together.
    pub fn from_pem_files(
        certificates: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
    ) -> Result<Self> {
        let (certificates, key) = (certificates.into(), key.into());
        let provider = Arc::new(ring::default_provider());
        let contents = Contents::read(&certificates, &key)?;
        let shown = contents.parse(&certificates, &key, &provider)?;
        let source = Arc::new(Source {
            certificates,
            key,
            provider: provider.clone(),
            shown: RwLock::new(shown),
            latest: Mutex::new(contents.fingerprint()),
            failures: Arc::default(),
        });
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(unusable)?;
        let mut config = config
            .with_no_client_auth()
            .with_cert_resolver(source.clone());
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        // Tickets keep the state of a resumption with the client: after an outage all clients come
        // back at once.
        config.ticketer = ring::Ticketer::new().map_err(unusable)?;
        Ok(Self {
            config: Arc::new(config),
            source,
        })
    }

    /// Reads the files again. New connections get the new certificate, open ones keep theirs. A
    /// server does so by itself when the files have changed.
    ///
    /// # Errors
    ///
    /// As [`from_pem_files`](Self::from_pem_files). The former certificate stays in use. The log
    /// says so, and [`Stats::failed_certificates`](crate::Stats::failed_certificates) counts it.
    pub fn reload(&self) -> Result<()> {
        self.source.read_again(|_, _| true)
    }

    /// How often the files could not be used when they were read again.
    pub(super) fn failures(&self) -> Arc<AtomicU64> {
        self.source.failures.clone()
    }

    /// Reads the files every `interval` until `draining`, and uses them if they have changed.
    pub(super) async fn watch(
        self,
        interval: Duration,
        tasks: TaskTracker,
        draining: CancellationToken,
    ) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(interval) => {}
                () = draining.cancelled() => return,
            }
            let source = self.source.clone();
            let look = tasks.spawn_blocking(move || {
                // `read_again` has logged and counted an error.
                source.read_again(|latest, found| latest != found).ok();
            });
            if look.await.is_err() {
                tracing::error!("The files of the certificate could not be looked at.");
            }
        }
    }
}

/// The TLS handshake that begins a connection.
#[derive(Clone)]
pub(super) struct Handshake {
    acceptor: TlsAcceptor,
    within: Duration,
}

impl Handshake {
    pub(super) fn new(tls: &Tls, within: Duration) -> Self {
        let acceptor = TlsAcceptor::from(tls.config.clone());
        Self { acceptor, within }
    }

    /// Does the handshake.
    ///
    /// # Errors
    ///
    /// The client does not speak TLS, agrees on nothing, or takes too long.
    pub(super) async fn with(&self, socket: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let done = tokio::time::timeout(self.within, self.acceptor.accept(socket));
        done.await?
    }
}

impl fmt::Debug for Handshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handshake")
            .field("within", &self.within)
            .finish_non_exhaustive()
    }
}

impl Source {
    /// Reads the files. If `is_wanted`, given the latest fingerprint and that of the files, says
    /// so, their certificate is used from now on.
    fn read_again(&self, is_wanted: impl Fn(&Fingerprint, &Fingerprint) -> bool) -> Result<()> {
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        let loaded = Contents::read(&self.certificates, &self.key);
        // All files that cannot be read have the same fingerprint, so that each failure is logged
        // once.
        let fingerprint = loaded.as_ref().map_or([0; 32], Contents::fingerprint);
        if !is_wanted(&latest, &fingerprint) {
            return Ok(());
        }
        *latest = fingerprint;
        let parsed = loaded.and_then(|it| it.parse(&self.certificates, &self.key, &self.provider));
        match parsed {
            Ok(shown) => {
                *self.shown.write().unwrap_or_else(PoisonError::into_inner) = shown;
                tracing::info!(
                    certificates = %self.certificates.display(),
                    "The certificate was read again."
                );
                Ok(())
            }
            Err(error) => {
                self.failures.fetch_add(1, Ordering::Relaxed);
                tracing::error!(
                    %error,
                    "The certificate could not be read again; the former one stays in use."
                );
                Err(error)
            }
        }
    }
}

impl ResolvesServerCert for Source {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let shown = self.shown.read().unwrap_or_else(PoisonError::into_inner);
        Some(shown.clone())
    }
}

impl Contents {
    fn read(certificates: &Path, key: &Path) -> Result<Self> {
        let read = |path: &Path| std::fs::read(path).map_err(|error| in_file(path, error));
        Ok(Self {
            certificates: read(certificates)?,
            key: read(key)?,
        })
    }

    fn fingerprint(&self) -> Fingerprint {
        let mut hash = Sha256::new();
        // The length keeps the end of one file apart from the beginning of the other.
        hash.update(self.certificates.len().to_be_bytes());
        hash.update(&self.certificates);
        hash.update(&self.key);
        hash.finalize().into()
    }

    fn parse(
        &self,
        certificates: &Path,
        key: &Path,
        provider: &CryptoProvider,
    ) -> Result<Arc<CertifiedKey>> {
        let chain = CertificateDer::pem_slice_iter(&self.certificates)
            .collect::<std::result::Result<Vec<_>, _>>()
            .map_err(|error| in_file(certificates, error))?;
        if chain.is_empty() {
            return Err(in_file(certificates, "there is no certificate in it"));
        }
        let private =
            PrivateKeyDer::from_pem_slice(&self.key).map_err(|error| in_file(key, error))?;
        let certified = CertifiedKey::from_der(chain, private, provider).map_err(|error| {
            let (certificates, key) = (certificates.display(), key.display());
            Error::configuration(format!(
                "{certificates} and {key} cannot be used together: {error}"
            ))
        })?;
        Ok(Arc::new(certified))
    }
}

fn in_file(path: &Path, error: impl Display) -> Error {
    Error::configuration(format!("{} cannot be used: {error}", path.display()))
}

fn unusable(error: impl Display) -> Error {
    Error::configuration(format!("TLS cannot be used: {error}"))
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.source.fmt(f)
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("certificates", &self.certificates)
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}
