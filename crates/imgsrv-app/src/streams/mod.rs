//! Simple Streams: the projection of the catalog, cached and updated with what has changed.

mod index;

use crate::{context::Context, error::Result};
use imgsrv_domain::{ports::CatalogError, transition::Revision};
use index::StreamIndex;
use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock},
};
use tokio::sync::Mutex;
use tracing::Span;

/// The products of one revision of the catalog.
#[derive(Debug)]
pub struct Projection {
    /// The revision.
    pub revision: Revision,
    /// The products by key, each as the JSON object that documents contain.
    pub products: BTreeMap<String, Arc<str>>,
}

/// The use cases of Simple Streams.
pub struct Streams {
    context: Arc<Context>,
    cached: RwLock<Option<Arc<Projection>>>,
    /// What the projection is derived from, locked while it is updated.
    index: Arc<Mutex<StreamIndex>>,
}

impl Streams {
    pub(crate) fn new(context: Arc<Context>) -> Self {
        Self { context, cached: RwLock::default(), index: Arc::default() }
    }

    /// The products of the catalog as it is now, including changes of other nodes. Costs one small query, unless something
    /// has changed since the last call; then it reads what has changed.
    #[tracing::instrument(name = "streams.current", level = "debug", skip_all, err(level = "debug"))]
    pub async fn current(&self) -> Result<Arc<Projection>> {
        let catalog = &self.context.catalog;
        let revision = self.context.revision.current(&**catalog).await?;
        if let Some(current) = self.cached_at(revision) {
            return Ok(current);
        }
        let mut index = Arc::clone(&self.index).lock_owned().await;
        let mut changes = catalog.get_stream_changes(index.revision()).await?;
        // A concurrent call may have updated it meanwhile.
        if let Some(current) = self.cached_at(changes.revision) {
            return Ok(current);
        }
        if index.revision() > Some(changes.revision) {
            // The catalog was restored from a backup.
            *index = StreamIndex::default();
            changes = catalog.get_stream_changes(None).await?;
        }
        // Cancel-safe: the lock moves into the task.
        let span = Span::current();
        let projected = tokio::task::spawn_blocking(move || {
            let revision = changes.revision;
            span.in_scope(|| index.apply(changes))?;
            Ok::<_, serde_json::Error>((Projection { revision, products: index.products().clone() }, index))
        });
        let projected = projected.await.map_err(CatalogError::backend)?;
        let (projection, _index) = projected.map_err(CatalogError::backend)?;
        let current = Arc::new(projection);
        *self.cached.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&current));
        Ok(current)
    }

    /// The cached projection, if it is of that revision.
    fn cached_at(&self, revision: Revision) -> Option<Arc<Projection>> {
        let cached = self.cached.read().unwrap_or_else(PoisonError::into_inner);
        cached.clone().filter(|cached| cached.revision == revision)
    }
}
