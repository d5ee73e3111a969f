//! Allowed addresses of issuers. Operators configure issuers, and issuers name the URL of their keys; neither may make
//! this server send requests to addresses that only it can reach: its own host, or its cloud's metadata service.

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use url::{Host, Url};

/// Metadata services that no rule below covers: AWS over IPv6, Google over IPv6, Alibaba, Azure's wire server and
/// Oracle's classic cloud.
const METADATA: [IpAddr; 5] = [
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
];

/// Which addresses may be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// All but those of this host and its cloud's metadata service.
    Remote,
    /// Those, and the loopback interface.
    RemoteAndLoopback,
    /// The loopback interface only.
    Loopback,
}

impl Reach {
    /// Whether `address` may be reached, in any of its notations.
    pub(crate) fn includes(self, address: IpAddr) -> bool {
        let address = embedded_ipv4(address);
        if address.is_loopback() {
            return self != Self::Remote;
        }
        self != Self::Loopback && !is_off_limits(address)
    }
}

/// The IPv4 address embedded in an IPv6 address, if there is one: mapped (RFC 4291, section 2.5.5.2), compatible
/// (section 2.5.5.1), 6to4 (RFC 3056) or NAT64 (RFC 6052; the local prefix of RFC 8215 as well).
fn embedded_ipv4(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address.to_canonical() else { return address.to_canonical() };
    let (high, low) = match v6.segments() {
        _ if v6.is_loopback() || v6.is_unspecified() => return IpAddr::V6(v6),
        [0x2002, high, low, ..]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x64, 0xff9b, 1, .., high, low]
        | [0, 0, 0, 0, 0, 0, high, low] => (high, low),
        _ => return IpAddr::V6(v6),
    };
    IpAddr::V4(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)))
}

fn is_off_limits(address: IpAddr) -> bool {
    let special = match address {
        IpAddr::V4(v4) => v4.is_link_local() || v4.is_broadcast() || v4.octets()[0] == 0,
        IpAddr::V6(v6) => v6.is_unicast_link_local() || v6.is_unspecified(),
    };
    special || address.is_multicast() || METADATA.contains(&address)
}

/// The addresses that `url` may resolve to, or why it is not allowed. Names are checked when they are resolved.
pub(crate) fn check(url: &Url, allow_loopback: bool) -> Result<Reach, &'static str> {
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not contain a user name or password");
    }
    let host = url.host().ok_or("must name a host")?;
    let reach = match (url.scheme(), allow_loopback) {
        ("https", false) => Reach::Remote,
        ("https", true) => Reach::RemoteAndLoopback,
        ("http", true) => Reach::Loopback,
        _ => return Err("must start with https://"),
    };
    let within = match host {
        Host::Ipv4(address) => reach.includes(address.into()),
        Host::Ipv6(address) => reach.includes(address.into()),
        Host::Domain(name) => {
            let name = name.trim_end_matches('.');
            let is_local = name == "localhost" || name.ends_with(".localhost");
            if is_local { reach != Reach::Remote } else { reach != Reach::Loopback }
        }
    };
    match (within, reach) {
        (true, reach) => Ok(reach),
        (false, Reach::Loopback) => Err("must start with https:// unless it is on the loopback interface"),
        (false, _) => Err("must not be on the loopback interface, link-local or a metadata service"),
    }
}

/// Resolves names to allowed addresses, on every connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Resolver(pub(crate) Reach);

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let reach = self.0;
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let within: Vec<SocketAddr> = found.filter(|address| reach.includes(address.ip())).collect();
            if within.is_empty() {
                return Err("the name does not resolve to an allowed address".into());
            }
            Ok(Box::new(within.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_host_and_its_cloud_are_out_of_reach() {
        for address in [
            "127.0.0.1",
            "127.8.8.8",
            "::1",
            "::ffff:127.0.0.1",
            "0.0.0.0",
            "0.1.2.3",
            "::",
            "169.254.169.254",
            "::ffff:169.254.169.254",
            "::169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::a9fe:a9fe",
            "2002:a9fe:a9fe::1",
            "2002:7f00:1::",
            "fe80::1",
            "fd00:ec2::254",
            "fd20:ce::254",
            "100.100.100.200",
            "168.63.129.16",
            "192.0.0.192",
            "224.0.0.1",
            "ff02::1",
            "255.255.255.255",
        ] {
            assert!(!Reach::Remote.includes(address.parse().expect("an address")), "{address}");
        }
        for address in ["10.0.0.1", "192.168.1.1", "140.82.112.3", "2606:50c0::1", "fd12::1", "64:ff9b::8c52:7003"] {
            assert!(Reach::Remote.includes(address.parse().expect("an address")), "{address}");
            assert!(!Reach::Loopback.includes(address.parse().expect("an address")), "{address}");
        }
        for address in ["127.0.0.1", "::1", "::ffff:127.0.0.1"] {
            assert!(Reach::RemoteAndLoopback.includes(address.parse().expect("an address")), "{address}");
            assert!(Reach::Loopback.includes(address.parse().expect("an address")), "{address}");
        }
        assert!(!Reach::RemoteAndLoopback.includes("169.254.169.254".parse().expect("an address")));
    }

    #[tokio::test]
    async fn a_name_is_checked_by_the_addresses_it_resolves_to() {
        let resolve = |reach| Resolver(reach).resolve("localhost".parse().expect("a name"));
        assert!(resolve(Reach::Remote).await.is_err());
        for reach in [Reach::Loopback, Reach::RemoteAndLoopback] {
            assert!(resolve(reach).await.is_ok_and(|mut found| found.all(|address| address.ip().is_loopback())));
        }
    }

    #[test]
    fn urls_are_https_unless_on_loopback_where_that_is_allowed() {
        let allowed = |url: &str, loopback| check(&url.parse().expect("a URL"), loopback).is_ok();
        for url in ["https://token.actions.githubusercontent.com", "https://10.0.0.5:8443/realms/ci"] {
            assert!(allowed(url, false) && allowed(url, true), "{url}");
        }
        for url in [
            "http://127.0.0.1:3000",
            "https://localhost:1",
            "http://[::1]:1",
            "https://a.localhost",
            "http://localhost.",
        ] {
            assert!(!allowed(url, false) && allowed(url, true), "{url}");
        }
        for url in [
            "http://example.org",
            "http://10.0.0.5",
            "ftp://example.org",
            "file:///etc/passwd",
            "https://user@example.org",
            "https://169.254.169.254",
            "https://0x7f.1.",
            "https://2852039166/latest",
            "https://[::ffff:169.254.169.254]",
            "data:text/plain,x",
        ] {
            assert!(!allowed(url, false), "{url}");
        }
        assert!(!allowed("http://2852039166/", true));
    }
}
