//! Manifests: the artifacts of a version, their attachments, and the names of their files.

use crate::{
    core::{
        connection::{Connection, rows},
        tx::SqlTx,
        value::{Value, values},
    },
    rows::{ArtifactRow, AttachmentRow, EntryRow, UntrustedRow, manifest_entries},
};
use async_trait::async_trait;
use imgsrv_domain::{
    ids::{ArtifactId, AttachmentId, VersionId},
    manifest::{Artifact, Attachment, ManifestEntry, Untrusted},
    ports::{CatalogError, ManifestEntries, ManifestRepo},
};

// The kinds sort in the order in which they are wanted.
const ENTRIES: &str = "SELECT 'artifact' AS kind, a.id AS artifact_id, a.operating_system, a.architecture, a.variant,
        a.format, a.primary_blob_digest AS digest, a.primary_blob_size_bytes AS size_bytes,
        a.primary_media_type AS media_type, a.created_at, n.artifact_id AS inspected, n.detected_format,
        n.virtual_size_bytes, n.cluster_size_bytes, n.compression, CAST(NULL AS uuid) AS attachment_id, NULL AS name,
        NULL AS step, NULL AS reason, CAST(NULL AS bigint) AS sequence
    FROM artifacts a LEFT JOIN inspections n ON n.artifact_id = a.id WHERE a.version_id = $1
    UNION ALL SELECT 'attachment', artifact_id, NULL, NULL, NULL, NULL, blob_digest, blob_size_bytes, media_type,
        created_at, NULL, NULL, NULL, NULL, NULL, id, name, NULL, NULL, NULL FROM attachments WHERE version_id = $1
    UNION ALL SELECT 'warning', artifact_id, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
        NULL, NULL, NULL, step, reason, sequence FROM publish_warnings WHERE version_id = $1
    ORDER BY kind, operating_system, architecture, variant, format, name, step, sequence";
const LIST_UNTRUSTED: &str = "SELECT named.digest, named.size_bytes AS declared, blobs.size_bytes AS trusted FROM (
        SELECT primary_blob_digest AS digest, primary_blob_size_bytes AS size_bytes FROM artifacts WHERE version_id = $1
        UNION SELECT blob_digest, blob_size_bytes FROM attachments WHERE version_id = $1
    ) named LEFT JOIN blobs ON blobs.digest = named.digest AND blobs.state = 'trusted'
    WHERE blobs.digest IS NULL OR blobs.size_bytes <> named.size_bytes
    ORDER BY named.digest, named.size_bytes LIMIT 100";
const GET_ARTIFACT: &str = "SELECT id, version_id, operating_system, architecture, variant, format,
    primary_blob_digest, primary_blob_size_bytes, primary_media_type, created_at FROM artifacts WHERE id = $1";
const COUNT_ARTIFACTS: &str = "SELECT count(*) FROM artifacts WHERE version_id = $1";
const INSERT_ARTIFACT: &str = "INSERT INTO artifacts (id, version_id, operating_system, architecture,
    variant, format, primary_blob_digest, primary_blob_size_bytes, primary_media_type, created_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
const INSERT_PRODUCT: &str = "INSERT INTO version_products (version_id, product, artifact_id)
    VALUES ($1, $2, $3)";
/// Two names; an absent one is skipped.
const INSERT_FILES: &str = "INSERT INTO version_files (version_id, name, artifact_id, attachment_id)
    SELECT $1, column1, $2, $3 FROM (VALUES (CAST($4 AS text)), ($5)) AS file WHERE column1 IS NOT NULL";
const GET_ATTACHMENT: &str = "SELECT id, artifact_id, name, media_type, blob_digest, blob_size_bytes,
    created_at FROM attachments WHERE id = $1";
const COUNT_ATTACHMENTS: &str = "SELECT count(*) FROM attachments WHERE artifact_id = $1";
const INSERT_ATTACHMENT: &str = "INSERT INTO attachments (id, version_id, artifact_id, name, media_type,
    blob_digest, blob_size_bytes, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
