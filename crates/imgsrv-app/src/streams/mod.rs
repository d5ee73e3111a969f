//! Simple Streams: the projection of the catalog, cached and updated with what has changed.

mod index;
mod remote;

pub use remote::RemoteEdition;

use crate::{context::Context, error::Result, work::detach::detached};
use imgsrv_domain::{
    ports::{Catalog, CatalogError, StreamChanges},
    transition::Revision,
};
use imgsrv_simplestreams::EncodedProducts;
use index::StreamIndex;
use std::sync::{
    Arc, PoisonError, RwLock,
    atomic::{AtomicU64, Ordering},
};
use tokio::sync::{Mutex, OwnedMutexGuard};

/// The products of one revision of the catalog.
#[derive(Debug)]
pub struct Projection {
    /// The revision.
    pub revision: Revision,
    /// Of two projections of this process, the one with the higher edition is newer. Those of one edition have the same
    /// products.
    pub edition: u64,
    /// The products.
    pub products: Arc<EncodedProducts>,
}

/// The use cases of Simple Streams.
pub struct Streams {
    context: Arc<Context>,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    /// Replaced only while the index is locked, by the projection of the index: a newer one, unless the catalog was
    /// restored from a backup.
    cached: RwLock<Option<Arc<Projection>>>,
    /// What the projection is derived from, locked while it is updated.
    index: Arc<Mutex<StreamIndex>>,
    /// How many updates have failed.
    failures: AtomicU64,
}

impl State {
    fn cached(&self) -> Option<Arc<Projection>> {
        self.cached.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The cached projection, if it is of that revision or a later one.
    fn cached_since(&self, revision: Revision) -> Option<Arc<Projection>> {
        self.cached().filter(|cached| cached.revision >= revision)
    }

    /// Applies changes to the index, and caches its projection before the index is unlocked.
    fn apply(
        &self,
        mut index: OwnedMutexGuard<StreamIndex>,
        changes: StreamChanges,
    ) -> Result<Arc<Projection>, serde_json::Error> {
        let revision = changes.revision;
        index.apply(changes).inspect_err(|_| self.fail())?;
        let (previous, products) = (self.cached(), Arc::clone(index.products()));
        let edition = match &previous {
            Some(previous) if Arc::ptr_eq(&previous.products, &products) => previous.edition,
            Some(previous) => previous.edition + 1,
            None => 0,
        };
        let current = Arc::new(Projection { revision, edition, products });
        *self.cached.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&current));
        Ok(current)
    }

    fn fail(&self) {
        self.failures.fetch_add(1, Ordering::SeqCst);
    }
}

impl Streams {
    pub(crate) fn new(context: Arc<Context>) -> Self {
        let index = Arc::new(Mutex::new(StreamIndex::of(context.settings.streams_newest)));
        Self { context, state: Arc::new(State { index, ..State::default() }) }
    }

    /// The products of the catalog as it is now, including changes of other nodes. Costs one small query, unless something
    /// has changed since the last call. In that case one call reads the changes, and concurrent calls wait for it.
    #[tracing::instrument(name = "streams.current", level = "debug", skip_all, err(level = "debug"))]
    pub async fn current(&self) -> Result<Arc<Projection>> {
        let state = &self.state;
        loop {
            let known = state.cached();
            let revision = self.context.revision.current(&*self.context.catalog).await?;
            // A revision that was read later than the projection is older only if the catalog was restored from a backup.
            let restored = known.filter(|known| known.revision > revision);
            if restored.is_none()
                && let Some(current) = state.cached_since(revision)
            {
                return Ok(current);
            }
            let failures = state.failures.load(Ordering::SeqCst);
            let index = Arc::clone(&state.index).lock_owned().await;
            // Another call may have updated it, or failed to, while this one waited.
            match &restored {
                None => {
                    if let Some(current) = state.cached_since(revision) {
                        return Ok(current);
                    }
                }
                Some(restored) => {
                    if !state.cached().is_some_and(|cached| Arc::ptr_eq(&cached, restored)) {
                        continue;
                    }
                }
            }
            if state.failures.load(Ordering::SeqCst) > failures {
                let why = "another request could not read the changes of the streams";
                return Err(CatalogError::Unavailable(why.into()).into());
            }
            // Continues when the client disconnects: other requests wait for it, and the first load may be slow.
            return Ok(detached(update(Arc::clone(&self.context), Arc::clone(state), index)).await?);
        }
    }
}

/// Updates the index and the projection.
async fn update(
    context: Arc<Context>,
    state: Arc<State>,
    mut index: OwnedMutexGuard<StreamIndex>,
) -> Result<Arc<Projection>, CatalogError> {
    let changes = match changes(&*context.catalog, &mut index).await {
        Ok(changes) => changes,
        Err(error) => {
            // Before the index is unlocked, so that waiting requests do not each retry the failed update.
            state.fail();
            return Err(error);
        }
    };
    let span = tracing::Span::current();
    let projected = tokio::task::spawn_blocking(move || span.in_scope(|| state.apply(index, changes))).await;
    projected.map_err(CatalogError::backend)?.map_err(CatalogError::backend)
}

/// What has changed since the revision of the index; everything if the catalog is older than the index.
async fn changes(catalog: &dyn Catalog, index: &mut StreamIndex) -> Result<StreamChanges, CatalogError> {
    let changes = catalog.get_stream_changes(index.revision()).await?;
    if index.revision() > Some(changes.revision) {
        // The catalog was restored from a backup.
        index.clear();
        return catalog.get_stream_changes(None).await;
    }
    Ok(changes)
}
