//! Reading versions and their manifests.

use crate::{
    auth::caller::Caller,
    content::published::{PublishedVersion, PublishedVersions},
    error::{Gone, Missing, Result},
};
use imgsrv_domain::{
    ids::VersionId,
    lifecycle::{LifecycleFilter, LifecycleState},
    manifest::Manifest,
    names::{ImageName, RefName, VersionName},
    page::{Page, PageRequest},
    time::Day,
    version::{Version, VersionFilter},
};
use std::{collections::BTreeMap, sync::Arc};

/// The use cases of readers of versions.
#[derive(Clone)]
pub struct Versions(pub(crate) Arc<PublishedVersions>);

impl Versions {
    /// Versions of an image that are visible to the caller, newest first. Of the published ones, those that `lifecycle`
    /// selects; when absent, those that are neither revoked nor removed.
    #[tracing::instrument(name = "version.list", level = "debug", skip_all, fields(image.name = %image), err(level = "debug"))]
    pub async fn list(
        &self,
        caller: &Caller,
        image: &ImageName,
        filter: VersionFilter,
        lifecycle: Option<LifecycleFilter>,
        page: &PageRequest,
    ) -> Result<Page<Version>> {
        if filter != VersionFilter::Published {
            caller.writer()?.on(&self.0.context, image).await?;
        }
        let catalog = &self.0.context.catalog;
        let found = catalog.list_versions(image, caller.view(image), filter, lifecycle, page).await?;
        let mut page = found.ok_or_else(|| Missing::Image(image.clone()))?;
        let now = self.0.context.clock.now();
        page.items = page.items.into_iter().map(|version| version.as_of(now)).collect();
        Ok(page)
    }

    /// The days on which versions of an image were last fetched, for a caller who can see that; see
    /// [`RetentionQueries::get_last_fetches`](imgsrv_domain::ports::RetentionQueries::get_last_fetches).
    #[tracing::instrument(name = "version.fetches", level = "debug", skip_all, err(level = "debug"))]
    pub async fn last_fetches(
        &self,
        caller: &Caller,
        image: &ImageName,
        versions: &[Version],
    ) -> Result<BTreeMap<VersionId, Day>> {
        if !caller.sees_fetches(image) {
            return Ok(BTreeMap::new());
        }
        let published = versions.iter().filter(|version| version.state.published_at().is_some());
        let ids: Vec<VersionId> = published.map(|version| version.id).collect();
        Ok(self.0.context.catalog.get_last_fetches(&ids).await?)
    }

    /// The manifest of a version that is visible to the caller.
    #[tracing::instrument(name = "version.manifest", level = "debug", skip_all, err(level = "debug"),
        fields(image.name = %image, version.name = %version))]
    pub async fn manifest(&self, caller: &Caller, image: &ImageName, version: &VersionName) -> Result<Arc<Manifest>> {
        let found = self.0.by_version(image, version, caller.view(image)).await?;
        let found = found.ok_or_else(|| Missing::Version(image.clone(), version.clone()))?;
        self.readable(&found)
    }

    /// The manifest of the published version of that name, or of the one that the alias of that name points to, if the caller
    /// may read the image.
    #[tracing::instrument(name = "version.resolve", level = "debug", skip_all, err(level = "debug"),
        fields(image.name = %image, version.reference = %reference))]
    pub async fn resolve(&self, caller: &Caller, image: &ImageName, reference: &RefName) -> Result<Arc<Manifest>> {
        let found = self.0.by_ref(image, reference, caller.view(image)).await?;
        let (found, _) = found.ok_or_else(|| Missing::Ref(image.clone(), reference.clone()))?;
        self.readable(&found)
    }

    /// The manifest of a version, unless that is a tombstone.
    fn readable(&self, found: &PublishedVersion) -> Result<Arc<Manifest>> {
        let (manifest, now) = (&found.manifest, self.0.context.clock.now());
        if manifest.version.lifecycle.state(now) == LifecycleState::Tombstone {
            return Err(Gone::of(&manifest.version, now).into());
        }
        match manifest.version.lifecycle.as_of(now) {
            Some(lifecycle) => {
                let version = manifest.version.clone().with_lifecycle(lifecycle);
                Ok(Arc::new(Manifest { version, ..(**manifest).clone() }))
            }
            None => Ok(Arc::clone(manifest)),
        }
    }
}
