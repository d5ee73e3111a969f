//! Where a request comes from, behind proxies that are trusted to tell.

use axum::http::{HeaderMap, HeaderName, header};
use ipnet::IpNet;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The client's address: the peer's, or what trusted proxies say of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ClientAddress(pub(crate) IpAddr);

/// The address that a request of `peer` comes from. `Forwarded` (RFC 7239) and `X-Forwarded-For` are believed only
/// of a trusted peer, and from their end as far as proxies are trusted. A proxy passes on what it does not set: where
/// both headers are there and disagree, either may be the client's own, so neither is believed.
pub(crate) fn client(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let is_trusted = |address: &IpAddr| trusted.iter().any(|net| net.contains(address));
    if !is_trusted(&peer) {
        return peer;
    }
    let origin = |hops: Vec<Option<IpAddr>>| {
        let mut origin = peer;
        for hop in hops.into_iter().rev() {
            // Beyond a hop that is hidden or malformed nobody knows.
            let Some(hop) = hop else { break };
            origin = hop;
            if !is_trusted(&hop) {
                break;
            }
        }
        origin
    };
    let forwarded = values(headers, &header::FORWARDED, forwarded_for).map(origin);
    let x_forwarded = values(headers, &X_FORWARDED_FOR, address).map(origin);
    match (forwarded, x_forwarded) {
        (Some(one), Some(other)) if one != other => peer,
        (Some(origin), _) | (None, Some(origin)) => origin,
        (None, None) => peer,
    }
}

/// The addresses in a header that is a list, over all its lines; `None` when it is not there.
fn values(headers: &HeaderMap, name: &HeaderName, read: fn(&str) -> Option<IpAddr>) -> Option<Vec<Option<IpAddr>>> {
    let lines = headers.get_all(name).iter().map(|line| line.to_str().unwrap_or_default());
    let hops: Vec<_> = lines.flat_map(|line| line.split(',')).map(|hop| read(hop.trim())).collect();
    (!hops.is_empty()).then_some(hops)
}

/// `for` of one element of `Forwarded` (RFC 7239, section 4).
fn forwarded_for(element: &str) -> Option<IpAddr> {
    let mut pairs = element.split(';').filter_map(|pair| pair.trim().split_once('='));
    let (_, node) = pairs.find(|(name, _)| name.eq_ignore_ascii_case("for"))?;
    address(node.strip_prefix('"').and_then(|node| node.strip_suffix('"')).unwrap_or(node))
}

/// An address, perhaps with a port: `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:80`.
fn address(raw: &str) -> Option<IpAddr> {
    let bare = || raw.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let with_port = || raw.parse::<SocketAddr>().ok().map(|socket| socket.ip());
    raw.parse().ok().or_else(bare).or_else(with_port).map(|address: IpAddr| address.to_canonical())
}

/// By what limits tell clients apart: an IPv4 address, or the network of an IPv6 address, of which its holder has
/// as many as it wants.
pub fn limited_by(address: IpAddr) -> IpAddr {
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
        client(peer.parse().expect("an address"), &headers, &trusted).to_string()
    }

    #[test]
    fn only_trusted_proxies_are_believed_and_only_as_far_as_they_are() {
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
    fn a_network_of_ipv6_counts_as_one_client() {
        let of = |raw: &str| limited_by(raw.parse().expect("an address"));
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), of("2001:db8:1:2::"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
    }
}
