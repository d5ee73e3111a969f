//! The cache of published versions.
//!
//! A published version never changes. Its image's metadata and the trust in its blobs do, and both changes raise the
//! catalog's revision: a cached version is served while the revision at which it was read is still the catalog's.

use crate::context::Context;
use imgsrv_domain::{
    digest::Digest,
    image::Image,
    manifest::{Manifest, ManifestFile},
    names::{ImageName, RefName, VersionName},
    ports::{CatalogError, TrustedBlob, Visibility},
    transition::Revision,
    version::Version,
};
use moka::sync::Cache;
use std::{collections::HashMap, sync::Arc};
use tokio::sync::OnceCell;

/// Memory for cached versions: enough for 65 thousand files, which few catalogs serve at once.
const CAPACITY_BYTES: u64 = 64 << 20;
/// More memory than an artifact or attachment usually takes with its file name and its blob.
const BYTES_PER_FILE: usize = 1 << 10;

type Key = (ImageName, VersionName);

/// A published version, as it was at one revision of the catalog.
pub(crate) struct PublishedVersion {
    revision: Revision,
    pub(crate) manifest: Arc<Manifest>,
    /// Its files by name.
    pub(crate) files: Arc<[ManifestFile]>,
    /// Its trusted blobs, read when the first file is.
    blobs: OnceCell<HashMap<Digest, TrustedBlob>>,
}

impl PublishedVersion {
    /// The file with exactly that name.
    pub(crate) fn file(&self, name: &str) -> Option<&ManifestFile> {
        let at = self.files.binary_search_by(|file| file.name.as_str().cmp(name)).ok()?;
        self.files.get(at)
    }

    /// About how much memory it takes.
    fn weight(&self) -> u32 {
        let Manifest { image, warnings, .. } = &*self.manifest;
        let description = image.description.as_ref().map_or(0, |text| text.as_str().len());
        let reasons: usize = warnings.iter().map(|warning| warning.reason.len()).sum();
        let bytes = (self.files.len() + 1) * BYTES_PER_FILE + description + reasons;
        u32::try_from(bytes).unwrap_or(u32::MAX)
    }
}

/// Published versions, cached up to a bounded size.
pub(crate) struct PublishedVersions {
    context: Arc<Context>,
    cache: Cache<Key, Arc<PublishedVersion>>,
}

impl PublishedVersions {
    pub(crate) fn new(context: Arc<Context>) -> Self {
        let weigher = |_: &Key, version: &Arc<PublishedVersion>| version.weight();
        let cache = Cache::builder().max_capacity(CAPACITY_BYTES).weigher(weigher).build();
        Self { context, cache }
    }

    /// The published version of that name, as it was less than a second ago or later. Changes of this node count at once.
    pub(crate) async fn by_version(
        &self,
        image: &ImageName,
        version: &VersionName,
    ) -> Result<Option<Arc<PublishedVersion>>, CatalogError> {
        let key = (image.clone(), version.clone());
        if let Some(cached) = self.cache.get(&key)
            && cached.revision == self.context.revision.recent(&*self.context.catalog).await?
        {
            return Ok(Some(cached));
        }
        let reading = self.context.revision.begin_reading();
        let Some(found) = self.resolve_version(image, version).await? else { return Ok(None) };
        self.context.revision.remember(reading, found.revision);
        self.load(found).await.map(Some)
    }

    /// The published version of that name, or the one that the alias of that name points to now.
    pub(crate) async fn by_ref(
        &self,
        image: &ImageName,
        reference: &RefName,
    ) -> Result<Option<Arc<PublishedVersion>>, CatalogError> {
        // The name of a published version is never an alias of its image.
        if let Ok(version) = reference.as_str().parse::<VersionName>()
            && self.cache.contains_key(&(image.clone(), version.clone()))
        {
            return self.by_version(image, &version).await;
        }
        let reading = self.context.revision.begin_reading();
        let Some(found) = self.resolve_ref(image, reference).await? else { return Ok(None) };
        self.context.revision.remember(reading, found.revision);
        self.load(found).await.map(Some)
    }

    /// Reads what is not cached of a version, and caches it.
    #[expect(clippy::unused_async, reason = "reads the entries soon")]
    async fn load(&self, found: Found) -> Result<Arc<PublishedVersion>, CatalogError> {
        let Found { revision, image, version, manifest } = found;
        let key = (image.name.clone(), version.name.clone());
        let cached = self.cache.get(&key).filter(|cached| cached.manifest.version.id == version.id);
        let (entries, warnings, files) = match cached {
            Some(cached) if cached.revision == revision => return Ok(cached),
            Some(cached) => {
                let Manifest { entries, warnings, .. } = (*cached.manifest).clone();
                (entries, warnings, Arc::clone(&cached.files))
            }
            None => {
                let files = manifest.files().into();
                (manifest.entries, manifest.warnings, files)
            }
        };
        let manifest = Arc::new(Manifest { image, version, entries, warnings });
        let loaded = Arc::new(PublishedVersion { revision, manifest, files, blobs: OnceCell::new() });
        self.cache.insert(key, Arc::clone(&loaded));
        Ok(loaded)
    }

    /// The trusted blob of a file of a published version.
    pub(crate) async fn blob(
        &self,
        version: &PublishedVersion,
        digest: &Digest,
    ) -> Result<Option<TrustedBlob>, CatalogError> {
        let blobs = version.blobs.get_or_try_init(|| self.read_blobs(version)).await?;
        match blobs.get(digest) {
            Some(blob) => Ok(Some(blob.clone())),
            // Replacing a quarantined blob does not raise the revision.
            None => self.context.catalog.get_blob(digest, Visibility::All).await,
        }
    }

    async fn read_blobs(&self, version: &PublishedVersion) -> Result<HashMap<Digest, TrustedBlob>, CatalogError> {
        let mut blobs = HashMap::new();
        for file in &*version.files {
            if let Some(blob) = self.context.catalog.get_blob(&file.claim.digest, Visibility::All).await? {
                blobs.insert(file.claim.digest, blob);
            }
        }
        Ok(blobs)
    }

    // Until the catalog has statements for these.
    async fn resolve_version(&self, image: &ImageName, version: &VersionName) -> Result<Option<Found>, CatalogError> {
        let revision = self.context.catalog.catalog_revision().await?;
        let manifest = self.context.catalog.get_manifest(image, version, Visibility::Published).await?;
        Ok(manifest.map(|manifest| Found {
            revision,
            image: manifest.image.clone(),
            version: manifest.version.clone(),
            manifest,
        }))
    }

    async fn resolve_ref(&self, image: &ImageName, reference: &RefName) -> Result<Option<Found>, CatalogError> {
        let revision = self.context.catalog.catalog_revision().await?;
        let manifest = self.context.catalog.get_ref(image, reference).await?;
        Ok(manifest.map(|manifest| Found {
            revision,
            image: manifest.image.clone(),
            version: manifest.version.clone(),
            manifest,
        }))
    }
}

struct Found {
    revision: Revision,
    image: Image,
    version: Version,
    manifest: Manifest,
}
