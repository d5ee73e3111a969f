//! Garbage collection: deletions of unreferenced blobs, and of records that are no longer retained.

use crate::core::{Connection, Corrupt, Dialects, Record, Row, SqlTx, locking, values};
use async_trait::async_trait;
use imgsrv_domain::{
    digest::{BlobClaim, Digest},
    ids::{PrincipalId, UploadId, VersionId},
    ports::{BlobName, CatalogError, CollectedBatch, CollectionRepo, OrphanedBlob},
    time::Timestamp,
};

/// The blobs that have been unreferenced since `$1` or longer, up to `$2`.
macro_rules! due {
    ($columns:literal) => {
        concat!(
            "SELECT ",
            $columns,
            " FROM blobs WHERE unreferenced_since <= $1 ORDER BY unreferenced_since, digest LIMIT $2"
        )
    };
}
pub(crate) use due;

/// Whether anything refers to the digest: the one rule for collections and dry runs.
macro_rules! is_unreferenced {
    ($digest:literal) => {
        concat!("NOT EXISTS (SELECT 1 FROM blob_references WHERE digest = ", $digest, ")")
    };
}
pub(crate) use is_unreferenced;

// A new pin waits for this transaction; a pin that is committed is seen by the next statement.
const KEEP_UNPINNED: &str = "SELECT id FROM catalog_identity FOR SHARE";
const IS_PINNED: &str = "SELECT EXISTS (SELECT 1 FROM export_pins WHERE expires_at > $1)";
const LOCK_DUE: Dialects = locking!(due!("digest"), " FOR UPDATE SKIP LOCKED");
// A statement after the one that locks the blob, so that its snapshot shows every reference.
const DELETE: &str =
    concat!("DELETE FROM blobs WHERE digest = $1 AND ", is_unreferenced!("$1"), " RETURNING digest, size_bytes");
// An upload that has not ended is the latest reference.
const KEEP: &str = "UPDATE blobs SET unreferenced_since = CASE WHEN NOT EXISTS (
        SELECT 1 FROM blob_references WHERE digest = $1 AND kind <> 'upload') THEN CAST($2 AS timestamptz) END WHERE digest = $1";
const LIST_ORPHANS: &str =
    "SELECT storage_name, size_bytes FROM orphaned_blobs WHERE storage_name > $1 ORDER BY storage_name LIMIT $2";
const DELETE_ORPHAN: &str = "DELETE FROM orphaned_blobs WHERE storage_name = $1";

macro_rules! ended_uploads {
    ($session:literal, $lock:literal) => {
        concat!(
            "SELECT s.id FROM upload_sessions s
            WHERE s.state IN ('ready', 'failed', 'aborted') AND s.updated_at < $1
            AND NOT EXISTS (SELECT 1 FROM work_items w WHERE w.kind IN ('ingest', 'clear') AND w.subject = s.id)
            AND NOT EXISTS (SELECT 1 FROM upload_parts p WHERE p.session_id = s.id)
            AND NOT EXISTS (SELECT 1 FROM intakes i WHERE i.id = s.id AND i.state IN ('receiving', 'publishing'))
            AND NOT EXISTS (SELECT 1 FROM orphaned_blobs l WHERE l.session = ",
            $session,
            ") ORDER BY s.updated_at LIMIT $2",
            $lock
        )
    };
}
const LOCK_ENDED_UPLOADS: Dialects = Dialects {
    sqlite: ended_uploads!("lower(hex(s.id))", ""),
    postgres: ended_uploads!("replace(CAST(s.id AS text), '-', '')", " FOR UPDATE OF s SKIP LOCKED"),
};
const DELETE_UPLOAD: &[&str] = &["DELETE FROM intakes WHERE id = $1", "DELETE FROM upload_sessions WHERE id = $1"];
const LOCK_ABANDONED_JOBS: Dialects = locking!(
    "SELECT j.id FROM publish_jobs j WHERE j.state = 'abandoned' AND j.updated_at < $1
    AND (EXISTS (SELECT 1 FROM publish_jobs n WHERE n.version_id = j.version_id AND n.id > j.id)
        OR NOT EXISTS (SELECT 1 FROM versions v WHERE v.id = j.version_id))
    AND NOT EXISTS (SELECT 1 FROM intakes i WHERE i.job_id = j.id)
    ORDER BY j.updated_at LIMIT $2",
    " FOR UPDATE OF j SKIP LOCKED"
);
const DELETE_JOB: &[&str] = &["DELETE FROM publish_steps WHERE job_id = $1", "DELETE FROM publish_jobs WHERE id = $1"];
const DELETE_FINGERPRINTS: &str = "DELETE FROM incus_fingerprints WHERE (metadata_digest, root_digest) IN (
    SELECT metadata_digest, root_digest FROM incus_fingerprints WHERE updated_at < $1 ORDER BY updated_at LIMIT $2)";
