//! Binding a catalog to its blob store.
//!
//! Two catalogs on one store would delete each other's staged bytes; a node with another store than the other nodes would
//! quarantine blobs that are not damaged.

use crate::{context::Context, work::retry::retrying};
use imgsrv_domain::ports::{BlobError, CatalogError, CatalogIdentity, StoreOwner};

/// Why a catalog and a blob store cannot be used together.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The store belongs to another catalog.
    #[error("it contains the blobs of another catalog")]
    OtherCatalog,
    /// The catalog is bound to another store.
    #[error("the blobs of this catalog are in another blob store")]
    OtherStore,
    /// The store failed.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// The catalog failed.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
}

/// Binds the catalog to the blob store, or verifies that it is bound to it.
#[tracing::instrument(name = "store.bind", level = "debug", skip_all, err(level = "debug"))]
pub(crate) async fn bind_blob_store(context: &Context) -> Result<(), BindError> {
    let CatalogIdentity { catalog, store: bound } = context.catalog.identity().await?;
    let mut owners = context.blobs.owners().await?;
    if owners.is_empty() && bound.is_none() {
        context.blobs.claim(StoreOwner { catalog, store: context.ids.next() }).await?;
        owners = context.blobs.owners().await?;
    }
    // When two catalogs claim one store at once, at most one of them sees only its own claim and is bound.
    if bound.is_some_and(|store| owners.contains(&StoreOwner { catalog, store })) {
        return Ok(());
    }
    if owners.iter().any(|owner| owner.catalog != catalog) {
        return Err(BindError::OtherCatalog);
    }
    let Some(store) = owners.first().map(|owner| owner.store) else { return Err(BindError::OtherStore) };
    let bound = retrying(|| async {
        let mut tx = context.catalog.begin().await?;
        let bound = tx.bind_store(store).await?;
        tx.commit().await?;
        Ok::<_, CatalogError>(bound)
    })
    .await?;
    // A node that claimed the store after this one had read its owners may have bound it first.
    let is_bound = |owner: &StoreOwner| owner.store == bound;
    let is_ours = owners.iter().any(is_bound) || context.blobs.owners().await?.iter().any(is_bound);
    if is_ours { Ok(()) } else { Err(BindError::OtherStore) }
}
