//! Retention policies of images.

use crate::{client::Client, error::Error};
use imgsrv_api as api;
use reqwest::Method;
use url::Url;

/// Retention. All of it needs `content.retire`.
impl Client {
    fn retention_url(&self, image: &str, action: Option<&str>) -> Url {
        self.endpoint(["v1", "images", image, "retention"].into_iter().chain(action))
    }

    /// The retention policy of an image.
    pub async fn retention(&self, image: &str) -> Result<api::RetentionPolicy, Error> {
        self.get(self.retention_url(image, None)).await
    }

    /// Sets the retention policy of an image.
    pub async fn set_retention(
        &self,
        image: &str,
        policy: &api::RetentionPolicy,
    ) -> Result<api::RetentionPolicy, Error> {
        self.change(Method::PUT, self.retention_url(image, None), policy).await
    }

    /// Deletes the retention policy of an image.
    pub async fn delete_retention(&self, image: &str) -> Result<(), Error> {
        self.execute(Method::DELETE, self.retention_url(image, None)).await
    }

    /// What the policy of an image, or else the default policy of the server, would do.
    pub async fn preview_retention(&self, image: &str) -> Result<api::RetentionPreview, Error> {
        self.get(self.retention_url(image, Some("preview"))).await
    }

    /// What another policy would do.
    pub async fn try_retention(
        &self,
        image: &str,
        policy: &api::RetentionPolicy,
    ) -> Result<api::RetentionPreview, Error> {
        self.change(Method::POST, self.retention_url(image, Some("preview")), policy).await
    }

    /// Carries out what a preview with that revision showed. If the image or its policy has changed since, it is refused as
    /// [`ProblemCode::RevisionChanged`](imgsrv_api::ProblemCode::RevisionChanged).
    pub async fn apply_retention(&self, image: &str, revision: &str) -> Result<api::RetentionApplied, Error> {
        let body = api::ApplyRetention { revision: revision.to_owned() };
        self.create(self.retention_url(image, Some("apply")), &body).await
    }
}
