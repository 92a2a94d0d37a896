//! The certificate of the public port: read at start, and again whenever its files change.
//!
//! What cannot be used never takes the place of what can: a broken pair is said once, and the old one stays. A
//! connection keeps the certificate that it began with.

use std::fs::OpenOptions;
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use rustix::fs::OFlags;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject as _};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, InconsistentKeys, ServerConfig};
use tokio_rustls::server::TlsStream;
use zeroize::Zeroizing;

use crate::clock::Clock;
use crate::metrics::Metrics;

/// How often the files are looked at. Looking is two calls of the system.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// The only protocol that is spoken: a client that insists on another is refused in the handshake.
const ALPN: &[u8] = b"http/1.1";

/// A certificate or key that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// One of the two files is given without the other.
    #[error("give tls-cert and tls-key together, or neither")]
    Alone,
    /// A file could not be read.
    #[error("could not read {}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A file has no such section of PEM, or a broken one.
    #[error("{} holds no {what} as PEM", path.display())]
    NoPem {
        /// Which.
        path: PathBuf,
        /// What was looked for.
        what: &'static str,
    },
    /// The two do not belong together.
    #[error("the key in {} does not belong to the certificate in {}", files.key.display(), files.certificate.display())]
    Mismatch {
        /// Both.
        files: Box<Files>,
    },
    /// The certificate or the key is of a kind that is not supported, or damaged.
    #[error("the certificate in {} cannot be served", path.display())]
    Unusable {
        /// Which.
        path: PathBuf,
        /// Why not.
        #[source]
        source: rustls::Error,
    },
}

/// Where a certificate and its key lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// The certificate, followed by those that lead to its root; PEM.
    pub certificate: PathBuf,
    /// Its private key; PEM.
    pub key: PathBuf,
}

/// TLS with the newest certificate that could be used. A clone is the same one.
#[derive(Clone, Debug)]
pub struct Tls(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    files: Files,
    metrics: Metrics,
    config: ArcSwap<ServerConfig>,
    seen: Mutex<Seen>,
}

/// Which contents of the files are known.
#[derive(Debug)]
struct Seen {
    served: Stamps,
    /// What could not be used, and was said.
    refused: Option<Stamps>,
}

impl Tls {
    /// Reads both files.
    ///
    /// # Errors
    /// See [`TlsError`].
    pub fn read(files: Files, metrics: Metrics) -> Result<Self, TlsError> {
        // Before reading: what changes meanwhile is seen at the next look.
        let served = Stamps::of(&files);
        let config = ArcSwap::from_pointee(files.read()?);
        Ok(Self(Arc::new(Inner { files, metrics, config, seen: Mutex::new(Seen { served, refused: None }) })))
    }

    /// Shakes hands on a connection that was just accepted, with the newest certificate.
    ///
    /// # Errors
    /// When the client speaks no TLS, or none of ours.
    pub async fn accept<T: AsyncRead + AsyncWrite + Unpin>(&self, stream: T) -> io::Result<TlsStream<T>> {
        TlsAcceptor::from(self.0.config.load_full()).accept(stream).await
    }

    /// Reads the files again if they changed. Blocks.
    pub fn look(&self) {
        let Inner { files, metrics, config, seen } = &*self.0;
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        let found = Stamps::of(files);
        if found == seen.served {
            seen.refused = None;
            return;
        }
        match files.read() {
            Ok(read) => {
                config.store(Arc::new(read));
                *seen = Seen { served: found, refused: None };
                tracing::info!("the certificate was read again");
            }
            // Said already. It is tried all the same: its stamps may be those of a file that was still written.
            Err(_) if seen.refused == Some(found) => {}
            Err(error) => {
                seen.refused = Some(found);
                metrics.certificate_refused();
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "the certificate changed and cannot be used; the one before it stays"
                );
            }
        }
    }

    /// Looks at the files again and again until `stop`.
    pub async fn watch(self, clock: Clock, stop: impl Future<Output = ()>) {
        let mut stop = std::pin::pin!(stop);
        loop {
            tokio::select! {
                () = &mut stop => return,
                () = clock.sleep(LOOK_EVERY) => {}
            }
            let this = self.clone();
            // A look that panicked was logged, and the next one is made all the same.
            let _panicked = tokio::task::spawn_blocking(move || this.look()).await;
        }
    }
}

impl Files {
    fn read(&self) -> Result<ServerConfig, TlsError> {
        let Self { certificate, key } = self;
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes(certificate)?).collect();
        // What is wrong with the PEM is not told: the parser quotes lines of the file.
        let none = |path: &Path, what| TlsError::NoPem { path: path.to_owned(), what };
        let chain = match chain {
            Ok(chain) if !chain.is_empty() => chain,
            Ok(_) | Err(_) => return Err(none(certificate, "certificate")),
        };
        let private = PrivateKeyDer::from_pem_slice(&Zeroizing::new(bytes(key)?))
            .map_err(|_: pem::Error| none(key, "private key"))?;
        let provider = Arc::new(ring::default_provider());
        let served = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(|versions| versions.with_no_client_auth().with_single_cert(chain, private));
        let mut config = served.map_err(|source| match source {
            rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                TlsError::Mismatch { files: Box::new(self.clone()) }
            }
            source => TlsError::Unusable { path: certificate.clone(), source },
        })?;
        config.alpn_protocols = vec![ALPN.to_vec()];
        Ok(config)
    }
}

/// No certificate's chain and no key is longer, in bytes.
const LONGEST_FILE: u64 = 1 << 20;

/// What a file holds. A device or a pipe is none: it would block, or never end.
fn bytes(path: &Path) -> Result<Vec<u8>, TlsError> {
    let read = || {
        let mut options = OpenOptions::new();
        let file = options.read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed()).open(path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() || metadata.len() > LONGEST_FILE {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no file of at most 1 MiB"));
        }
        let mut bytes = Vec::new();
        file.take(LONGEST_FILE).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    read().map_err(|source| TlsError::Unreadable { path: path.to_owned(), source })
}

/// What of both files changes with their contents; `None` of a file that is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamps([Option<Stamp>; 2]);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

impl Stamps {
    fn of(files: &Files) -> Self {
        Self([&files.certificate, &files.key].map(|path| {
            let found = std::fs::metadata(path).ok()?;
            let modified = (found.mtime(), found.mtime_nsec());
            Some(Stamp { device: found.dev(), inode: found.ino(), size: found.size(), modified })
        }))
    }
}
