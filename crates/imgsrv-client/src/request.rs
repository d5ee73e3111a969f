//! Requests: how they are authenticated and retried, and how their responses are checked.

use crate::{
    body,
    client::Client,
    error::{Error, Refusal},
};
use bytes::Bytes;
use imgsrv_api::Problem;
use reqwest::{
    Method, RequestBuilder, Response, StatusCode,
    header::{ACCEPT, CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER},
};
use secrecy::{ExposeSecret, SecretString};
use serde::{Serialize, de::DeserializeOwned};
use std::time::Duration;
use url::Url;
use uuid::Uuid;

/// How long a request with a small body may take.
const TIMEOUT: Duration = Duration::from_mins(2);
/// Bytes of a response, at most; a page of a thousand rows is far below.
const MAX_RESPONSE: usize = 32 << 20;
const MAX_PROBLEM: usize = 1 << 20;
/// The longest `Retry-After` that is respected.
const MAX_RETRY_AFTER: Duration = Duration::from_mins(5);
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// A request that may be sent more than once.
struct Call {
    method: Method,
    url: Url,
    headers: HeaderMap,
    json: Option<Bytes>,
    /// Whether it may be sent again although the server may have processed it.
    is_idempotent: bool,
}

impl Call {
    fn new(method: Method, url: Url) -> Self {
        Self { method, url, headers: HeaderMap::new(), json: None, is_idempotent: true }
    }

    fn with_json(self, body: &impl Serialize) -> Result<Self, Error> {
        let json = serde_json::to_vec(body).map_err(Error::internal)?;
        Ok(Self { json: Some(json.into()), ..self })
    }
}

impl Client {
    pub(crate) async fn get<T: DeserializeOwned>(&self, url: Url) -> Result<T, Error> {
        let headers = HeaderMap::from_iter([(ACCEPT, JSON)]);
        self.call(Call { headers, ..Call::new(Method::GET, url) }, parse).await
    }

    /// A resource with its entity tag.
    pub(crate) async fn get_tagged<T: DeserializeOwned>(&self, url: Url) -> Result<(T, Option<HeaderValue>), Error> {
        let tagged = async |response: Response| {
            let etag = response.headers().get(ETAG).cloned();
            Ok((parse(response).await?, etag))
        };
        self.call(Call::new(Method::GET, url), tagged).await
    }

    /// Sends a request without a body for the headers of its response.
    pub(crate) async fn headers(&self, method: Method, url: Url, headers: HeaderMap) -> Result<HeaderMap, Error> {
        self.call(Call { headers, ..Call::new(method, url) }, async |response| Ok(response.headers().clone())).await
    }

    /// Sends an idempotent request that has no body, and whose response has none.
    pub(crate) async fn execute(&self, method: Method, url: Url) -> Result<(), Error> {
        self.call(Call::new(method, url), async |_| Ok(())).await
    }

    /// The same, with a body.
    pub(crate) async fn execute_with(&self, method: Method, url: Url, body: &impl Serialize) -> Result<(), Error> {
        self.call(Call::new(method, url).with_json(body)?, async |_| Ok(())).await
    }

    /// Sends an idempotent POST without a body.
    pub(crate) async fn post<T: DeserializeOwned>(&self, url: Url) -> Result<T, Error> {
        self.call(Call::new(Method::POST, url), parse).await
    }

    /// Sends an idempotent change.
    pub(crate) async fn change<T: DeserializeOwned>(
        &self,
        method: Method,
        url: Url,
        body: &impl Serialize,
    ) -> Result<T, Error> {
        self.call(Call::new(method, url).with_json(body)?, parse).await
    }

    /// Sends a change under a condition, which might not hold any more if the request were repeated.
    pub(crate) async fn change_if<T: DeserializeOwned>(
        &self,
        method: Method,
        url: Url,
        body: &impl Serialize,
        condition: (HeaderName, HeaderValue),
    ) -> Result<T, Error> {
        let headers = HeaderMap::from_iter([condition]);
        let call = Call { headers, is_idempotent: false, ..Call::new(method, url) };
        self.call(call.with_json(body)?, parse).await
    }

    /// Sends a DELETE whose response has a body.
    pub(crate) async fn delete<T: DeserializeOwned>(&self, url: Url) -> Result<T, Error> {
        self.call(Call::new(Method::DELETE, url), parse).await
    }

