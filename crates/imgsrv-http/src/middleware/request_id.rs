//! The request id: the client's `X-Request-Id` if it is acceptable, else a new one.

use crate::{redact::redacted, request::RequestId};
use axum::{
    extract::Request,
    http::{HeaderName, HeaderValue},
    response::Response,
};
use imgsrv_domain::ports::Ids;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Attaches an id to the request.
pub(crate) fn assign(request: &mut Request, ids: &dyn Ids) -> String {
    let sent = request.headers().get(REQUEST_ID).and_then(|id| id.to_str().ok()).filter(|id| is_acceptable(id));
    let id = sent.map_or_else(|| ids.next().to_string(), str::to_owned);
    request.extensions_mut().insert(RequestId(id.clone()));
    id
}

/// Sends the id with the response.
pub(crate) fn echo(response: &mut Response, id: &str) {
    if let Ok(value) = HeaderValue::try_from(id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
}

/// Short, of harmless characters, and without a token: the id is logged and stored.
fn is_acceptable(id: &str) -> bool {
    let has_token = redacted(id) != id;
    !has_token
        && (1..=128).contains(&id.len())
        && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"._:-/+=".contains(&b))
}
