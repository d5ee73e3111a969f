//! Rows of versions with their images, and of what a manifest lists.

use crate::rows::content::claim;
use crate::rows::{Corrupt, SqlTime, VersionRow, convert, parse, parse_optional};
use imgsrv_domain::{
    ids::{ArtifactId, AttachmentId, ImageId, VersionId},
    image::Image,
    inspection::{Inspection, Warning},
    manifest::{Artifact, Attachment, ManifestEntry},
    ports::{ManifestEntries, ResolvedVersion},
    transition::Revision,
};
use std::collections::HashMap;
use uuid::Uuid;

/// A row of `versions` with that of its image.
#[derive(Debug, sqlx::FromRow)]
#[expect(missing_docs, reason = "columns")]
pub struct ResolvedRow {
    #[sqlx(flatten)]
    pub version: VersionRow,
    pub display_name: Option<String>,
    pub description: Option<String>,
    pub image_created_at: SqlTime,
    pub image_updated_at: SqlTime,
    pub image_revision: i64,
    pub catalog_revision: i64,
}

impl TryFrom<ResolvedRow> for ResolvedVersion {
    type Error = Corrupt;

    fn try_from(row: ResolvedRow) -> Result<Self, Corrupt> {
        let image = Image {
            id: ImageId::new(row.version.image_id),
            name: parse("image", &row.version.image_name)?,
            display_name: parse_optional("image", row.display_name.as_deref())?,
            description: parse_optional("image", row.description.as_deref())?,
            created_at: row.image_created_at.into(),
            updated_at: row.image_updated_at.into(),
            revision: Revision::new(row.image_revision),
        };
        Ok(Self { revision: Revision::new(row.catalog_revision), image, version: row.version.try_into()? })
    }
}

/// An artifact with its inspection result, an attachment, or a warning; only the columns of its kind have values.
#[derive(Debug, sqlx::FromRow)]
#[expect(missing_docs, reason = "columns")]
pub struct EntryRow {
    pub kind: String,
    pub artifact_id: Uuid,
    pub operating_system: Option<String>,
    pub architecture: Option<String>,
    pub variant: Option<String>,
    pub format: Option<String>,
    pub digest: Option<String>,
    pub size_bytes: Option<i64>,
    pub media_type: Option<String>,
    pub created_at: Option<SqlTime>,
    pub inspected: Option<Uuid>,
    pub detected_format: Option<String>,
    pub virtual_size_bytes: Option<i64>,
    pub cluster_size_bytes: Option<i64>,
    pub compression: Option<String>,
    pub attachment_id: Option<Uuid>,
    pub name: Option<String>,
    pub step: Option<String>,
    pub reason: Option<String>,
}

fn present<T>(column: Option<T>) -> Result<T, Corrupt> {
    column.ok_or_else(|| Corrupt::new("manifest entry", "a column is empty"))
}

fn text(column: Option<&String>) -> Result<&str, Corrupt> {
    present(column.map(String::as_str))
}

impl EntryRow {
    fn artifact(&self, version: VersionId) -> Result<Artifact, Corrupt> {
        Ok(Artifact {
            id: ArtifactId::new(self.artifact_id),
            version_id: version,
            variant: parse("artifact", text(self.variant.as_ref())?)?,
            operating_system: parse("artifact", text(self.operating_system.as_ref())?)?,
            architecture: parse("artifact", text(self.architecture.as_ref())?)?,
            format: parse("artifact", text(self.format.as_ref())?)?,
            primary: claim("artifact", text(self.digest.as_ref())?, present(self.size_bytes)?)?,
            media_type: parse("artifact", text(self.media_type.as_ref())?)?,
            created_at: present(self.created_at)?.into(),
        })
    }

    fn inspection(&self) -> Result<Option<Inspection>, Corrupt> {
        if self.inspected.is_none() {
            return Ok(None);
        }
        Ok(Some(Inspection {
            detected: parse_optional("inspection", self.detected_format.as_deref())?,
            virtual_size: self.virtual_size_bytes.map(|size| convert("inspection", size)).transpose()?,
            cluster_size: self.cluster_size_bytes.map(|size| convert("inspection", size)).transpose()?,
            compression: parse_optional("inspection", self.compression.as_deref())?,
        }))
    }

    fn attachment(&self) -> Result<Attachment, Corrupt> {
        Ok(Attachment {
            id: AttachmentId::new(present(self.attachment_id)?),
            artifact_id: ArtifactId::new(self.artifact_id),
            name: parse("attachment", text(self.name.as_ref())?)?,
            media_type: parse("attachment", text(self.media_type.as_ref())?)?,
            blob: claim("attachment", text(self.digest.as_ref())?, present(self.size_bytes)?)?,
            created_at: present(self.created_at)?.into(),
        })
    }

    fn warning(self) -> Result<Warning, Corrupt> {
        Ok(Warning {
            step: parse("warning", text(self.step.as_ref())?)?,
            artifact: ArtifactId::new(self.artifact_id),
            reason: present(self.reason)?,
        })
    }
}

/// The entries and warnings of `version`, from rows in which artifacts come before their attachments.
pub(crate) fn manifest_entries(version: VersionId, rows: Vec<EntryRow>) -> Result<ManifestEntries, Corrupt> {
    let mut entries: Vec<ManifestEntry> = Vec::new();
    let mut positions: HashMap<ArtifactId, usize> = HashMap::new();
    let mut warnings = Vec::new();
    for row in rows {
        match row.kind.as_str() {
            "artifact" => {
                let (artifact, inspection) = (row.artifact(version)?, row.inspection()?);
                positions.insert(artifact.id, entries.len());
                entries.push(ManifestEntry { artifact, attachments: Vec::new(), inspection });
            }
            "attachment" => {
                let attachment = row.attachment()?;
                let entry = positions.get(&attachment.artifact_id).and_then(|at| entries.get_mut(*at));
                let entry = entry.ok_or_else(|| Corrupt::new("attachment", "its artifact is missing"))?;
                entry.attachments.push(attachment);
            }
            _ => warnings.push(row.warning()?),
        }
    }
    warnings.sort_by_key(|warning| warning.step);
    Ok(ManifestEntries { entries, warnings })
}
