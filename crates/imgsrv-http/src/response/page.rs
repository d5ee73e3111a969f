//! Answering with a page of a list.

use crate::response::problem::Problem;
use axum::{
    Json,
    http::{HeaderValue, Uri, header},
    response::{IntoResponse, Response},
};
use imgsrv_domain::page::{Cursor, PageRequest};
use serde::Serialize;

/// The page of a list that is small and at hand; a cursor is the id of the row where a page ended.
pub(crate) fn slice<T>(
    items: Vec<T>,
    wanted: &PageRequest,
    id: impl Fn(&T) -> String,
) -> Result<(Vec<T>, Option<Cursor>), Problem> {
    let start = match &wanted.after {
        Some(Cursor(after)) => {
            items.iter().position(|item| id(item) == *after).ok_or_else(Problem::invalid_cursor)? + 1
        }
        None => 0,
    };
    let more = items.len() > start + usize::from(wanted.limit.get());
    let page: Vec<T> = items.into_iter().skip(start).take(wanted.limit.get().into()).collect();
    let next = page.last().filter(|_| more).map(|last| Cursor(id(last)));
    Ok((page, next))
}

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
