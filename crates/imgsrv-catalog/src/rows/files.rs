//! Rows of blobs and of the files of published versions.

use crate::rows::content::ArtifactRow;
use crate::rows::decode::{Corrupt, claim, parse, parse_optional};
use crate::rows::time::SqlTime;
use imgsrv_domain::ports::{BlobName, PublishedFile, ReleasedFile, TrustedBlob};

/// A row of `blobs`.
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct BlobRow {
    pub(crate) digest: String,
    pub(crate) size_bytes: i64,
    pub(crate) storage_name: String,
    pub(crate) created_at: SqlTime,
}

impl TryFrom<BlobRow> for TrustedBlob {
    type Error = Corrupt;

    fn try_from(row: BlobRow) -> Result<Self, Corrupt> {
        Ok(Self {
            claim: claim("blob", &row.digest, row.size_bytes)?,
            name: BlobName::restore(row.storage_name),
            created_at: row.created_at.into(),
        })
    }
}

/// An artifact or one of its attachments, with its blob.
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct PublishedFileRow {
    #[sqlx(flatten)]
    pub(crate) artifact: ArtifactRow,
    pub(crate) digest: String,
    pub(crate) size_bytes: i64,
    pub(crate) storage_name: String,
    pub(crate) media_type: String,
    pub(crate) published_at: SqlTime,
    pub(crate) attachment_name: Option<String>,
}

impl TryFrom<PublishedFileRow> for PublishedFile {
    type Error = Corrupt;

    fn try_from(row: PublishedFileRow) -> Result<Self, Corrupt> {
        Ok(Self {
            claim: claim("blob", &row.digest, row.size_bytes)?,
            name: BlobName::restore(row.storage_name),
            media_type: parse("artifact", &row.media_type)?,
            published_at: row.published_at.into(),
            artifact: row.artifact.try_into()?,
            attachment: parse_optional("attachment", row.attachment_name.as_deref())?,
        })
    }
}

/// A file of a published version, with the name it was found by.
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct ReleasedFileRow {
    #[sqlx(flatten)]
    pub(crate) file: PublishedFileRow,
    pub(crate) version_name: String,
    pub(crate) file_name: String,
}

impl TryFrom<ReleasedFileRow> for ReleasedFile {
    type Error = Corrupt;

    fn try_from(row: ReleasedFileRow) -> Result<Self, Corrupt> {
        Ok(Self { version: parse("version", &row.version_name)?, name: row.file_name, file: row.file.try_into()? })
    }
}
