//! The blobs that everybody may read, by digest.

use crate::{
    context::{Adapters, Context},
    work::revision::CURRENT_FOR,
};
use imgsrv_domain::{
    digest::Digest,
    ports::{CatalogError, TrustedBlob, View},
    time::Timestamp,
    transition::Revision,
};
use moka::sync::Cache;

/// How many blobs are remembered; each takes a few hundred bytes.
const MAX_BLOBS: u64 = 1 << 14;

/// Remembers each for a second, in which the catalog's revision must not change: until when a version is served depends on
/// the time as well.
pub(crate) struct PublicBlobs(Cache<Digest, Known>);

#[derive(Clone)]
struct Known {
    blob: TrustedBlob,
    revision: Revision,
    read_at: Timestamp,
}

impl Default for PublicBlobs {
    fn default() -> Self {
        Self(Cache::new(MAX_BLOBS))
    }
}

impl PublicBlobs {
    /// The trusted blob with that digest, if everybody may read it. Other digests are looked up each time, whether or not
    /// there is such a blob.
    pub(crate) async fn get(&self, context: &Context, digest: &Digest) -> Result<Option<TrustedBlob>, CatalogError> {
        let Context { adapters: Adapters { catalog, clock, .. }, revision, .. } = context;
        let (now, current) = (clock.now(), revision.known(&**catalog));
        let is_current = |known: &Known| {
            Some(known.revision) == current && (known.read_at..known.read_at.plus(CURRENT_FOR)).contains(&now)
        };
        if let Some(known) = self.0.get(digest).filter(is_current) {
            return Ok(Some(known.blob));
        }
        let found = catalog.get_blob(digest, View::Public).await?;
        match (&found, current) {
            (Some(blob), Some(revision)) => {
                self.0.insert(*digest, Known { blob: blob.clone(), revision, read_at: now });
            }
            // The next request remembers it. If the revision cannot be read, that one reads the blob again.
            (Some(_), None) => drop(revision.current(&**catalog).await),
            (None, _) => {}
        }
        Ok(found)
    }
}
