//! Images, versions, manifests and aliases in the catalog.

use super::{CatalogError, TrustedBlob};
use crate::{
    access::{ImageScope, Reach, Sender, View},
    claims::Binding,
    digest::Digest,
    ids::{AliasId, ArtifactId, AttachmentId, ImageId, VersionId},
    image::{Alias, Image},
    inspection::Warning,
    lifecycle::LifecycleFilter,
    manifest::{Artifact, Attachment, Manifest, ManifestEntry, Untrusted},
    names::{AliasName, ImageName, RefName, VersionName},
    page::{Page, PageRequest},
    time::Timestamp,
    transition::Revision,
    version::{Version, VersionFilter},
};
use async_trait::async_trait;

/// Images.
#[async_trait]
pub trait ImageRepo: Send {
    /// The image of that name.
    async fn get_image(&mut self, name: &ImageName) -> Result<Option<Image>, CatalogError>;
    /// The image of that name, locked.
    async fn lock_image(&mut self, name: &ImageName) -> Result<Option<Image>, CatalogError>;
    /// Stores a new image, else [`Conflict::ImageName`](super::Conflict::ImageName).
    async fn insert_image(&mut self, image: &Image) -> Result<(), CatalogError>;
    /// Binds a new image to a rule and values of claims, until it is deleted.
    async fn bind_image(&mut self, id: ImageId, to: &Binding) -> Result<(), CatalogError>;
    /// What the image of that name is bound to; the outer `None` when there is no image.
    async fn get_binding(&mut self, image: &ImageName) -> Result<Option<Option<Binding>>, CatalogError>;
    /// Stores the image's metadata if its revision is current, else
    /// [`Conflict::StaleRevision`](super::Conflict::StaleRevision).
    async fn update_image(&mut self, image: &Image) -> Result<(), CatalogError>;
    /// Deletes an image without versions, else [`Conflict::ImageInUse`](super::Conflict::ImageInUse).
    async fn delete_image(&mut self, id: ImageId) -> Result<(), CatalogError>;
    /// Records in a new catalog revision that an image changed for consumers. Until the end of the transaction, others
    /// that call this wait.
    async fn bump_catalog_revision(&mut self, image: ImageId) -> Result<(), CatalogError>;
}

/// Versions.
#[async_trait]
pub trait VersionRepo: Send {
    /// The version of that name, locked. Its lifecycle is current only if its image was locked before.
    async fn lock_version(&mut self, image: &ImageName, name: &VersionName) -> Result<Option<Version>, CatalogError>;
    /// The version with that id, locked. Its lifecycle is current only if its image was locked before.
    async fn lock_version_by_id(&mut self, id: VersionId) -> Result<Option<Version>, CatalogError>;
    /// Stores a new draft, else [`Conflict::RefName`](super::Conflict::RefName).
    async fn insert_version(&mut self, version: &Version) -> Result<(), CatalogError>;
    /// Stores `version` if its revision is current, else
    /// [`Conflict::StaleRevision`](super::Conflict::StaleRevision).
    async fn update_version(&mut self, version: &Version) -> Result<(), CatalogError>;
    /// Deletes a draft with its manifest.
    async fn delete_version(&mut self, version: &Version) -> Result<(), CatalogError>;
}

/// A digest in the manifest of a draft that a sender may not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnreadableDigest {
    /// The digest.
    pub digest: Digest,
    /// The declared size in bytes.
    pub declared: u64,
    /// Who else has added it; there is an item for each of them.
    pub cited_by: Option<Sender>,
}

