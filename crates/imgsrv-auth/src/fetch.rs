//! Fetching an issuer's documents, with bounds on time and size.

use crate::{
    address::{self, Resolver},
    keys::KeySet,
};
use imgsrv_domain::oidc::IssuerUrl;
use reqwest::{Client, redirect::Policy};
use serde::Deserialize;
use std::time::Duration;
use url::Url;

/// Timeout of one document, from the connection to its last byte.
const TIMEOUT: Duration = Duration::from_secs(4);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Most bytes of a document.
const MAX_BYTES: usize = 256 << 10;

/// Most bytes of `jwks_uri`.
const MAX_URL: usize = 2048;

/// Why an issuer's documents could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    #[error("{0} {1}")]
    Url(String, &'static str),
    #[error("{url} could not be fetched")]
    Http { url: String, source: reqwest::Error },
    #[error("{0} responded with status {1}")]
    Status(String, u16),
    #[error("{0} is larger than {MAX_BYTES} bytes")]
    TooLarge(String),
    #[error("{0} is not the expected document")]
    Malformed(String),
    #[error("{0} is the document of a different issuer")]
    OtherIssuer(String),
}

/// The members of a discovery document that are used (OpenID Connect Discovery 1.0, section 3).
#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

/// Fetches documents, from allowed addresses only.
#[derive(Clone, Copy)]
pub(crate) struct Fetcher {
    allow_loopback: bool,
}

impl Fetcher {
    pub(crate) const fn new(allow_loopback: bool) -> Self {
        Self { allow_loopback }
    }

    /// The URL of the issuer's discovery document: the well-known path appended to the issuer's URL (OpenID Connect
    /// Discovery 1.0, section 4).
    pub(crate) fn discovery_url(self, issuer: &IssuerUrl) -> Result<Url, FetchError> {
        let wrong = |why| FetchError::Url(issuer.to_string(), why);
        let url: Url = issuer.as_str().parse().map_err(|_| wrong("is not a URL"))?;
        if url.query().is_some() || url.fragment().is_some() {
            return Err(wrong("must not contain a query or a fragment"));
        }
        address::check(&url, self.allow_loopback).map_err(wrong)?;
        let text = format!("{}/.well-known/openid-configuration", issuer.as_str().trim_end_matches('/'));
        text.parse().map_err(|_| wrong("is not a URL"))
    }

    /// The URL of the issuer's keys, from its discovery document.
    pub(crate) async fn keys_url(self, issuer: &IssuerUrl) -> Result<Url, FetchError> {
        let url = self.discovery_url(issuer)?;
        let document = self.get(url.clone()).await?;
        let Ok(discovery) = serde_json::from_slice::<Discovery>(&document) else {
            return Err(FetchError::Malformed(url.into()));
        };
        if discovery.issuer != issuer.as_str() {
            return Err(FetchError::OtherIssuer(url.into()));
        }
        let jwks_uri = discovery.jwks_uri.as_str();
        let parsed = jwks_uri.parse().ok().filter(|_| jwks_uri.len() <= MAX_URL);
        parsed.ok_or_else(|| FetchError::Url("jwks_uri".to_owned(), "is not a URL"))
    }

    /// The keys at `url`.
    pub(crate) async fn keys(self, url: &Url) -> Result<KeySet, FetchError> {
        let document = self.get(url.clone()).await?;
        KeySet::parse(&document).ok_or_else(|| FetchError::Malformed(url.to_string()))
    }

    /// Fetches a document on a new connection: a pooled one could lead to an address that was checked long ago.
    async fn get(self, url: Url) -> Result<Vec<u8>, FetchError> {
        let reach = address::check(&url, self.allow_loopback).map_err(|why| FetchError::Url(url.to_string(), why))?;
        let failed = |source: reqwest::Error| FetchError::Http { url: url.to_string(), source: source.without_url() };
        let client = Client::builder()
            .dns_resolver(Resolver(reach))
            .no_proxy()
            .redirect(Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(TIMEOUT)
            .pool_max_idle_per_host(0)
            .user_agent(concat!("imgsrv/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(failed)?;
        let mut response = client.get(url.clone()).header("accept", "application/json").send().await.map_err(failed)?;
        if response.status() != reqwest::StatusCode::OK {
            return Err(FetchError::Status(url.to_string(), response.status().as_u16()));
        }
        let mut document = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if document.len() + chunk.len() > MAX_BYTES {
                return Err(FetchError::TooLarge(url.to_string()));
            }
            document.extend_from_slice(&chunk);
        }
        Ok(document)
    }
}
