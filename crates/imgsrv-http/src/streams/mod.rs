//! The documents of Simple Streams, kept in memory in every encoding they are asked for in.

mod encode;

use crate::response::{
    conditional::any_tag,
    problem::{Code, Problem},
};
use axum::{
    body::{Body, Bytes},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use encode::{Encoded, Encoder};
use imgsrv_app::{Projection, Services};
use imgsrv_domain::transition::Revision;
use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, PoisonError, RwLock},
};
use tokio::sync::Mutex;

/// Which of the two documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Document {
    Index,
    Images,
}

/// Both documents of one state of the catalog.
struct Kept {
    revision: Revision,
    index: Encoded,
    images: Encoded,
}

/// The documents as they were last asked for.
#[derive(Default)]
pub(crate) struct StreamDocuments {
    current: RwLock<Option<Arc<Kept>>>,
    /// Held by whoever brings them up to date.
    encoders: Arc<Mutex<Encoders>>,
}

#[derive(Default)]
struct Encoders {
    index: Encoder,
    images: Encoder,
}

impl Encoders {
    fn encode(&mut self, projection: &Projection) -> io::Result<Kept> {
        let index = imgsrv_simplestreams::index([]);
        let (head, tail) = split(&serde_json::to_string(&index)?, "\"products\":[");
        let keys = projection.products.keys();
        let entries = keys.map(|key| Ok((serde_json::to_string(key)?, key.as_str())));
        let index = self.index.encode(&head, entries, &tail)?;

        let empty = imgsrv_simplestreams::products(BTreeMap::new());
        let (head, tail) = split(&serde_json::to_string(&empty)?, "\"products\":{");
        let entries = projection.products.iter().map(|(key, product)| {
            let mut entry = serde_json::to_string(key)?;
            entry.reserve(product.len() + 1);
            entry.push(':');
            entry.push_str(product);
            Ok((entry, key.as_str()))
        });
        let images = self.images.encode(&head, entries, &tail)?;
        Ok(Kept { revision: projection.revision, index, images })
    }
}

/// What comes before and after the entries of a document: those between `start` and the next closing bracket go.
fn split(document: &str, start: &str) -> (String, String) {
    let at = document.find(start).map_or(document.len(), |at| at + start.len());
    let (head, rest) = document.split_at(at);
    let close = if start.ends_with('[') { ']' } else { '}' };
    let tail = rest.find(close).map_or("", |at| &rest[at..]);
    (head.to_owned(), tail.to_owned())
}

impl StreamDocuments {
    /// Answers a GET or HEAD for `document`, as the catalog is now.
    pub(crate) async fn answer(
        &self,
        services: &Services,
        document: Document,
        request: &HeaderMap,
    ) -> Result<Response, Problem> {
        let projection = services.streams().current().await?;
        let kept = self.kept(&projection).await?;
        let encoded = match document {
            Document::Index => &kept.index,
            Document::Images => &kept.images,
        };
        let encoding = Encoding::preferred(request);
        let tag = format!("\"{}-{:08x}{}\"", kept.revision.get(), encoded.crc, encoding.suffix());
        let mut response = if any_tag(request, header::IF_NONE_MATCH, |held| held == tag) {
            StatusCode::NOT_MODIFIED.into_response()
        } else {
            let mut response = Body::from(encoding.of(encoded)).into_response();
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            if let Some(name) = encoding.name() {
                response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static(name));
            }
            response
        };
        let headers = response.headers_mut();
        if let Ok(tag) = HeaderValue::try_from(tag) {
            headers.insert(header::ETAG, tag);
        }
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.insert(header::VARY, HeaderValue::from_static("Accept-Encoding, Authorization"));
        Ok(response)
    }

    async fn kept(&self, projection: &Arc<Projection>) -> Result<Arc<Kept>, Problem> {
        let found = || {
            let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
            current.clone().filter(|current| current.revision == projection.revision)
        };
        if let Some(kept) = found() {
            return Ok(kept);
        }
        let mut encoders = Arc::clone(&self.encoders).lock_owned().await;
        if let Some(kept) = found() {
            return Ok(kept);
        }
        let projection = Arc::clone(projection);
        let encoding = tokio::task::spawn_blocking(move || {
            let kept = encoders.encode(&projection);
            (kept, encoders)
        });
        let failed = |error: &dyn std::error::Error| {
            tracing::error!(%error, "the documents of Simple Streams could not be written");
            Problem::new(Code::Internal)
        };
        let (kept, _encoders) = encoding.await.map_err(|error| failed(&error))?;
        let kept = Arc::new(kept.map_err(|error| failed(&error))?);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&kept));
        Ok(kept)
    }
}

/// An encoding of a document (RFC 9110, section 8.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Zstd,
    Gzip,
    Identity,
}

impl Encoding {
    /// The one that the client likes best, the smallest of several (RFC 9110, section 12.5.3).
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

    /// What tells the entity tags of the encodings apart.
    const fn suffix(self) -> &'static str {
        match self {
            Self::Zstd => "-zstd",
            Self::Gzip => "-gzip",
            Self::Identity => "",
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
    fn the_encoding_that_is_liked_best_is_chosen() {
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
