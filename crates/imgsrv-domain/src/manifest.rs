//! Manifests: what a version is made of.

use crate::{
    digest::{BlobClaim, Digest},
    files,
    ids::{ArtifactId, AttachmentId, VersionId},
    image::Image,
    inspection::{Inspection, Warning},
    names::{Architecture, AttachmentName, Format, ImageName, OperatingSystem, Variant, VersionName},
    text::MediaType,
    time::Timestamp,
    version::Version,
};

/// One bootable thing of a version; unique in it by operating system, architecture, variant and format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// Its identity.
    pub id: ArtifactId,
    /// Its version.
    pub version_id: VersionId,
    /// Which of several alike.
    pub variant: Variant,
    /// What boots.
    pub operating_system: OperatingSystem,
    /// On what.
    pub architecture: Architecture,
    /// In which format.
    pub format: Format,
    /// Its bytes, as the manifest names them.
    pub primary: BlobClaim,
    /// What its bytes are served as.
    pub media_type: MediaType,
    /// When it was added.
    pub created_at: Timestamp,
}

impl Artifact {
    /// How a file of it is called in that version of that image.
    pub fn file_name(&self, image: &ImageName, version: &VersionName) -> String {
        files::artifact_file(image, version, &self.architecture, &self.variant, self.format)
    }
}

/// Something that goes with an artifact: a signature, an SBOM, Incus metadata.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// Its identity.
    pub id: AttachmentId,
    /// Its artifact.
    pub artifact_id: ArtifactId,
    /// Its name, unique in the artifact.
    pub name: AttachmentName,
    /// What its bytes are served as.
    pub media_type: MediaType,
    /// Its bytes, as the manifest names them.
    pub blob: BlobClaim,
    /// When it was added.
    pub created_at: Timestamp,
}

/// An artifact with what goes with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestEntry {
    /// The artifact.
    pub artifact: Artifact,
    /// Its attachments by name.
    pub attachments: Vec<Attachment>,
    /// What its bytes are, once publishing has looked at them.
    pub inspection: Option<Inspection>,
}

/// A version with everything it is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The image.
    pub image: Image,
    /// The version.
    pub version: Version,
    /// Its artifacts by operating system, architecture, variant and format.
    pub entries: Vec<ManifestEntry>,
    /// What publishing found wrong without failing, by step.
    pub warnings: Vec<Warning>,
}

/// A file that a version's manifest makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestFile {
    /// Its name.
    pub name: String,
    /// Its bytes.
    pub claim: BlobClaim,
    /// What they are served as.
    pub media_type: MediaType,
}

impl Manifest {
    /// The files of all artifacts and attachments, by name.
    pub fn files(&self) -> Vec<ManifestFile> {
        let mut all = Vec::new();
        for ManifestEntry { artifact, attachments, .. } in &self.entries {
            let own = artifact.file_name(&self.image.name, &self.version.name);
            all.extend(attachments.iter().map(|attachment| ManifestFile {
                name: files::attachment_file(&own, &attachment.name),
                claim: attachment.blob,
                media_type: attachment.media_type.clone(),
            }));
            all.push(ManifestFile { name: own, claim: artifact.primary, media_type: artifact.media_type.clone() });
        }
        all.sort_by(|one, other| one.name.cmp(&other.name));
        all
    }
}

/// The most artifacts a version may have.
pub const MAX_ARTIFACTS: u32 = 256;
/// The most attachments an artifact may have.
pub const MAX_ATTACHMENTS: u32 = 64;

/// A digest that a manifest names and that cannot be published as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Untrusted {
    /// The digest.
    pub digest: Digest,
    /// The size that the manifest declares.
    pub declared: u64,
    /// The size of the trusted blob; absent when there is no such blob.
    pub trusted: Option<u64>,
}

impl std::fmt::Display for Untrusted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.trusted {
            None => write!(f, "{} is not a trusted blob", self.digest),
            Some(size) => write!(f, "{} has {size} bytes, not the declared {}", self.digest, self.declared),
        }
    }
}

/// Why a manifest cannot be published.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unpublishable {
    /// There is nothing in it.
    #[error("the version has no artifact")]
    Empty,
    /// Some of its digests are not trusted, or not of the declared size.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Untrusted(Vec<Untrusted>),
}
