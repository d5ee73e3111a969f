//! Images, versions, manifests, aliases and publish jobs.

use crate::{client::Client, error::Error, pages::Rows};
use imgsrv_api as api;
use reqwest::{
    Method,
    header::{HeaderMap, HeaderName, HeaderValue, IF_MATCH, IF_NONE_MATCH},
};
use url::Url;

/// Which versions of an image are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum VersionFilter {
    /// Drafts. Needs `content.write`.
    Draft,
    /// Frozen ones that are not yet published. Needs `content.write`.
    Publishing,
    /// Published ones.
    Published,
    /// All of them. Needs `content.write`.
    All,
}

impl VersionFilter {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Publishing => "publishing",
            Self::Published => "published",
            Self::All => "all",
        }
    }
}

/// Images and what is in them.
impl Client {
    fn image_url(&self, image: &str) -> Url {
        self.at(["v1", "images", image])
    }

    fn version_url(&self, image: &str, version: &str) -> Url {
        self.at(["v1", "images", image, "versions", version])
    }

    pub(crate) fn artifact_url(&self, image: &str, version: &str, artifact: &str) -> Url {
        self.at(["v1", "images", image, "versions", version, "artifacts", artifact])
    }

    fn alias_url(&self, image: &str, alias: &str) -> Url {
        self.at(["v1", "images", image, "aliases", alias])
    }

    fn job_url(&self, job: &str) -> Url {
        self.at(["v1", "publish-jobs", job])
    }

    /// Images with something published, by name; with `unpublished` all of them, which needs `content.write`.
    pub fn images(&self, unpublished: bool) -> Rows<api::Image> {
        let mut url = self.at(["v1", "images"]);
        if unpublished {
            url.query_pairs_mut().append_pair("include_unpublished", "true");
        }
        self.rows::<api::ImageList>(url)
    }

    /// An image.
    pub async fn image(&self, image: &str) -> Result<api::Image, Error> {
        self.get(self.image_url(image)).await
    }

    /// Makes an image.
    pub async fn create_image(&self, image: &api::CreateImage) -> Result<api::Image, Error> {
        self.create(self.at(["v1", "images"]), image).await
    }

    /// Changes an image's texts.
    pub async fn update_image(&self, image: &str, texts: &api::UpdateImage) -> Result<api::Image, Error> {
        self.repeatable(Method::PATCH, self.image_url(image), Some(texts)).await
    }

    /// Deletes an image without versions.
    pub async fn delete_image(&self, image: &str) -> Result<(), Error> {
        self.quiet(Method::DELETE, self.image_url(image)).await
    }

    /// Versions of an image, newest first.
    pub fn versions(&self, image: &str, filter: VersionFilter) -> Rows<api::Version> {
        let mut url = self.at(["v1", "images", image, "versions"]);
        url.query_pairs_mut().append_pair("state", filter.as_str());
        self.rows::<api::VersionList>(url)
    }

    /// Makes a draft.
    pub async fn create_version(&self, image: &str, version: &str) -> Result<api::Version, Error> {
        let body = api::CreateVersion { version: version.to_owned() };
        self.create(self.at(["v1", "images", image, "versions"]), &body).await
    }

    /// What a version is made of. Of one that is not published, only for `content.write`.
    pub async fn manifest(&self, image: &str, version: &str) -> Result<api::Manifest, Error> {
        self.get(self.version_url(image, version)).await
    }

    /// What the published version is made of that has this name or alias.
    pub async fn resolve(&self, image: &str, reference: &str) -> Result<api::Manifest, Error> {
        self.get(self.at(["v1", "images", image, "refs", reference])).await
    }

    /// The files of the published version that has this name or alias.
    pub async fn files(&self, image: &str, reference: &str) -> Result<api::ReleaseListing, Error> {
        self.get(self.at(["images", image, reference, ""])).await
    }

    /// Deletes a draft.
    pub async fn delete_version(&self, image: &str, version: &str) -> Result<(), Error> {
        self.quiet(Method::DELETE, self.version_url(image, version)).await
    }

    /// The artifacts of a version.
    pub fn artifacts(&self, image: &str, version: &str) -> Rows<api::Artifact> {
        self.rows::<api::ArtifactList>(self.at(["v1", "images", image, "versions", version, "artifacts"]))
    }

    /// An artifact of a version.
    pub async fn artifact(&self, image: &str, version: &str, artifact: &str) -> Result<api::Artifact, Error> {
        self.get(self.artifact_url(image, version, artifact)).await
    }