const RETAIN_AUDIT: &str = "UPDATE audit_horizon SET retained_since = $1 WHERE retained_since < $1";
const DELETE_AUDIT: &str =
    "DELETE FROM audit_log WHERE id IN (SELECT id FROM audit_log WHERE at < $1 ORDER BY at, id LIMIT $2)";
const LIST_OLD_DRAFTS: &str =
    "SELECT id FROM versions WHERE state = 'draft' AND updated_at < $1 ORDER BY updated_at, id LIMIT $2";
const LOCK_UNSEEN_PRINCIPALS: Dialects = locking!(
    "SELECT p.id FROM oidc_identities o JOIN principals p ON p.id = o.principal_id
    WHERE o.seen_at < $1 AND p.deactivated_at IS NULL
    AND NOT EXISTS (SELECT 1 FROM principal_roles r WHERE r.principal_id = p.id AND r.by_hand)
    AND NOT EXISTS (SELECT 1 FROM provisioning_grants g WHERE g.principal_id = p.id AND g.ended_at IS NOT NULL)
    AND NOT EXISTS (SELECT 1 FROM api_tokens t WHERE t.principal_id = p.id)
    AND NOT EXISTS (SELECT 1 FROM upload_sessions s WHERE s.created_by = p.id)
    ORDER BY o.seen_at LIMIT $2",
    " FOR UPDATE OF p SKIP LOCKED"
);
const DELETE_PRINCIPAL: &[&str] = &[
    "DELETE FROM provisioning_grants WHERE principal_id = $1",
    "DELETE FROM principal_roles WHERE principal_id = $1",
    "DELETE FROM oidc_identities WHERE principal_id = $1",
    "DELETE FROM principals WHERE id = $1",
];
pub(crate) const STATEMENTS: &[&str] = &[
    IS_PINNED,
    DELETE,
    KEEP,
    LIST_ORPHANS,
    DELETE_ORPHAN,
    DELETE_UPLOAD[0],
    DELETE_UPLOAD[1],
    DELETE_JOB[0],
    DELETE_JOB[1],
    DELETE_FINGERPRINTS,
    RETAIN_AUDIT,
    DELETE_AUDIT,
    LIST_OLD_DRAFTS,
    DELETE_PRINCIPAL[0],
    DELETE_PRINCIPAL[1],
    DELETE_PRINCIPAL[2],
    DELETE_PRINCIPAL[3],
];
pub(crate) const SQLITE: &[&str] =
    &[LOCK_DUE.sqlite, LOCK_ENDED_UPLOADS.sqlite, LOCK_ABANDONED_JOBS.sqlite, LOCK_UNSEEN_PRINCIPALS.sqlite];
pub(crate) const POSTGRES: &[&str] = &[
    KEEP_UNPINNED,
    LOCK_DUE.postgres,
    LOCK_ENDED_UPLOADS.postgres,
    LOCK_ABANDONED_JOBS.postgres,
    LOCK_UNSEEN_PRINCIPALS.postgres,
];

