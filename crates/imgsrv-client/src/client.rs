//! The client: where the server is, who asks, and how a request is sent.

use crate::{
    error::{Error, Refusal},
    retry::RetryPolicy,
    token::{TokenError, TokenSource, Tokens, bounded, checked as checked_token},
};
use bytes::Bytes;
use imgsrv_api::Problem;
use reqwest::{
    Method, Response, StatusCode,
    header::{CONTENT_TYPE, ETAG, HeaderMap, HeaderValue, RETRY_AFTER},
};
use secrecy::{ExposeSecret, SecretString};
use serde::{Serialize, de::DeserializeOwned};
use std::{sync::Arc, time::Duration};
use url::Url;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a call may take whose bodies are small.
const CALL_TIMEOUT: Duration = Duration::from_mins(2);
/// The most bytes of an answer; a page of a thousand rows is far below.
const MAX_ANSWER: usize = 32 << 20;
const MAX_PROBLEM: usize = 1 << 20;
/// How long the bytes of a download may fail to come.
pub(crate) const STALL: Duration = Duration::from_mins(1);

/// Why a client cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The address is not one of a server.
    #[error("the URL of a server is like https://images.example.org, without user, query or fragment")]
    Url,
    /// The certificate authority is not one.
    #[error("there is no certificate in PEM in what is to be the authority")]
    Authority(#[source] Option<reqwest::Error>),
    /// The token is none.
    #[error("the token is not one: it is empty, too long, or has blanks in it")]
    Token,
    /// The system gives no HTTP client.
    #[error("no HTTP client can be made")]
    Http(#[source] reqwest::Error),
}

/// How a client is to be.
pub struct ClientBuilder {
    url: String,
    tokens: Tokens,
    retry: RetryPolicy,
    authority: Option<Vec<u8>>,
    user_agent: String,
}

impl ClientBuilder {
    /// Authenticates with `token`: an API token, or one of an issuer that the server trusts.
    #[must_use]
    pub fn token(self, token: impl Into<SecretString>) -> Self {
        Self { tokens: Tokens::Fixed(token.into()), ..self }
    }

    /// Authenticates with tokens that `source` gives, again whenever one expires or is refused.
    #[must_use]
    pub fn token_source(self, source: impl TokenSource + 'static) -> Self {
        Self { tokens: Tokens::fetched(Arc::new(source)), ..self }
    }

    /// How failures that may pass are tried again.
    #[must_use]
    pub fn retry(self, retry: RetryPolicy) -> Self {
        Self { retry, ..self }
    }

    /// Trusts this certificate authority (PEM) beside those of the system.
    #[must_use]
    pub fn authority(self, pem: impl Into<Vec<u8>>) -> Self {
        Self { authority: Some(pem.into()), ..self }
    }

    /// What the client calls itself.
    #[must_use]
    pub fn user_agent(self, user_agent: impl Into<String>) -> Self {
        Self { user_agent: user_agent.into(), ..self }
    }

    /// The client. Nothing is sent yet.
    pub fn build(self) -> Result<Client, BuildError> {
        let base = parse_url(&self.url).ok_or(BuildError::Url)?;
        // Bytes never come by way of another host, so a redirect is not followed: a token would go there, too.
        let mut http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_keepalive(Duration::from_secs(15))
            .user_agent(self.user_agent);
        if let Some(pem) = &self.authority {
            let certificates = reqwest::Certificate::from_pem_bundle(pem);
            let certificates = certificates.map_err(|error| BuildError::Authority(Some(error)))?;
            if certificates.is_empty() {
                return Err(BuildError::Authority(None));
            }
            for certificate in certificates {
                http = http.add_root_certificate(certificate);
            }
        }
        let http = http.build().map_err(BuildError::Http)?;
        let tokens = match self.tokens {
            Tokens::Fixed(token) => Tokens::Fixed(checked_token(token.expose_secret()).map_err(|_| BuildError::Token)?),
            other => other,
        };
        let inner = Inner { http, base, tokens, retry: self.retry };
        Ok(Client { inner: Arc::new(inner), is_converging: false })
    }
}

/// The URL of a server: scheme, host, perhaps a port and a path that the server is published under.
fn parse_url(raw: &str) -> Option<Url> {
    let url: Url = raw.parse().ok()?;
    let fits = matches!(url.scheme(), "http" | "https")
        && url.has_host()
        && url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none();
    fits.then_some(url)
}

/// A client of one server. Cheap to clone; clones share connections and tokens.
#[derive(Debug, Clone)]
pub struct Client {
    inner: Arc<Inner>,
    /// Whether whoever uses it takes a name that is taken for one that it has made itself.
    is_converging: bool,
}

#[derive(Debug)]
struct Inner {
    http: reqwest::Client,
    base: Url,
    tokens: Tokens,
    retry: RetryPolicy,
}

/// A request to be sent, perhaps more than once.
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) json: Option<Bytes>,
    pub(crate) headers: HeaderMap,
    /// Whether it may be sent again when nobody knows what became of it.
    pub(crate) is_repeatable: bool,
}

