//! Tying a catalog and a blob store to each other.
//!
//! Two catalogs on one store would take each other's staged bytes for leftovers; one node on another store than the
//! others would find blobs missing that are not.

use crate::{context::Context, work::retry::retrying};
use imgsrv_domain::ports::{BlobError, CatalogError, CatalogIdentity, StoreOwner};

/// Why a catalog and a store do not go together.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The store is another catalog's.
    #[error("it holds the blobs of another catalog")]
    OtherCatalog,
    /// The catalog's blobs are in another store.
    #[error("the blobs of this catalog are in another store")]
    OtherStore,
    /// The store failed.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// The catalog failed.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
}

impl Context {
    pub(crate) async fn bind_blob_store(&self) -> Result<(), BindError> {
        let CatalogIdentity { catalog, store: bound } = self.catalog.identity().await?;
        let mut owners = self.blobs.owners().await?;
        if owners.is_empty() && bound.is_none() {
            self.blobs.claim(StoreOwner { catalog, store: self.ids.next() }).await?;
            owners = self.blobs.owners().await?;
        }
        // Of two catalogs that claim one store in the same moment, at most one sees its claim alone, and is bound.
        if bound.is_some_and(|store| owners.contains(&StoreOwner { catalog, store })) {
            return Ok(());
        }
        if owners.iter().any(|owner| owner.catalog != catalog) {
            return Err(BindError::OtherCatalog);
        }
        let Some(store) = owners.first().map(|owner| owner.store) else { return Err(BindError::OtherStore) };
        let bound = retrying(|| async {
            let mut tx = self.catalog.begin().await?;
            let bound = tx.bind_store(store).await?;
            tx.commit().await?;
            Ok::<_, CatalogError>(bound)
        })
        .await?;
        // A node that claimed the store after this one had looked may have been the first to bind it.
        let is_bound = |owner: &StoreOwner| owner.store == bound;
        if owners.iter().any(is_bound) || self.blobs.owners().await?.iter().any(is_bound) {
            Ok(())
        } else {
            Err(BindError::OtherStore)
        }
    }
}
