//! Images, versions, manifests, aliases and publish jobs.

use super::pages::{Rows, with_query};
use crate::{client::Client, error::Error};
use imgsrv_api as api;
use imgsrv_domain::{publish::JobState, version::VersionFilter};
use reqwest::{
    Method,
    header::{HeaderValue, IF_MATCH, IF_NONE_MATCH},
};
use url::Url;

/// Images and their content.
impl Client {
    fn alias_url(&self, image: &str, alias: &str) -> Url {
        self.endpoint(["v1", "images", image, "aliases", alias])
    }

    /// Images with a published version, by name; with `unpublished` all images, which needs `content.write`.
    pub fn images(&self, unpublished: bool) -> Rows<api::Image> {
        let url = with_query(self.endpoint(["v1", "images"]), [("include_unpublished", unpublished.then_some("true"))]);
        self.rows(url, |page: api::ImageList| (page.images, page.next_cursor))
    }

    /// An image.
    pub async fn image(&self, image: &str) -> Result<api::Image, Error> {
        self.get(self.endpoint(["v1", "images", image])).await
    }

    /// Creates an image.
    pub async fn create_image(&self, image: &api::CreateImage) -> Result<api::Image, Error> {
        self.create(self.endpoint(["v1", "images"]), image).await
    }

    /// Changes an image's display name and description.
    pub async fn update_image(&self, image: &str, metadata: &api::UpdateImage) -> Result<api::Image, Error> {
        self.change(Method::PATCH, self.endpoint(["v1", "images", image]), metadata).await
    }

    /// Deletes an image without versions.
    pub async fn delete_image(&self, image: &str) -> Result<(), Error> {
        self.execute(Method::DELETE, self.endpoint(["v1", "images", image])).await
    }

    /// Versions of an image, newest first.
    pub fn versions(&self, image: &str, filter: VersionFilter) -> Rows<api::Version> {
        let url = with_query(self.endpoint(["v1", "images", image, "versions"]), [("state", Some(filter.as_str()))]);
        self.rows(url, |page: api::VersionList| (page.versions, page.next_cursor))
    }

    /// Creates a draft.
    pub async fn create_version(&self, image: &str, version: &str) -> Result<api::Version, Error> {
        let body = api::CreateVersion { version: version.to_owned() };
        self.create(self.endpoint(["v1", "images", image, "versions"]), &body).await
    }

    /// The manifest of a version; if the version is not published, this needs `content.write`.
    pub async fn manifest(&self, image: &str, version: &str) -> Result<api::Manifest, Error> {
        self.get(self.endpoint(["v1", "images", image, "versions", version])).await
    }

    /// The manifest of the published version with this name or alias.
    pub async fn resolve(&self, image: &str, reference: &str) -> Result<api::Manifest, Error> {
        self.get(self.endpoint(["v1", "images", image, "refs", reference])).await
    }

    /// The files of the published version with this name or alias.
    pub async fn files(&self, image: &str, reference: &str) -> Result<api::ReleaseListing, Error> {
        self.get(self.file_url(image, reference, "")).await
    }

    /// The URL of a file of the published version with this name or alias; with an empty `file`, that of their folder.
    pub fn file_url(&self, image: &str, reference: &str, file: &str) -> Url {
        self.endpoint(["images", image, reference, file])
    }

    /// Deletes a draft.
    pub async fn delete_version(&self, image: &str, version: &str) -> Result<(), Error> {
        self.execute(Method::DELETE, self.endpoint(["v1", "images", image, "versions", version])).await
    }

    /// The artifacts of a version.
    pub fn artifacts(&self, image: &str, version: &str) -> Rows<api::Artifact> {
        let url = self.endpoint(["v1", "images", image, "versions", version, "artifacts"]);
        self.rows(url, |page: api::ArtifactList| (page.artifacts, page.next_cursor))
    }

    /// An artifact of a version.
    pub async fn artifact(&self, image: &str, version: &str, artifact: &str) -> Result<api::Artifact, Error> {
        self.get(self.endpoint(["v1", "images", image, "versions", version, "artifacts", artifact])).await
    }

    /// Adds an artifact to a draft. Its bytes may be uploaded later.
    pub async fn create_artifact(
        &self,
        image: &str,
        version: &str,
        artifact: &api::CreateArtifact,
    ) -> Result<api::Artifact, Error> {
        self.create(self.endpoint(["v1", "images", image, "versions", version, "artifacts"]), artifact).await
    }

    /// Removes an artifact with its attachments from a draft.
    pub async fn delete_artifact(&self, image: &str, version: &str, artifact: &str) -> Result<(), Error> {
        self.execute(Method::DELETE, self.endpoint(["v1", "images", image, "versions", version, "artifacts", artifact]))
            .await
    }

