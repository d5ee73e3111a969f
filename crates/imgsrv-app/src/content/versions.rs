//! Reading versions and their manifests.

use crate::{
    auth::caller::Caller,
    content::published::PublishedVersions,
    error::{Missing, Result},
};
use imgsrv_domain::{
    manifest::Manifest,
    names::{ImageName, RefName, VersionName},
    page::{Page, PageRequest},
    ports::Visibility,
    version::{Version, VersionFilter},
};
use std::sync::Arc;

/// The use cases of readers of versions.
#[derive(Clone)]
pub struct Versions(pub(crate) Arc<PublishedVersions>);

impl Versions {
    /// Versions of an image that are visible with `see`, newest first.
    #[tracing::instrument(name = "version.list", level = "debug", skip_all, fields(image.name = %image), err(level = "debug"))]
    pub async fn list(
        &self,
        see: Visibility,
        image: &ImageName,
        filter: VersionFilter,
        page: &PageRequest,
    ) -> Result<Page<Version>> {
        self.0
            .context
            .catalog
            .list_versions(image, see, filter, page)
            .await?
            .ok_or_else(|| Missing::Image(image.clone()).into())
    }

    /// The manifest of a version that is visible to the caller.
    #[tracing::instrument(name = "version.manifest", level = "debug", skip_all, err(level = "debug"),
        fields(image.name = %image, version.name = %version))]
    pub async fn manifest(&self, caller: &Caller, image: &ImageName, version: &VersionName) -> Result<Arc<Manifest>> {
        let found = self.0.by_version(image, version, caller.visibility()).await?;
        let found = found.ok_or_else(|| Missing::Version(image.clone(), version.clone()))?;
        Ok(Arc::clone(&found.manifest))
    }

    /// The manifest of the published version of that name, or of the one that the alias of that name points to.
    #[tracing::instrument(name = "version.resolve", level = "debug", skip_all, err(level = "debug"),
        fields(image.name = %image, version.reference = %reference))]
    pub async fn resolve(&self, image: &ImageName, reference: &RefName) -> Result<Arc<Manifest>> {
        let found = self.0.by_ref(image, reference).await?;
        let (found, _) = found.ok_or_else(|| Missing::Ref(image.clone(), reference.clone()))?;
        Ok(Arc::clone(&found.manifest))
    }
}
