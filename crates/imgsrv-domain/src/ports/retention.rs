//! Retention policies and the days of fetches in the catalog.

use super::CatalogError;
use crate::{
    digest::Digest,
    ids::{ImageId, VersionId},
    names::ImageName,
    retention::{Candidate, RetentionPolicy},
    time::{Day, Timestamp},
    transition::Revision,
    version::Version,
};
use async_trait::async_trait;
use std::collections::BTreeMap;

/// Retention policies, and the days on which versions were last fetched.
#[async_trait]
pub trait RetentionRepo: Send {
    /// The policy of an image, which must be locked.
    async fn get_retention(&mut self, image: ImageId) -> Result<Option<RetentionPolicy>, CatalogError>;
    /// Stores the policy of an image, which must be locked, instead of the one it has.
    async fn put_retention(&mut self, image: ImageId, policy: &RetentionPolicy) -> Result<(), CatalogError>;
    /// Deletes the policy of an image, which must be locked.
    async fn delete_retention(&mut self, image: ImageId) -> Result<(), CatalogError>;
    /// The catalog revision in which an image last changed.
    async fn get_image_change(&mut self, image: ImageId) -> Result<Revision, CatalogError>;
    /// Whether an alias points to a version, or another version names it as its replacement.
    async fn is_needed(&mut self, version: &Version) -> Result<bool, CatalogError>;
    /// Records that fetches are recorded from today on, unless that is recorded already.
    async fn start_recording_fetches(&mut self) -> Result<(), CatalogError>;
    /// The published versions that have a digest in their manifest.
    async fn list_versions_of_digest(&mut self, digest: &Digest) -> Result<Vec<VersionId>, CatalogError>;
    /// Records that published versions were fetched on a day, unless a later day is recorded.
    async fn record_fetches(&mut self, fetched: &[(VersionId, Day)]) -> Result<(), CatalogError>;
}

/// What decides about retention in an image, in one snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetentionState {
    /// The image.
    pub image: ImageId,
    /// The catalog revision in which it last changed: a version, an alias, a lifecycle, its metadata or its policy.
    pub changed_in: Revision,
    /// Its own policy.
    pub policy: Option<RetentionPolicy>,
    /// Its active and deprecated published versions in descending order of publication.
    pub candidates: Vec<(VersionId, Candidate)>,
    /// The time on the catalog's clock.
    pub now: Timestamp,
}

/// Reads of retention.
#[async_trait]
pub trait RetentionQueries: Send + Sync {
    /// The policy of an image; the outer `None` means that there is no such image.
    async fn get_retention(&self, image: &ImageName) -> Result<Option<Option<RetentionPolicy>>, CatalogError>;
    /// What decides about retention in an image, in one snapshot. Reads many versions with each statement.
    async fn get_retention_state(&self, image: &ImageName) -> Result<Option<RetentionState>, CatalogError>;
    /// The days on which published versions were last fetched. One that was not since fetches are recorded counts as fetched
    /// on the day on which that began, or on that of its publication, whichever is later.
    async fn get_last_fetches(&self, versions: &[VersionId]) -> Result<BTreeMap<VersionId, Day>, CatalogError>;
    /// Images with an enabled policy, and those without one if `with_default`, by name, after `after`, at most `limit`.
    async fn list_retained_images(
        &self,
        with_default: bool,
        after: Option<&ImageName>,
        limit: u16,
    ) -> Result<Vec<ImageName>, CatalogError>;
}
