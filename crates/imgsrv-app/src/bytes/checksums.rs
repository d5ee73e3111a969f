//! The block checksums of blobs that were read recently.

use imgsrv_domain::{
    blocks::BlockChecksums,
    ports::{BlobName, Catalog, CatalogError, SECTION_BLOCKS},
};
use moka::sync::Cache;
use std::sync::Arc;

/// Memory for checksums: those of 2 TiB.
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

    /// The checksum of block `index` as the catalog has it now.
    pub(crate) async fn reread(
        &self,
        catalog: &dyn Catalog,
        name: &BlobName,
        index: u64,
    ) -> Result<Option<u32>, CatalogError> {
        let (section, position) = section_of(index);
        self.0.invalidate(&(name.clone(), section));
        Ok(self.section(catalog, name, section).await?.and_then(|section| section.get(position)))
    }

    /// Forgets the first `sections` sections of `name`.
    pub(crate) fn forget(&self, name: &BlobName, sections: u32) {
        for section in 0..sections {
            self.0.invalidate(&(name.clone(), section));
        }
    }
}