/// Manifests: artifacts, attachments and the names of their files. They change only while their version is a draft.
#[async_trait]
pub trait ManifestRepo: Send {
    /// The artifacts of a version and their attachments, in the manifest's order.
    async fn list_manifest_entries(&mut self, version: VersionId) -> Result<Vec<ManifestEntry>, CatalogError>;
    /// Digests in the manifest of `version` that are not trusted blobs of the declared size; by digest, at most 100.
    async fn list_untrusted_digests(&mut self, version: VersionId) -> Result<Vec<Untrusted>, CatalogError>;
    /// Records who has added a digest to the manifest of a draft, until that is published.
    async fn record_citation(&mut self, version: VersionId, digest: &Digest, by: &Sender) -> Result<(), CatalogError>;
    /// The digests in the manifest of `version` that `sender` may not read; see
    /// [`is_readable`](super::BlobLedger::is_readable). Those that somebody else has added and may use, because it was sent
    /// within its reach, are left out.
    async fn list_unreadable_digests(
        &mut self,
        version: VersionId,
        reach: &Reach,
        sender: &Sender,
    ) -> Result<Vec<UnreadableDigest>, CatalogError>;
    /// The same, and locks the trusted blobs of the version, so that none of them is deleted before the end of the
    /// transaction.
    async fn lock_untrusted_digests(&mut self, version: VersionId) -> Result<Vec<Untrusted>, CatalogError>;
    /// The artifact with that id.
    async fn get_artifact(&mut self, id: ArtifactId) -> Result<Option<Artifact>, CatalogError>;
    /// The number of artifacts of a version.
    async fn count_artifacts(&mut self, version: VersionId) -> Result<u32, CatalogError>;
    /// Adds an artifact, its file names and its product key to a draft, else
    /// [`Conflict::ArtifactKey`](super::Conflict::ArtifactKey), [`Conflict::FileName`](super::Conflict::FileName) or
    /// [`Conflict::ProductKey`](super::Conflict::ProductKey).
    async fn insert_artifact(
        &mut self,
        artifact: &Artifact,
        files: &[String],
        product: Option<&str>,
    ) -> Result<(), CatalogError>;
    /// Removes an artifact with its attachments and file names from a draft.
    async fn delete_artifact(&mut self, id: ArtifactId) -> Result<(), CatalogError>;
    /// The attachment with that id.
    async fn get_attachment(&mut self, id: AttachmentId) -> Result<Option<Attachment>, CatalogError>;
    /// The number of attachments of an artifact.
    async fn count_attachments(&mut self, artifact: ArtifactId) -> Result<u32, CatalogError>;
    /// Adds an attachment and its file names to a draft, else
    /// [`Conflict::AttachmentName`](super::Conflict::AttachmentName) or
    /// [`Conflict::FileName`](super::Conflict::FileName).
    async fn insert_attachment(
        &mut self,
        version: VersionId,
        attachment: &Attachment,
        files: &[String],
    ) -> Result<(), CatalogError>;
    /// Removes an attachment and its file names from a draft.
    async fn delete_attachment(&mut self, id: AttachmentId) -> Result<(), CatalogError>;
}

/// Aliases.
#[async_trait]
pub trait AliasRepo: Send {
    /// The alias of that name, locked.
    async fn lock_alias(&mut self, image: ImageId, name: &AliasName) -> Result<Option<Alias>, CatalogError>;
    /// Stores a new alias, else [`Conflict::RefName`](super::Conflict::RefName). Its version must be published, and
    /// neither revoked nor removed.
    async fn insert_alias(&mut self, alias: &Alias) -> Result<(), CatalogError>;
    /// Moves an alias if its revision is current, else [`Conflict::StaleRevision`](super::Conflict::StaleRevision). Its
    /// version must be published, and neither revoked nor removed, and the time of the move as [`Alias::time_of_move`]
    /// determines it.
    async fn update_alias(&mut self, alias: &Alias) -> Result<(), CatalogError>;
    /// When the deleted alias of that name last moved.
    async fn get_last_move(&mut self, image: ImageId, name: &AliasName) -> Result<Option<Timestamp>, CatalogError>;
    /// Deletes an alias, and records when it last moved.
    async fn delete_alias(&mut self, id: AliasId) -> Result<(), CatalogError>;
}

/// A version and its image, as of one revision of the catalog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedVersion {
    /// The revision.
    pub revision: Revision,
    /// The image.
    pub image: Image,
    /// The version.
    pub version: Version,
}

