//! Responses with pages and feeds.

use crate::response::{
    browsers::{Rendered, secure},
    problem::{Code, Problem, Result},
};
use axum::{
    http::header,
    response::{IntoResponse, Response},
};
use imgsrv_web::RenderError;

/// The response with a page.
pub(crate) fn page(rendered: Result<String, RenderError>) -> Result<Response> {
    let mut response = document(rendered, "text/html; charset=utf-8")?;
    secure(&mut response);
    Ok(response)
}

/// The response with a feed.
pub(crate) fn feed(rendered: Result<String, RenderError>) -> Result<Response> {
    document(rendered, "application/atom+xml; charset=utf-8")
}

/// The response with a text in Markdown.
pub(crate) fn markdown(rendered: Result<String, RenderError>) -> Result<Response> {
    document(rendered, "text/markdown; charset=utf-8")
}

fn document(rendered: Result<String, RenderError>, media_type: &'static str) -> Result<Response> {
    let text = rendered.map_err(|error| {
        tracing::error!(%error, "page cannot be rendered");
        Problem::new(Code::Internal)
    })?;
    let mut response = ([(header::CONTENT_TYPE, media_type)], text).into_response();
    response.extensions_mut().insert(Rendered);
    Ok(response)
}
