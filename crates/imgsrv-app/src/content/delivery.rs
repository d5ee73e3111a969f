//! Delivery: resolving what a consumer asks for, and opening its bytes.

use crate::{
    auth::caller::Caller,
    context::Context,
    error::{Missing, UseCaseError},
};
use imgsrv_domain::{
    digest::{BlobClaim, ByteSize, Digest},
    files,
    hash::RunningHash,
    ids::{ArtifactId, AttachmentId},
    manifest::{Manifest, ManifestFile},
    names::{FileName, ImageName, RefName, VersionName},
    ports::{BlobName, BlobStream, ReleasedFile, Visibility},
    text::MediaType,
    time::Timestamp,
};
use std::{collections::BTreeMap, ops::Range, sync::Arc};

/// The use cases of downloads.
#[derive(Clone)]
pub struct Delivery(pub(crate) Arc<Context>);

/// Bytes that the caller may have.
#[derive(Debug, Clone)]
pub struct Download {
    /// What they are.
    pub claim: BlobClaim,
    /// What they are served as; absent when only their digest is known.
    pub media_type: Option<MediaType>,
    /// How a file of them is called.
    pub file_name: String,
    /// Since when they have been so.
    pub modified_at: Timestamp,
    /// Whether anybody may have them.
    pub public: bool,
    name: BlobName,
}

/// A file of a published version, found by its name.
#[derive(Debug, Clone)]
pub struct Released {
    /// Its bytes.
    pub bytes: ReleasedBytes,
    /// Under an alias, where the same file is as long as the version is.
    pub versioned: Option<String>,
}

/// What a name leads to.
#[derive(Debug, Clone)]
pub enum ReleasedBytes {
    /// An artifact or attachment.
    Stored(Download),
    /// Checksums.
    Generated(GeneratedText),
}

/// A text that is made of what a version consists of.
#[derive(Debug, Clone)]
pub struct GeneratedText {
    /// The text.
    pub text: String,
    /// How a file of it is called.
    pub file_name: String,
    /// When the version was published.
    pub modified_at: Timestamp,
}

impl GeneratedText {
    /// What its bytes are.
    pub fn claim(&self) -> BlobClaim {
        let mut hash = RunningHash::new();
        hash.update(self.text.as_bytes());
        BlobClaim { digest: hash.finish(), size: ByteSize::try_from(self.text.len() as u64).unwrap_or(ByteSize::ZERO) }
    }
}

/// The files of a published version.
#[derive(Debug, Clone)]
pub struct Release {
    /// What it is made of.
    pub manifest: Manifest,
    /// Its files by name.
    pub files: Vec<ManifestFile>,
    /// Whether it was found by an alias.
    pub is_alias: bool,
}

impl Release {
    /// The checksums of all files, as GNU coreutils write and check them. Under an alias each file is told by both of
    /// its names.
    pub fn checksums(&self) -> String {
        let (image, version) = (&self.manifest.image.name, &self.manifest.version.name);
        let mut lines = BTreeMap::new();
        for file in &self.files {
            if let Some(short) = files::without_version(image, version, &file.name).filter(|_| self.is_alias) {
                lines.entry(short).or_insert(file.claim.digest);
            }
        }
        // A file's own name is never taken by another's short one.
        lines.extend(self.files.iter().map(|file| (file.name.clone(), file.claim.digest)));
        lines.iter().map(|(name, digest)| checksum_line(digest, name)).collect()
    }
}

/// A line of a file of checksums (GNU coreutils).
fn checksum_line(digest: &Digest, name: &str) -> String {
    format!("{}  {name}\n", digest.hex())
}