    /// Adds an attachment to an artifact of a draft. Its bytes may be uploaded later.
    pub async fn create_attachment(
        &self,
        image: &str,
        version: &str,
        artifact: &str,
        attachment: &api::CreateAttachment,
    ) -> Result<api::Attachment, Error> {
        let path = ["v1", "images", image, "versions", version, "artifacts", artifact, "attachments"];
        self.create(self.endpoint(path), attachment).await
    }

    /// Removes an attachment from an artifact of a draft.
    pub async fn delete_attachment(
        &self,
        image: &str,
        version: &str,
        artifact: &str,
        attachment: &str,
    ) -> Result<(), Error> {
        let path = ["v1", "images", image, "versions", version, "artifacts", artifact, "attachments", attachment];
        self.execute(Method::DELETE, self.endpoint(path)).await
    }

    /// Has the server generate Incus metadata and attach it to an artifact of a draft.
    pub async fn create_incus_metadata(
        &self,
        image: &str,
        version: &str,
        artifact: &str,
        metadata: &api::CreateIncusMetadata,
    ) -> Result<api::Attachment, Error> {
        let path = ["v1", "images", image, "versions", version, "artifacts", artifact, "incus-metadata"];
        self.create(self.endpoint(path), metadata).await
    }

    /// Requests that a draft is published. Repeated requests share one job.
    pub async fn publish_version(&self, image: &str, version: &str) -> Result<api::PublishRequested, Error> {
        self.post(self.endpoint(["v1", "images", image, "versions", version, "publish"])).await
    }

    /// Publish jobs, newest first: those in one of `states`, or all if that is empty, of one image or of all.
    pub fn jobs(&self, states: &[JobState], image: Option<&str>) -> Rows<api::PublishJob> {
        let states = states.iter().map(|state| state.as_str()).collect::<Vec<_>>().join(",");
        let states = Some(&*states).filter(|states| !states.is_empty());
        let url = with_query(self.endpoint(["v1", "publish-jobs"]), [("state", states), ("image", image)]);
        self.rows(url, |page: api::PublishJobList| (page.jobs, page.next_cursor))
    }

    /// A publish job.
    pub async fn job(&self, job: &str) -> Result<api::PublishJob, Error> {
        self.get(self.endpoint(["v1", "publish-jobs", job])).await
    }

    /// Queues a failed publish job again.
    pub async fn retry_job(&self, job: &str) -> Result<api::PublishJob, Error> {
        self.post(self.endpoint(["v1", "publish-jobs", job, "retry"])).await
    }

    /// Abandons a failed publish job: its version is a draft again.
    pub async fn abandon_job(&self, job: &str) -> Result<api::PublishJob, Error> {
        self.post(self.endpoint(["v1", "publish-jobs", job, "abandon"])).await
    }

    /// The aliases of an image, by name.
    pub fn aliases(&self, image: &str) -> Rows<api::Alias> {
        let url = self.endpoint(["v1", "images", image, "aliases"]);
        self.rows(url, |page: api::AliasList| (page.aliases, page.next_cursor))
    }

    /// An alias.
    pub async fn alias(&self, image: &str, alias: &str) -> Result<api::Alias, Error> {
        self.get(self.alias_url(image, alias)).await
    }

    /// Creates an alias of a published version, or moves it there.
    pub async fn set_alias(&self, image: &str, alias: &str, version: &str) -> Result<api::Alias, Error> {
        let body = api::SetAlias { version: version.to_owned() };
        self.change(Method::PUT, self.alias_url(image, alias), &body).await
    }

    /// Creates an alias of a published version. An existing alias is refused as
    /// [`ProblemCode::PreconditionFailed`](imgsrv_api::ProblemCode::PreconditionFailed).
    pub async fn create_alias(&self, image: &str, alias: &str, version: &str) -> Result<api::Alias, Error> {
        let (url, body) = (self.alias_url(image, alias), api::SetAlias { version: version.to_owned() });
        self.change_if(Method::PUT, url, &body, (IF_NONE_MATCH, HeaderValue::from_static("*"))).await
    }

    /// Moves an alias from one version to another. It is refused as
    /// [`ProblemCode::PreconditionFailed`](imgsrv_api::ProblemCode::PreconditionFailed) if the alias points elsewhere, or moves
    /// meanwhile.
    pub async fn move_alias(&self, image: &str, alias: &str, from: &str, to: &str) -> Result<api::Alias, Error> {
        let (url, body) = (self.alias_url(image, alias), api::SetAlias { version: to.to_owned() });
        let (current, etag) = self.get_tagged::<api::Alias>(url.clone()).await?;
        let etag = etag.filter(|_| current.version == from).unwrap_or(HeaderValue::from_static("\"\""));
        self.change_if(Method::PUT, url, &body, (IF_MATCH, etag)).await
    }

    /// Deletes an alias; its version stays.
    pub async fn delete_alias(&self, image: &str, alias: &str) -> Result<(), Error> {
        self.execute(Method::DELETE, self.alias_url(image, alias)).await
    }
}
