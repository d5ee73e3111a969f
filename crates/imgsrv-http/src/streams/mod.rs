//! The Simple Streams documents, cached in memory in every encoding.

mod encode;
mod remotes;

pub(crate) use remotes::RemoteDocuments;

use crate::{
    middleware::budgeted::AccountedBody,
    response::{
        conditional::{Preconditions, preconditions},
        problem::{Code, Problem},
    },
};
use axum::{
    body::{Body, Bytes},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use encode::{Encoded, Encoder};
use headers::{ETag, HeaderMapExt};
use imgsrv_app::{Projection, Streams};
use imgsrv_domain::error_chain;
use imgsrv_simplestreams::{index_pieces, products_pieces};
use std::{
    error::Error,
    io,
    sync::{Arc, PoisonError, RwLock},
};
use tokio::sync::Mutex;
use tracing::Span;

/// One of the two documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Document {
    Index,
    Images,
}

/// Both documents of one edition of the products.
struct EncodedDocuments {
    edition: u64,
    index: Encoded,
    images: Encoded,
}

/// The documents as of the last request for one.
pub(crate) struct StreamDocuments {
    streams: Arc<Streams>,
    encodings: Encodings,
}

/// The newest edition that was encoded.
#[derive(Clone, Default)]
struct Encodings {
    /// Replaced only while the encoders are locked, by a newer edition.
    current: Arc<RwLock<Option<Arc<EncodedDocuments>>>>,
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
        let Projection { edition, products, .. } = projection;
        Ok(EncodedDocuments {
            edition: *edition,
            index: self.index.encode(index_pieces(products))?,
            images: self.images.encode(products_pieces(products))?,
        })
    }
}

impl Encodings {
    /// The documents of that edition or a newer one.
    fn since(&self, edition: u64) -> Option<Arc<EncodedDocuments>> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        current.clone().filter(|current| current.edition >= edition)
    }

    /// The documents of `projection` or of a newer one.
    async fn of(&self, projection: &Arc<Projection>) -> Result<Arc<EncodedDocuments>, Problem> {
        if let Some(documents) = self.since(projection.edition) {
            return Ok(documents);
        }
        let mut encoders = Arc::clone(&self.encoders).lock_owned().await;
        if let Some(documents) = self.since(projection.edition) {
            return Ok(documents);
        }
        let (projection, current) = (Arc::clone(projection), Arc::clone(&self.current));
        // Continues when the client disconnects, and keeps the result before the encoders are unlocked.
        let span = Span::current();
        let encoding = tokio::task::spawn_blocking(move || {
            let documents = Arc::new(span.in_scope(|| encoders.encode(&projection))?);
            *current.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&documents));
            Ok::<_, io::Error>(documents)
        });
        encoding.await.map_err(|error| internal(&error))?.map_err(|error| internal(&error))
    }
}

impl StreamDocuments {
    /// The documents over `streams`.
    pub(crate) fn new(streams: Arc<Streams>) -> Self {
        Self { streams, encodings: Encodings::default() }
    }

    /// The response to a GET or HEAD for `document`, as of the current revision of the catalog.
    pub(crate) async fn respond(&self, document: Document, request: &HeaderMap) -> Result<Response, Problem> {
        let projection = self.streams.current().await?;
        let documents = self.encodings.of(&projection).await?;
        let encoded = match document {
            Document::Index => &documents.index,
            Document::Images => &documents.images,
        };
        respond(encoded, &encoded.tag, "no-cache", request)
    }
}

/// The response with a document, whose entity tag is `tag` and its encoding.
fn respond(
    encoded: &Encoded,
    tag: &str,
    cache_control: &'static str,
    request: &HeaderMap,
) -> Result<Response, Problem> {
    let encoding = Encoding::preferred(request);
    // Each encoding has its own entity tag.
    let suffix = encoding.name().map(|name| format!("-{name}")).unwrap_or_default();
    let etag: ETag = format!("\"{tag}{suffix}\"").parse().map_err(|_| Problem::new(Code::Internal))?;
    let mut response = match preconditions(&etag, None, request) {
        Preconditions::Failed => return Err(Problem::content_has_changed()),
        Preconditions::NotModified => StatusCode::NOT_MODIFIED.into_response(),
        Preconditions::Met => {
            let mut response = Body::from(encoding.of(encoded)).into_response();
            response.extensions_mut().insert(AccountedBody);
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            if let Some(name) = encoding.name() {
                response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static(name));
            }
            response
        }
    };
    let headers = response.headers_mut();
    headers.typed_insert(etag);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache_control));
    headers.insert(header::VARY, HeaderValue::from_static("Accept-Encoding, Authorization"));
    Ok(response)
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
    use imgsrv_domain::transition::Revision;

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

    fn projection(edition: u64) -> Arc<Projection> {
        let product = (format!("product {edition}"), "{}".into());
        Arc::new(Projection { revision: Revision::new(1), edition, products: Arc::new([product].into()) })
    }

    #[tokio::test]
    async fn an_older_edition_does_not_replace_a_newer_one() {
        let encodings = Encodings::default();
        for (requested, served) in [(1, 1), (3, 3), (2, 3), (3, 3), (1, 3), (4, 4)] {
            let documents = encodings.of(&projection(requested)).await.expect("documents");
            assert_eq!(documents.edition, served, "{requested} is requested");
        }
    }

    #[tokio::test]
    async fn concurrent_requests_share_one_encoding() {
        let (encodings, projection) = (Encodings::default(), projection(1));
        let (one, other) = tokio::join!(encodings.of(&projection), encodings.of(&projection));
        assert!(Arc::ptr_eq(&one.expect("documents"), &other.expect("documents")));
    }
}
