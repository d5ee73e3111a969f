//! TLS on the API listener: which certificate is shown, and picking up a new one while the server runs.

mod self_signed;

pub(crate) use self_signed::SelfSigned;

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

/// How often the files are looked at for a new certificate.
const RELOAD_INTERVAL: Duration = Duration::from_secs(5);
/// How often it is looked whether a certificate of one's own is about to end.
const RENEWAL_INTERVAL: Duration = Duration::from_hours(1);
/// The most bytes of a file with certificates or a key.
const MAX_PEM: u64 = 1 << 20;

/// Why there can be no TLS.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    #[error("--tls-cert and --tls-key must be given both, and neither be empty")]
    Half,
    #[error("--tls-self-signed makes a certificate; do not give one with --tls-cert and --tls-key as well")]
    Both,
    #[error("cannot read {path}: {source}")]
    Read { path: String, source: io::Error },
    #[error("{path} has no certificate in PEM: {source}")]
    Certificate { path: String, source: rustls::pki_types::pem::Error },
    #[error("{path} has no private key in PEM: {source}")]
    Key { path: String, source: rustls::pki_types::pem::Error },
    #[error("the key in {key} cannot be used with the certificate in {cert}: {source}")]
    Pair { cert: String, key: String, source: rustls::Error },
    #[error("cannot set TLS up: {0}")]
    Setup(rustls::Error),
    #[error("cannot make a certificate: {0}")]
    Make(#[from] rcgen::Error),
    #[error("cannot write {path}: {source}")]
    Write { path: String, source: io::Error },
    #[error("cannot make a certificate for {0:?}, which is neither a host name nor an address")]
    Name(String),
}

/// Where certificate and key lie.
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

/// What the listener answers TLS with.
pub(crate) struct Tls {
    pub(crate) acceptor: TlsAcceptor,
    files: CertFiles,
    shown: Arc<Shown>,
    provider: Arc<CryptoProvider>,
}

/// The certificate that is shown now.
#[derive(Debug)]
struct Shown(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Shown {
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
        let shown = Arc::new(Shown(RwLock::new(Arc::new(certified))));
        let config = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&TLS13, &TLS12])
            .map_err(TlsError::Setup)?;
        let mut config = config.with_no_client_auth().with_cert_resolver(Arc::clone(&shown) as _);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)), files, shown, provider })
    }

    /// Shows a new certificate to new connections once the files have changed, until `stop`. One that cannot be used
    /// is told of, and the old one stays. A certificate of one's own is made again in time.
    pub(crate) async fn reload(&self, own: Option<SelfSigned>, stop: &CancellationToken) {
        let mut seen = self.files.read().ok();
        let mut renewed = tokio::time::Instant::now();
        loop {
            if let Some(own) = own.as_ref().filter(|_| renewed.elapsed() >= RENEWAL_INTERVAL) {
                renewed = tokio::time::Instant::now();
                if let Err(error) = own.renew() {
                    tracing::warn!(%error, "the certificate could not be made again");
                }
            }
            tokio::select! {
                () = tokio::time::sleep(RELOAD_INTERVAL) => {}
                () = stop.cancelled() => return,
            }
            let found = match self.files.read() {
                Ok(found) if seen.as_ref() == Some(&found) => continue,
                Ok(found) => found,
                Err(error) => {
                    if seen.take().is_some() {
                        tracing::warn!(%error, "the certificate cannot be read again; the old one stays");
                    }
                    continue;
                }
            };
            match certified(&self.files, &found.0, &found.1, &self.provider) {
                Ok(certified) => {
                    *self.shown.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(certified);
                    tracing::info!(path = %self.files.cert.display(), "a new certificate is shown");
                }
                // Certificate and key are two files: between the two writes they do not fit.
                Err(error) => tracing::warn!(%error, "the new certificate cannot be used; the old one stays"),
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
