//! The challenge to send Basic credentials, for clients that send them only after one.

use crate::response::problem::{Code, Problem};
use axum::{
    extract::MatchedPath,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};

const BASIC: HeaderValue = HeaderValue::from_static("Basic realm=\"imgsrv\"");

/// Whether a route serves files.
pub(crate) fn applies(route: Option<&MatchedPath>) -> bool {
    let route = route.map_or("", MatchedPath::as_str);
    let serves_files =
        ["/images/{name}/{ref}", "/v1/blobs/{digest}", "/cas/"].iter().any(|root| route.starts_with(root));
    serves_files || route.ends_with("/download")
}

/// The response to a read of a file, with the challenge. To anonymous callers, what does not exist and what they may not
/// read are the same, so that the challenge does not tell which it is.
pub(crate) fn challenged(response: Response, is_anonymous: bool) -> Response {
    let mut response = match response.status() {
        StatusCode::NOT_FOUND if is_anonymous => {
            let detail =
                "the file does not exist, or reading it requires a token: with Basic, as the password of any user";
            Problem::new(Code::Unauthenticated).detail(detail).into_response()
        }
        StatusCode::UNAUTHORIZED => response,
        _ => return response,
    };
    let headers = response.headers_mut();
    if is_anonymous {
        headers.insert(header::WWW_AUTHENTICATE, BASIC);
    } else {
        headers.append(header::WWW_AUTHENTICATE, BASIC);
    }
    response
}
