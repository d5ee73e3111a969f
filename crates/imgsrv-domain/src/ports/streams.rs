//! The stream index in the catalog: the artifacts that Simple Streams list, and their fingerprints.

use super::{CatalogError, StreamLifecycle};
use crate::{
    access::Visibility,
    digest::{BlobClaim, Digest, HashState},
    ids::{ArtifactId, AttachmentId, ImageId, VersionId},
    inspection::{IncusLayout, IncusProperties, IncusRow},
    names::{AliasName, Architecture, AttachmentName, Format, ImageName, OperatingSystem, Variant, VersionName},
    text::ShortText,
    time::Timestamp,
    transition::Revision,
};
use async_trait::async_trait;

/// The metadata and the root that a fingerprint is computed from, one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FingerprintKey {
    /// The metadata.
    pub metadata: Digest,
    /// The root.
    pub root: Digest,
}

/// The progress of a fingerprint's computation.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "there is one at a time")]
pub enum FingerprintProgress {
    /// All of the metadata was hashed, and some of the root.
    Begun {
        /// The hash of the metadata and the root so far.
        combined: HashState,
        /// The hash of the root alone so far.
        root: HashState,
    },
    /// The fingerprint is known.
    Done(Digest),
}

/// The stream index. Its rows change only while their version is publishing.
#[async_trait]
pub trait StreamIndexRepo: Send {
    /// Records an artifact that streams list once its version is published.
    async fn insert_stream_row(&mut self, version: VersionId, row: &IncusRow) -> Result<(), CatalogError>;
    /// Deletes the recorded artifacts of a version.
    async fn delete_stream_rows(&mut self, version: VersionId) -> Result<(), CatalogError>;
    /// Makes streams list the recorded artifacts of a version from the current catalog revision on.
    async fn publish_stream_rows(&mut self, version: VersionId) -> Result<(), CatalogError>;
    /// The progress of a fingerprint's computation.
    async fn get_fingerprint(&mut self, key: &FingerprintKey) -> Result<Option<FingerprintProgress>, CatalogError>;
    /// Saves the progress of a fingerprint's computation; a known fingerprint never changes.
    async fn save_fingerprint(
        &mut self,
        key: &FingerprintKey,
        progress: &FingerprintProgress,
    ) -> Result<(), CatalogError>;
    /// Deletes the progress of a fingerprint's computation, unless it is known.
    async fn delete_fingerprint(&mut self, key: &FingerprintKey) -> Result<(), CatalogError>;
}

/// An artifact that streams list, with its metadata.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamRow {
    /// The artifact.
    pub artifact: ArtifactId,
    /// The image.
    pub image: ImageId,
    /// The version.
    pub version: VersionName,
    /// When the version was published.
    pub published_at: Timestamp,
    /// The artifact's operating system.
    pub operating_system: OperatingSystem,
    /// Its architecture.
    pub architecture: Architecture,
    /// Its variant.
    pub variant: Variant,
    /// Its format.
    pub format: Format,
    /// Its bytes.
    pub root: BlobClaim,
    /// Its metadata, if it is not unified.
    pub layout: IncusLayout<StreamMetadata>,
    /// The SHA-256 of metadata and artifact, one after the other, or of the unified image.
    pub fingerprint: Digest,
    /// The properties in the metadata.
    pub properties: IncusProperties,
    /// When the image expires, according to the metadata.
    pub expires_at: Option<Timestamp>,
}

/// The metadata of an artifact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamMetadata {
    /// The attachment.
    pub id: AttachmentId,
    /// Its name among the attachments of the artifact.
    pub name: AttachmentName,
    /// Its bytes.
    pub claim: BlobClaim,
}

/// The current state of an image that changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamImage {
    /// Its identity.
    pub id: ImageId,
    /// Its name.
    pub name: ImageName,
    /// Its name for people.
    pub display_name: Option<ShortText>,
    /// Who may read it; streams list public images only.
    pub visibility: Visibility,
    /// The generation of the links to its files.
    pub link_generation: u32,
    /// All its aliases, each with its version.
    pub aliases: Vec<(AliasName, VersionName)>,
}

/// The changes of the streams since a catalog revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamChanges {
    /// The revision that the changes lead to.
    pub revision: Revision,
    /// The artifacts that were published.
    pub rows: Vec<StreamRow>,
    /// The versions whose lifecycle changed.
    pub lifecycles: Vec<StreamLifecycle>,
    /// The images whose metadata, aliases or versions changed.
    pub images: Vec<StreamImage>,
}

/// Reads of the catalog revision and the stream index.
#[async_trait]
pub trait StreamQueries: Send + Sync {
    /// The revision of the catalog: it changes whenever something changes that consumers see.
    async fn catalog_revision(&self) -> Result<Revision, CatalogError>;
    /// The changes of the streams after `since`; everything when absent.
    async fn get_stream_changes(&self, since: Option<Revision>) -> Result<StreamChanges, CatalogError>;
}
