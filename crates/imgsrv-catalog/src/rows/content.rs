//! Rows of images, versions, artifacts, attachments and aliases.

use crate::rows::decode::{Corrupt, claim, convert, parse, parse_optional};
use crate::rows::time::SqlTime;
use imgsrv_domain::{
    ids::{AliasId, ArtifactId, AttachmentId, ImageId, VersionId},
    image::{Alias, Image},
    manifest::{Artifact, Attachment, Untrusted},
    transition::Revision,
    version::{Version, VersionRecord, VersionState},
};
use uuid::Uuid;

/// A row of `images`.
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct ImageRow {
    pub(crate) id: Uuid,
    pub(crate) name: String,
    pub(crate) display_name: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) created_at: SqlTime,
    pub(crate) updated_at: SqlTime,
    pub(crate) revision: i64,
}

impl TryFrom<ImageRow> for Image {
    type Error = Corrupt;

    fn try_from(row: ImageRow) -> Result<Self, Corrupt> {
        Ok(Self {
            id: ImageId::new(row.id),
            name: parse("image", &row.name)?,
            display_name: parse_optional("image", row.display_name.as_deref())?,
            description: parse_optional("image", row.description.as_deref())?,
            created_at: row.created_at.into(),
            updated_at: row.updated_at.into(),
            revision: Revision::new(row.revision),
        })
    }
}

/// A row of `versions` with the name of its image.
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct VersionRow {
    pub(crate) id: Uuid,
    pub(crate) image_id: Uuid,
    pub(crate) image_name: String,
    pub(crate) name: String,
    pub(crate) state: String,
    pub(crate) published_at: Option<SqlTime>,
    pub(crate) created_at: SqlTime,
    pub(crate) updated_at: SqlTime,
    pub(crate) revision: i64,
}

impl TryFrom<VersionRow> for Version {
    type Error = Corrupt;

    fn try_from(row: VersionRow) -> Result<Self, Corrupt> {
        let state = match (row.state.as_str(), row.published_at) {
            ("draft", None) => VersionState::Draft,
            ("publishing", None) => VersionState::Publishing,
            ("published", Some(at)) => VersionState::Published { at: at.into() },
            _ => return Err(Corrupt::new("version", "its state and publication time disagree")),
        };
        Ok(Self::restore(VersionRecord {
            id: VersionId::new(row.id),
            image_id: ImageId::new(row.image_id),
            image: parse("version", &row.image_name)?,
            name: parse("version", &row.name)?,
            state,
            created_at: row.created_at.into(),
            updated_at: row.updated_at.into(),
            revision: Revision::new(row.revision),
        }))
    }
}

/// A row of `artifacts`.
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct ArtifactRow {
    pub(crate) id: Uuid,
    pub(crate) version_id: Uuid,
    pub(crate) operating_system: String,
    pub(crate) architecture: String,
    pub(crate) variant: String,
    pub(crate) format: String,
    pub(crate) primary_blob_digest: String,
    pub(crate) primary_blob_size_bytes: i64,
    pub(crate) primary_media_type: String,
    pub(crate) created_at: SqlTime,
}

impl TryFrom<ArtifactRow> for Artifact {
    type Error = Corrupt;

    fn try_from(row: ArtifactRow) -> Result<Self, Corrupt> {
        Ok(Self {
            id: ArtifactId::new(row.id),
            version_id: VersionId::new(row.version_id),
            variant: parse("artifact", &row.variant)?,
            operating_system: parse("artifact", &row.operating_system)?,
            architecture: parse("artifact", &row.architecture)?,
            format: parse("artifact", &row.format)?,
            primary: claim("artifact", &row.primary_blob_digest, row.primary_blob_size_bytes)?,
            media_type: parse("artifact", &row.primary_media_type)?,
            created_at: row.created_at.into(),
        })
    }
}

/// A row of `attachments`.
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct AttachmentRow {
    pub(crate) id: Uuid,
    pub(crate) artifact_id: Uuid,
    pub(crate) name: String,
    pub(crate) media_type: String,
    pub(crate) blob_digest: String,
    pub(crate) blob_size_bytes: i64,
    pub(crate) created_at: SqlTime,
}

impl TryFrom<AttachmentRow> for Attachment {
    type Error = Corrupt;

    fn try_from(row: AttachmentRow) -> Result<Self, Corrupt> {
        Ok(Self {
            id: AttachmentId::new(row.id),
            artifact_id: ArtifactId::new(row.artifact_id),
            name: parse("attachment", &row.name)?,
            media_type: parse("attachment", &row.media_type)?,
            blob: claim("attachment", &row.blob_digest, row.blob_size_bytes)?,
            created_at: row.created_at.into(),
        })
    }
}

/// A row of `aliases` with the name of its version.
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct AliasRow {
    pub(crate) id: Uuid,
    pub(crate) image_id: Uuid,
    pub(crate) name: String,
    pub(crate) version_id: Uuid,
    pub(crate) version_name: String,
    pub(crate) created_at: SqlTime,
    pub(crate) updated_at: SqlTime,
    pub(crate) revision: i64,
}

impl TryFrom<AliasRow> for Alias {
    type Error = Corrupt;

    fn try_from(row: AliasRow) -> Result<Self, Corrupt> {
        Ok(Self {
            id: AliasId::new(row.id),
            image_id: ImageId::new(row.image_id),
            name: parse("alias", &row.name)?,
            version_id: VersionId::new(row.version_id),
            version: parse("alias", &row.version_name)?,
            created_at: row.created_at.into(),
            updated_at: row.updated_at.into(),
            revision: Revision::new(row.revision),
        })
    }
}

/// A digest of a manifest, with the size of the trusted blob if there is one.
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct UntrustedRow {
    pub(crate) digest: String,
    pub(crate) declared: i64,
    pub(crate) trusted: Option<i64>,
}

impl TryFrom<UntrustedRow> for Untrusted {
    type Error = Corrupt;

    fn try_from(row: UntrustedRow) -> Result<Self, Corrupt> {
        Ok(Self {
            digest: parse("manifest", &row.digest)?,
            declared: convert("manifest", row.declared)?,
            trusted: row.trusted.map(|size| convert("blob", size)).transpose()?,
        })
    }
}
