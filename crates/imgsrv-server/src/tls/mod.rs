//! TLS on the API listener: the certificate, and its replacement while the server runs.

mod self_signed;

pub(crate) use self_signed::SelfSigned;

use imgsrv_cli::Certificate;
use imgsrv_domain::error_chain;
use rustls::{
    ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
    version::{TLS12, TLS13},
};
use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

/// Interval of checking the files for a new certificate.
const RELOAD_INTERVAL: Duration = Duration::from_secs(5);
/// Interval of checking whether a self-signed certificate expires soon.
const RENEWAL_INTERVAL: Duration = Duration::from_hours(1);
/// Most bytes of a file with certificates or a key.
const MAX_PEM: u64 = 1 << 20;

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    #[error("--tls-cert and --tls-key must be set together, and must not be empty")]
    Half,
    #[error("--tls-self-signed cannot be used together with --tls-cert and --tls-key")]
    Both,
    #[error("cannot read {path}: {source}")]
    Read { path: String, source: io::Error },
    #[error("{path} contains no certificate in PEM format: {source}")]
    Certificate { path: String, source: rustls::pki_types::pem::Error },
    #[error("{path} contains no private key in PEM format: {source}")]
    Key { path: String, source: rustls::pki_types::pem::Error },
    #[error("the key in {key} cannot be used with the certificate in {cert}: {source}")]
    Pair { cert: String, key: String, source: rustls::Error },
    #[error("the certificate in {path} cannot be decoded")]
    Undecodable { path: String },
    #[error("cannot configure TLS: {0}")]
    Setup(rustls::Error),
    #[error("cannot create a certificate: {0}")]
    Make(#[from] rcgen::Error),
    #[error("cannot write {path}: {source}")]
    Write { path: String, source: io::Error },
    #[error("cannot create a certificate for {0:?}, which is neither a host name nor an address")]
    Name(String),
}

/// The paths of a certificate and its key.
#[derive(Debug, Clone)]
pub(crate) struct CertFiles {
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
}

impl CertFiles {
    fn read(&self) -> Result<(Vec<u8>, Vec<u8>), TlsError> {
        Ok((read(&self.cert)?, read(&self.key)?))
    }
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let failed = |source| TlsError::Read { path: path.display().to_string(), source };
    if std::fs::metadata(path).map_err(failed)?.len() > MAX_PEM {
        return Err(failed(io::Error::other("it is too large")));
    }
    std::fs::read(path).map_err(failed)
}

/// The TLS configuration of the listener.
pub(crate) struct Tls {
    pub(crate) acceptor: TlsAcceptor,
    files: CertFiles,
    current: Arc<CurrentCertificate>,
    provider: Arc<CryptoProvider>,
}

/// The certificate of new connections.
#[derive(Debug)]
struct CurrentCertificate(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for CurrentCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl Tls {
    /// TLS 1.2 and 1.3, HTTP/1.1 and HTTP/2, with the certificate in `files`.
    pub(crate) fn new(files: CertFiles) -> Result<Self, TlsError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let (cert, key) = files.read()?;
        let certified = certified(&files, &cert, &key, &provider)?;
        let current = Arc::new(CurrentCertificate(RwLock::new(Arc::new(certified))));
        let config = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&TLS13, &TLS12])
            .map_err(TlsError::Setup)?;
        let mut config = config.with_no_client_auth().with_cert_resolver(Arc::clone(&current) as _);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)), files, current, provider })
    }

    /// The certificate of new connections; `None` if it cannot be decoded.
    pub(crate) fn certificate(&self) -> Option<Certificate> {
        Certificate::read(self.current.0.read().unwrap_or_else(PoisonError::into_inner).cert.first()?)
    }

    /// Uses a new certificate for new connections once the files have changed, until `stop`. An unusable one is logged,
    /// and the current one stays. A self-signed certificate is renewed before it expires.
    pub(crate) async fn reload(&self, self_signed: Option<SelfSigned>, stop: &CancellationToken) {
        let mut seen = self.files.read().ok();
        let mut renewed = tokio::time::Instant::now();
        while stop.run_until_cancelled(tokio::time::sleep(RELOAD_INTERVAL)).await.is_some() {
            if let Some(self_signed) = self_signed.as_ref().filter(|_| renewed.elapsed() >= RENEWAL_INTERVAL) {
                renewed = tokio::time::Instant::now();
                if let Err(error) = self_signed.renew() {
                    tracing::warn!(error = error_chain::text(&error), "certificate could not be renewed");
                }
            }
            let found = match self.files.read() {
                Ok(found) if seen.as_ref() == Some(&found) => continue,
                Ok(found) => found,
                Err(error) => {
                    if seen.take().is_some() {
                        tracing::warn!(
                            error = error_chain::text(&error),
                            "certificate could not be read; the current one stays in use"
                        );
                    }
                    continue;
                }
            };
            match certified(&self.files, &found.0, &found.1, &self.provider) {
                Ok(certified) => {
                    *self.current.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(certified);
                    tracing::info!(path = %self.files.cert.display(), "certificate reloaded");
                }
                // Certificate and key are two files, and do not match between the two writes.
                Err(error) => tracing::warn!(
                    error = error_chain::text(&error),
                    "certificate was rejected; the current one stays in use"
                ),
            }
            seen = Some(found);
        }
    }
}

fn certified(files: &CertFiles, cert: &[u8], key: &[u8], provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
    let (cert_path, key_path) = (files.cert.display().to_string(), files.key.display().to_string());
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(cert).collect();
    let no_certificate = |source| TlsError::Certificate { path: cert_path.clone(), source };
    let chain = chain.map_err(no_certificate)?;
    if chain.is_empty() {
        return Err(no_certificate(rustls::pki_types::pem::Error::NoItemsFound));
    }
    let key = PrivateKeyDer::from_pem_slice(key);
    let key = key.map_err(|source| TlsError::Key { path: key_path.clone(), source })?;
    CertifiedKey::from_der(chain, key, provider).map_err(|source| TlsError::Pair {
        cert: cert_path,
        key: key_path,
        source,
    })
}
