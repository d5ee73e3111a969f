//! Rows of what publishing finds out, and of what streams list.

use crate::rows::content::claim;
use crate::rows::{Corrupt, PublishedFileRow, SqlTime, convert, parse, parse_optional};
use imgsrv_domain::{
    digest::HashState,
    ids::{ArtifactId, ImageId},
    inspection::{Inspection, Warning},
    names::{AliasName, VersionName},
    ports::{FingerprintProgress, ReleasedFile, StreamImage, StreamRow},
};
use uuid::Uuid;

/// A row of `inspections`.
#[derive(Debug, sqlx::FromRow)]
#[expect(missing_docs, reason = "columns")]
pub struct InspectionRow {
    pub artifact_id: Uuid,
    pub detected_format: Option<String>,
    pub virtual_size_bytes: Option<i64>,
    pub cluster_size_bytes: Option<i64>,
    pub compression: Option<String>,
}

impl TryFrom<InspectionRow> for (ArtifactId, Inspection) {
    type Error = Corrupt;

    fn try_from(row: InspectionRow) -> Result<Self, Corrupt> {
        let inspection = Inspection {
            detected: parse_optional("inspection", row.detected_format.as_deref())?,
            virtual_size: row.virtual_size_bytes.map(|size| convert("inspection", size)).transpose()?,
            cluster_size: row.cluster_size_bytes.map(|size| convert("inspection", size)).transpose()?,
            compression: parse_optional("inspection", row.compression.as_deref())?,
        };
        Ok((ArtifactId::new(row.artifact_id), inspection))
    }
}

/// A row of `publish_warnings`.
#[derive(Debug, sqlx::FromRow)]
#[expect(missing_docs, reason = "columns")]
pub struct WarningRow {
    pub step: String,
    pub artifact_id: Uuid,
    pub reason: String,
}

impl TryFrom<WarningRow> for Warning {
    type Error = Corrupt;

    fn try_from(row: WarningRow) -> Result<Self, Corrupt> {
        Ok(Self { step: parse("warning", &row.step)?, artifact: ArtifactId::new(row.artifact_id), reason: row.reason })
    }
}

/// A row of `incus_pairs`.
#[derive(Debug, sqlx::FromRow)]
#[expect(missing_docs, reason = "columns")]
pub struct PairRow {
    pub hashed_bytes: Option<i64>,
    pub hashed_state: Option<Vec<u8>>,
    pub root_bytes: Option<i64>,
    pub root_state: Option<Vec<u8>>,
    pub fingerprint: Option<String>,
}

impl TryFrom<PairRow> for FingerprintProgress {
    type Error = Corrupt;

    fn try_from(row: PairRow) -> Result<Self, Corrupt> {
        let hash = |bytes: i64, state: Vec<u8>| {
            let state = state.try_into().map_err(|_| Corrupt::new("pair", "its hash is not one"))?;
            Ok(HashState { bytes: convert("pair", bytes)?, state })
        };
        let pair = row.hashed_bytes.zip(row.hashed_state);
        let root = row.root_bytes.zip(row.root_state);
        match (row.fingerprint, pair, root) {
            (Some(digest), None, None) => Ok(Self::Done(parse("pair", &digest)?)),
            (None, Some(pair), Some(root)) => {
                Ok(Self::Begun { pair: hash(pair.0, pair.1)?, root: hash(root.0, root.1)? })
            }
            _ => Err(Corrupt::new("pair", "it is neither begun nor done")),
        }
    }
}

/// A row of `incus_rows` with what it is about.
#[derive(Debug, sqlx::FromRow)]
#[expect(missing_docs, reason = "columns")]
pub struct StreamRowRow {
    pub image_id: Uuid,
    pub version_name: String,
    pub published_at: SqlTime,
    pub operating_system: String,
    pub architecture: String,
    pub variant: String,
    pub format: String,
    pub primary_blob_digest: String,
    pub primary_blob_size_bytes: i64,
    pub attachment_name: String,
    pub blob_digest: String,
    pub blob_size_bytes: i64,
    pub fingerprint: String,
}

impl TryFrom<StreamRowRow> for StreamRow {
    type Error = Corrupt;

    fn try_from(row: StreamRowRow) -> Result<Self, Corrupt> {
        Ok(Self {
            image: ImageId::new(row.image_id),
            version: parse("stream row", &row.version_name)?,
            published_at: row.published_at.into(),
            operating_system: parse("stream row", &row.operating_system)?,
            architecture: parse("stream row", &row.architecture)?,
            variant: parse("stream row", &row.variant)?,
            format: parse("stream row", &row.format)?,
            root: claim("stream row", &row.primary_blob_digest, row.primary_blob_size_bytes)?,
            metadata_name: parse("stream row", &row.attachment_name)?,
            metadata: claim("stream row", &row.blob_digest, row.blob_size_bytes)?,
            fingerprint: parse("stream row", &row.fingerprint)?,
        })
    }
}

/// An image that has changed.
#[derive(Debug, sqlx::FromRow)]
#[expect(missing_docs, reason = "columns")]
pub struct StreamImageRow {
    pub id: Uuid,
    pub name: String,
    pub display_name: Option<String>,
}

impl TryFrom<StreamImageRow> for StreamImage {
    type Error = Corrupt;

    fn try_from(row: StreamImageRow) -> Result<Self, Corrupt> {
        Ok(Self {
            id: ImageId::new(row.id),
            name: parse("image", &row.name)?,
            display_name: parse_optional("image", row.display_name.as_deref())?,
            aliases: Vec::new(),
        })
    }
}

/// An alias of an image that has changed.
#[derive(Debug, sqlx::FromRow)]
#[expect(missing_docs, reason = "columns")]
pub struct StreamAliasRow {
    pub image_id: Uuid,
    pub name: String,
    pub version_name: String,
}

impl TryFrom<StreamAliasRow> for (ImageId, AliasName, VersionName) {
    type Error = Corrupt;

    fn try_from(row: StreamAliasRow) -> Result<Self, Corrupt> {
        Ok((ImageId::new(row.image_id), parse("alias", &row.name)?, parse("alias", &row.version_name)?))
    }
}

/// A file of a published version, with the name it was found by.
#[derive(Debug, sqlx::FromRow)]
#[expect(missing_docs, reason = "columns")]
pub struct ReleasedFileRow {
    #[sqlx(flatten)]
    pub file: PublishedFileRow,
    pub version_name: String,
    pub file_name: String,
}

impl TryFrom<ReleasedFileRow> for ReleasedFile {
    type Error = Corrupt;

    fn try_from(row: ReleasedFileRow) -> Result<Self, Corrupt> {
        Ok(Self { version: parse("version", &row.version_name)?, name: row.file_name, file: row.file.try_into()? })
    }
}
