//! The host that a request names, which HTTP requires (RFC 9112, section 3.2, and RFC 9113, section 8.3.1).

use crate::response::problem::{Code, Problem, Result};
use axum::http::{Version, header, request::Parts, uri::Authority};

/// Refuses a request that does not name exactly one valid host. HTTP/1.0 does not require one.
pub(crate) fn check(request: &Parts) -> Result<()> {
    let mut fields = request.headers.get_all(header::HOST).iter();
    let host = match (fields.next(), fields.next()) {
        (_, Some(_)) => return Err(invalid("must not be repeated")),
        (None, None) => None,
        (Some(host), None) => Some(authority(host.as_bytes()).ok_or_else(|| invalid("is not a valid host and port"))?),
    };
    match (request.version, request.uri.authority(), &host) {
        (Version::HTTP_09 | Version::HTTP_10, ..) => Ok(()),
        (Version::HTTP_11, _, None) => Err(invalid("is required")),
        (_, None, None) => Err(invalid("or :authority is required")),
        // The target of a request to a proxy has precedence over Host in HTTP/1.1.
        (Version::HTTP_2, Some(target), Some(host)) if target != host => Err(invalid("must be the same as :authority")),
        _ => Ok(()),
    }
}

fn invalid(reason: &str) -> Problem {
    Problem::new(Code::InvalidRequest).field("Host", reason)
}

/// A host and an optional port, and nothing else.
fn authority(host: &[u8]) -> Option<Authority> {
    let authority = Authority::try_from(host).ok()?;
    let text = authority.as_str();
    let port = text.strip_prefix(authority.host())?;
    let is_port = |port: &str| port.is_empty() || port.parse::<u16>().is_ok();
    let is_valid = !authority.host().is_empty() && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port));
    is_valid.then_some(authority)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::Request;

    fn is_accepted(version: Version, uri: &str, hosts: &[&str]) -> bool {
        let mut request = Request::builder().version(version).uri(uri);
        for host in hosts {
            request = request.header(header::HOST, *host);
        }
        check(&request.body(()).expect("a request").into_parts().0).is_ok()
    }

    #[test]
    fn a_request_names_exactly_one_valid_host() {
        for valid in ["images.example.org", "images.example.org:8080", "127.0.0.1:80", "[::1]:80", "[::1]", "a:", "A"] {
            assert!(is_accepted(Version::HTTP_11, "/", &[valid]), "{valid}");
        }
        for invalid in ["", "a b", "a/b", "user@a", "a:b", "a:99999", "a:80:80", "http://a", ":80", "a,b c", "[::1"] {
            for version in [Version::HTTP_10, Version::HTTP_11, Version::HTTP_2] {
                assert!(!is_accepted(version, "/", &[invalid]), "{version:?} {invalid:?}");
            }
        }
        assert!(!is_accepted(Version::HTTP_11, "/", &["a", "a"]));
        assert!(!is_accepted(Version::HTTP_11, "/", &[]));
        assert!(!is_accepted(Version::HTTP_11, "http://a/", &[]));
        assert!(is_accepted(Version::HTTP_11, "http://a/", &["b"]));
        assert!(is_accepted(Version::HTTP_10, "/", &[]));
    }

    #[test]
    fn a_request_of_http_2_names_its_host_as_authority_or_host() {
        assert!(is_accepted(Version::HTTP_2, "https://a/", &[]));
        assert!(is_accepted(Version::HTTP_2, "https://a/", &["A"]));
        assert!(is_accepted(Version::HTTP_2, "/", &["a"]));
        assert!(!is_accepted(Version::HTTP_2, "/", &[]));
        assert!(!is_accepted(Version::HTTP_2, "https://a/", &["b"]));
    }
}