impl Client {
    /// A client of the server at `url`, which asks anonymously unless it is told more.
    pub fn builder(url: impl Into<String>) -> ClientBuilder {
        let user_agent = concat!("imgsrv-client/", env!("CARGO_PKG_VERSION")).to_owned();
        ClientBuilder {
            url: url.into(),
            tokens: Tokens::None,
            retry: RetryPolicy::default(),
            authority: None,
            user_agent,
        }
    }

    /// The server's URL.
    pub fn url(&self) -> &Url {
        &self.inner.base
    }

    /// How failures are tried again.
    pub fn retry(&self) -> &RetryPolicy {
        &self.inner.retry
    }

    /// The URL of a path on the server; each segment is escaped.
    pub(crate) fn at<S: AsRef<str>>(&self, segments: impl IntoIterator<Item = S>) -> Url {
        let mut url = self.inner.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        url
    }

    pub(crate) async fn get<T: DeserializeOwned>(&self, url: Url) -> Result<T, Error> {
        let mut headers = HeaderMap::new();
        headers.insert(reqwest::header::ACCEPT, reqwest::header::HeaderValue::from_static("application/json"));
        self.answer(Call { method: Method::GET, url, json: None, headers, is_repeatable: true }).await
    }

    /// An answer with its entity tag.
    pub(crate) async fn get_tagged<T: DeserializeOwned>(&self, url: Url) -> Result<(T, Option<HeaderValue>), Error> {
        let call = Call { method: Method::GET, url, json: None, headers: HeaderMap::new(), is_repeatable: true };
        let response = self.send(&call).await?;
        let tag = response.headers().get(ETAG).cloned();
        let body = bounded(response, MAX_ANSWER).await.map_err(Error::Unreachable)?;
        let body = body.ok_or_else(|| Error::Answer("it is too long".into()))?;
        let answer = serde_json::from_slice(&body).map_err(|error| Error::Answer(Box::new(error)))?;
        Ok((answer, tag))
    }

    /// A change under a condition: sent again, it might not hold any more.
    pub(crate) async fn change<T: DeserializeOwned>(
        &self,
        method: Method,
        url: Url,
        body: &impl Serialize,
        headers: HeaderMap,
    ) -> Result<T, Error> {
        self.answer(Call { method, url, json: json(Some(body))?, headers, is_repeatable: false }).await
    }

    /// What a request without a body is answered with, in its head.
    pub(crate) async fn head(&self, method: Method, url: Url, headers: HeaderMap) -> Result<HeaderMap, Error> {
        let response = self.send(&Call { method, url, json: None, headers, is_repeatable: true }).await?;
        Ok(response.headers().clone())
    }

    /// A change that is the same however often it is asked for.
    pub(crate) async fn repeatable<T: DeserializeOwned>(
        &self,
        method: Method,
        url: Url,
        body: Option<&impl Serialize>,
    ) -> Result<T, Error> {
        self.answer(Call { method, url, json: json(body)?, headers: HeaderMap::new(), is_repeatable: true }).await
    }

    /// A change that makes something new: it is sent again only if the server cannot have seen it.
    pub(crate) async fn create<T: DeserializeOwned>(&self, url: Url, body: &impl Serialize) -> Result<T, Error> {
        let (json, headers) = (json(Some(body))?, HeaderMap::new());
        self.answer(Call { method: Method::POST, url, json, headers, is_repeatable: self.is_converging }).await
    }

    /// The same client, for somebody to whom a name that is taken is as good as made.
    pub(crate) fn converging(&self) -> Self {
        Self { is_converging: true, ..self.clone() }
    }

    /// A change that answers nothing.
    pub(crate) async fn quiet(&self, method: Method, url: Url) -> Result<(), Error> {
        let call = Call { method, url, json: None, headers: HeaderMap::new(), is_repeatable: true };
        self.send(&call).await.map(drop)
    }

