//! Problem documents (RFC 9457), the body of every error response.

use crate::{
    public_url::Urls,
    response::browsers::{Rendered, secure},
};
use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use headers::{AcceptRanges, ContentRange, HeaderMapExt};
pub(crate) use imgsrv_api::ProblemCode as Code;
use imgsrv_api::{ExistingResource, FieldError, Problem as ProblemBody, Replacement};
use imgsrv_web::{ProblemView, Viewer};
use std::time::Duration;

/// The result of a handler, an extractor or a part of them.
pub(crate) type Result<T, E = Problem> = std::result::Result<T, E>;

/// The problem that a response reports. A layer around all routes adds the request's id and renders the document.
#[derive(Debug, Clone)]
pub struct Problem {
    pub(crate) code: Code,
    body: Box<ProblemBody>,
    retry_after: Option<Duration>,
    complete_length: Option<u64>,
}

impl Problem {
    pub(crate) fn new(code: Code) -> Self {
        let body = Box::new(ProblemBody {
            r#type: code.urn(),
            title: code.title().to_owned(),
            status: code.status(),
            detail: code.title().to_owned(),
            instance: None,
            errors: Vec::new(),
            existing: None,
            reason: None,
            replacement: None,
        });
        Self { code, body, retry_after: None, complete_length: None }
    }

    pub(crate) fn detail(mut self, detail: impl ToString) -> Self {
        self.body.detail = detail.to_string();
        self
    }

    pub(crate) fn field(self, field: impl Into<String>, reason: impl ToString) -> Self {
        self.fields(vec![FieldError { field: field.into(), reason: reason.to_string() }])
    }

    pub(crate) fn fields(mut self, errors: Vec<FieldError>) -> Self {
        let shown = errors.iter().take(3).map(|FieldError { field, reason }| format!("{field}: {reason}"));
        self.body.detail = shown.collect::<Vec<_>>().join("; ");
        self.body.errors = errors;
        self
    }

    /// Refers to the resource that the request collides with, if it is known.
    pub(crate) fn existing(mut self, existing: Option<ExistingResource>) -> Self {
        self.body.existing = existing;
        self
    }

    /// Says why a version is gone or a digest is blocked, and what to use instead.
    pub(crate) fn because(mut self, reason: Option<String>, replacement: Option<Replacement>) -> Self {
        self.body.reason = reason;
        self.body.replacement = replacement;
        self
    }

    /// Its explanation.
    pub(crate) fn text(&self) -> &str {
        &self.body.detail
    }

    /// Whether it is 410.
    pub(crate) const fn is_gone(&self) -> bool {
        matches!(self.code, Code::VersionRevoked | Code::VersionRemoved)
    }

    /// Responds with 404 instead of 410.
    pub(crate) fn reported_as_not_found(mut self) -> Self {
        self.body.status = StatusCode::NOT_FOUND.as_u16();
        self
    }

    pub(crate) fn invalid_cursor() -> Self {
        Self::new(Code::InvalidCursor).field("cursor", "does not belong to this list")
    }

    pub(crate) fn retry_after(self, delay: Duration) -> Self {
        Self { retry_after: Some(delay), ..self }
    }

    /// The content is not the one that the preconditions of a GET or HEAD request require.
    pub(crate) fn content_has_changed() -> Self {
        Self::new(Code::PreconditionFailed).detail(
            "the content is not the one that If-Match or If-Unmodified-Since requires; request it without the \
            precondition to get its current ETag and Last-Modified",
        )
    }

    /// The requested range cannot be served from a representation of `size` bytes.
    pub(crate) fn range_not_satisfiable(size: u64) -> Self {
        let problem = Self::new(Code::RangeNotSatisfiable);
        let problem = problem.detail(format!("the content has {size} bytes; request ranges within it"));
        Self { complete_length: Some(size), ..problem }
    }

