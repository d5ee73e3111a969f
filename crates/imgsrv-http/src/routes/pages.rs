//! Answering with a page of a list.

use axum::{
    Json,
    http::{HeaderValue, Uri, header},
    response::{IntoResponse, Response},
};
use imgsrv_domain::page::Cursor;
use serde::Serialize;

/// `body`, with a `Link` to the next page (RFC 8288) if there is one.
pub(crate) fn page<T: Serialize>(uri: &Uri, next: Option<&Cursor>, body: T) -> Response {
    let mut response = Json(body).into_response();
    if let Some(Cursor(cursor)) = next {
        let kept =
            uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty() && !pair.starts_with("cursor="));
        let query = kept.map(str::to_owned).chain([format!("cursor={cursor}")]).collect::<Vec<_>>().join("&");
        if let Ok(link) = HeaderValue::try_from(format!("<{}?{query}>; rel=\"next\"", uri.path())) {
            response.headers_mut().insert(header::LINK, link);
        }
    }
    response
}
