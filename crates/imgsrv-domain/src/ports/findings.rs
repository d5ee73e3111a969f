//! What publishing finds out about a frozen version, and what Simple Streams are made of.

use super::CatalogError;
use crate::{
    digest::{BlobClaim, Digest, HashState},
    ids::{ArtifactId, ImageId, VersionId},
    inspection::{IncusRow, Inspection, Warning},
    names::{AliasName, Architecture, AttachmentName, Format, ImageName, OperatingSystem, Variant, VersionName},
    publish::StepName,
    text::ShortText,
    time::Timestamp,
    transition::Revision,
};
use async_trait::async_trait;

/// Metadata and the root that it is for, whose bytes one after the other have a digest of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Pair {
    /// The metadata.
    pub metadata: Digest,
    /// The root.
    pub root: Digest,
}

/// How far the digest of a pair has been computed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FingerprintProgress {
    /// All of the metadata was hashed, and some of the root.
    Begun {
        /// The digest of the pair so far.
        pair: HashState,
        /// The digest of the root so far.
        root: HashState,
    },
    /// Wholly.
    Done(Digest),
}

/// Findings about frozen versions. They come and go while a version is publishing, and stay when it is published.
#[async_trait]
pub trait FindingRepo: Send {
    /// Forgets what `step` found out about a frozen version, so that it may find out again; every step when absent.
    async fn clear_findings(&mut self, version: VersionId, step: Option<StepName>) -> Result<(), CatalogError>;
    /// Records what an artifact's bytes are.
    async fn insert_inspection(
        &mut self,
        version: VersionId,
        artifact: ArtifactId,
        inspection: &Inspection,
    ) -> Result<(), CatalogError>;
    /// Records warnings of one step, all of them at once.
    async fn insert_warnings(&mut self, version: VersionId, warnings: &[Warning]) -> Result<(), CatalogError>;
    /// Records an artifact that streams are to list.
    async fn insert_incus_row(&mut self, version: VersionId, row: &IncusRow) -> Result<(), CatalogError>;
    /// Makes streams list the recorded artifacts of a version from the current catalog revision on.
    async fn list_in_streams(&mut self, version: VersionId) -> Result<(), CatalogError>;
    /// How far the digest of a pair has been computed.
    async fn get_fingerprint(&mut self, pair: &Pair) -> Result<Option<FingerprintProgress>, CatalogError>;
    /// Saves how far the digest of a pair has been computed; one that is done is done for ever.
    async fn save_fingerprint(&mut self, pair: &Pair, hash: &FingerprintProgress) -> Result<(), CatalogError>;
    /// Forgets how far the digest of a pair has been computed, unless it is done.
    async fn delete_fingerprint(&mut self, pair: &Pair) -> Result<(), CatalogError>;
}

/// An artifact that streams list, with its metadata.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamRow {
    /// The image.
    pub image: ImageId,
    /// The version.
    pub version: VersionName,
    /// When that was published.
    pub published_at: Timestamp,
    /// What boots.
    pub operating_system: OperatingSystem,
    /// On what.
    pub architecture: Architecture,
    /// Which of several alike.
    pub variant: Variant,
    /// In which format.
    pub format: Format,
    /// The artifact's bytes.
    pub root: BlobClaim,
    /// The name of the metadata among the artifact's attachments.
    pub metadata_name: AttachmentName,
    /// Its bytes.
    pub metadata: BlobClaim,
    /// The SHA-256 of metadata and artifact, one after the other.
    pub fingerprint: Digest,
}

/// An image that has changed, as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamImage {
    /// Its identity.
    pub id: ImageId,
    /// Its name.
    pub name: ImageName,
    /// Its name for people.
    pub display_name: Option<ShortText>,
    /// All its aliases, and which version each is on.
    pub aliases: Vec<(AliasName, VersionName)>,
}

/// What changed of the streams since a catalog revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamChanges {
    /// The revision up to which this tells.
    pub revision: Revision,
    /// What was published.
    pub rows: Vec<StreamRow>,
    /// The images whose texts, aliases or versions changed.
    pub images: Vec<StreamImage>,
}
