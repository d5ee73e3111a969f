//! Lifecycles of published versions.

use super::pages::{Rows, with_query};
use crate::{client::Client, error::Error};
use imgsrv_api as api;
use imgsrv_domain::{lifecycle::LifecycleFilter, version::VersionFilter};
use reqwest::{
    Method,
    header::{HeaderValue, IF_MATCH},
};
use url::Url;

/// Retiring published versions. All but the reads need `content.retire`.
impl Client {
    fn lifecycle_url(&self, image: &str, version: &str, action: &str) -> Url {
        self.endpoint(["v1", "images", image, "versions", version, action])
    }

    /// Versions of an image, newest first; of the published ones, those that `lifecycle` selects.
    pub fn versions_by_lifecycle(
        &self,
        image: &str,
        filter: VersionFilter,
        lifecycle: LifecycleFilter,
    ) -> Rows<api::Version> {
        let query = [("state", Some(filter.as_str())), ("lifecycle", Some(lifecycle.as_str()))];
        let url = with_query(self.endpoint(["v1", "images", image, "versions"]), query);
        self.rows(url, |page: api::VersionList| (page.versions, page.next_cursor))
    }

    /// The lifecycle of a published version.
    pub async fn lifecycle(&self, image: &str, version: &str) -> Result<api::Lifecycle, Error> {
        self.get(self.lifecycle_url(image, version, "lifecycle")).await
    }

    /// Deprecates a version, or replaces reason, replacement and end of life of its deprecation.
    pub async fn deprecate_version(
        &self,
        image: &str,
        version: &str,
        words: &api::DeprecateVersion,
    ) -> Result<api::Version, Error> {
        self.change(Method::POST, self.lifecycle_url(image, version, "deprecate"), words).await
    }

    /// Revokes a version: its files are no longer served.
    pub async fn revoke_version(
        &self,
        image: &str,
        version: &str,
        words: &api::RevokeVersion,
    ) -> Result<api::Version, Error> {
        self.change(Method::POST, self.lifecycle_url(image, version, "revoke"), words).await
    }

    /// Published versions of all images that have a digest.
    pub fn versions_of_blob(&self, digest: &str) -> Rows<api::VersionOfImage> {
        let url = self.endpoint(["v1", "blobs", digest, "versions"]);
        self.rows(url, |page: api::VersionOfImageList| (page.versions, page.next_cursor))
    }

    /// Removes a version: its files are served until its drain ends. With `purge`, it is not served any more, and content
    /// that nothing else refers to is deleted.
    pub async fn remove_version(
        &self,
        image: &str,
        version: &str,
        words: &api::RemoveVersion,
    ) -> Result<api::RemovedVersion, Error> {
        self.change(Method::POST, self.lifecycle_url(image, version, "remove"), words).await
    }

    /// Undoes the last of these. A change that happens meanwhile is refused as
    /// [`ProblemCode::PreconditionFailed`](imgsrv_api::ProblemCode::PreconditionFailed), so that no more than one is undone.
    pub async fn restore_version(
        &self,
        image: &str,
        version: &str,
        reason: Option<&str>,
    ) -> Result<api::Version, Error> {
        let current = self.get_tagged::<api::Lifecycle>(self.lifecycle_url(image, version, "lifecycle")).await?;
        let etag = current.1.unwrap_or(HeaderValue::from_static("\"\""));
        let body = api::RestoreVersion { reason: reason.map(str::to_owned) };
        let url = self.lifecycle_url(image, version, "restore");
        self.change_if(Method::POST, url, &body, (IF_MATCH, etag)).await
    }

    /// Holds a version: it is neither revoked nor removed until the hold ends.
    pub async fn hold_version(
        &self,
        image: &str,
        version: &str,
        hold: &api::HoldVersion,
    ) -> Result<api::Version, Error> {
        self.change(Method::PUT, self.lifecycle_url(image, version, "hold"), hold).await
    }

    /// Releases the hold of a version, which ends after the server's cooldown.
    pub async fn release_version(&self, image: &str, version: &str) -> Result<api::Version, Error> {
        self.delete(self.lifecycle_url(image, version, "hold")).await
    }
}
