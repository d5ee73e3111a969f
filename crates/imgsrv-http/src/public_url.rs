//! The URL at which clients reach the server. Its path is not empty if a reverse proxy publishes the server below it.

use axum::http::{HeaderMap, HeaderName, HeaderValue, Uri, header};
use std::{fmt, str::FromStr};

/// The URL at which clients reach the server: scheme, host, and optionally a port and a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicUrl(Uri);

/// Text that is not a public URL.
#[derive(Debug, thiserror::Error)]
#[error(
    "must be a URL such as https://images.example.org or https://example.org/images, without user and query; its path can \
     consist of letters, digits and -._~"
)]
pub struct InvalidPublicUrl;

impl PublicUrl {
    /// Whether clients use TLS.
    pub fn is_https(&self) -> bool {
        self.0.scheme_str() == Some("https")
    }

    /// The host, without the brackets of an IPv6 address.
    pub fn host(&self) -> Option<&str> {
        self.0.host().map(|host| host.trim_matches(['[', ']']))
    }

    /// The path below which the server is published, without a slash at its end: empty for the root.
    pub fn path(&self) -> &str {
        self.0.path().trim_end_matches('/')
    }
}

impl FromStr for PublicUrl {
    type Err = InvalidPublicUrl;

    fn from_str(raw: &str) -> Result<Self, InvalidPublicUrl> {
        let url: Uri = raw.parse().map_err(|_| InvalidPublicUrl)?;
        let is_plain = |segment: &str| {
            let is_unreserved = segment.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b));
            is_unreserved && !matches!(segment, "" | "." | "..")
        };
        let path = url.path().trim_matches('/');
        let fits = matches!(url.scheme_str(), Some("http" | "https"))
            && url.authority().is_some_and(|authority| !authority.as_str().contains('@'))
            && url.query().is_none()
            && (path.is_empty() || path.split('/').all(is_plain));
        if fits { Ok(Self(url)) } else { Err(InvalidPublicUrl) }
    }
}

impl fmt::Display for PublicUrl {
    /// Without a slash at its end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.to_string().trim_end_matches('/'))
    }
}

/// Headers whose value is a path on this server, or begins with one.
const LOCATIONS: [HeaderName; 3] = [header::LOCATION, header::CONTENT_LOCATION, header::LINK];

/// The URLs in responses. Handlers and documents name resources by their paths on this server; these functions make them
/// URLs that clients can use.
#[derive(Debug, Clone, Default)]
pub(crate) struct Urls(pub(crate) Option<PublicUrl>);

impl Urls {
    /// The path below which the server is published; empty for the root.
    pub(crate) fn prefix(&self) -> &str {
        self.0.as_ref().map_or("", PublicUrl::path)
    }

    /// The path of a resource as clients must request it.
    pub(crate) fn path(&self, path: &str) -> String {
        format!("{}{path}", self.prefix())
    }

    /// The complete URL of a resource if the public URL is known, otherwise its path.
    pub(crate) fn absolute(&self, path: &str) -> String {
        self.0.as_ref().map_or_else(|| path.to_owned(), |url| format!("{url}{path}"))
    }

    /// Changes the paths in the headers of a response to those that clients must request.
    pub(crate) fn locate(&self, headers: &mut HeaderMap) {
        if self.prefix().is_empty() {
            return;
        }
        for name in LOCATIONS {
            let Some(Ok(value)) = headers.get(&name).map(HeaderValue::to_str) else { continue };
            let located = match value.strip_prefix('<') {
                Some(target) if target.starts_with('/') => format!("<{}", self.path(target)),
                None if value.starts_with('/') => self.path(value),
                _ => continue,
            };
            if let Ok(value) = HeaderValue::try_from(located) {
                headers.insert(name, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_url_has_a_host_and_can_have_a_path() {
        for (raw, shown, path) in [
            ("https://images.example.org", "https://images.example.org", ""),
            ("http://[::1]:8080/", "http://[::1]:8080", ""),
            ("https://example.org/images-server", "https://example.org/images-server", "/images-server"),
            ("https://example.org/a/b.c~d_1/", "https://example.org/a/b.c~d_1", "/a/b.c~d_1"),
        ] {
            let url: PublicUrl = raw.parse().expect(raw);
            assert_eq!((url.to_string().as_str(), url.path()), (shown, path));
        }
        for raw in [
            "",
            "/",
            "images.example.org",
            "ftp://x",
            "https://u@x",
            "https://x/?q",
            "https://x?q",
            "https://x/a//b",
            "https://x/a/../b",
            "https://x/./",
            "https://x/%61",
            "https://x/a b",
            "https://x/{a}",
        ] {
            assert!(raw.parse::<PublicUrl>().is_err(), "{raw}");
        }
    }
}