    /// The problem of an error response that a handler or the router made without one.
    fn of_status(status: StatusCode) -> Self {
        let code = match status {
            StatusCode::UNAUTHORIZED => Code::Unauthenticated,
            StatusCode::FORBIDDEN => Code::Forbidden,
            StatusCode::NOT_FOUND => Code::NotFound,
            StatusCode::METHOD_NOT_ALLOWED => Code::MethodNotAllowed,
            StatusCode::REQUEST_TIMEOUT => Code::RequestTimeout,
            StatusCode::PAYLOAD_TOO_LARGE => Code::BodyTooLarge,
            StatusCode::UNSUPPORTED_MEDIA_TYPE => Code::UnsupportedMediaType,
            StatusCode::SERVICE_UNAVAILABLE => Code::Unavailable,
            status if status.is_client_error() => Code::InvalidRequest,
            _ => Code::Internal,
        };
        Self::new(code)
    }

    fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.body.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// The page of the problem.
    fn page(&self, viewer: &Viewer<'_>) -> Option<String> {
        let ProblemBody { title, detail, reason, replacement, instance, .. } = &*self.body;
        // The manifest of a version has the same names in its path as the page.
        let page = |url: &str| format!("{}/", url.trim_start_matches("/v1").replacen("/refs/", "/", 1));
        let replacement = replacement.as_ref().map(|replacement| (page(&replacement.url), &replacement.name));
        let view = ProblemView {
            status: self.body.status,
            title,
            detail,
            reason: reason.as_deref(),
            replacement: replacement.as_ref().map(|(path, name)| (path.as_str(), name.as_str())),
            request: instance.as_deref(),
        };
        imgsrv_web::problem(viewer, &view).inspect_err(|error| tracing::error!(%error, "page cannot be rendered")).ok()
    }

    /// Turns an error response into a problem document, or for a viewer into a page; headers such as `Allow` stay. A page that
    /// a handler rendered itself stays as well.
    pub(crate) fn render(
        response: Response,
        request_id: Option<&str>,
        is_head: bool,
        urls: &Urls,
        viewer: Option<Viewer<'_>>,
    ) -> Response {
        if response.extensions().get::<Rendered>().is_some() {
            let headers = [(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))];
            return (headers, response).into_response();
        }
        let problem = response.extensions().get::<Self>().cloned();
        let mut problem = problem.unwrap_or_else(|| Self::of_status(response.status()));
        problem.body.instance = request_id.map(str::to_owned);
        if let Some(page) = viewer.and_then(|viewer| problem.page(&viewer)) {
            let (mut parts, _) = response.into_parts();
            parts.status = problem.status();
            parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
            parts.headers.insert(header::CONTENT_LENGTH, page.len().into());
            parts.headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
            let mut response = Response::from_parts(parts, if is_head { Body::empty() } else { Body::from(page) });
            secure(&mut response);
            return response;
        }
        if let Some(existing) = &mut problem.body.existing {
            existing.url = urls.path(&existing.url);
        }
        if let Some(replacement) = &mut problem.body.replacement {
            replacement.url = urls.path(&replacement.url);
        }
        let body = serde_json::to_vec(&problem.body).unwrap_or_default();
        let (mut parts, _) = response.into_parts();
        parts.status = problem.status();
        parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        parts.headers.insert(header::CONTENT_LENGTH, body.len().into());
        parts.headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Response::from_parts(parts, if is_head { Body::empty() } else { Body::from(body) })
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.status().into_response();
        let headers = response.headers_mut();
        if self.status() == StatusCode::UNAUTHORIZED {
            let is_invalid = self.code == Code::InvalidBearer;
            let challenge = if is_invalid { "Bearer error=\"invalid_token\"" } else { "Bearer" };
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        if let Some(delay) = self.retry_after {
            headers.insert(header::RETRY_AFTER, delay.as_secs().max(1).into());
        }
        if let Some(size) = self.complete_length {
            headers.typed_insert(ContentRange::unsatisfied_bytes(size));
            headers.typed_insert(AcceptRanges::bytes());
        }
        response.extensions_mut().insert(self);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_problem_keeps_its_urn_status_and_title() {
        let table: String = Code::ALL
            .iter()
            .map(|code| {
                let body = Problem::new(*code).body;
                format!("{} {} {}\n", body.status, body.r#type, body.title)
            })
            .collect();
        insta::assert_snapshot!(table);
    }
}
