//! The Simple Streams documents, cached in memory in every encoding.

mod encode;

use crate::{
    middleware::budgeted::SharedBody,
    response::problem::{Code, Problem},
};
use axum::{
    body::{Body, Bytes},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use encode::{Encoded, Encoder};
use headers::{ETag, HeaderMapExt, IfNoneMatch};
use imgsrv_app::{Projection, Streams};
use imgsrv_domain::{error_chain, transition::Revision};
use std::{
    collections::BTreeMap,
    error::Error,
    io,
    sync::{Arc, PoisonError, RwLock},
};
use tokio::sync::Mutex;

/// One of the two documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Document {
    Index,
    Images,
}

/// Both documents at one revision of the catalog.
struct EncodedDocuments {
    revision: Revision,
    index: Encoded,
    images: Encoded,
}

/// The documents as of the last request for one.
pub(crate) struct StreamDocuments {
    streams: Arc<Streams>,
    current: RwLock<Option<Arc<EncodedDocuments>>>,
    /// Locked while the documents are encoded, so that concurrent requests share one encoding.
    encoders: Arc<Mutex<Encoders>>,
}

#[derive(Default)]
struct Encoders {
    index: Encoder,
    images: Encoder,
}

impl Encoders {
    fn encode(&mut self, projection: &Projection) -> io::Result<EncodedDocuments> {
        let index = imgsrv_simplestreams::index([]);
        let (head, tail) = split(&serde_json::to_string(&index)?, "\"products\":[");
        let keys = projection.products.keys();
        let entries = keys.map(|key| Ok((serde_json::to_string(key)?, key.as_str())));
        let index = self.index.encode(&head, entries, &tail)?;

        let empty = imgsrv_simplestreams::products(BTreeMap::new());
        let (head, tail) = split(&serde_json::to_string(&empty)?, "\"products\":{");
        let entries = projection.products.iter().map(|(key, product)| {
            let entry = [&serde_json::to_string(key)?, ":", product].concat();
            Ok((entry, key.as_str()))
        });
        let images = self.images.encode(&head, entries, &tail)?;
        Ok(EncodedDocuments { revision: projection.revision, index, images })
    }
}

/// The document before and after its entries, which are between `start` and the next closing bracket.
fn split(document: &str, start: &str) -> (String, String) {
    let at = document.find(start).map_or(document.len(), |at| at + start.len());
    let (head, rest) = document.split_at(at);
    let close = if start.ends_with('[') { ']' } else { '}' };
    let tail = rest.find(close).map_or("", |at| &rest[at..]);
    (head.to_owned(), tail.to_owned())
}

impl StreamDocuments {
    /// The documents over `streams`.
    pub(crate) fn new(streams: Arc<Streams>) -> Self {
        Self { streams, current: RwLock::default(), encoders: Arc::default() }
    }

    /// The response to a GET or HEAD for `document`, as of the current revision of the catalog.
    pub(crate) async fn respond(&self, document: Document, request: &HeaderMap) -> Result<Response, Problem> {
        let projection = self.streams.current().await?;
        let documents = self.encoded(&projection).await?;
        let encoded = match document {
            Document::Index => &documents.index,
            Document::Images => &documents.images,
        };
        let encoding = Encoding::preferred(request);
        // Each encoding has its own entity tag.
        let suffix = encoding.name().map(|name| format!("-{name}")).unwrap_or_default();
        let etag = format!("\"{}-{:08x}{suffix}\"", documents.revision.get(), encoded.crc);
        let etag: ETag = etag.parse().map_err(|_| Problem::new(Code::Internal))?;
        let condition = request.typed_get::<IfNoneMatch>();
        let is_current = condition.is_some_and(|condition| !condition.precondition_passes(&etag));
        let mut response = if is_current {
            StatusCode::NOT_MODIFIED.into_response()
        } else {
            let mut response = Body::from(encoding.of(encoded)).into_response();
            response.extensions_mut().insert(SharedBody);
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            if let Some(name) = encoding.name() {
                response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static(name));
            }
            response
        };
        let headers = response.headers_mut();
        headers.typed_insert(etag);
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.insert(header::VARY, HeaderValue::from_static("Accept-Encoding, Authorization"));
        Ok(response)
    }

    async fn encoded(&self, projection: &Arc<Projection>) -> Result<Arc<EncodedDocuments>, Problem> {
        let cached = || {
            let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
            current.clone().filter(|current| current.revision == projection.revision)
        };
        if let Some(documents) = cached() {
            return Ok(documents);
        }
        let mut encoders = Arc::clone(&self.encoders).lock_owned().await;
        if let Some(documents) = cached() {
            return Ok(documents);
        }
        let projection = Arc::clone(projection);
        let encoding = tokio::task::spawn_blocking(move || {
            let documents = encoders.encode(&projection);
            (documents, encoders)
        });
        let (documents, _encoders) = encoding.await.map_err(|error| internal(&error))?;
        let documents = Arc::new(documents.map_err(|error| internal(&error))?);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&documents));
        Ok(documents)
    }
}

