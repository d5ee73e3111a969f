//! Download responses: every route that serves a file or a blob behaves alike.

use crate::{
    middleware::budgeted::AccountedBody,
    response::{
        browsers::{NO_INDEX, ROBOTS_TAG},
        conditional::{Selection, Validators},
        dates::system_time,
        discouraged::announce,
        multipart::ByteRanges,
        problem::{Code, Problem, Result},
    },
    send_budget::Share,
};
use axum::{
    BoxError,
    body::{Body, Bytes},
    extract::FromRequestParts,
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use futures::{
    StreamExt, TryStreamExt,
    stream::{self, BoxStream},
};
use headers::{AcceptRanges, ContentLength, ContentRange, ETag, HeaderMapExt, LastModified};
use imgsrv_app::{Delivery, Download, GeneratedText, UseCaseError};
use imgsrv_domain::digest::BlobClaim;
use std::{convert::Infallible, ops::Range, time::SystemTime};

/// Bytes of several ranges that are verified before the response.
const VERIFIED_FIRST: u64 = 1 << 20;

/// The header fields of a response, with those that the layers add, so that their map does not grow in steps.
pub(crate) const USUAL_HEADERS: usize = 20;

const REPR_DIGEST: HeaderName = HeaderName::from_static("repr-digest");

/// By what the URL of a download names its bytes, and so how long caches may reuse them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NamedBy {
    /// A digest: the bytes never change. Shared caches forget them within a day, because their image may become private.
    Digest,
    /// A version.
    Version,
    /// An alias, which may be moved to another version.
    Alias,
    /// A link, which may end.
    Link,
}

/// A GET or HEAD request for bytes.
pub(crate) struct DownloadRequest {
    method: Method,
    headers: HeaderMap,
    /// Of the bytes that responses hold.
    share: Option<Share>,
}

impl<S: Send + Sync> FromRequestParts<S> for DownloadRequest {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        let share = parts.extensions.get::<Share>().cloned();
        Ok(Self { method: parts.method.clone(), headers: parts.headers.clone(), share })
    }
}

impl DownloadRequest {
    /// The response with the stored bytes of `download`.
    pub(crate) async fn respond(
        &self,
        delivery: &Delivery,
        download: &Download,
        named_by: NamedBy,
    ) -> Result<Response> {
        let media_type = download.media_type.as_ref();
        let representation = Representation {
            claim: download.blob.claim,
            modified: system_time(download.modified_at),
            media_type: media_type.map_or("application/octet-stream", |media_type| media_type.as_str()),
            file_name: &download.file_name,
            is_public: download.public,
        };
        let (mut response, content) = representation.head(self, named_by)?;
        *response.body_mut() = match content {
            Content::Nothing => Body::empty(),
            Content::Range(_) | Content::Ranges(_) if self.method == Method::HEAD => {
                // Content that is not there, or is damaged in its first block, is not there for HEAD either.
                delivery.check(download).await?;
                Body::empty()
            }
            Content::Range(range) => match self.read(delivery, download, &range).await? {
                Some(bytes) => {
                    response.extensions_mut().insert(AccountedBody);
                    Body::from(bytes)
                }
                None => Body::from_stream(delivery.open(download, range).await?),
            },
            Content::Ranges(ranges) => stream_ranges(delivery, download, ranges).await?,
        };
        if let Some(lifecycle) = &download.lifecycle {
            announce(response.headers_mut(), lifecycle);
        }
        Ok(response)
    }

    /// The bytes of a small range, if memory for them can be reserved at once: they are read once. Otherwise they are streamed,
    /// and read again when the client receives them.
    async fn read(&self, delivery: &Delivery, download: &Download, range: &Range<u64>) -> Result<Option<Bytes>> {
        if range.end - range.start > Delivery::HELD {
            return Ok(None);
        }
        let Some(reservation) = self.share.as_ref().and_then(|share| share.try_reserve(Delivery::HELD)) else {
            return Ok(None);
        };
        let read = delivery.read(download, range.clone()).await?;
        Ok(read.map(|bytes| reservation.hold_all(bytes)))
    }

    /// The response with a generated text.
    pub(crate) fn respond_with_text(&self, text: &GeneratedText, named_by: NamedBy) -> Result<Response> {
        let representation = Representation {
            claim: text.claim(),
            modified: system_time(text.modified_at),
            media_type: "text/plain; charset=utf-8",
            file_name: &text.file_name,
            is_public: text.public,
        };
        let (mut response, content) = representation.head(self, named_by)?;
        let position = |at| usize::try_from(at).unwrap_or(usize::MAX);
        let bytes = |Range { start, end }| text.text.as_bytes().get(position(start)..position(end)).unwrap_or_default();
        *response.body_mut() = match content {
            _ if self.method == Method::HEAD => Body::empty(),
            Content::Nothing => Body::empty(),
            Content::Range(range) => Body::from(bytes(range).to_vec()),
            Content::Ranges(ranges) => {
                let (parts, end) = ranges.into_parts();
                let parts = parts.into_iter().flat_map(|(head, range)| [head, Bytes::copy_from_slice(bytes(range))]);
                Body::from(parts.chain([end]).collect::<Vec<_>>().concat())
            }
        };
        if let Some(lifecycle) = &text.lifecycle {
            announce(response.headers_mut(), lifecycle);
        }
        Ok(response)
    }

