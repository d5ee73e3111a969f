//! Rows of the stream index.

use crate::rows::decode::{Corrupt, claim, hash_state, parse, parse_optional};
use crate::rows::time::SqlTime;
use imgsrv_domain::{
    ids::ImageId,
    ports::{FingerprintProgress, StreamImage, StreamRow},
};
use uuid::Uuid;

/// A row of `incus_fingerprints`.
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct FingerprintRow {
    combined_bytes: Option<i64>,
    combined_state: Option<Vec<u8>>,
    root_bytes: Option<i64>,
    root_state: Option<Vec<u8>>,
    fingerprint: Option<String>,
}

impl TryFrom<FingerprintRow> for FingerprintProgress {
    type Error = Corrupt;

    fn try_from(row: FingerprintRow) -> Result<Self, Corrupt> {
        let combined = hash_state(row.combined_bytes, row.combined_state.as_deref())?;
        let root = hash_state(row.root_bytes, row.root_state.as_deref())?;
        match (row.fingerprint, combined, root) {
            (Some(digest), None, None) => Ok(Self::Done(parse("fingerprint", &digest)?)),
            (None, Some(combined), Some(root)) => Ok(Self::Begun { combined, root }),
            _ => Err(Corrupt::new("fingerprint", "it is neither begun nor done")),
        }
    }
}

/// A row of `incus_rows` with its version, artifact and attachment.
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct StreamIndexRow {
    pub(crate) image_id: Uuid,
    pub(crate) version_name: String,
    pub(crate) published_at: SqlTime,
    pub(crate) operating_system: String,
    pub(crate) architecture: String,
    pub(crate) variant: String,
    pub(crate) format: String,
    pub(crate) primary_blob_digest: String,
    pub(crate) primary_blob_size_bytes: i64,
    pub(crate) attachment_name: String,
    pub(crate) blob_digest: String,
    pub(crate) blob_size_bytes: i64,
    pub(crate) fingerprint: String,
}

impl TryFrom<StreamIndexRow> for StreamRow {
    type Error = Corrupt;

    fn try_from(row: StreamIndexRow) -> Result<Self, Corrupt> {
        Ok(Self {
            image: ImageId::new(row.image_id),
            version: parse("stream index row", &row.version_name)?,
            published_at: row.published_at.into(),
            operating_system: parse("stream index row", &row.operating_system)?,
            architecture: parse("stream index row", &row.architecture)?,
            variant: parse("stream index row", &row.variant)?,
            format: parse("stream index row", &row.format)?,
            root: claim("stream index row", &row.primary_blob_digest, row.primary_blob_size_bytes)?,
            metadata_name: parse("stream index row", &row.attachment_name)?,
            metadata: claim("stream index row", &row.blob_digest, row.blob_size_bytes)?,
            fingerprint: parse("stream index row", &row.fingerprint)?,
        })
    }
}

/// An image that changed, with one of its aliases if it has any.
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct StreamImageRow {
    id: Uuid,
    name: String,
    display_name: Option<String>,
    alias: Option<String>,
    version_name: Option<String>,
}

/// The images of rows in which those of an image are next to each other.
pub(crate) fn stream_images(rows: Vec<StreamImageRow>) -> Result<Vec<StreamImage>, Corrupt> {
    let mut images: Vec<StreamImage> = Vec::new();
    for row in rows {
        let alias = match (row.alias, row.version_name) {
            (Some(alias), Some(version)) => Some((parse("alias", &alias)?, parse("alias", &version)?)),
            _ => None,
        };
        let id = ImageId::new(row.id);
        match images.last_mut().filter(|image| image.id == id) {
            Some(image) => image.aliases.extend(alias),
            None => images.push(StreamImage {
                id,
                name: parse("image", &row.name)?,
                display_name: parse_optional("image", row.display_name.as_deref())?,
                aliases: alias.into_iter().collect(),
            }),
        }
    }
    Ok(images)
}