#[async_trait]
impl<C: Connection> CollectionRepo for SqlTx<C> {
    async fn collect_blobs(&mut self, before: Timestamp, limit: u16) -> Result<CollectedBatch, CatalogError> {
        self.lock(KEEP_UNPINNED, values![]).await?;
        if self.get(IS_PINNED, values![self.time()]).await? {
            return Ok(CollectedBatch::default());
        }
        let due: Vec<Digest> = self.list(LOCK_DUE, values![before, limit]).await?;
        let mut batch = CollectedBatch { examined: due.len(), ..CollectedBatch::default() };
        for digest in due {
            match self.find(DELETE, values![digest]).await? {
                Some(Deleted(claim)) => batch.deleted.push(claim),
                None => drop(self.execute(KEEP, values![digest, self.time()]).await?),
            }
        }
        Ok(batch)
    }

    async fn list_orphaned_blobs(
        &mut self,
        after: Option<&BlobName>,
        limit: u16,
    ) -> Result<Vec<OrphanedBlob>, CatalogError> {
        self.list(LIST_ORPHANS, values![after.map_or("", BlobName::as_str), limit]).await
    }

    async fn delete_orphaned_blob(&mut self, name: &BlobName) -> Result<bool, CatalogError> {
        Ok(self.execute(DELETE_ORPHAN, values![name]).await? > 0)
    }

    async fn delete_ended_uploads(&mut self, before: Timestamp, limit: u16) -> Result<u64, CatalogError> {
        let ended: Vec<UploadId> = self.list(LOCK_ENDED_UPLOADS, values![before, limit]).await?;
        for id in &ended {
            for statement in DELETE_UPLOAD {
                self.execute(statement, values![id]).await?;
            }
        }
        Ok(ended.len() as u64)
    }

    async fn delete_abandoned_jobs(&mut self, before: Timestamp, limit: u16) -> Result<u64, CatalogError> {
        let abandoned: Vec<uuid::Uuid> = self.list(LOCK_ABANDONED_JOBS, values![before, limit]).await?;
        for id in &abandoned {
            for statement in DELETE_JOB {
                self.execute(statement, values![id]).await?;
            }
        }
        Ok(abandoned.len() as u64)
    }

    async fn delete_fingerprints(&mut self, before: Timestamp, limit: u16) -> Result<u64, CatalogError> {
        self.execute(DELETE_FINGERPRINTS, values![before, limit]).await
    }

    async fn delete_audit(&mut self, before: Timestamp, limit: u16) -> Result<u64, CatalogError> {
        self.execute(RETAIN_AUDIT, values![before]).await?;
        self.execute(DELETE_AUDIT, values![before, limit]).await
    }

    async fn list_old_drafts(&mut self, before: Timestamp, limit: u16) -> Result<Vec<VersionId>, CatalogError> {
        self.list(LIST_OLD_DRAFTS, values![before, limit]).await
    }

    async fn delete_unseen_principals(
        &mut self,
        before: Timestamp,
        limit: u16,
    ) -> Result<Vec<PrincipalId>, CatalogError> {
        let unseen: Vec<PrincipalId> = self.list(LOCK_UNSEEN_PRINCIPALS, values![before, limit]).await?;
        for id in &unseen {
            for statement in DELETE_PRINCIPAL {
                self.execute(statement, values![id]).await?;
            }
        }
        Ok(unseen)
    }
}

/// A blob whose record was deleted.
struct Deleted(BlobClaim);

impl Record for Deleted {
    const WHAT: &'static str = "blob";
    const ID: &'static str = "digest";

    fn read(row: &Row<'_>) -> Result<Self, Corrupt> {
        row.claim("digest", "size_bytes").map(Self)
    }
}

impl Record for OrphanedBlob {
    const WHAT: &'static str = "orphan";
    const ID: &'static str = "storage_name";

    fn read(row: &Row<'_>) -> Result<Self, Corrupt> {
        Ok(Self { name: row.get("storage_name")?, size: row.get("size_bytes")? })
    }
}
