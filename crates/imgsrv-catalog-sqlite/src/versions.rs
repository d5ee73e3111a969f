//! Versions; their manifests are in [`crate::manifests`].

use crate::{
    manifests,
    tx::{SqliteTx, run},
};
use async_trait::async_trait;
use imgsrv_catalog_sql::{ArtifactRow, AttachmentRow, SqlTime, VersionRow};
use imgsrv_domain::{
    ids::{ArtifactId, AttachmentId, VersionId},
    manifest::{Artifact, Attachment, ManifestEntry},
    names::{ImageName, VersionName},
    ports::{CatalogError, VersionRepo},
    version::Version,
};
use sqlx::{query, query_as, query_scalar};

const FIND: &str = "SELECT v.id, v.image_id, i.name AS image_name, v.name, v.state, v.published_at, v.created_at,
    v.updated_at, v.revision
    FROM versions v JOIN images i ON i.id = v.image_id WHERE i.name = $1 AND v.name = $2";
const FIND_BY_ID: &str = "SELECT v.id, v.image_id, i.name AS image_name, v.name, v.state, v.published_at,
    v.created_at, v.updated_at, v.revision
    FROM versions v JOIN images i ON i.id = v.image_id WHERE v.id = $1";
const INSERT: &str = "INSERT INTO versions (id, image_id, name, state, published_at, created_at, updated_at, revision)
    VALUES ($1, $2, $3, $4, $5, $6, $7, 1)";
const UPDATE: &str = "UPDATE versions SET state = $3, published_at = $4, updated_at = $5, revision = revision + 1
    WHERE id = $1 AND revision = $2";
const DELETE: &str = "DELETE FROM versions WHERE id = $1 AND revision = $2";
pub(crate) const STATEMENTS: &[&str] = &[FIND, FIND_BY_ID, INSERT, UPDATE, DELETE];

#[async_trait]
impl VersionRepo for SqliteTx {
    async fn find_version(&mut self, image: &ImageName, name: &VersionName) -> Result<Option<Version>, CatalogError> {
        run!(self, find, query_as::<_, VersionRow>(FIND).bind(image.as_str()).bind(name.as_str()))
    }

    async fn find_version_by_id(&mut self, id: VersionId) -> Result<Option<Version>, CatalogError> {
        run!(self, find, query_as::<_, VersionRow>(FIND_BY_ID).bind(id.uuid()))
    }

    async fn insert_version(&mut self, version: &Version) -> Result<(), CatalogError> {
        let statement = query(INSERT)
            .bind(version.id.uuid())
            .bind(version.image_id.uuid())
            .bind(version.name.as_str())
            .bind(version.state.name())
            .bind(version.state.published_at().map(SqlTime::from))
            .bind(SqlTime::from(version.created_at))
            .bind(SqlTime::from(version.updated_at));
        run!(self, execute, statement).map(drop)
    }

    async fn update_version(&mut self, version: &Version) -> Result<(), CatalogError> {
        let statement = query(UPDATE)
            .bind(version.id.uuid())
            .bind(version.revision.get())
            .bind(version.state.name())
            .bind(version.state.published_at().map(SqlTime::from))
            .bind(SqlTime::from(version.updated_at));
        run!(self, execute_held, statement)
    }

    async fn delete_version(&mut self, version: &Version) -> Result<(), CatalogError> {
        for statement in manifests::DELETE_OF_VERSION {
            run!(self, execute, query(statement).bind(version.id.uuid()))?;
        }
        run!(self, execute_held, query(DELETE).bind(version.id.uuid()).bind(version.revision.get()))
    }

    async fn list_manifest(&mut self, version: VersionId) -> Result<Vec<ManifestEntry>, CatalogError> {
        let entries = manifests::entries(self.connection(), version).await;
        self.doom(entries)
    }

    async fn find_artifact(&mut self, id: ArtifactId) -> Result<Option<Artifact>, CatalogError> {
        run!(self, find, query_as::<_, ArtifactRow>(manifests::FIND_ARTIFACT).bind(id.uuid()))
    }

    async fn count_artifacts(&mut self, version: VersionId) -> Result<u32, CatalogError> {
        run!(self, scalar, query_scalar(manifests::COUNT_ARTIFACTS).bind(version.uuid()))
    }

    async fn insert_artifact(&mut self, artifact: &Artifact, files: &[String]) -> Result<(), CatalogError> {
        let statement = query(manifests::INSERT_ARTIFACT)
            .bind(artifact.id.uuid())
            .bind(artifact.version_id.uuid())
            .bind(artifact.operating_system.as_str())
            .bind(artifact.architecture.as_str())
            .bind(artifact.variant.as_str())
            .bind(artifact.format.as_str())
            .bind(artifact.primary.digest.to_string())
            .bind(artifact.primary.size.signed())
            .bind(artifact.media_type.as_str())
            .bind(SqlTime::from(artifact.created_at));
        run!(self, execute, statement)?;
        for file in files {
            let statement = query(manifests::INSERT_FILE)
                .bind(artifact.version_id.uuid())
                .bind(file)
                .bind(artifact.id.uuid())
                .bind(None::<uuid::Uuid>);
            run!(self, execute, statement)?;
        }
        Ok(())
    }

    async fn delete_artifact(&mut self, id: ArtifactId) -> Result<(), CatalogError> {
        for statement in manifests::DELETE_ARTIFACT {
            run!(self, execute, query(statement).bind(id.uuid()))?;
        }
        Ok(())
    }

    async fn find_attachment(&mut self, id: AttachmentId) -> Result<Option<Attachment>, CatalogError> {
        run!(self, find, query_as::<_, AttachmentRow>(manifests::FIND_ATTACHMENT).bind(id.uuid()))
    }

    async fn count_attachments(&mut self, artifact: ArtifactId) -> Result<u32, CatalogError> {
        run!(self, scalar, query_scalar(manifests::COUNT_ATTACHMENTS).bind(artifact.uuid()))
    }

    async fn insert_attachment(
        &mut self,
        version: VersionId,
        attachment: &Attachment,
        files: &[String],
    ) -> Result<(), CatalogError> {
        let statement = query(manifests::INSERT_ATTACHMENT)
            .bind(attachment.id.uuid())
            .bind(version.uuid())
            .bind(attachment.artifact_id.uuid())
            .bind(attachment.name.as_str())
            .bind(attachment.media_type.as_str())
            .bind(attachment.blob.digest.to_string())
            .bind(attachment.blob.size.signed())
            .bind(SqlTime::from(attachment.created_at));
        run!(self, execute, statement)?;
        for file in files {
            let statement = query(manifests::INSERT_FILE)
                .bind(version.uuid())
                .bind(file)
                .bind(attachment.artifact_id.uuid())
                .bind(attachment.id.uuid());
            run!(self, execute, statement)?;
        }
        Ok(())
    }

    async fn delete_attachment(&mut self, id: AttachmentId) -> Result<(), CatalogError> {
        for statement in manifests::DELETE_ATTACHMENT {
            run!(self, execute, query(statement).bind(id.uuid()))?;
        }
        Ok(())
    }
}
