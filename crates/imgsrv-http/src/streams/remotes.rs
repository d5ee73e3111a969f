//! The Simple Streams documents of private remotes, kept in memory up to a bounded size.

use super::{
    Document,
    encode::{Encoded, Encoder},
    internal, respond,
};
use crate::response::problem::Problem;
use axum::{http::HeaderMap, response::Response};
use imgsrv_app::{Caller, RemoteEdition, Streams, UseCaseError};
use imgsrv_domain::ids::TokenId;
use imgsrv_simplestreams::{index_pieces, products_pieces};
use moka::sync::Cache;
use std::{io, sync::Arc};
use tokio::sync::Mutex;
use tracing::Span;

/// Memory for the documents: those of many hosts, or of few with very many images.
const CAPACITY_BYTES: u64 = 64 << 20;

/// Both documents of one edition of a remote.
struct RemoteDocument {
    edition: RemoteEdition,
    index: Encoded,
    images: Encoded,
}

impl RemoteDocument {
    /// About how much memory it takes.
    fn weight(&self) -> u32 {
        let documents = [&self.index, &self.images];
        let bytes: usize = documents.map(|one| one.plain.len() + one.gzip.len() + one.zstd.len()).iter().sum();
        u32::try_from(bytes + 4096).unwrap_or(u32::MAX)
    }
}

/// The documents of private remotes as of the last request for one. Their links differ for each token.
pub(crate) struct RemoteDocuments {
    streams: Arc<Streams>,
    cache: Cache<TokenId, Arc<RemoteDocument>>,
    /// Held while documents are made: one remote at a time, so that many of them do not occupy the server.
    making: Arc<Mutex<()>>,
}

impl RemoteDocuments {
    /// The documents over `streams`.
    pub(crate) fn new(streams: Arc<Streams>) -> Self {
        let weigher = |_: &TokenId, document: &Arc<RemoteDocument>| document.weight();
        let cache = Cache::builder().max_capacity(CAPACITY_BYTES).weigher(weigher).build();
        Self { streams, cache, making: Arc::default() }
    }

    /// The edition of the remote with the caller's token, if that may only read.
    pub(crate) async fn edition(&self, caller: &Caller) -> Result<RemoteEdition, UseCaseError> {
        self.streams.remote_edition(caller).await
    }

    /// The response to a GET or HEAD for `document` of an edition.
    pub(crate) async fn respond(
        &self,
        document: Document,
        edition: RemoteEdition,
        request: &HeaderMap,
    ) -> Result<Response, Problem> {
        let documents = self.of(edition).await?;
        let encoded = match document {
            Document::Index => &documents.index,
            Document::Images => &documents.images,
        };
        let tag = format!("{}-{}", documents.edition.epoch, encoded.tag);
        respond(encoded, &tag, "private, no-cache", request)
    }

    fn cached(&self, edition: &RemoteEdition) -> Option<Arc<RemoteDocument>> {
        self.cache.get(&edition.token).filter(|cached| cached.edition == *edition)
    }

    async fn of(&self, edition: RemoteEdition) -> Result<Arc<RemoteDocument>, Problem> {
        if let Some(cached) = self.cached(&edition) {
            return Ok(cached);
        }
        let making = Arc::clone(&self.making).lock_owned().await;
        if let Some(cached) = self.cached(&edition) {
            return Ok(cached);
        }
        let products = self.streams.remote_products(&edition).await?;
        let (cache, span) = (self.cache.clone(), Span::current());
        // Continues when the client disconnects, and keeps the result.
        let encoding = tokio::task::spawn_blocking(move || {
            let _making = making;
            span.in_scope(|| {
                let index = Encoder::default().encode(index_pieces(&products))?;
                let images = Encoder::default().encode(products_pieces(&products))?;
                let made = Arc::new(RemoteDocument { edition, index, images });
                cache.insert(made.edition.token, Arc::clone(&made));
                Ok::<_, io::Error>(made)
            })
        });
        encoding.await.map_err(|error| internal(&error))?.map_err(|error| internal(&error))
    }
}
