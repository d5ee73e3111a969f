//! Manifests: the artifacts of a version, their attachments, and the files they make.

use crate::{
    ArtifactRow, AttachmentRow, Connection, InspectionRow, WarningRow,
    core::{connection::list, value::values},
};
use imgsrv_domain::{
    ids::{ArtifactId, VersionId},
    inspection::{Inspection, Warning},
    manifest::{Artifact, Attachment, ManifestEntry},
    ports::CatalogError,
};
use std::collections::HashMap;

const LIST_ARTIFACTS: &str = "SELECT id, version_id, operating_system, architecture, variant, format,
    primary_blob_digest, primary_blob_size_bytes, primary_media_type, created_at
    FROM artifacts WHERE version_id = $1 ORDER BY operating_system, architecture, variant, format";
const LIST_ATTACHMENTS: &str = "SELECT id, artifact_id, name, media_type, blob_digest, blob_size_bytes, created_at
    FROM attachments WHERE version_id = $1 ORDER BY name";
const LIST_INSPECTIONS: &str =
    "SELECT artifact_id, detected_format, virtual_size_bytes, cluster_size_bytes, compression
    FROM inspections WHERE version_id = $1";
const LIST_WARNINGS: &str =
    "SELECT step, artifact_id, reason FROM publish_warnings WHERE version_id = $1 ORDER BY step, sequence";
pub(crate) const FIND_ARTIFACT: &str = "SELECT id, version_id, operating_system, architecture, variant, format,
    primary_blob_digest, primary_blob_size_bytes, primary_media_type, created_at FROM artifacts WHERE id = $1";
pub(crate) const COUNT_ARTIFACTS: &str = "SELECT count(*) FROM artifacts WHERE version_id = $1";
pub(crate) const INSERT_ARTIFACT: &str = "INSERT INTO artifacts (id, version_id, operating_system, architecture,
    variant, format, primary_blob_digest, primary_blob_size_bytes, primary_media_type, created_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
pub(crate) const INSERT_PRODUCT: &str = "INSERT INTO version_products (version_id, product, artifact_id)
    VALUES ($1, $2, $3)";
pub(crate) const INSERT_FILE: &str = "INSERT INTO version_files (version_id, name, artifact_id, attachment_id)
    VALUES ($1, $2, $3, $4)";
pub(crate) const FIND_ATTACHMENT: &str = "SELECT id, artifact_id, name, media_type, blob_digest, blob_size_bytes,
    created_at FROM attachments WHERE id = $1";
pub(crate) const COUNT_ATTACHMENTS: &str = "SELECT count(*) FROM attachments WHERE artifact_id = $1";
pub(crate) const INSERT_ATTACHMENT: &str = "INSERT INTO attachments (id, version_id, artifact_id, name, media_type,
    blob_digest, blob_size_bytes, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
pub(crate) const DELETE_ARTIFACT: [&str; 4] = [
    "DELETE FROM version_products WHERE artifact_id = $1",
    "DELETE FROM version_files WHERE artifact_id = $1",
    "DELETE FROM attachments WHERE artifact_id = $1",
    "DELETE FROM artifacts WHERE id = $1",
];
pub(crate) const DELETE_ATTACHMENT: [&str; 2] = [
    "DELETE FROM version_files WHERE attachment_id = $1 AND artifact_id =
        (SELECT artifact_id FROM attachments WHERE id = $1)",
    "DELETE FROM attachments WHERE id = $1",
];
pub(crate) const DELETE_OF_VERSION: [&str; 4] = [
    "DELETE FROM version_products WHERE version_id = $1",
    "DELETE FROM version_files WHERE version_id = $1",
    "DELETE FROM attachments WHERE version_id = $1",
    "DELETE FROM artifacts WHERE version_id = $1",
];
pub(crate) const STATEMENTS: &[&str] = &[
    LIST_ARTIFACTS,
    LIST_ATTACHMENTS,
    FIND_ARTIFACT,
    COUNT_ARTIFACTS,
    INSERT_ARTIFACT,
    INSERT_PRODUCT,
    LIST_INSPECTIONS,
    LIST_WARNINGS,
    INSERT_FILE,
    FIND_ATTACHMENT,
    COUNT_ATTACHMENTS,
    INSERT_ATTACHMENT,
    DELETE_ARTIFACT[0],
    DELETE_ARTIFACT[1],
    DELETE_ARTIFACT[2],
    DELETE_ARTIFACT[3],
    DELETE_ATTACHMENT[0],
    DELETE_ATTACHMENT[1],
    DELETE_OF_VERSION[0],
    DELETE_OF_VERSION[1],
    DELETE_OF_VERSION[2],
    DELETE_OF_VERSION[3],
];

/// What publishing found wrong in a version without failing, by step.
pub(crate) async fn warnings<C: Connection>(
    connection: &mut C,
    version: VersionId,
) -> Result<Vec<Warning>, CatalogError> {
    let mut warnings: Vec<Warning> =
        list::<WarningRow, _, _>(connection, LIST_WARNINGS, values![version.uuid()]).await?;
    warnings.sort_by_key(|warning| warning.step);
    Ok(warnings)
}

/// A version's artifacts with their attachments, in three statements whatever their number.
pub(crate) async fn entries<C: Connection>(
    connection: &mut C,
    version: VersionId,
) -> Result<Vec<ManifestEntry>, CatalogError> {
    let artifacts: Vec<Artifact> =
        list::<ArtifactRow, _, _>(connection, LIST_ARTIFACTS, values![version.uuid()]).await?;
    let attachments: Vec<Attachment> =
        list::<AttachmentRow, _, _>(connection, LIST_ATTACHMENTS, values![version.uuid()]).await?;
    let mut of: HashMap<ArtifactId, Vec<Attachment>> = HashMap::new();
    for attachment in attachments {
        of.entry(attachment.artifact_id).or_default().push(attachment);
    }
    let inspections: Vec<(ArtifactId, Inspection)> =
        list::<InspectionRow, _, _>(connection, LIST_INSPECTIONS, values![version.uuid()]).await?;
    let inspections: HashMap<ArtifactId, Inspection> = inspections.into_iter().collect();
    let entry = |artifact: Artifact| {
        let attachments = of.remove(&artifact.id).unwrap_or_default();
        let inspection = inspections.get(&artifact.id).copied();
        ManifestEntry { artifact, attachments, inspection }
    };
    Ok(artifacts.into_iter().map(entry).collect())
}
