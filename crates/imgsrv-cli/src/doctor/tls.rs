//! The certificate of a server, as clients verify it.

use crate::{certificate::Certificate, diagnosis::Diagnosis};
use jiff::Timestamp;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
};
use rustls_platform_verifier::Verifier;
use std::{
    io,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

const PART: &str = "certificate";
/// How long connecting may take.
const LIMIT: Duration = Duration::from_secs(10);
/// Remaining life of a certificate below which it ends soon.
const SOON_SECONDS: i64 = 14 * 24 * 3600;

/// Verifies as every client does, and remembers the certificate.
#[derive(Debug)]
struct Remembering {
    verifier: Verifier,
    certificate: Mutex<Option<Certificate>>,
}

impl ServerCertVerifier for Remembering {
    fn verify_server_cert(
        &self,
        own: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        *self.certificate.lock().unwrap_or_else(PoisonError::into_inner) = Certificate::read(own);
        self.verifier.verify_server_cert(own, intermediates, name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}

/// Why there was no verified connection.
enum Fault {
    Unreachable(io::Error),
    Tls(io::Error),
}

/// Examines the certificate; returns whether clients accept it.
pub(super) async fn examine(host: &str, port: u16, authority: Option<&str>, diagnosis: &mut Diagnosis) -> bool {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let authority = authority.map(str::as_bytes).unwrap_or_default();
    let roots = CertificateDer::pem_slice_iter(authority).filter_map(Result::ok);
    let verifier = Verifier::new_with_extra_roots(roots, Arc::clone(&provider));
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let (Ok(verifier), Ok(config)) = (verifier, config) else {
        diagnosis.problem(PART, "the certificate authorities of this system cannot be read");
        return false;
    };
    let remembering = Arc::new(Remembering { verifier, certificate: Mutex::default() });
    let config =
        config.dangerous().with_custom_certificate_verifier(Arc::clone(&remembering) as _).with_no_client_auth();
    let connecting = tokio::time::timeout(LIMIT, connect(host, port, config)).await;
    let connected = connecting.unwrap_or_else(|_elapsed| Err(Fault::Unreachable(io::ErrorKind::TimedOut.into())));
    let found = remembering.certificate.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let Err(fault) = connected else {
        describe(found, diagnosis);
        return true;
    };
    let detail = match fault {
        Fault::Unreachable(error) => {
            format!("{host}:{port} cannot be reached: {error}. Check the name, the port and the firewall")
        }
        Fault::Tls(error) => advice(host, &error, found),
    };
    diagnosis.problem(PART, detail);
    false
}

async fn connect(host: &str, port: u16, config: ClientConfig) -> Result<(), Fault> {
    let name = ServerName::try_from(host.to_owned()).map_err(|error| Fault::Tls(io::Error::other(error)))?;
    let stream = TcpStream::connect((host, port)).await.map_err(Fault::Unreachable)?;
    TlsConnector::from(Arc::new(config)).connect(name, stream).await.map(drop).map_err(Fault::Tls)
}

fn describe(certificate: Option<Certificate>, diagnosis: &mut Diagnosis) {
    let Some(Certificate { names, ends_at }) = certificate else {
        return diagnosis.ok(PART, "clients accept it");
    };
    let ends = Timestamp::from_microsecond(ends_at.micros()).unwrap_or_default();
    let (names, seconds) = (names.join(", "), ends.as_second() - Timestamp::now().as_second());
    let days = seconds / (24 * 3600);
    if seconds < SOON_SECONDS {
        diagnosis
            .note(PART, format!("for {names}, ends in {days} days ({ends}). Renew it; the server reloads the file"));
    } else {
        diagnosis.ok(PART, format!("for {names}, ends in {days} days"));
    }
}

/// What is wrong with a connection, and what to do about it.
fn advice(host: &str, error: &io::Error, found: Option<Certificate>) -> String {
    let cause = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>());
    let names = found.map(|found| found.names.join(", ")).unwrap_or_default();
    match cause {
        Some(rustls::Error::InvalidCertificate(fault)) => match fault {
            CertificateError::UnknownIssuer => {
                "clients do not know its authority. Serve the whole chain; with an authority of your own, give clients its \
                 certificate (--ca-file; the server has it at /ca.pem with --tls-self-signed)"
                    .to_owned()
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                format!("it is for {names}, not for {host}. Use a certificate for {host}, or a name of the certificate")
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "it has ended. Renew it; the server reloads the file".to_owned()
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "it is not valid yet. Check the clock of this machine and the start of the certificate".to_owned()
            }
            other => format!("clients refuse it: {other}"),
        },
        Some(rustls::Error::InvalidMessage(_)) => {
            "the port does not speak TLS. Use http:// in the URL, or configure a certificate".to_owned()
        }
        _ => format!("there is no TLS connection: {error}"),
    }
}

/// Notes what plain HTTP means.
pub(super) fn absent(host: &str, diagnosis: &mut Diagnosis) {
    let is_loopback = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    if is_loopback {
        diagnosis.ok(PART, "none, on the loopback interface");
    } else {
        diagnosis
            .note(PART, "none: tokens travel in plaintext. Configure TLS here or at a proxy before you use tokens");
    }
}
