//! Pages of lists.

use crate::response::problem::{Problem, Result};
use axum::{
    Json,
    http::{HeaderValue, Uri, header},
    response::{IntoResponse, Response},
};
use imgsrv_domain::page::{Cursor, Page, PageRequest};
use serde::Serialize;

/// The response with a page of a list: `body` makes the document of the items on the wire and the cursor of the next
/// page, to which a `Link` points (RFC 8288).
pub(crate) fn page_response<T, W, B: Serialize>(
    uri: &Uri,
    page: &Page<T>,
    wire: impl Fn(&T) -> W,
    body: impl FnOnce(Vec<W>, Option<String>) -> B,
) -> Response {
    let next_cursor = page.next.as_ref().map(|Cursor(cursor)| cursor.clone());
    let link = next_cursor.as_ref().map(|cursor| {
        let pairs = uri.query().unwrap_or_default().split('&');
        let others = pairs.filter(|pair| !pair.is_empty() && !pair.starts_with("cursor="));
        let query = others.map(str::to_owned).chain([format!("cursor={cursor}")]).collect::<Vec<_>>().join("&");
        HeaderValue::try_from(format!("<{}?{query}>; rel=\"next\"", uri.path()))
    });
    let mut response = Json(body(page.items.iter().map(wire).collect(), next_cursor)).into_response();
    if let Some(Ok(link)) = link {
        response.headers_mut().insert(header::LINK, link);
    }
    response
}

/// A page of a small list that is in memory. Its cursor is the id of the last item of the page before.
pub(crate) fn slice<'a, T>(items: &'a [T], request: &PageRequest, id: impl Fn(&T) -> String) -> Result<Page<&'a T>> {
    let start = match &request.after {
        Some(Cursor(after)) => {
            items.iter().position(|item| id(item) == *after).ok_or_else(Problem::invalid_cursor)? + 1
        }
        None => 0,
    };
    let limit = usize::from(request.limit.get());
    let has_more = items.len() > start + limit;
    let items: Vec<&T> = items.iter().skip(start).take(limit).collect();
    let next = items.last().filter(|_| has_more).map(|last| Cursor(id(last)));
    Ok(Page { items, next })
}