    async fn answer<T: DeserializeOwned>(&self, call: Call) -> Result<T, Error> {
        let mut attempts = self.inner.retry.attempts_from_now();
        loop {
            let answered = match bounded(self.send(&call).await?, MAX_ANSWER).await {
                Ok(Some(body)) => {
                    return serde_json::from_slice(&body).map_err(|error| Error::Answer(Box::new(error)));
                }
                Ok(None) => return Err(Error::Answer("it is too long".into())),
                Err(error) => Error::Unreachable(error),
            };
            if !call.is_repeatable {
                return Err(answered);
            }
            attempts.after(answered).await?;
        }
    }

    /// Sends a call until it is answered for good.
    async fn send(&self, call: &Call) -> Result<Response, Error> {
        let mut attempts = self.inner.retry.attempts_from_now();
        loop {
            let error = match self.authenticated(|token| self.request(call, token)).await {
                Ok(response) => return Ok(response),
                Err(error) => error,
            };
            let is_safe = call.is_repeatable || error.is_unsent() || error.status() == Some(429);
            if !(error.is_passing() && is_safe) {
                return Err(error);
            }
            attempts.after(error).await?;
        }
    }

    fn request(&self, call: &Call, token: Option<&SecretString>) -> reqwest::RequestBuilder {
        let mut request = self.bare(call.method.clone(), call.url.clone(), token).headers(call.headers.clone());
        if let Some(json) = &call.json {
            request = request.header(CONTENT_TYPE, "application/json").body(json.clone());
        }
        request.timeout(self.inner.retry.timeout(CALL_TIMEOUT))
    }

    /// A request without a body.
    pub(crate) fn bare(&self, method: Method, url: Url, token: Option<&SecretString>) -> reqwest::RequestBuilder {
        let request = self.inner.http.request(method, url);
        match token {
            Some(token) => request.bearer_auth(token.expose_secret()),
            None => request,
        }
    }

    /// Sends what `request` makes with the token at hand; once more with a fresh one when that is refused, and there
    /// may be a better one.
    pub(crate) async fn authenticated(
        &self,
        request: impl Fn(Option<&SecretString>) -> reqwest::RequestBuilder,
    ) -> Result<Response, Error> {
        let token = self.inner.tokens.current().await?;
        let refused = match checked(request(token.as_ref()).send().await).await {
            Err(error) if error.status() == Some(401) => error,
            answered => return answered,
        };
        let Some(token) = token else { return Err(Error::NoToken) };
        if !self.inner.tokens.refused(&token).await {
            return Err(refused);
        }
        let token = self.inner.tokens.current().await?;
        checked(request(token.as_ref()).send().await).await
    }

    /// Fetches a token now, so that trouble with it shows before anything else is done.
    pub async fn authenticate(&self) -> Result<(), TokenError> {
        self.inner.tokens.current().await.map(drop)
    }
}

fn json(body: Option<&impl Serialize>) -> Result<Option<Bytes>, Error> {
    let json = body.map(serde_json::to_vec).transpose().map_err(|error| Error::Answer(Box::new(error)))?;
    Ok(json.map(Bytes::from))
}

/// The answer, if it is no refusal.
async fn checked(answered: Result<Response, reqwest::Error>) -> Result<Response, Error> {
    let response = answered.map_err(Error::Unreachable)?;
    let status = response.status();
    if status.is_success() || status == StatusCode::NOT_MODIFIED {
        return Ok(response);
    }
    let retry_after = retry_after(response.headers());
    let is_problem = response
        .headers()
        .get(CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"application/problem+json"));
    let stranger = Error::Stranger { status: status.as_u16(), retry_after };
    if !is_problem {
        return Err(stranger);
    }
    let body = bounded(response, MAX_PROBLEM).await.map_err(Error::Unreachable)?;
    match body.and_then(|body| serde_json::from_slice::<Problem>(&body).ok()) {
        Some(problem) => Err(Error::Refused(Box::new(Refusal { problem, retry_after }))),
        None => Err(stranger),
    }
}

/// The seconds that `Retry-After` asks for (RFC 9110, section 10.2.3), bounded; dates are not understood.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds: u64 = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds.min(300)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_are_escaped_and_a_base_path_is_kept() {
        let client = Client::builder("https://example.org/images/").build().expect("a client");
        assert_eq!(client.at(["v1", "a b", "../x?"]).as_str(), "https://example.org/images/v1/a%20b/..%2Fx%3F");
        let client = Client::builder("http://[::1]:8080").build().expect("a client");
        assert_eq!(client.at(["healthz"]).as_str(), "http://[::1]:8080/healthz");
    }

    #[test]
    fn addresses_that_are_none_of_a_server_are_refused() {
        for bad in ["images.example.org", "ftp://x", "http://u:p@x", "http://x/?q", "http://x/#f", "unix:/x", ""] {
            assert!(Client::builder(bad).build().is_err(), "{bad}");
        }
    }
}