    /// Reports that a file is gone as 404 to Incus, which forgets its cached index only then.
    pub(crate) fn report(&self, problem: Problem) -> Problem {
        let agent = self.headers.get(header::USER_AGENT).map(HeaderValue::as_bytes);
        let is_incus = agent.is_some_and(|agent| agent.starts_with(b"Incus "));
        if is_incus && problem.is_gone() { problem.reported_as_not_found() } else { problem }
    }
}

/// A body with several ranges of a download. Each is opened when the previous one has been sent, so that one is open at
/// a time; the first is opened before the response. Small ones are all opened, and so verified, before it.
async fn stream_ranges(delivery: &Delivery, download: &Download, ranges: ByteRanges) -> Result<Body> {
    let is_small = ranges.size() <= VERIFIED_FIRST;
    let (parts, end) = ranges.into_parts();
    let (delivery, download) = (delivery.clone(), download.clone());
    let open = move |(head, range)| {
        let (delivery, download) = (delivery.clone(), download.clone());
        async move {
            let bytes = delivery.open(&download, range).await?;
            Ok(stream::once(async { Ok(head) }).chain(bytes.map_err(BoxError::from)).boxed())
        }
    };
    let opened: BoxStream<'static, Result<BoxStream<'static, Result<Bytes, BoxError>>, UseCaseError>> =
        stream::iter(parts).then(open).boxed();
    let opened = if is_small {
        let opened: Vec<_> = opened.try_collect().await?;
        stream::iter(opened).map(Ok).boxed()
    } else {
        opened
    };
    let mut opened = Box::pin(opened.peekable());
    if let Some(Err(error)) = opened.as_mut().next_if(Result::is_err).await {
        return Err(Problem::from(error));
    }
    let bytes = opened.map_err(|error: UseCaseError| BoxError::from(error)).try_flatten();
    Ok(Body::from_stream(bytes.chain(stream::once(async { Ok(end) }))))
}

/// What the body of a response consists of.
enum Content {
    /// No bytes.
    Nothing,
    /// A range of the representation, or all of it.
    Range(Range<u64>),
    /// Several ranges.
    Ranges(ByteRanges),
}

/// The metadata of the bytes that are served.
struct Representation<'a> {
    claim: BlobClaim,
    modified: SystemTime,
    media_type: &'a str,
    file_name: &'a str,
    is_public: bool,
}

impl Representation<'_> {
    /// The response without its body, and what the body of a GET request consists of.
    fn head(&self, request: &DownloadRequest, named_by: NamedBy) -> Result<(Response, Content)> {
        let size = self.claim.size.get();
        let etag: ETag = format!("\"{}\"", self.claim.digest).parse().map_err(|_| Problem::new(Code::Internal))?;
        let validators = Validators { etag: &etag, modified: Some(self.modified), size };
        let (status, content) = match validators.select(&request.method, &request.headers) {
            Selection::PreconditionFailed => return Err(Problem::content_has_changed()),
            Selection::Unsatisfiable => return Err(Problem::range_not_satisfiable(size)),
            Selection::NotModified => (StatusCode::NOT_MODIFIED, Content::Nothing),
            Selection::Whole => (StatusCode::OK, Content::Range(0..size)),
            Selection::Range(range) => (StatusCode::PARTIAL_CONTENT, Content::Range(range)),
            Selection::Ranges(ranges) => {
                let ranges = ByteRanges::new(&self.claim, self.media_type, ranges);
                (StatusCode::PARTIAL_CONTENT, Content::Ranges(ranges))
            }
        };
        let mut response = status.into_response();
        let headers = response.headers_mut();
        headers.reserve(USUAL_HEADERS);
        headers.typed_insert(etag);
        headers.typed_insert(LastModified::from(self.modified));
        headers.insert(header::CACHE_CONTROL, self.cache_control(named_by));
        headers.typed_insert(AcceptRanges::bytes());
        headers.insert(header::VARY, HeaderValue::from_static("Authorization"));
        headers.insert(ROBOTS_TAG, NO_INDEX);
        let (length, media_type) = match &content {
            Content::Nothing => return Ok((response, content)),
            Content::Range(range) => (range.end - range.start, self.media_type.to_owned()),
            Content::Ranges(ranges) => (ranges.size(), ranges.media_type()),
        };
        // Each of several ranges has its own (RFC 9110, section 15.3.7.2).
        if let (StatusCode::PARTIAL_CONTENT, Content::Range(range)) = (status, &content)
            && let Ok(content_range) = ContentRange::bytes(range.clone(), size)
        {
            headers.typed_insert(content_range);
        }
        headers.typed_insert(ContentLength(length));
        headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox"));
        let repr_digest = format!("sha-256=:{}:", STANDARD.encode(self.claim.digest.bytes()));
        for (name, value) in [
            (header::CONTENT_TYPE, &media_type),
            (REPR_DIGEST, &repr_digest),
            (header::CONTENT_DISPOSITION, &format!("attachment; filename=\"{}\"", self.file_name)),
        ] {
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.insert(name, value);
            }
        }
        Ok((response, content))
    }

    fn cache_control(&self, named_by: NamedBy) -> HeaderValue {
        HeaderValue::from_static(match (named_by, self.is_public) {
            (NamedBy::Digest, true) => "public, max-age=86400, immutable",
            (NamedBy::Digest, false) => "private, max-age=86400, immutable",
            (NamedBy::Version, true) => "public, max-age=300, must-revalidate",
            (NamedBy::Version, false) => "private, max-age=300, must-revalidate",
            (NamedBy::Alias, true) => "no-cache",
            (NamedBy::Alias, false) | (NamedBy::Link, _) => "private, no-cache",
        })
    }
}
