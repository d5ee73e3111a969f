//! Serving bytes: every route that does so behaves alike.

use crate::{
    response::{
        conditional::{Answer, Validators},
        problem::{Code, Problem},
    },
    state::AppState,
};
use axum::{
    body::Body,
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use imgsrv_app::{Download, GeneratedText};
use imgsrv_domain::{digest::BlobClaim, time::Timestamp};
use std::{
    ops::Range,
    time::{Duration, SystemTime},
};

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

/// What is told of bytes, wherever they come from.
struct Facts<'a> {
    claim: BlobClaim,
    modified: SystemTime,
    media_type: &'a str,
    file_name: &'a str,
    public: bool,
}

/// Answers a GET or HEAD for stored bytes.
pub(crate) async fn serve(
    state: &AppState,
    method: &Method,
    request: &HeaderMap,
    download: &Download,
    address: Address,
) -> Result<Response, Problem> {
    let media_type = download.media_type.as_ref().map_or("application/octet-stream", |media_type| media_type.as_str());
    let facts = Facts {
        claim: download.claim,
        modified: time(download.modified_at),
        media_type,
        file_name: &download.file_name,
        public: download.public,
    };
    let (mut response, wanted) = facts.answer(method, request, address)?;
    if let Some(range) = wanted {
        let stream = state.services.delivery().open(download, range).await?;
        *response.body_mut() = Body::from_stream(stream);
    }
    Ok(response)
}

/// Answers a GET or HEAD for a text that everybody may have.
pub(crate) fn serve_text(
    method: &Method,
    request: &HeaderMap,
    text: &GeneratedText,
    address: Address,
) -> Result<Response, Problem> {
    let facts = Facts {
        claim: text.claim(),
        modified: time(text.modified_at),
        media_type: "text/plain; charset=utf-8",
        file_name: &text.file_name,
        public: true,
    };
    let (mut response, wanted) = facts.answer(method, request, address)?;
    if let Some(range) = wanted {
        let position = |at| usize::try_from(at).unwrap_or(usize::MAX);
        let bytes = text.text.as_bytes().get(position(range.start)..position(range.end));
        *response.body_mut() = Body::from(bytes.unwrap_or_default().to_vec());
    }
    Ok(response)
}

fn time(at: Timestamp) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_micros(u64::try_from(at.micros()).unwrap_or(0))
}

impl Facts<'_> {
    /// The head of the answer, and which bytes are to follow.
    fn answer(
        &self,
        method: &Method,
        request: &HeaderMap,
        address: Address,
    ) -> Result<(Response, Option<Range<u64>>), Problem> {
        let size = self.claim.size.get();
        let etag = format!("\"{}\"", self.claim.digest);
        // What is at a name that moves may be older than what was there before: its time tells nothing.
        let modified = (address != Address::Alias).then_some(self.modified);
        let (status, range) = match (Validators { etag: &etag, modified, size }).answer(method, request) {
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
        let headers = response.headers_mut();
        let mut set = |name: HeaderName, value: String| {
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.insert(name, value);
            }
        };
        set(header::ETAG, etag);
        if let Some(modified) = modified {
            set(header::LAST_MODIFIED, httpdate::fmt_http_date(modified));
        }
        set(header::CACHE_CONTROL, cache_control(address, self.public));
        set(header::ACCEPT_RANGES, "bytes".to_owned());
        set(header::VARY, "Authorization".to_owned());
        if status == StatusCode::NOT_MODIFIED {
            return Ok((response, None));
        }
        if status == StatusCode::PARTIAL_CONTENT {
            set(header::CONTENT_RANGE, format!("bytes {}-{}/{size}", range.start, range.end - 1));
        }
        set(header::CONTENT_LENGTH, (range.end - range.start).to_string());
        set(header::CONTENT_TYPE, self.media_type.to_owned());
        set(
            HeaderName::from_static("repr-digest"),
            format!("sha-256=:{}:", STANDARD.encode(self.claim.digest.bytes())),
        );
        set(header::CONTENT_DISPOSITION, format!("attachment; filename=\"{}\"", self.file_name));
        set(header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned());
        set(header::CONTENT_SECURITY_POLICY, "sandbox".to_owned());
        Ok((response, (method == Method::GET).then_some(range)))
    }
}

fn cache_control(address: Address, public: bool) -> String {
    let scope = if public { "public" } else { "private" };
    match address {
        Address::Digest => format!("{scope}, max-age=31536000, immutable"),
        Address::Name => format!("{scope}, max-age=300, must-revalidate"),
        Address::Alias => "no-cache".to_owned(),
    }
}
