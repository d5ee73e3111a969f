//! The client's address, for clients of trusted reverse proxies.

use axum::http::{HeaderMap, HeaderName, header};
use ipnet::IpNet;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The address of the client whose request `peer` sent or forwarded.
///
/// `Forwarded` (RFC 7239) and `X-Forwarded-For` are read only if the peer is a trusted proxy, from the last hop back to
/// the first one that is not trusted. A proxy forwards the header that it does not set: where both are present and
/// disagree, either may be forged by the client, so both are ignored.
pub(crate) fn client_address(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let is_trusted = |address: &IpAddr| trusted.iter().any(|net| net.contains(address));
    if !is_trusted(&peer) {
        return peer;
    }
    let origin = |hops: Vec<Option<IpAddr>>| {
        let mut origin = peer;
        for hop in hops.into_iter().rev() {
            // The hops before a hidden or malformed one cannot be attributed.
            let Some(hop) = hop else { break };
            origin = hop;
            if !is_trusted(&hop) {
                break;
            }
        }
        origin
    };
    let forwarded = hops(headers, &header::FORWARDED, forwarded_for).map(origin);
    let x_forwarded = hops(headers, &X_FORWARDED_FOR, address).map(origin);
    match (forwarded, x_forwarded) {
        (Some(one), Some(other)) if one != other => peer,
        (Some(origin), _) | (None, Some(origin)) => origin,
        (None, None) => peer,
    }
}

/// The hops in all lines of a list header; `None` when it is absent.
fn hops(headers: &HeaderMap, name: &HeaderName, parse: fn(&str) -> Option<IpAddr>) -> Option<Vec<Option<IpAddr>>> {
    let lines = headers.get_all(name).iter().map(|line| line.to_str().unwrap_or_default());
    let hops: Vec<_> = lines.flat_map(|line| line.split(',')).map(|hop| parse(hop.trim())).collect();
    (!hops.is_empty()).then_some(hops)
}

/// `for` of one element of `Forwarded` (RFC 7239, section 4).
fn forwarded_for(element: &str) -> Option<IpAddr> {
    let mut pairs = element.split(';').filter_map(|pair| pair.trim().split_once('='));
    let (_, node) = pairs.find(|(name, _)| name.eq_ignore_ascii_case("for"))?;
    address(node.strip_prefix('"').and_then(|node| node.strip_suffix('"')).unwrap_or(node))
}

/// An address with an optional port: `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:80`.
fn address(raw: &str) -> Option<IpAddr> {
    let bare = || raw.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let with_port = || raw.parse::<SocketAddr>().ok().map(|socket| socket.ip());
    raw.parse().ok().or_else(bare).or_else(with_port).map(|address: IpAddr| address.to_canonical())
}

/// The key by which limits per client count: an IPv4 address, or the /64 network of an IPv6 address, all of whose
/// addresses one client usually controls.
pub fn limit_key(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(peer: &str, lines: &[(&'static str, &str)]) -> String {
        let trusted = ["10.0.0.0/8", "fd00::/8"].map(|net| net.parse().expect("a network"));
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().expect("a value"));
        }
        client_address(peer.parse().expect("an address"), &headers, &trusted).to_string()
    }

    #[test]
    fn forwarding_headers_count_only_from_trusted_proxies() {
        const XFF: &str = "x-forwarded-for";
        for (peer, lines, expected) in [
            ("192.0.2.1", &[(XFF, "198.51.100.7")][..], "192.0.2.1"),
            ("192.0.2.1", &[("forwarded", "for=198.51.100.7")], "192.0.2.1"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &[(XFF, "198.51.100.7")], "198.51.100.7"),
            ("10.0.0.1", &[(XFF, "1.2.3.4, 198.51.100.7")], "198.51.100.7"),
            ("10.0.0.1", &[(XFF, "1.2.3.4, 198.51.100.7, 10.0.0.2")], "198.51.100.7"),
            ("10.0.0.1", &[(XFF, "1.2.3.4"), (XFF, "198.51.100.7")], "198.51.100.7"),
            ("10.0.0.1", &[(XFF, "10.0.0.3, 10.0.0.2")], "10.0.0.3"),
            ("10.0.0.1", &[(XFF, "198.51.100.7, junk, 10.0.0.2")], "10.0.0.2"),
            ("10.0.0.1", &[(XFF, "junk")], "10.0.0.1"),
            ("10.0.0.1", &[(XFF, "198.51.100.7:4711")], "198.51.100.7"),
            ("fd00::1", &[(XFF, "[2001:db8::1]:80")], "2001:db8::1"),
            ("10.0.0.1", &[("forwarded", "for=1.2.3.4, for=198.51.100.7;proto=https")], "198.51.100.7"),
            ("10.0.0.1", &[("forwarded", "proto=https;For=\"[2001:db8::1]:4711\"")], "2001:db8::1"),
            ("10.0.0.1", &[("forwarded", "for=unknown")], "10.0.0.1"),
            ("10.0.0.1", &[("forwarded", "for=1.2.3.4"), (XFF, "198.51.100.7")], "10.0.0.1"),
            ("10.0.0.1", &[("forwarded", "for=198.51.100.7"), (XFF, "198.51.100.7")], "198.51.100.7"),
        ] {
            assert_eq!(of(peer, lines), expected, "{peer} {lines:?}");
        }
    }

    #[test]
    fn an_ipv6_network_counts_as_one_client() {
        let of = |raw: &str| limit_key(raw.parse().expect("an address"));
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), of("2001:db8:1:2::"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
    }
}
