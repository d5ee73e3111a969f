//! The block checksums of blobs that were read recently.

use imgsrv_domain::{
    blocks::{BLOCK_BYTES, BlockChecksums},
    ports::{BlobName, Catalog, CatalogError, SECTION_BLOCKS},
};
use moka::sync::Cache;
use std::{ops::Range, sync::Arc};

/// Memory for checksums: those of 128 GiB.
const CAPACITY_BYTES: u64 = 32 << 20;

type Key = (BlobName, u32);

/// Caches checksums: those of one name do not change, unless they are found to be wrong.
pub(crate) struct Checksums(Cache<Key, Arc<BlockChecksums>>);

impl Default for Checksums {
    fn default() -> Self {
        let weigher = |(name, _): &Key, section: &Arc<BlockChecksums>| {
            u32::try_from(name.as_str().len() + 4 * section.len()).unwrap_or(u32::MAX)
        };
        Self(Cache::builder().max_capacity(CAPACITY_BYTES).weigher(weigher).build())
    }
}

/// The section that has the checksum of block `index`, and its position there.
pub(crate) fn section_of(index: u64) -> (u32, usize) {
    let length = SECTION_BLOCKS as u64;
    (u32::try_from(index / length).unwrap_or(u32::MAX), usize::try_from(index % length).unwrap_or(usize::MAX))
}

impl Checksums {
    /// A section of the checksums of `name`; absent if the catalog has none.
    pub(crate) async fn section(
        &self,
        catalog: &dyn Catalog,
        name: &BlobName,
        section: u32,
    ) -> Result<Option<Arc<BlockChecksums>>, CatalogError> {
        let key = (name.clone(), section);
        if let Some(cached) = self.0.get(&key) {
            return Ok(Some(cached));
        }
        let read = catalog.get_block_checksums(name, section).await?.map(Arc::new);
        if let Some(read) = &read {
            self.0.insert(key, Arc::clone(read));
        }
        Ok(read)
    }

    /// Forgets the checksums of the blocks in `span`, so that the catalog is read again.
    pub(crate) fn forget_span(&self, name: &BlobName, span: &Range<u64>) {
        let section = |at: u64| section_of(at / BLOCK_BYTES).0;
        for section in section(span.start)..=section(span.end.saturating_sub(1)) {
            self.0.invalidate(&(name.clone(), section));
        }
    }

    /// Forgets the first `sections` sections of `name`.
    pub(crate) fn forget(&self, name: &BlobName, sections: u32) {
        for section in 0..sections {
            self.0.invalidate(&(name.clone(), section));
        }
    }
}
