//! The cache of published versions.
//!
//! A published version never changes. Its image's metadata and the trust in its blobs do, and both changes raise the
//! catalog's revision: a cached version is served while the revision at which it was read is still the catalog's.

use crate::{
    content::public_blobs::PublicBlobs,
    context::{Adapters, Context},
    work::revision::Reading,
};
use imgsrv_domain::{
    digest::Digest,
    manifest::{Manifest, ManifestFile},
    names::{ImageName, RefName, VersionName},
    ports::{CatalogError, ManifestEntries, ResolvedRef, ResolvedVersion, TrustedBlob, View},
    time::Timestamp,
    transition::Revision,
};
use moka::sync::Cache;
use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
};
use tokio::sync::OnceCell;

/// Memory for cached versions: enough for 65 thousand files, which few catalogs serve at once.
const CAPACITY_BYTES: u64 = 64 << 20;
/// More memory than an artifact or attachment usually takes with its file name and its blob.
const BYTES_PER_FILE: usize = 1 << 10;

/// How many aliases are remembered; each takes a few hundred bytes.
const MAX_ALIASES: u64 = 1 << 14;

type Key = (ImageName, VersionName);
/// What a look-up finds.
type Found = Option<Arc<PublishedVersion>>;

/// A version, as it was at one revision of the catalog. It is published, unless drafts were requested.
pub(crate) struct PublishedVersion {
    revision: Revision,
    pub(crate) manifest: Arc<Manifest>,
    /// Its files by name.
    pub(crate) files: Arc<[ManifestFile]>,
    /// Its trusted blobs, read when the first file is.
    blobs: OnceCell<HashMap<Digest, TrustedBlob>>,
}

impl PublishedVersion {
    /// About how much memory it takes.
    fn weight(&self) -> u32 {
        let Manifest { image, warnings, .. } = &*self.manifest;
        let description = image.description.as_ref().map_or(0, |text| text.as_str().len());
        let reasons: usize = warnings.iter().map(|warning| warning.reason.len()).sum();
        let bytes = (self.files.len() + 1) * BYTES_PER_FILE + description + reasons;
        u32::try_from(bytes).unwrap_or(u32::MAX)
    }
}

/// What an alias points to, as it was at one revision of the catalog.
#[derive(Debug, Clone)]
struct Target {
    revision: Revision,
    version: VersionName,
    moved_at: Option<Timestamp>,
}

/// Published versions, cached up to a bounded size.
pub(crate) struct PublishedVersions {
    pub(super) context: Arc<Context>,
    cache: Cache<Key, Arc<PublishedVersion>>,
    aliases: Cache<(ImageName, RefName), Target>,
    pub(super) public_blobs: PublicBlobs,
    /// All quarantined digests, and the revision before they were read.
    quarantined: Mutex<Option<(Revision, Arc<HashSet<Digest>>)>>,
}

impl PublishedVersions {
    pub(crate) fn new(context: Arc<Context>) -> Self {
        let weigher = |_: &Key, version: &Arc<PublishedVersion>| version.weight();
        let cache = Cache::builder().max_capacity(CAPACITY_BYTES).weigher(weigher).build();
        let aliases = Cache::new(MAX_ALIASES);
        Self { context, cache, aliases, public_blobs: PublicBlobs::default(), quarantined: Mutex::default() }
    }

    /// The version of that name that is visible with `see`. A published version is at most one second out of date;
    /// changes by this node are visible at once. A version that is not visible costs the same query as one that does not
    /// exist.
    pub(crate) async fn by_version(
        &self,
        image: &ImageName,
        version: &VersionName,
        see: View,
    ) -> Result<Found, CatalogError> {
        let Context { adapters: Adapters { catalog, .. }, revision, .. } = &*self.context;
        let cached = self.visible(image, version, see);
        let is_known = cached.is_some();
        if let Some(cached) = cached
            && cached.revision == revision.recent(&**catalog).await?
        {
            return Ok(Some(cached));
        }
        let reading = revision.begin_reading(catalog.change_mark());
        if see == View::All && !is_known {
            // A draft may change between two reads.
            let found = catalog.resolve_manifest(image, version).await?;
            let Some((resolved, entries)) = found else { return Ok(None) };
            return self.keep_new(reading, resolved, entries).await.map(Some);
        }
        let found = catalog.resolve_version(image, version, see).await?;
        self.load(reading, found).await
    }

    /// The published version of that name, or the one that the alias of that name points to now, and when that last moved; if
    /// visible.
    pub(crate) async fn by_ref(
        &self,
        image: &ImageName,
        reference: &RefName,
        see: View,
    ) -> Result<Option<(Arc<PublishedVersion>, Option<Timestamp>)>, CatalogError> {
        // The name of a published version is never an alias of its image.
        if let Ok(version) = reference.as_str().parse::<VersionName>()
            && self.visible(image, &version, see).is_some()
        {
            let found = self.by_version(image, &version, see.min(View::Published)).await?;
            return Ok(found.map(|found| (found, None)));
        }
        if let Some(found) = self.by_known_alias(image, reference, see).await? {
            return Ok(Some(found));
        }
        let reading = self.context.revision.begin_reading(self.context.catalog.change_mark());
        let Some(ResolvedRef { version, moved_at }) = self.context.catalog.resolve_ref(image, reference, see).await?
        else {
            return Ok(None);
        };
        let (revision, name) = (version.revision, version.version.name.clone());
        let found = self.load(reading, Some(version)).await?;
        if moved_at.is_some() && found.is_some() {
            let target = Target { revision, version: name, moved_at };
            self.aliases.insert((image.clone(), reference.clone()), target);
        }
        Ok(found.map(|found| (found, moved_at)))
    }

