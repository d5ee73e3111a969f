//! Visitors: whether a request wants a page, and the URL of the server as the visitor sees it.

use crate::{public_url::Urls, request::Transport, response::problem::Result, state::AppState};
use axum::{
    extract::{FromRequestParts, Query},
    http::{HeaderMap, HeaderValue, Method, header, request::Parts, uri::Authority},
};
use imgsrv_domain::time::Timestamp;
use imgsrv_web::{Site, Viewer};
use serde::{Deserialize, de::DeserializeOwned};
use std::{convert::Infallible, sync::Arc};

/// Where pages are rendered for.
#[derive(Debug, Clone)]
pub(crate) struct Visitor {
    site: Arc<Site>,
    urls: Urls,
    /// The URL of the server: the public one, else the one that the request names.
    base: String,
    authority: Option<Arc<str>>,
    /// Whether the request wants a page and not JSON.
    pub(crate) wants_page: bool,
}

impl Visitor {
    pub(crate) fn of(request: &Parts, state: &AppState) -> Self {
        let base = state.urls.0.as_ref().map_or_else(|| requested(request), ToString::to_string);
        let (site, authority) = (Arc::clone(&state.site), state.authority_sha256.clone());
        Self { site, urls: state.urls.clone(), base, authority, wants_page: wants_page(request) }
    }

    /// The complete URL of a path on the server.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// How pages are rendered at `now`.
    pub(crate) fn viewer(&self, now: Timestamp) -> Viewer<'_> {
        let authority = self.authority.as_deref();
        Viewer { site: &self.site, prefix: self.urls.prefix(), base: &self.base, authority, now }
    }
}

impl FromRequestParts<AppState> for Visitor {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Infallible> {
        Ok(Self::of(parts, state))
    }
}

/// Whether a request wants a page and not JSON.
pub(crate) fn wants_page(request: &Parts) -> bool {
    matches!(request.method, Method::GET | Method::HEAD) && prefers_html(&request.headers)
}

/// The URL of the server as the request names it. A host with other characters than names and addresses have is not
/// repeated in commands.
fn requested(request: &Parts) -> String {
    let scheme = match request.extensions.get::<Transport>() {
        Some(Transport::Tls) => "https",
        Some(Transport::Plaintext | Transport::PlaintextOnTlsPort) | None => "http",
    };
    let named = request.headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let host = request.uri.authority().map(Authority::as_str).or(named);
    let is_plain = |host: &&str| host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte));
    format!("{scheme}://{}", host.filter(is_plain).unwrap_or("localhost"))
}

/// Whether a client names HTML in `Accept` and prefers nothing that JSON is. `*/*` means JSON, which every client that is
/// not a browser gets. So does `*`, which is no media range: the library of Java sends it after `text/html`.
fn prefers_html(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(header::ACCEPT).iter().filter_map(|line| HeaderValue::to_str(line).ok());
    let (mut html, mut json) = (0.0_f32, 0.0_f32);
    for range in lines.flat_map(|line| line.split(',')) {
        let mut pieces = range.split(';').map(str::trim);
        let media_type = pieces.next().unwrap_or_default().to_ascii_lowercase();
        let quality = pieces.find_map(|piece| piece.strip_prefix("q=")?.parse().ok()).unwrap_or(1.0);
        match media_type.as_str() {
            "text/html" | "application/xhtml+xml" => html = html.max(quality),
            "application/json" | "application/problem+json" => json = json.max(quality),
            "*" => return false,
            _ => {}
        }
    }
    html > 0.0 && html >= json
}

/// The query of a page. Parameters that it does not know are ignored.
pub(crate) struct PageParams<T>(pub(crate) T);

impl<T: DeserializeOwned + Default + Send, S: Send + Sync> FromRequestParts<S> for PageParams<T> {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let query = Query::<T>::from_request_parts(parts, &()).await;
        Ok(Self(query.map(|Query(query)| query).unwrap_or_default()))
    }
}

/// The search for images.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct HomeParams {
    pub(crate) q: String,
    pub(crate) os: String,
    pub(crate) arch: String,
    pub(crate) kind: String,
    pub(crate) state: String,
    pub(crate) sort: String,
    pub(crate) cursor: Option<String>,
}

/// The versions of an image.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ImageParams {
    pub(crate) lifecycle: String,
    pub(crate) cursor: Option<String>,
}

/// The commands for a version.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct VersionParams {
    pub(crate) r#for: Option<String>,
    pub(crate) file: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_clients_that_name_html_get_pages() {
        const CHROME: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8";
        const JAVA: &str = "text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2";
        for (accept, expected) in [
            (CHROME, true),
            ("text/html", true),
            ("TEXT/HTML;q=0.5", true),
            ("text/html, text/*;q=0.5, */*;q=0.1", true),
            ("text/html;q=0.5, application/json", false),
            ("text/html, application/json", true),
            ("text/html;q=0", false),
            ("*/*", false),
            ("text/*", false),
            ("application/json", false),
            (JAVA, false),
            ("", false),
        ] {
            let headers = HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static(accept))]);
            assert_eq!(prefers_html(&headers), expected, "{accept}");
        }
        assert!(!prefers_html(&HeaderMap::new()));
    }
}