fn internal(error: &(dyn Error + 'static)) -> Problem {
    tracing::error!(error = error_chain::text(error), "encoding the Simple Streams documents failed");
    Problem::new(Code::Internal)
}

/// An encoding of a document (RFC 9110, section 8.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Zstd,
    Gzip,
    Identity,
}

impl Encoding {
    /// The client's preferred encoding, and of equal ones the smallest (RFC 9110, section 12.5.3).
    fn preferred(request: &HeaderMap) -> Self {
        let values = request.get_all(header::ACCEPT_ENCODING);
        let offers: Vec<&str> =
            values.iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')).collect();
        let quality = |name: &str| {
            let qualities = offers.iter().filter_map(|offer| {
                let mut parts = offer.split(';').map(str::trim);
                let is_it = parts.next().is_some_and(|coding| coding.eq_ignore_ascii_case(name));
                let quality = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
                let whole = quality.map_or(Some(1.0), |quality| quality.parse::<f32>().ok());
                is_it.then_some(whole.unwrap_or(0.0))
            });
            qualities.fold(0.0, f32::max)
        };
        let (zstd, gzip) = (quality("zstd"), quality("gzip"));
        if zstd > 0.0 && zstd >= gzip {
            Self::Zstd
        } else if gzip > 0.0 {
            Self::Gzip
        } else {
            Self::Identity
        }
    }

    const fn name(self) -> Option<&'static str> {
        match self {
            Self::Zstd => Some("zstd"),
            Self::Gzip => Some("gzip"),
            Self::Identity => None,
        }
    }

    fn of(self, encoded: &Encoded) -> Bytes {
        match self {
            Self::Zstd => encoded.zstd.clone(),
            Self::Gzip => encoded.gzip.clone(),
            Self::Identity => encoded.plain.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_preferred_encoding_is_selected() {
        for (accepted, preferred) in [
            ("", Encoding::Identity),
            ("br, deflate", Encoding::Identity),
            ("gzip", Encoding::Gzip),
            ("gzip, deflate, br, zstd", Encoding::Zstd),
            ("GZIP;q=0.5", Encoding::Gzip),
            ("zstd;q=0, gzip;q=1.0", Encoding::Gzip),
            ("gzip; q=0.000", Encoding::Identity),
            ("gzip;q=0.5, zstd;q=0.1", Encoding::Gzip),
            ("gzip;q=much", Encoding::Identity),
        ] {
            let headers = HeaderMap::from_iter([(header::ACCEPT_ENCODING, HeaderValue::from_static(accepted))]);
            assert_eq!(Encoding::preferred(&headers), preferred, "{accepted}");
        }
    }

    #[test]
    fn a_document_is_split_around_its_entries() {
        let (head, tail) = split(r#"{"a":1,"products":{}}"#, "\"products\":{");
        assert_eq!((head.as_str(), tail.as_str()), (r#"{"a":1,"products":{"#, "}}"));
        let (head, tail) = split(r#"{"products":["x","y"]}"#, "\"products\":[");
        assert_eq!((head.as_str(), tail.as_str()), (r#"{"products":["#, "]}"));
    }
}
