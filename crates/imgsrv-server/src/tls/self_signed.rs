//! A private certificate authority and a certificate that it signs, so that Incus can use a new server without further
//! setup.

use super::{CertFiles, TlsError, read};
use crate::system::{SystemClock, write_file};
use imgsrv_blobs::unwritable;
use imgsrv_domain::ports::Clock;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};
use rustls::{
    RootCertStore,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier},
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
};
use std::{
    fs::DirBuilder,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

const AUTHORITY_YEARS: i16 = 10;
/// The longest validity that Apple's clients accept.
const CERTIFICATE_DAYS: i64 = 825;
/// A certificate is renewed when it expires within this time.
const RENEW_BEFORE: Duration = Duration::from_hours(30 * 24);

/// An authority and the server's certificate, in a folder.
pub(crate) struct SelfSigned {
    folder: PathBuf,
    names: Vec<String>,
}

impl SelfSigned {
    /// Loads or creates the authority in `folder`, and a certificate for `names`. The authority stays as long as the
    /// folder does; the certificate is renewed when a name is missing or it expires soon.
    pub(crate) fn ensure(folder: PathBuf, names: Vec<String>) -> Result<Self, TlsError> {
        let this = Self { folder, names };
        let failed = |source| TlsError::Write { path: this.folder.display().to_string(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(&this.folder).map_err(failed)?;
        let authority = authority_params()?;
        if !this.authority().exists() {
            let key = KeyPair::generate()?;
            let certificate = authority.self_signed(&key)?;
            // Written last: where the certificate exists, its key does.
            write(&this.folder.join("ca.key"), &key.serialize_pem(), 0o600)?;
            write(&this.authority(), &certificate.pem(), 0o644)?;
        }
        match this.renew() {
            // The present certificate may be valid for a while.
            Err(TlsError::Write { path, source }) if unwritable(&source).is_some() && this.files().cert.exists() => {
                tracing::warn!(%path, error = %source, "certificate could not be renewed");
            }
            renewed => renewed?,
        }
        Ok(this)
    }

    /// Renews the certificate if it is not valid for every name, or expires soon.
    pub(crate) fn renew(&self) -> Result<(), TlsError> {
        if self.is_valid() {
            return Ok(());
        }
        let key = String::from_utf8_lossy(&read(&self.folder.join("ca.key"))?).into_owned();
        let issuer = Issuer::new(authority_params()?, KeyPair::from_pem(&key)?);
        let key = KeyPair::generate()?;
        let certificate = certificate_params(&self.names)?.signed_by(&key, &issuer)?;
        let CertFiles { cert: cert_path, key: key_path } = self.files();
        write(&key_path, &key.serialize_pem(), 0o600)?;
        write(&cert_path, &certificate.pem(), 0o644)
    }

    /// The path of the authority's certificate.
    pub(crate) fn authority(&self) -> PathBuf {
        self.folder.join("ca.crt")
    }

    /// The authority's certificate in PEM.
    pub(crate) fn authority_pem(&self) -> Result<Vec<u8>, TlsError> {
        read(&self.authority())
    }

    pub(crate) fn files(&self) -> CertFiles {
        CertFiles { cert: self.folder.join("server.crt"), key: self.folder.join("server.key") }
    }

    /// Whether the certificate exists, is signed by the authority, and is valid for every name now and for a while.
    fn is_valid(&self) -> bool {
        let certificate = |path: &Path| CertificateDer::from_pem_file(path).ok();
        let (Some(authority), Some(own)) = (certificate(&self.authority()), certificate(&self.files().cert)) else {
            return false;
        };
        let mut roots = RootCertStore::empty();
        if roots.add(authority).is_err() || !self.files().key.exists() {
            return false;
        }
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build();
        let Ok(verifier) = verifier else { return false };
        let now = UnixTime::now();
        let later = UnixTime::since_unix_epoch(Duration::from_secs(now.as_secs()) + RENEW_BEFORE);
        self.names.iter().all(|name| {
            // If the clock was set back, it may not be valid yet.
            ServerName::try_from(name.clone()).is_ok_and(|name| {
                [now, later].iter().all(|at| verifier.verify_server_cert(&own, &[], &name, &[], *at).is_ok())
            })
        })
    }
}

/// Parameters of the authority. They name no host: Incus would use it as the server's name.
fn authority_params() -> Result<CertificateParams, TlsError> {
    let mut params = params(&[], "imgsrv authority", jiff::Span::new().years(AUTHORITY_YEARS))?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

fn certificate_params(names: &[String]) -> Result<CertificateParams, TlsError> {
    if let Some(bad) = names.iter().find(|name| ServerName::try_from(name.as_str()).is_err()) {
        return Err(TlsError::Name(bad.clone()));
    }
    let mut params = params(names, "imgsrv", jiff::Span::new().days(CERTIFICATE_DAYS))?;
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    Ok(params)
}

/// Valid from yesterday, for clients whose clocks are slow, for `span`.
fn params(names: &[String], common_name: &str, span: jiff::Span) -> Result<CertificateParams, TlsError> {
    let mut params = CertificateParams::new(names.to_vec())?;
    params.distinguished_name.push(DnType::CommonName, common_name);
    let today = SystemClock.now();
    let today = jiff::Timestamp::from_microsecond(today.micros()).unwrap_or_default();
    let today = today.to_zoned(jiff::tz::TimeZone::UTC).date();
    let day = |date: jiff::civil::Date| {
        date_time_ymd(date.year().into(), date.month().unsigned_abs(), date.day().unsigned_abs())
    };
    params.not_before = day(today.yesterday().unwrap_or(today));
    params.not_after = day(today.saturating_add(span));
    Ok(params)
}

fn write(path: &Path, text: &str, mode: u32) -> Result<(), TlsError> {
    write_file(path, text, mode).map_err(|source| TlsError::Write { path: path.display().to_string(), source })
}
