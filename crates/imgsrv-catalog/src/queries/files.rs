//! Reads of blobs and of the files of published versions.

use crate::{
    core::{
        catalog::{SqlCatalog, SqlDatabase},
        value::values,
    },
    repos::blobs,
    rows::{BlobRow, PublishedFileRow, ReleasedFileRow},
};
use async_trait::async_trait;
use imgsrv_domain::{
    digest::Digest,
    ids::{ArtifactId, AttachmentId},
    names::{FileName, ImageName, RefName, VersionName},
    ports::{CatalogError, FileQueries, PublishedFile, ReleasedFile, TrustedBlob, Visibility},
};

const PUBLISHED_BLOB: &str = "SELECT digest, size_bytes, storage_name, created_at FROM blobs
    WHERE digest = $1 AND state = 'trusted' AND (
        EXISTS (SELECT 1 FROM artifacts a JOIN versions v ON v.id = a.version_id
            WHERE a.primary_blob_digest = $1 AND v.state = 'published')
        OR EXISTS (SELECT 1 FROM attachments t JOIN versions v ON v.id = t.version_id
            WHERE t.blob_digest = $1 AND v.state = 'published'))";

macro_rules! files {
    ($columns:literal, $join:literal) => {
        concat!(
            "SELECT a.id, a.version_id, a.operating_system, a.architecture, a.variant, a.format, a.primary_blob_digest,
            a.primary_blob_size_bytes, a.primary_media_type, a.created_at, b.digest, b.size_bytes, b.storage_name,
            v.published_at, ",
            $columns,
            " FROM images i JOIN versions v ON v.image_id = i.id JOIN artifacts a ON a.version_id = v.id ",
            $join,
            " WHERE i.name = $1 AND v.name = $2 AND v.state = 'published' AND a.id = $3 AND b.state = 'trusted'"
        )
    };
}
const ARTIFACT_FILE: &str = files!(
    "a.primary_media_type AS media_type, NULL AS attachment_name",
    "JOIN blobs b ON b.digest = a.primary_blob_digest"
);
const ATTACHMENT_FILE: &str = files!(
    "t.media_type AS media_type, t.name AS attachment_name",
    "JOIN attachments t ON t.artifact_id = a.id AND t.id = $4 JOIN blobs b ON b.digest = t.blob_digest"
);

// Under an alias, the file is also looked up by its name with the version.
const RELEASED_FILE: &str = "SELECT a.id, a.version_id, a.operating_system, a.architecture, a.variant, a.format,
    a.primary_blob_digest, a.primary_blob_size_bytes, a.primary_media_type, a.created_at, b.digest, b.size_bytes,
    b.storage_name, r.published_at, coalesce(t.media_type, a.primary_media_type) AS media_type,
    t.name AS attachment_name, r.version_name, f.name AS file_name FROM (
        SELECT v.id, v.name AS version_name, v.published_at, CAST(NULL AS text) AS versioned
        FROM images i JOIN versions v ON v.image_id = i.id WHERE i.name = $1 AND v.name = $2 AND v.state = 'published'
        UNION ALL SELECT v.id, v.name, v.published_at, i.name || '-' || v.name || '-' || $4
        FROM images i JOIN aliases n ON n.image_id = i.id JOIN versions v ON v.id = n.version_id
        WHERE i.name = $1 AND n.name = $2
    ) r JOIN version_files f ON f.version_id = r.id AND f.name IN ($3, r.versioned)
    JOIN artifacts a ON a.id = f.artifact_id LEFT JOIN attachments t ON t.id = f.attachment_id
    JOIN blobs b ON b.digest = coalesce(t.blob_digest, a.primary_blob_digest) AND b.state = 'trusted'
    ORDER BY CASE f.name WHEN $3 THEN 0 ELSE 1 END LIMIT 1";

pub(crate) const STATEMENTS: &[&str] = &[PUBLISHED_BLOB, ARTIFACT_FILE, ATTACHMENT_FILE, RELEASED_FILE];

#[async_trait]
impl<D: SqlDatabase> FileQueries for SqlCatalog<D> {
    async fn get_blob(&self, digest: &Digest, see: Visibility) -> Result<Option<TrustedBlob>, CatalogError> {
        let sql = match see {
            Visibility::Published => PUBLISHED_BLOB,
            Visibility::All => blobs::GET,
        };
        self.find::<BlobRow, _>(sql, values![digest.to_string()]).await
    }

    async fn get_published_file(
        &self,
        image: &ImageName,
        version: &VersionName,
        artifact: ArtifactId,
        attachment: Option<AttachmentId>,
    ) -> Result<Option<PublishedFile>, CatalogError> {
        let mut values = values![image.as_str(), version.as_str(), artifact.uuid()];
        let sql = match attachment {
            Some(attachment) => {
                values.push(attachment.uuid().into());
                ATTACHMENT_FILE
            }
            None => ARTIFACT_FILE,
        };
        self.find::<PublishedFileRow, _>(sql, values).await
    }

    async fn get_released_file(
        &self,
        image: &ImageName,
        reference: &RefName,
        name: &FileName,
    ) -> Result<Option<ReleasedFile>, CatalogError> {
        let rest = name.as_str().strip_prefix(image.as_str()).and_then(|rest| rest.strip_prefix('-'));
        let values = values![image.as_str(), reference.as_str(), name.as_str(), rest];
        self.find::<ReleasedFileRow, _>(RELEASED_FILE, values).await
    }
}
