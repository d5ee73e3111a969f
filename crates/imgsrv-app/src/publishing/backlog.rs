//! Listing in streams what was published without them: before they were kept, or by a node of an earlier version.

use super::{
    index::{Entries, record},
    steps::Trouble,
};
use crate::{retry::retrying, services::Context, work::WorkError};
use imgsrv_domain::{
    ports::{CatalogError, Visibility},
    version::Version,
};

/// Lists every version that waits. It is frozen already: what cannot be listed is told of in its warnings, as when it is
/// published. One that cannot be read now does not keep the others waiting, and is left for the next time.
pub(crate) async fn list_backlog(context: &Context) -> Result<(), WorkError> {
    let (mut after, mut failure) = (None, None);
    while let Some(version) = context.catalog.get_unlisted(after).await? {
        after = Some(version.id);
        if let Err(error) = list(context, &version).await {
            tracing::warn!(version = version.path(), %error, "a published version is not listed in streams yet");
            failure = Some(error);
        }
    }
    failure.map_or(Ok(()), Err)
}

async fn list(context: &Context, version: &Version) -> Result<(), WorkError> {
    let found = context.catalog.get_manifest(&version.image, &version.name, Visibility::All).await?;
    let Some(manifest) = found else { return Ok(()) };
    let mut entries = Entries::new(context, &manifest);
    for entry in entries.in_order() {
        match entries.index(entry).await {
            Ok(()) => {}
            Err(Trouble::Passing(error)) => return Err(error),
            Err(Trouble::Final(why)) => entries.warn(&entry.artifact, &why),
        }
    }
    let indexed = entries.indexed;
    retrying(|| async {
        let mut tx = context.catalog.begin().await?;
        // Another node may have been faster.
        if tx.is_unlisted(version.id).await? {
            record(&mut *tx, version.id, &indexed).await?;
            tx.mark_listed(version.id).await?;
            tx.bump_catalog_revision(version.image_id).await?;
            tx.list_in_streams(version.id).await?;
            tx.commit().await?;
        }
        Ok::<_, CatalogError>(())
    })
    .await?;
    Ok(())
}