    /// Creates a resource. The request is repeated only if the server cannot have processed it.
    pub(crate) async fn create<T: DeserializeOwned>(&self, url: Url, body: &impl Serialize) -> Result<T, Error> {
        let call = Call { is_idempotent: self.retries_creation, ..Call::new(Method::POST, url) };
        self.call(call.with_json(body)?, parse).await
    }

    /// Creates a resource under a new idempotency key: retries find what the first request has created.
    pub(crate) async fn create_once<T: DeserializeOwned>(&self, url: Url, body: &impl Serialize) -> Result<T, Error> {
        let headers = HeaderMap::from_iter([(IDEMPOTENCY_KEY, idempotency_key()?)]);
        self.call(Call { headers, ..Call::new(Method::POST, url) }.with_json(body)?, parse).await
    }

    /// Sends a call until `read` has the whole response, or an error must not be retried.
    async fn call<T>(&self, call: Call, read: impl AsyncFn(Response) -> Result<T, Error>) -> Result<T, Error> {
        let mut retries = self.retry().retries_from_now();
        loop {
            let attempt = async { read(self.authenticated(|token| self.request_for(&call, token)).await?).await };
            match attempt.await {
                Err(error) if call.is_idempotent || error.is_unsent() || error.status() == Some(429) => {
                    retries.wait_after(error).await?;
                }
                result => return result,
            }
        }
    }

    fn request_for(&self, call: &Call, token: Option<&SecretString>) -> RequestBuilder {
        let mut request = self.request(call.method.clone(), call.url.clone(), token).headers(call.headers.clone());
        if let Some(json) = &call.json {
            request = request.header(CONTENT_TYPE, JSON).body(json.clone());
        }
        request.timeout(self.retry().timeout(TIMEOUT))
    }

    /// A request without a body.
    pub(crate) fn request(&self, method: Method, url: Url, token: Option<&SecretString>) -> RequestBuilder {
        let request = self.http.request(method, url);
        match token {
            Some(token) => request.bearer_auth(token.expose_secret()),
            None => request,
        }
    }

    /// Sends the request that `build` makes with the current token. If that is refused and may be replaced, the request
    /// is sent once more with a fresh one.
    pub(crate) async fn authenticated(
        &self,
        build: impl Fn(Option<&SecretString>) -> RequestBuilder,
    ) -> Result<Response, Error> {
        let token = self.tokens.current().await?;
        let refused = match check(build(token.as_ref()).send().await).await {
            Err(error) if error.status() == Some(401) => error,
            checked => return checked,
        };
        let Some(token) = token else { return Err(Error::NoToken) };
        if !self.tokens.discard(&token).await {
            return Err(refused);
        }
        let token = self.tokens.current().await?;
        check(build(token.as_ref()).send().await).await
    }
}

/// A new idempotency key, as a string of a structured field.
#[expect(clippy::disallowed_methods, reason = "a client has no port for ids, and the key has only to be unique")]
fn idempotency_key() -> Result<HeaderValue, Error> {
    HeaderValue::try_from(format!("\"{}\"", Uuid::now_v7())).map_err(Error::internal)
}

async fn parse<T: DeserializeOwned>(response: Response) -> Result<T, Error> {
    let body = body::read(response, MAX_RESPONSE).await.map_err(Error::Unreachable)?;
    let body = body.ok_or_else(|| Error::invalid_response("it is too long"))?;
    serde_json::from_slice(&body).map_err(Error::invalid_response)
}

/// The response, unless it is a refusal.
async fn check(response: Result<Response, reqwest::Error>) -> Result<Response, Error> {
    let response = response.map_err(Error::Unreachable)?;
    let status = response.status();
    if status.is_success() || status == StatusCode::NOT_MODIFIED {
        return Ok(response);
    }
    let retry_after = retry_after(response.headers());
    let media_type = response.headers().get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    let unexpected = Error::UnexpectedResponse { status: status.as_u16(), retry_after };
    if !media_type.starts_with(b"application/problem+json") {
        return Err(unexpected);
    }
    let body = body::read(response, MAX_PROBLEM).await.map_err(Error::Unreachable)?;
    match body.and_then(|body| serde_json::from_slice::<Problem>(&body).ok()) {
        Some(problem) => Err(Error::Refused(Box::new(Refusal { problem, retry_after }))),
        None => Err(unexpected),
    }
}

/// The seconds of `Retry-After` (RFC 9110, section 10.2.3), bounded; dates are not supported.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(MAX_RETRY_AFTER))
}
