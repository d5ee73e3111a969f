//! Links: URLs with which anybody can download one file for a time.

use crate::{client::Client, error::Error};
use imgsrv_api as api;
use reqwest::Method;

/// Links. Both need `content.write` on the image.
impl Client {
    /// Makes a link to an artifact of a published version, or to an attachment of it. Every call makes another link.
    pub async fn create_link(
        &self,
        image: &str,
        version: &str,
        artifact: &str,
        link: &api::CreateLink,
    ) -> Result<api::Link, Error> {
        let url = ["v1", "images", image, "versions", version, "artifacts", artifact, "links"];
        self.create(self.endpoint(url), link).await
    }

    /// Revokes all links to the files of an image.
    pub async fn revoke_links(&self, image: &str) -> Result<(), Error> {
        self.execute(Method::POST, self.endpoint(["v1", "images", image, "links", "revoke"])).await
    }
}
