//! Tying a catalog and a blob store to each other.
//!
//! Two catalogs on one store would take each other's staged bytes for leftovers; one node on another store than the
//! others would find blobs missing that are not.

use crate::{retry::retrying, services::Context};
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
        let owner = match self.blobs.owner().await? {
            Some(owner) => owner,
            None if bound.is_some() => return Err(BindError::OtherStore),
            None => {
                let ours = StoreOwner { catalog, store: self.ids.next() };
                self.blobs.set_owner(ours).await?;
                // Another node may have been first.
                self.blobs.owner().await?.unwrap_or(ours)
            }
        };
        if owner.catalog != catalog {
            return Err(BindError::OtherCatalog);
        }
        let bound = retrying(|| async {
            let mut tx = self.catalog.begin().await?;
            let bound = tx.bind_store(owner.store).await?;
            tx.commit().await?;
            Ok::<_, CatalogError>(bound)
        })
        .await?;
        if bound == owner.store { Ok(()) } else { Err(BindError::OtherStore) }
    }
}