    /// The version that an alias is known to point to, if the catalog has not changed since that was read, and it is visible.
    async fn by_known_alias(
        &self,
        image: &ImageName,
        reference: &RefName,
        see: View,
    ) -> Result<Option<(Arc<PublishedVersion>, Option<Timestamp>)>, CatalogError> {
        let Context { adapters: Adapters { catalog, .. }, revision, .. } = &*self.context;
        let Some(known) = self.aliases.get(&(image.clone(), reference.clone())) else { return Ok(None) };
        let Some(cached) = self.visible(image, &known.version, see) else { return Ok(None) };
        if known.revision != cached.revision || revision.current(&**catalog).await? != known.revision {
            return Ok(None);
        }
        Ok(Some((cached, known.moved_at)))
    }

    /// The cached version of that name, if it was visible with `see` when it was cached.
    fn visible(&self, image: &ImageName, version: &VersionName, see: View) -> Found {
        let cached = self.cache.get(&(image.clone(), version.clone()))?;
        see.shows(cached.manifest.image.visibility).then_some(cached)
    }

    /// Reads what is not cached of a version that was resolved by `reading`, and caches it if it is published.
    async fn load(&self, reading: Reading, found: Option<ResolvedVersion>) -> Result<Found, CatalogError> {
        let Some(resolved) = found else { return Ok(None) };
        let key = (resolved.image.name.clone(), resolved.version.name.clone());
        let cached = self.cache.get(&key).filter(|cached| cached.manifest.version.id == resolved.version.id);
        let Some(cached) = cached else {
            let entries = self.context.catalog.get_manifest_entries(resolved.version.id).await?;
            return self.keep_new(reading, resolved, entries).await.map(Some);
        };
        let ResolvedVersion { revision, image, version } = resolved;
        if cached.revision == revision {
            self.context.revision.remember(reading, revision);
            return Ok(Some(cached));
        }
        let quarantined = self.quarantined_in(revision, &cached.manifest).await?;
        let manifest = Manifest { image, version, quarantined, ..(*cached.manifest).clone() };
        Ok(Some(self.keep(reading, revision, manifest, Arc::clone(&cached.files))))
    }

    async fn keep_new(
        &self,
        reading: Reading,
        resolved: ResolvedVersion,
        read: ManifestEntries,
    ) -> Result<Arc<PublishedVersion>, CatalogError> {
        let ResolvedVersion { revision, image, version } = resolved;
        let ManifestEntries { entries, warnings } = read;
        let mut manifest = Manifest { image, version, entries, warnings, quarantined: BTreeSet::new() };
        manifest.quarantined = self.quarantined_in(revision, &manifest).await?;
        let files = manifest.files().into();
        Ok(self.keep(reading, revision, manifest, files))
    }

    /// The quarantined digests of a manifest that was read at `revision`.
    async fn quarantined_in(&self, revision: Revision, manifest: &Manifest) -> Result<BTreeSet<Digest>, CatalogError> {
        let known = self.quarantined.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let all = match known {
            Some((known, all)) if known == revision => all,
            _ => {
                let all: Arc<HashSet<Digest>> =
                    Arc::new(self.context.catalog.quarantined_digests().await?.into_iter().collect());
                *self.quarantined.lock().unwrap_or_else(PoisonError::into_inner) = Some((revision, Arc::clone(&all)));
                all
            }
        };
        Ok(manifest.digests().filter(|digest| all.contains(digest)).copied().collect())
    }

    /// Caches the version if it is published.
    fn keep(
        &self,
        reading: Reading,
        revision: Revision,
        manifest: Manifest,
        files: Arc<[ManifestFile]>,
    ) -> Arc<PublishedVersion> {
        self.context.revision.remember(reading, revision);
        let key = (manifest.image.name.clone(), manifest.version.name.clone());
        let is_published = manifest.version.state.published_at().is_some();
        let kept = Arc::new(PublishedVersion { revision, manifest: Arc::new(manifest), files, blobs: OnceCell::new() });
        if is_published {
            self.cache.insert(key, Arc::clone(&kept));
        }
        kept
    }

    /// The blob of a file of a published version, if it is trusted.
    pub(crate) async fn blob(
        &self,
        version: &PublishedVersion,
        digest: &Digest,
    ) -> Result<Option<TrustedBlob>, CatalogError> {
        let read = async || {
            let blobs = self.context.catalog.get_manifest_blobs(version.manifest.version.id).await?;
            Ok(blobs.into_iter().map(|blob| (blob.claim.digest, blob)).collect::<HashMap<_, _>>())
        };
        Ok(version.blobs.get_or_try_init(read).await?.get(digest).cloned())
    }
}