const DELETE_ARTIFACT: [&str; 4] = [
    "DELETE FROM version_products WHERE artifact_id = $1",
    "DELETE FROM version_files WHERE artifact_id = $1",
    "DELETE FROM attachments WHERE artifact_id = $1",
    "DELETE FROM artifacts WHERE id = $1",
];
const DELETE_ATTACHMENT: [&str; 2] = [
    "DELETE FROM version_files WHERE attachment_id = $1 AND artifact_id =
        (SELECT artifact_id FROM attachments WHERE id = $1)",
    "DELETE FROM attachments WHERE id = $1",
];
/// Delete the manifest of a version.
pub(crate) const DELETE_OF_VERSION: [&str; 4] = [
    "DELETE FROM version_products WHERE version_id = $1",
    "DELETE FROM version_files WHERE version_id = $1",
    "DELETE FROM attachments WHERE version_id = $1",
    "DELETE FROM artifacts WHERE version_id = $1",
];
pub(crate) const STATEMENTS: &[&str] = &[
    ENTRIES,
    LIST_UNTRUSTED,
    GET_ARTIFACT,
    COUNT_ARTIFACTS,
    INSERT_ARTIFACT,
    INSERT_PRODUCT,
    INSERT_FILES,
    GET_ATTACHMENT,
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

/// The entries and warnings of a version.
pub(crate) async fn entries<C: Connection>(
    connection: &mut C,
    version: VersionId,
) -> Result<ManifestEntries, CatalogError> {
    let found: Vec<EntryRow> = rows(connection, ENTRIES, values![version.uuid()]).await?;
    Ok(manifest_entries(version, found)?)
}

impl<C: Connection> SqlTx<C> {
    async fn insert_files(
        &mut self,
        version: VersionId,
        artifact: ArtifactId,
        attachment: Option<AttachmentId>,
        files: &[String],
    ) -> Result<(), CatalogError> {
        for names in files.chunks(2) {
            let mut values = values![version.uuid(), artifact.uuid(), attachment.map(AttachmentId::uuid)];
            values.extend([0, 1].map(|at| Value::from(names.get(at).map(String::as_str))));
            self.execute(INSERT_FILES, values).await?;
        }
        Ok(())
    }
}

#[async_trait]
impl<C: Connection> ManifestRepo for SqlTx<C> {
    async fn list_manifest_entries(&mut self, version: VersionId) -> Result<Vec<ManifestEntry>, CatalogError> {
        let read = entries(self.connection(), version).await;
        self.doom(read).map(|read| read.entries)
    }

    async fn list_untrusted_digests(&mut self, version: VersionId) -> Result<Vec<Untrusted>, CatalogError> {
        self.list::<UntrustedRow, _>(LIST_UNTRUSTED, values![version.uuid()]).await
    }

    async fn get_artifact(&mut self, id: ArtifactId) -> Result<Option<Artifact>, CatalogError> {
        self.find::<ArtifactRow, _>(GET_ARTIFACT, values![id.uuid()]).await
    }

    async fn count_artifacts(&mut self, version: VersionId) -> Result<u32, CatalogError> {
        let count: i64 = self.scalar(COUNT_ARTIFACTS, values![version.uuid()]).await?;
        Ok(u32::try_from(count).unwrap_or(u32::MAX))
    }

    async fn insert_artifact(
        &mut self,
        artifact: &Artifact,
        files: &[String],
        product: Option<&str>,
    ) -> Result<(), CatalogError> {
        let values = values![
            artifact.id.uuid(),
            artifact.version_id.uuid(),
            artifact.operating_system.as_str(),
            artifact.architecture.as_str(),
            artifact.variant.as_str(),
            artifact.format.as_str(),
            artifact.primary.digest.to_string(),
            artifact.primary.size.signed(),
            artifact.media_type.as_str(),
            artifact.created_at,
        ];
        self.execute(INSERT_ARTIFACT, values).await?;
        self.insert_files(artifact.version_id, artifact.id, None, files).await?;
        if let Some(product) = product {
            let values = values![artifact.version_id.uuid(), product, artifact.id.uuid()];
            self.execute(INSERT_PRODUCT, values).await?;
        }
        Ok(())
    }

    async fn delete_artifact(&mut self, id: ArtifactId) -> Result<(), CatalogError> {
        for statement in DELETE_ARTIFACT {
            self.execute(statement, values![id.uuid()]).await?;
        }
        Ok(())
    }

    async fn get_attachment(&mut self, id: AttachmentId) -> Result<Option<Attachment>, CatalogError> {
        self.find::<AttachmentRow, _>(GET_ATTACHMENT, values![id.uuid()]).await
    }

    async fn count_attachments(&mut self, artifact: ArtifactId) -> Result<u32, CatalogError> {
        let count: i64 = self.scalar(COUNT_ATTACHMENTS, values![artifact.uuid()]).await?;
        Ok(u32::try_from(count).unwrap_or(u32::MAX))
    }

    async fn insert_attachment(
        &mut self,
        version: VersionId,
        attachment: &Attachment,
        files: &[String],
    ) -> Result<(), CatalogError> {
        let values = values![
            attachment.id.uuid(),
            version.uuid(),
            attachment.artifact_id.uuid(),
            attachment.name.as_str(),
            attachment.media_type.as_str(),
            attachment.blob.digest.to_string(),
            attachment.blob.size.signed(),
            attachment.created_at,
        ];
        self.execute(INSERT_ATTACHMENT, values).await?;
        self.insert_files(version, attachment.artifact_id, Some(attachment.id), files).await
    }

    async fn delete_attachment(&mut self, id: AttachmentId) -> Result<(), CatalogError> {
        for statement in DELETE_ATTACHMENT {
            self.execute(statement, values![id.uuid()]).await?;
        }
        Ok(())
    }
}