/// A published version that was found by its name or by an alias.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedRef {
    /// The version.
    pub version: ResolvedVersion,
    /// When the alias last moved; absent if the version was found by its own name.
    pub moved_at: Option<Timestamp>,
}

/// The artifacts of a version, and the warnings that publishing recorded for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestEntries {
    /// The artifacts with their attachments and inspection results, in the manifest's order.
    pub entries: Vec<ManifestEntry>,
    /// The warnings, by step.
    pub warnings: Vec<Warning>,
}

/// Reads of images and aliases.
#[async_trait]
pub trait ImageQueries: Send + Sync {
    /// The image of that name, if visible.
    async fn get_image(&self, name: &ImageName, see: View) -> Result<Option<Image>, CatalogError>;
    /// Visible images by name.
    async fn list_images(&self, reach: &Reach, page: &PageRequest) -> Result<Page<Image>, CatalogError>;
    /// What the image of that name is bound to; the outer `None` when there is no image.
    async fn get_binding(&self, image: &ImageName) -> Result<Option<Option<Binding>>, CatalogError>;
    /// The images of a scope, and what they are bound to; one statement. Images that no pattern matches may be among them.
    async fn list_bindings(&self, images: &ImageScope) -> Result<Vec<(ImageName, Option<Binding>)>, CatalogError>;
    /// The alias of that name, if its image is visible.
    async fn get_alias(&self, image: &ImageName, name: &AliasName, see: View) -> Result<Option<Alias>, CatalogError>;
    /// Aliases of a visible image by name. `None` when the image is not visible.
    async fn list_aliases(
        &self,
        image: &ImageName,
        see: View,
        page: &PageRequest,
    ) -> Result<Option<Page<Alias>>, CatalogError>;
}

/// Reads of versions and their manifests.
///
/// The entries and warnings of a published version never change. Its blobs do not either, unless one is quarantined or
/// replaced, which changes [`catalog_revision`](super::StreamQueries::catalog_revision).
#[async_trait]
pub trait VersionQueries: Send + Sync {
    /// Versions of an image, newest first: published ones by their publication, the others by their creation, then by
    /// id. Of the published ones, those that `lifecycle` selects; when absent, those that are neither revoked nor removed.
    /// `None` when the image is not visible.
    async fn list_versions(
        &self,
        image: &ImageName,
        see: View,
        filter: VersionFilter,
        lifecycle: Option<LifecycleFilter>,
        page: &PageRequest,
    ) -> Result<Option<Page<Version>>, CatalogError>;
    /// The version of that name and its image, if visible; one statement.
    async fn resolve_version(
        &self,
        image: &ImageName,
        name: &VersionName,
        see: View,
    ) -> Result<Option<ResolvedVersion>, CatalogError>;
    /// The version of that name, whatever its state, its image and its manifest entries, in one snapshot.
    async fn resolve_manifest(
        &self,
        image: &ImageName,
        version: &VersionName,
    ) -> Result<Option<(ResolvedVersion, ManifestEntries)>, CatalogError>;
    /// The published version with that name or alias, and its image, if visible; one statement.
    async fn resolve_ref(
        &self,
        image: &ImageName,
        name: &RefName,
        see: View,
    ) -> Result<Option<ResolvedRef>, CatalogError>;
    /// The manifest entries of a version and its warnings; empty when there is no such version. One statement.
    async fn get_manifest_entries(&self, version: VersionId) -> Result<ManifestEntries, CatalogError>;
    /// The trusted blobs of a version's artifacts and attachments, by digest; one statement. A quarantined blob is not
    /// trusted.
    async fn get_manifest_blobs(&self, version: VersionId) -> Result<Vec<TrustedBlob>, CatalogError>;
    /// The manifest of a visible version.
    async fn get_manifest(
        &self,
        image: &ImageName,
        version: &VersionName,
        see: View,
    ) -> Result<Option<Manifest>, CatalogError>;
}
