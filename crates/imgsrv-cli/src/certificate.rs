//! What a certificate says: its names, and when it ends.

use imgsrv_domain::time::Timestamp;
use x509_parser::{extensions::GeneralName, prelude::FromDer, time::ASN1Time};

/// A certificate of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// The names that it is valid for.
    pub names: Vec<String>,
    /// When it ends.
    pub ends_at: Timestamp,
}

impl Certificate {
    /// Reads a certificate in DER; `None` if it cannot be decoded.
    pub fn read(der: &[u8]) -> Option<Self> {
        let (_, certificate) = x509_parser::certificate::X509Certificate::from_der(der).ok()?;
        let names = certificate.subject_alternative_name().ok().flatten();
        let names = names.map(|names| names.value.general_names.iter().filter_map(name).collect()).unwrap_or_default();
        Some(Self { names, ends_at: time(certificate.validity().not_after) })
    }
}

fn time(time: ASN1Time) -> Timestamp {
    Timestamp::from_micros(time.timestamp().saturating_mul(1_000_000))
}

fn name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => match bytes.len() {
            4 => <[u8; 4]>::try_from(*bytes).ok().map(|bytes| std::net::IpAddr::from(bytes).to_string()),
            16 => <[u8; 16]>::try_from(*bytes).ok().map(|bytes| std::net::IpAddr::from(bytes).to_string()),
            _ => None,
        },
        _ => None,
    }
}
