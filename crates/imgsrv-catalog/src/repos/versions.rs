//! Versions; their manifests are in [`super::manifests`].

use crate::repos::manifests;
use crate::{
    ArtifactRow, AttachmentRow, Connection, SqlTx, VersionRow,
    core::{
        connection::Lockable,
        value::{Value, values},
    },
};
use async_trait::async_trait;
use imgsrv_domain::{
    ids::{ArtifactId, AttachmentId, VersionId},
    manifest::{Artifact, Attachment, ManifestEntry},
    names::{ImageName, VersionName},
    ports::{CatalogError, VersionRepo},
    version::Version,
};

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT v.id, v.image_id, i.name AS image_name, v.name, v.state, v.published_at, v.created_at, v.updated_at,
            v.revision FROM versions v JOIN images i ON i.id = v.image_id ",
            $rest
        )
    };
}
pub(crate) use select;

const FIND: Lockable = Lockable {
    plain: select!("WHERE i.name = $1 AND v.name = $2"),
    locking: select!("WHERE i.name = $1 AND v.name = $2 FOR NO KEY UPDATE OF v"),
};
const FIND_BY_ID: Lockable =
    Lockable { plain: select!("WHERE v.id = $1"), locking: select!("WHERE v.id = $1 FOR NO KEY UPDATE OF v") };
const INSERT: &str = "INSERT INTO versions (id, image_id, name, state, published_at, created_at, updated_at, revision)
    VALUES ($1, $2, $3, $4, $5, $6, $7, 1)";
const UPDATE: &str = "UPDATE versions SET state = $3, published_at = $4, updated_at = $5, revision = revision + 1
    WHERE id = $1 AND revision = $2";
const DELETE: &str = "DELETE FROM versions WHERE id = $1 AND revision = $2";
pub(crate) const STATEMENTS: &[&str] = &[FIND.plain, FIND_BY_ID.plain, INSERT, UPDATE, DELETE];
pub(crate) const LOCKING: &[&str] = &[FIND.locking, FIND_BY_ID.locking];

#[async_trait]
impl<C: Connection> VersionRepo for SqlTx<C> {
    async fn lock_version(&mut self, image: &ImageName, name: &VersionName) -> Result<Option<Version>, CatalogError> {
        self.get_locked::<VersionRow, _>(FIND, values![image.as_str(), name.as_str()]).await
    }

    async fn lock_version_by_id(&mut self, id: VersionId) -> Result<Option<Version>, CatalogError> {
        self.get_locked::<VersionRow, _>(FIND_BY_ID, values![id.uuid()]).await
    }

    async fn insert_version(&mut self, version: &Version) -> Result<(), CatalogError> {
        let values = values![
            version.id.uuid(),
            version.image_id.uuid(),
            version.name.as_str(),
            version.state.name(),
            version.state.published_at(),
            version.created_at,
            version.updated_at,
        ];
        self.execute(INSERT, values).await.map(drop)
    }

    async fn update_version(&mut self, version: &Version) -> Result<(), CatalogError> {
        let values = values![
            version.id.uuid(),
            version.revision.get(),
            version.state.name(),
            version.state.published_at(),
            version.updated_at,
        ];
        self.execute_fenced(UPDATE, values).await
    }

    async fn delete_version(&mut self, version: &Version) -> Result<(), CatalogError> {
        for statement in manifests::DELETE_OF_VERSION {
            self.execute(statement, values![version.id.uuid()]).await?;
        }
        self.execute_fenced(DELETE, values![version.id.uuid(), version.revision.get()]).await
    }

    async fn list_manifest(&mut self, version: VersionId) -> Result<Vec<ManifestEntry>, CatalogError> {
        let entries = manifests::entries(self.connection(), version).await;
        self.doom(entries)
    }

    async fn get_artifact(&mut self, id: ArtifactId) -> Result<Option<Artifact>, CatalogError> {
        self.find::<ArtifactRow, _>(manifests::FIND_ARTIFACT, values![id.uuid()]).await
    }

    async fn count_artifacts(&mut self, version: VersionId) -> Result<u32, CatalogError> {
        let count: i64 = self.scalar(manifests::COUNT_ARTIFACTS, values![version.uuid()]).await?;
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
        self.execute(manifests::INSERT_ARTIFACT, values).await?;
        for file in files {
            let values = values![artifact.version_id.uuid(), file, artifact.id.uuid(), Value::Uuid(None)];
            self.execute(manifests::INSERT_FILE, values).await?;
        }
        if let Some(product) = product {
            let values = values![artifact.version_id.uuid(), product, artifact.id.uuid()];
            self.execute(manifests::INSERT_PRODUCT, values).await?;
        }
        Ok(())
    }

    async fn delete_artifact(&mut self, id: ArtifactId) -> Result<(), CatalogError> {
        for statement in manifests::DELETE_ARTIFACT {
            self.execute(statement, values![id.uuid()]).await?;
        }
        Ok(())
    }

    async fn get_attachment(&mut self, id: AttachmentId) -> Result<Option<Attachment>, CatalogError> {
        self.find::<AttachmentRow, _>(manifests::FIND_ATTACHMENT, values![id.uuid()]).await
    }

    async fn count_attachments(&mut self, artifact: ArtifactId) -> Result<u32, CatalogError> {
        let count: i64 = self.scalar(manifests::COUNT_ATTACHMENTS, values![artifact.uuid()]).await?;
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
        self.execute(manifests::INSERT_ATTACHMENT, values).await?;
        for file in files {
            let values = values![version.uuid(), file, attachment.artifact_id.uuid(), attachment.id.uuid()];
            self.execute(manifests::INSERT_FILE, values).await?;
        }
        Ok(())
    }

    async fn delete_attachment(&mut self, id: AttachmentId) -> Result<(), CatalogError> {
        for statement in manifests::DELETE_ATTACHMENT {
            self.execute(statement, values![id.uuid()]).await?;
        }
        Ok(())
    }
}
