//! Serving bytes: every route that does so behaves alike.

use crate::{
    conditional::{Answer, Validators},
    problem::{Code, Problem},
    state::AppState,
};
use axum::{
    body::Body,
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use imgsrv_app::Download;
use std::time::{Duration, SystemTime};

/// What the URL that bytes are served under promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Address {
    /// The digest is in it: the bytes never change.
    Digest,
    /// A name is in it.
    Name,
    /// A name that moves is in it.
    Alias,
}

/// Answers a GET or HEAD for bytes.
pub(crate) async fn serve(
    state: &AppState,
    method: &Method,
    request: &HeaderMap,
    download: &Download,
    address: Address,
) -> Result<Response, Problem> {
    let size = download.claim.size.get();
    let etag = format!("\"{}\"", download.claim.digest);
    let micros = u64::try_from(download.modified_at.micros()).unwrap_or(0);
    let modified = SystemTime::UNIX_EPOCH + Duration::from_micros(micros);
    let answer = Validators { etag: &etag, modified, size }.answer(method, request);
    let (status, range) = match answer {
        Answer::Unsatisfiable => {
            let mut problem = Problem::new(Code::RangeNotSatisfiable)
                .detail(format!("there are {size} bytes; ask for one range of them"));
            problem.content_range = Some(size);
            return Err(problem);
        }
        Answer::NotModified => (StatusCode::NOT_MODIFIED, 0..0),
        Answer::Whole => (StatusCode::OK, 0..size),
        Answer::Part(range) => (StatusCode::PARTIAL_CONTENT, range),
    };
    let mut response = status.into_response();
    if method == Method::GET && status != StatusCode::NOT_MODIFIED {
        let stream = state.services.delivery().open(download, range.clone()).await?;
        *response.body_mut() = Body::from_stream(stream);
    }
    let headers = response.headers_mut();
    let mut set = |name: HeaderName, value: String| {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(name, value);
        }
    };
    set(header::ETAG, etag);
    set(header::LAST_MODIFIED, httpdate::fmt_http_date(modified));
    set(header::CACHE_CONTROL, cache_control(address, download.public));
    set(header::ACCEPT_RANGES, "bytes".to_owned());
    set(header::VARY, "Authorization".to_owned());
    if status == StatusCode::NOT_MODIFIED {
        return Ok(response);
    }
    if status == StatusCode::PARTIAL_CONTENT {
        set(header::CONTENT_RANGE, format!("bytes {}-{}/{size}", range.start, range.end - 1));
    }
    let media_type = download.media_type.as_ref().map_or("application/octet-stream", |media_type| media_type.as_str());
    set(header::CONTENT_LENGTH, (range.end - range.start).to_string());
    set(header::CONTENT_TYPE, media_type.to_owned());
    set(
        HeaderName::from_static("repr-digest"),
        format!("sha-256=:{}:", STANDARD.encode(download.claim.digest.bytes())),
    );
    set(header::CONTENT_DISPOSITION, format!("attachment; filename=\"{}\"", download.file_name));
    set(header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned());
    set(header::CONTENT_SECURITY_POLICY, "sandbox".to_owned());
    Ok(response)
}

pub(crate) fn cache_control(address: Address, public: bool) -> String {
    let scope = if public { "public" } else { "private" };
    match address {
        Address::Digest => format!("{scope}, max-age=31536000, immutable"),
        Address::Name => format!("{scope}, max-age=300, must-revalidate"),
        Address::Alias => "no-cache".to_owned(),
    }
}
