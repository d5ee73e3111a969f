//! The client of one server: its URL, its credential and its connections.

use crate::{
    retry::RetryPolicy,
    token::{TokenError, TokenSource, Tokens},
};
use secrecy::SecretString;
use std::{sync::Arc, time::Duration};
use url::Url;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const TCP_KEEPALIVE: Duration = Duration::from_secs(15);

/// Why a client cannot be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The URL is not that of a server.
    #[error("the server URL must be like https://images.example.org, without user, query or fragment")]
    Url,
    /// The certificate authority is not a certificate.
    #[error("the CA file contains no valid certificate in PEM format")]
    Authority(#[source] Option<reqwest::Error>),
    /// The token is not a bearer token.
    #[error("the token is malformed: it is empty, too long, or contains blanks")]
    Token,
    /// The HTTP client could not be initialised.
    #[error("the HTTP client could not be initialised")]
    Http(#[source] reqwest::Error),
}

/// Builds a [`Client`].
#[must_use]
pub struct ClientBuilder {
    url: String,
    tokens: Result<Tokens, TokenError>,
    retry: RetryPolicy,
    authority: Option<Vec<u8>>,
    user_agent: String,
}

impl ClientBuilder {
    /// Authenticates with `token`: an API token, or one of an issuer that the server trusts.
    pub fn token(self, token: impl Into<SecretString>) -> Self {
        Self { tokens: Tokens::fixed(&token.into()), ..self }
    }

    /// Authenticates with tokens of `source`, which is asked again when one expires or is refused.
    pub fn token_source(self, source: impl TokenSource + 'static) -> Self {
        Self { tokens: Ok(Tokens::fetched(Arc::new(source))), ..self }
    }

    /// Retries transient errors by this policy.
    pub fn retry(self, retry: RetryPolicy) -> Self {
        Self { retry, ..self }
    }

    /// Trusts this certificate authority (PEM) in addition to those of the system.
    pub fn authority(self, pem: impl Into<Vec<u8>>) -> Self {
        Self { authority: Some(pem.into()), ..self }
    }

    /// Sends this `User-Agent`.
    pub fn user_agent(self, user_agent: impl Into<String>) -> Self {
        Self { user_agent: user_agent.into(), ..self }
    }

    /// Builds the client. Sends nothing.
    pub fn build(self) -> Result<Client, BuildError> {
        let base = parse_url(&self.url).ok_or(BuildError::Url)?;
        // The server never redirects, and a redirect to another host would send the token there.
        let mut http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_keepalive(TCP_KEEPALIVE)
            .user_agent(self.user_agent);
        if let Some(pem) = &self.authority {
            let certificates = reqwest::Certificate::from_pem_bundle(pem);
            let certificates = certificates.map_err(|error| BuildError::Authority(Some(error)))?;
            if certificates.is_empty() {
                return Err(BuildError::Authority(None));
            }
            http = http.tls_certs_merge(certificates);
        }
        let http = http.build().map_err(BuildError::Http)?;
        let tokens = self.tokens.map_err(|_| BuildError::Token)?;
        Ok(Client { http, base, tokens, retry: self.retry, retries_creation: false })
    }
}

/// The URL of a server: scheme, host, and optionally a port and a path under which the server is published.
fn parse_url(raw: &str) -> Option<Url> {
    let url: Url = raw.parse().ok()?;
    let is_valid = matches!(url.scheme(), "http" | "https")
        && url.has_host()
        && url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none();
    is_valid.then_some(url)
}

/// A client of one server. Cheap to clone; clones share connections and tokens.
#[derive(Debug, Clone)]
pub struct Client {
    pub(crate) http: reqwest::Client,
    pub(crate) base: Url,
    pub(crate) tokens: Tokens,
    pub(crate) retry: RetryPolicy,
    /// Whether a request that creates something is repeated although the server may have processed it.
    pub(crate) retries_creation: bool,
}

impl Client {
    /// Builds a client of the server at `url`; it is anonymous unless it gets a token.
    pub fn builder(url: impl Into<String>) -> ClientBuilder {
        let user_agent = concat!("imgsrv-client/", env!("CARGO_PKG_VERSION")).to_owned();
        ClientBuilder {
            url: url.into(),
            tokens: Ok(Tokens::default()),
            retry: RetryPolicy::default(),
            authority: None,
            user_agent,
        }
    }

    /// The server's URL.
    pub fn url(&self) -> &Url {
        &self.base
    }

    /// How transient errors are retried.
    pub fn retry(&self) -> &RetryPolicy {
        &self.retry
    }

    /// The URL of a path on the server; each segment is escaped.
    pub(crate) fn endpoint<S: AsRef<str>>(&self, segments: impl IntoIterator<Item = S>) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        // Versions may contain it. RFC 3986 does not allow it in a path; the URL standard of browsers does.
        if url.path().contains('^') {
            let path = url.path().replace('^', "%5E");
            url.set_path(&path);
        }
        url
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_segments_are_escaped_and_a_base_path_is_preserved() {
        let client = Client::builder("https://example.org/images/").build().expect("a client");
        assert_eq!(client.endpoint(["v1", "a b", "../x?"]).as_str(), "https://example.org/images/v1/a%20b/..%2Fx%3F");
        assert_eq!(client.endpoint(["a%^b", "1:2~3+4"]).as_str(), "https://example.org/images/a%25%5Eb/1:2~3+4");
        let client = Client::builder("http://[::1]:8080").build().expect("a client");
        assert_eq!(client.endpoint(["healthz"]).as_str(), "http://[::1]:8080/healthz");
    }

    #[test]
    fn invalid_server_urls_are_refused() {
        for bad in ["images.example.org", "ftp://x", "http://u:p@x", "http://x/?q", "http://x/#f", "unix:/x", ""] {
            assert!(Client::builder(bad).build().is_err(), "{bad}");
        }
    }
}
