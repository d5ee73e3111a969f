//! Manifests: the artifacts and attachments of a version.

use crate::{
    digest::{BlobClaim, Digest},
    files::{self, Names},
    ids::{ArtifactId, AttachmentId, VersionId},
    image::Image,
    inspection::{Inspection, Warning},
    names::{Architecture, AttachmentName, Format, ImageName, OperatingSystem, Variant, VersionName},
    text::MediaType,
    time::{Day, Timestamp},
    version::Version,
};
use std::collections::{BTreeMap, BTreeSet};

/// A bootable image of a version; unique in it by architecture in any spelling, variant and format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// Its id.
    pub id: ArtifactId,
    /// Its version.
    pub version_id: VersionId,
    /// Its variant, such as `cloud`.
    pub variant: Variant,
    /// Its operating system.
    pub operating_system: OperatingSystem,
    /// Its architecture.
    pub architecture: Architecture,
    /// The format of its bytes.
    pub format: Format,
    /// Digest and size of its bytes.
    pub primary: BlobClaim,
    /// The media type that its bytes are served with.
    pub media_type: MediaType,
    /// When it was added.
    pub created_at: Timestamp,
}

impl Artifact {
    /// The name of its file in `version` of `image`.
    pub fn file_name(&self, image: &ImageName, version: &VersionName) -> String {
        files::artifact_file(image, version, &self.architecture, &self.variant, self.format)
    }

    /// The names of its file in `version` of `image`.
    pub fn names(&self, image: &ImageName, version: &VersionName) -> Names {
        files::artifact_names(image, version, &self.architecture, &self.variant, self.format)
    }
}

/// A file that accompanies an artifact: a signature, an SBOM, Incus metadata.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// Its id.
    pub id: AttachmentId,
    /// Its artifact.
    pub artifact_id: ArtifactId,
    /// Its name, unique in the artifact.
    pub name: AttachmentName,
    /// The media type that its bytes are served with.
    pub media_type: MediaType,
    /// Digest and size of its bytes.
    pub blob: BlobClaim,
    /// When it was added.
    pub created_at: Timestamp,
}

/// An artifact with its attachments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestEntry {
    /// The artifact.
    pub artifact: Artifact,
    /// Its attachments, ordered by name.
    pub attachments: Vec<Attachment>,
    /// What a publish step detected in its bytes; absent before that.
    pub inspection: Option<Inspection>,
}

/// A version with its artifacts and attachments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The image.
    pub image: Image,
    /// The version.
    pub version: Version,
    /// Its artifacts, ordered by operating system, architecture, variant and format.
    pub entries: Vec<ManifestEntry>,
    /// The warnings of publish steps, ordered by step.
    pub warnings: Vec<Warning>,
    /// The digests of its quarantined blobs, as far as the reader has looked them up.
    pub quarantined: BTreeSet<Digest>,
}

/// A file that an artifact or attachment makes available.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestFile {
    /// Its name.
    pub name: String,
    /// Digest and size of its bytes.
    pub claim: BlobClaim,
    /// The media type that they are served with.
    pub media_type: MediaType,
    /// The attachments of this artifact that have a second name; see [`files::side_file`].
    pub beside: Vec<(AttachmentName, Digest)>,
}

impl Manifest {
    /// The digests of all artifacts and attachments.
    pub fn digests(&self) -> impl Iterator<Item = &Digest> {
        self.entries.iter().flat_map(|entry| {
            let attachments = entry.attachments.iter().map(|attachment| &attachment.blob.digest);
            std::iter::once(&entry.artifact.primary.digest).chain(attachments)
        })
    }

    /// The names of all artifacts and attachments.
    pub fn names(&self) -> impl Iterator<Item = Names> {
        self.entries.iter().flat_map(|entry| {
            let own = entry.artifact.names(&self.image.name, &self.version.name);
            let attached: Vec<Names> =
                entry.attachments.iter().map(|attachment| own.of_attachment(&attachment.name)).collect();
            std::iter::once(own).chain(attached)
        })
    }

    /// The files of all artifacts and attachments, ordered by name. An attachment that has a second name is
    /// there twice, unless another file has that name.
    pub fn files(&self) -> Vec<ManifestFile> {
        let (mut all, mut second) = (Vec::new(), BTreeMap::new());
        for ManifestEntry { artifact, attachments, .. } in &self.entries {
            let own = artifact.file_name(&self.image.name, &self.version.name);
            let mut beside = Vec::new();
            for attachment in attachments {
                let (claim, media_type) = (attachment.blob, attachment.media_type.clone());
                let name = files::attachment_file(&own, &attachment.name);
                let file = ManifestFile { name, claim, media_type, beside: Vec::new() };
                if let Some(name) = files::side_file(&own, &attachment.name) {
                    beside.push((attachment.name.clone(), claim.digest));
                    second.entry(name.clone()).or_insert_with(Vec::new).push(ManifestFile { name, ..file.clone() });
                }
                all.push(file);
            }
            let (claim, media_type) = (artifact.primary, artifact.media_type.clone());
            all.push(ManifestFile { name: own, claim, media_type, beside });
        }
        // Where the attachments of several artifacts differ, none of them has the second name.
        second.retain(|name, files| {
            let is_one = files.windows(2).all(|pair| matches!(pair, [one, other] if one.claim == other.claim));
            is_one && !all.iter().any(|file| file.name == *name || files::checksum_file(&file.name) == *name)
        });
        all.extend(second.into_values().filter_map(|files| files.into_iter().next()));
        all.sort_by(|one, other| one.name.cmp(&other.name));
        all
    }
}

/// How many artifacts a version may have at most.
pub const MAX_ARTIFACTS: u32 = 256;
/// How many attachments an artifact may have at most.
pub const MAX_ATTACHMENTS: u32 = 64;

/// A digest in a manifest that is not a trusted blob of the declared size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Untrusted {
    /// The digest.
    pub digest: Digest,
    /// The declared size in bytes.
    pub declared: u64,
    /// The size of the trusted blob in bytes; absent when there is none.
    pub trusted: Option<u64>,
    /// The day on which a blob with this digest was collected as garbage, if there is none now and that is known.
    pub collected_on: Option<Day>,
}

impl std::fmt::Display for Untrusted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.trusted {
            None => match self.collected_on {
                None => write!(f, "the blob {} has not been uploaded", self.digest),
                Some(day) => write!(
                    f,
                    "the blob {} was deleted on {day}, because nothing had referred to it for a time; upload it again",
                    self.digest
                ),
            },
            Some(size) => write!(f, "the blob {} has {size} bytes, not the declared {}", self.digest, self.declared),
        }
    }
}

/// Why a manifest cannot be published.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unpublishable {
    /// It has no artifact.
    #[error("the version has no artifact")]
    Empty,
    /// Some digests are not trusted, or not of the declared size.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Untrusted(Vec<Untrusted>),
}