impl Delivery {
    /// The blob with that digest, if the caller may have it.
    pub async fn blob(&self, caller: &Caller, digest: &Digest) -> Result<Download, UseCaseError> {
        let public = self.0.catalog.get_blob(digest, Visibility::Published).await?;
        let found = match (public, caller.visibility()) {
            (Some(blob), _) => Some((blob, true)),
            (None, Visibility::All) => {
                self.0.catalog.get_blob(digest, Visibility::All).await?.map(|blob| (blob, false))
            }
            (None, Visibility::Published) => None,
        };
        let (blob, public) = found.ok_or(UseCaseError::NotFound(Missing::Blob))?;
        Ok(Download {
            claim: blob.claim,
            media_type: None,
            file_name: blob.claim.digest.hex(),
            modified_at: blob.created_at,
            public,
            name: blob.name,
        })
    }

    /// The bytes of an artifact of a published version, or of one of its attachments.
    pub async fn file(
        &self,
        image: &ImageName,
        version: &VersionName,
        artifact: ArtifactId,
        attachment: Option<AttachmentId>,
    ) -> Result<Download, UseCaseError> {
        let found = self.0.catalog.get_published_file(image, version, artifact, attachment).await?;
        let missing = if attachment.is_some() { Missing::Attachment } else { Missing::Artifact };
        let file = found.ok_or(UseCaseError::NotFound(missing))?;
        let file_name = match file.attachment {
            Some(name) => name.to_string(),
            None => file.artifact.file_name(image, version),
        };
        Ok(Download {
            claim: file.claim,
            media_type: Some(file.media_type),
            file_name,
            modified_at: file.published_at,
            public: true,
            name: file.name,
        })
    }

    /// The file of that name of the published version that is named or aliased so, or checksums of its files.
    pub async fn released(
        &self,
        image: &ImageName,
        reference: &RefName,
        name: &FileName,
    ) -> Result<Released, UseCaseError> {
        if name.as_str() == files::CHECKSUMS {
            let release = self.release(image, reference).await?;
            let version = &release.manifest.version;
            let versioned = release.is_alias.then(|| format!("/images/{image}/{}/{name}", version.name));
            let text = GeneratedText {
                text: release.checksums(),
                file_name: name.to_string(),
                modified_at: version.state.published_at().unwrap_or(version.created_at),
            };
            return Ok(Released { bytes: ReleasedBytes::Generated(text), versioned });
        }
        let found = self.0.catalog.get_released_file(image, reference, name).await?;
        let ReleasedFile { file, version, name: found_by } = found.ok_or(UseCaseError::NotFound(Missing::File))?;
        let own = match &file.attachment {
            Some(attachment) => files::attachment_file(&file.artifact.file_name(image, &version), attachment),
            None => file.artifact.file_name(image, &version),
        };
        let versioned =
            (reference.as_str() != version.as_str()).then(|| format!("/images/{image}/{version}/{found_by}"));
        let bytes = if found_by == own {
            ReleasedBytes::Stored(Download {
                claim: file.claim,
                media_type: Some(file.media_type),
                file_name: name.to_string(),
                modified_at: file.published_at,
                public: true,
                name: file.name,
            })
        } else {
            // What is found is either the file or that of its checksums.
            let of = name.as_str().strip_suffix(".sha256").unwrap_or(&own);
            ReleasedBytes::Generated(GeneratedText {
                text: checksum_line(&file.claim.digest, of),
                file_name: name.to_string(),
                modified_at: file.published_at,
            })
        };
        Ok(Released { bytes, versioned })
    }

    /// Everything that the published version that is named or aliased so consists of.
    pub async fn release(&self, image: &ImageName, reference: &RefName) -> Result<Release, UseCaseError> {
        let manifest = self.0.catalog.get_ref(image, reference).await?;
        let manifest = manifest.ok_or(UseCaseError::NotFound(Missing::Version))?;
        let is_alias = reference.as_str() != manifest.version.name.as_str();
        Ok(Release { files: manifest.files(), manifest, is_alias })
    }

    /// Opens `range` of the bytes. Bytes that are found missing or of another size are quarantined: nobody is
    /// served them again.
    pub async fn open(&self, download: &Download, range: Range<u64>) -> Result<BlobStream, UseCaseError> {
        Ok(self.0.open_blob(&download.claim, &download.name, range).await?)
    }
}