    /// Adds an artifact to a draft. Its bytes need not be there yet.
    pub async fn create_artifact(
        &self,
        image: &str,
        version: &str,
        artifact: &api::CreateArtifact,
    ) -> Result<api::Artifact, Error> {
        self.create(self.at(["v1", "images", image, "versions", version, "artifacts"]), artifact).await
    }

    /// Removes an artifact with its attachments from a draft.
    pub async fn delete_artifact(&self, image: &str, version: &str, artifact: &str) -> Result<(), Error> {
        self.quiet(Method::DELETE, self.artifact_url(image, version, artifact)).await
    }

    /// Adds an attachment to an artifact of a draft. Its bytes need not be there yet.
    pub async fn create_attachment(
        &self,
        image: &str,
        version: &str,
        artifact: &str,
        attachment: &api::CreateAttachment,
    ) -> Result<api::Attachment, Error> {
        let path = ["v1", "images", image, "versions", version, "artifacts", artifact, "attachments"];
        self.create(self.at(path), attachment).await
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
        self.quiet(Method::DELETE, self.at(path)).await
    }

    /// Has the server make the metadata that Incus needs, and attach it to an artifact of a draft.
    pub async fn create_incus_metadata(
        &self,
        image: &str,
        version: &str,
        artifact: &str,
        metadata: &api::CreateIncusMetadata,
    ) -> Result<api::Attachment, Error> {
        let path = ["v1", "images", image, "versions", version, "artifacts", artifact, "incus-metadata"];
        self.create(self.at(path), metadata).await
    }

    /// Asks for a draft to be published. However often it is asked, one job does it.
    pub async fn publish_version(&self, image: &str, version: &str) -> Result<api::PublishRequested, Error> {
        let url = self.at(["v1", "images", image, "versions", version, "publish"]);
        self.repeatable(Method::POST, url, None::<&()>).await
    }

    /// A publish job.
    pub async fn job(&self, job: &str) -> Result<api::PublishJob, Error> {
        self.get(self.job_url(job)).await
    }

    /// Has a failed publish job tried again.
    pub async fn retry_job(&self, job: &str) -> Result<api::PublishJob, Error> {
        self.repeatable(Method::POST, self.at(["v1", "publish-jobs", job, "retry"]), None::<&()>).await
    }

    /// Gives a failed publish job up: its version is a draft again.
    pub async fn abandon_job(&self, job: &str) -> Result<api::PublishJob, Error> {
        self.repeatable(Method::POST, self.at(["v1", "publish-jobs", job, "abandon"]), None::<&()>).await
    }

    /// The aliases of an image, by name.
    pub fn aliases(&self, image: &str) -> Rows<api::Alias> {
        self.rows::<api::AliasList>(self.at(["v1", "images", image, "aliases"]))
    }

    /// An alias.
    pub async fn alias(&self, image: &str, alias: &str) -> Result<api::Alias, Error> {
        self.get(self.alias_url(image, alias)).await
    }

    /// Makes an alias, or moves it, to a published version.
    pub async fn set_alias(&self, image: &str, alias: &str, version: &str) -> Result<api::Alias, Error> {
        let body = api::SetAlias { version: version.to_owned() };
        self.repeatable(Method::PUT, self.alias_url(image, alias), Some(&body)).await
    }

    /// The same, unless the alias is there already.
    pub async fn create_alias(&self, image: &str, alias: &str, version: &str) -> Result<api::Alias, Error> {
        self.set_alias_if(image, alias, version, (IF_NONE_MATCH, HeaderValue::from_static("*"))).await
    }

    /// The same, if the alias points to the version `from`, and has not moved since that was seen. Otherwise it is
    /// refused, as [`ProblemCode::PreconditionFailed`](api::ProblemCode::PreconditionFailed).
    pub async fn move_alias(&self, image: &str, alias: &str, from: &str, to: &str) -> Result<api::Alias, Error> {
        let (seen, etag) = self.get_tagged::<api::Alias>(self.alias_url(image, alias)).await?;
        let tag = etag.filter(|_| seen.version == from).unwrap_or(HeaderValue::from_static("\"\""));
        self.set_alias_if(image, alias, to, (IF_MATCH, tag)).await
    }

    async fn set_alias_if(
        &self,
        image: &str,
        alias: &str,
        version: &str,
        (name, value): (HeaderName, HeaderValue),
    ) -> Result<api::Alias, Error> {
        let body = api::SetAlias { version: version.to_owned() };
        let headers = HeaderMap::from_iter([(name, value)]);
        self.change(Method::PUT, self.alias_url(image, alias), &body, headers).await
    }

    /// Deletes an alias; the version that it points to stays.
    pub async fn delete_alias(&self, image: &str, alias: &str) -> Result<(), Error> {
        self.quiet(Method::DELETE, self.alias_url(image, alias)).await
    }
}
