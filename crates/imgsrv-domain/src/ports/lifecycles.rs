//! Lifecycles of published versions in the catalog.

use super::CatalogError;
use crate::{
    ids::{ImageId, VersionId},
    image::Alias,
    lifecycle::Replacement,
    names::VersionName,
    time::Day,
    version::Version,
};
use async_trait::async_trait;

/// Lifecycles. They change only in transactions that have locked the image and the version.
#[async_trait]
pub trait LifecycleRepo: Send {
    /// Stores the lifecycle of `version` as of the current catalog revision if its revision is current, else
    /// [`Conflict::StaleRevision`](super::Conflict::StaleRevision). A change that the lifecycle does not allow, or that an
    /// alias forbids, is [`Conflict::Forbidden`](super::Conflict::Forbidden).
    async fn update_lifecycle(&mut self, version: &Version) -> Result<(), CatalogError>;
    /// The aliases that point to a version, by name.
    async fn list_aliases_of(&mut self, version: VersionId) -> Result<Vec<Alias>, CatalogError>;
    /// The published version that a replacement names.
    async fn get_replacement(&mut self, replacement: &Replacement) -> Result<Option<Version>, CatalogError>;
    /// Removed versions whose drain has ended and that are not held, after `after` by id, at most `limit`.
    async fn list_drained_versions(&mut self, after: VersionId, limit: u16) -> Result<Vec<Version>, CatalogError>;
}

/// How streams list a published version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamListing {
    /// Like any other.
    Active,
    /// As deprecated.
    Deprecated(Option<Day>),
    /// Not at all.
    Withdrawn,
}

/// A version whose lifecycle changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamLifecycle {
    /// Its image.
    pub image: ImageId,
    /// Its name.
    pub version: VersionName,
    /// How streams list it now.
    pub listing: StreamListing,
}
