//! Whether others can have read a request before it reached this server.

use crate::request::{Channel, Transport};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use ipnet::IpNet;
use std::net::IpAddr;

const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
/// Headers of reverse proxies: with any of them, a request comes from another machine.
const FORWARDING: [HeaderName; 4] = [
    header::FORWARDED,
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-forwarded-host"),
    X_FORWARDED_PROTO,
];

/// How a request came: over TLS, as a trusted proxy reports, or from this machine.
pub(crate) fn channel(transport: Transport, peer: Option<IpAddr>, headers: &HeaderMap, trusted: &[IpNet]) -> Channel {
    match transport {
        Transport::Tls => return Channel::Confidential,
        Transport::PlaintextOnTlsPort => return Channel::InClear,
        Transport::Plaintext => {}
    }
    let Some(peer) = peer else { return Channel::Unknown };
    if trusted.iter().any(|net| net.contains(&peer)) {
        match forwarded_protocols(headers) {
            Some(true) => return Channel::Confidential,
            Some(false) => return Channel::InClear,
            None => {}
        }
    }
    let is_forwarded = FORWARDING.iter().any(|name| headers.contains_key(name));
    if peer.is_loopback() && !is_forwarded { Channel::Confidential } else { Channel::Unknown }
}

/// Whether every hop that a proxy reports used TLS; `None` if it reports none. A proxy forwards the header that it does not
/// set, and may add to the list that a client sends: so one other protocol in either header is enough.
fn forwarded_protocols(headers: &HeaderMap) -> Option<bool> {
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let simple: Vec<String> = headers.get_all(X_FORWARDED_PROTO).iter().map(text).collect();
    let simple = simple.iter().flat_map(|line| line.split(','));
    let standard: Vec<String> = headers.get_all(header::FORWARDED).iter().map(text).collect();
    let standard = standard.iter().flat_map(|line| line.split([',', ';'])).filter_map(|pair| {
        let (name, value) = pair.trim().split_once('=')?;
        name.eq_ignore_ascii_case("proto").then(|| value.trim_matches('"'))
    });
    let mut protocols = simple.chain(standard).map(|protocol| protocol.trim().eq_ignore_ascii_case("https")).peekable();
    protocols.peek()?;
    Some(protocols.all(|is_https| is_https))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_tls_a_trusted_proxy_and_this_machine_are_confidential() {
        use Channel::{Confidential, InClear, Unknown};
        const XFP: &str = "x-forwarded-proto";
        let trusted = ["10.0.0.0/8".parse().expect("a network"), "127.0.0.2/32".parse().expect("a network")];
        for (transport, peer, lines, expected) in [
            (Transport::Tls, "192.0.2.1", &[][..], Confidential),
            (Transport::Tls, "10.0.0.1", &[(XFP, "http")], Confidential),
            (Transport::PlaintextOnTlsPort, "127.0.0.1", &[], InClear),
            (Transport::PlaintextOnTlsPort, "10.0.0.1", &[(XFP, "https")], InClear),
            (Transport::Plaintext, "192.0.2.1", &[], Unknown),
            (Transport::Plaintext, "192.0.2.1", &[(XFP, "https")], Unknown),
            (Transport::Plaintext, "10.0.0.1", &[], Unknown),
            (Transport::Plaintext, "10.0.0.1", &[(XFP, "https")], Confidential),
            (Transport::Plaintext, "10.0.0.1", &[(XFP, "HTTPS, https")], Confidential),
            (Transport::Plaintext, "10.0.0.1", &[(XFP, "http")], InClear),
            (Transport::Plaintext, "10.0.0.1", &[(XFP, "https, http")], InClear),
            (Transport::Plaintext, "10.0.0.1", &[(XFP, "https"), (XFP, "http")], InClear),
            (Transport::Plaintext, "10.0.0.1", &[("forwarded", "for=1.2.3.4;proto=https")], Confidential),
            (Transport::Plaintext, "10.0.0.1", &[("forwarded", "for=1.2.3.4;Proto=\"https\"")], Confidential),
            (Transport::Plaintext, "10.0.0.1", &[("forwarded", "for=1.2.3.4"), (XFP, "https")], Confidential),
            (Transport::Plaintext, "10.0.0.1", &[("forwarded", "proto=http"), (XFP, "https")], InClear),
            (Transport::Plaintext, "10.0.0.1", &[("forwarded", "for=1.2.3.4")], Unknown),
            (Transport::Plaintext, "127.0.0.1", &[], Confidential),
            (Transport::Plaintext, "::1", &[], Confidential),
            (Transport::Plaintext, "127.0.0.1", &[(XFP, "https")], Unknown),
            (Transport::Plaintext, "127.0.0.1", &[("x-forwarded-for", "1.2.3.4")], Unknown),
            (Transport::Plaintext, "127.0.0.2", &[(XFP, "https")], Confidential),
            (Transport::Plaintext, "127.0.0.2", &[], Confidential),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in lines {
                headers.append(*name, value.parse().expect("a value"));
            }
            let peer = peer.parse().expect("an address");
            assert_eq!(channel(transport, Some(peer), &headers, &trusted), expected, "{transport:?} {peer} {lines:?}");
        }
        assert_eq!(channel(Transport::Plaintext, None, &HeaderMap::new(), &trusted), Unknown);
    }
}
