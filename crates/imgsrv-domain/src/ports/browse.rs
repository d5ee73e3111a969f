//! Reads for people who look at the catalog: searches, summaries, feeds.

use super::CatalogError;
use crate::{
    access::{Reach, View},
    browse::{FeedEntry, ImageOrder, ImageOverview, ImageSearch, ImageSummary, StreamSeries, VersionContext},
    ids::VersionId,
    lifecycle::LifecycleFilter,
    names::ImageName,
    page::{Page, PageRequest},
};
use async_trait::async_trait;
use std::num::NonZeroU32;

/// Searches and summaries. Each list is one statement, and each method sees one state of the catalog.
#[async_trait]
pub trait BrowseQueries: Send + Sync {
    /// Visible images that `search` finds, in that order. Images without an offered version are left out of
    /// [`ImageOrder::Newest`].
    async fn search_images(
        &self,
        reach: &Reach,
        search: &ImageSearch,
        order: ImageOrder,
        page: &PageRequest,
    ) -> Result<Page<ImageSummary>, CatalogError>;
    /// A visible image, its aliases, and a page of those of its published versions that `lifecycle` selects; when absent,
    /// those that are neither revoked nor removed. `None` when the image is not visible.
    async fn get_image_overview(
        &self,
        image: &ImageName,
        see: View,
        lifecycle: Option<LifecycleFilter>,
        page: &PageRequest,
    ) -> Result<Option<ImageOverview>, CatalogError>;
    /// The newest versions of visible images that are neither revoked nor removed; newest first, at most `limit`.
    async fn list_newest_versions(&self, reach: &Reach, limit: u16) -> Result<Vec<FeedEntry>, CatalogError>;
    /// The same of one image, if that is visible.
    async fn list_newest_versions_of(
        &self,
        image: &ImageName,
        see: View,
        limit: u16,
    ) -> Result<Vec<FeedEntry>, CatalogError>;
    /// What surrounds a published version; empty when there is no such version.
    async fn get_version_context(&self, version: VersionId) -> Result<VersionContext, CatalogError>;
    /// The positions of those of `series` of which at least `newest` newer versions of the same image have an artifact that
    /// Simple Streams list. The cost grows with `newest`, and of a series that ended, with the number of newer versions.
    async fn list_superseded_series(
        &self,
        version: VersionId,
        series: &[StreamSeries],
        newest: NonZeroU32,
    ) -> Result<Vec<usize>, CatalogError>;
}
