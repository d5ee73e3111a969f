//! What responses say to browsers and search engines.

use axum::{
    http::{HeaderName, HeaderValue, header},
    response::Response,
};
use imgsrv_web::content_security_policy;

/// The paths that have either a page or JSON.
pub(crate) const NEGOTIATED: [&str; 7] =
    ["/", "/images", "/images/", "/images/{name}", "/images/{name}/", "/images/{name}/{ref}", "/images/{name}/{ref}/"];
/// Tells search engines what to do with a response.
pub(crate) const ROBOTS_TAG: HeaderName = HeaderName::from_static("x-robots-tag");
/// Keeps a response out of search engines.
pub(crate) const NO_INDEX: HeaderValue = HeaderValue::from_static("noindex");

/// Marks a page or a feed, which the layers give an entity tag.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rendered;

/// Adds the headers that limit what a page may do in a browser.
pub(crate) fn secure(response: &mut Response) {
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(content_security_policy()));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
}
