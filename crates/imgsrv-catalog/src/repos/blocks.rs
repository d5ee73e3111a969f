//! Purging blobs, and blocked digests.

use crate::{
    core::{Connection, Corrupt, Dialects, Record, Row, SqlTx, locking, values},
    queries::collection::references,
};
use async_trait::async_trait;
use imgsrv_domain::{
    digest::Digest,
    ids::{UploadId, VersionId},
    names::ImageName,
    ports::{BlobReference, BlockRepo, BlockedDigest, CatalogError, OrphanedBlob, PurgedDigest},
    text::LongText,
    version::Version,
};

/// References to a blob that are read at most.
const MAX_REFERENCES: u16 = 100;

/// Blocked digests, from `blocked_digests b`.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT b.digest, b.image_name, b.version_name, b.reason, b.everywhere, b.blocked_at FROM blocked_digests b ",
            $rest
        )
    };
}
pub(crate) use select;

// What a tombstone had is released: the content may have been unblocked and uploaded again since. The empty digest tells
// nothing, and others need it.
const DIGESTS: &str = "SELECT digest FROM (SELECT primary_blob_digest AS digest FROM artifacts WHERE version_id = $1
    UNION SELECT blob_digest FROM attachments WHERE version_id = $1) named
    WHERE digest <> 'sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'
    AND NOT EXISTS (SELECT 1 FROM version_lifecycles l WHERE l.version_id = $1 AND l.tombstone_at IS NOT NULL
        AND NOT EXISTS (SELECT 1 FROM blobs b WHERE b.digest = named.digest AND b.created_at < l.tombstone_at)
        AND NOT EXISTS (SELECT 1 FROM blocked_digests k
            WHERE k.digest = named.digest AND (k.everywhere OR k.image_name = $2))) ORDER BY digest";
const IS_EVERYWHERE: &str =
    "SELECT everywhere FROM blocked_digests WHERE digest = $1 AND (everywhere OR image_name = $2)
    ORDER BY everywhere DESC LIMIT 1";
const BLOCK: &str = "INSERT INTO blocked_digests (digest, image_name, version_name, reason, blocked_at, everywhere)
    VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (digest, image_name) DO UPDATE SET everywhere = excluded.everywhere";
const REVERT: &str = "DELETE FROM blocked_digests WHERE digest = $1 AND image_name = $2";
const NARROW: &str = "UPDATE blocked_digests SET everywhere = false WHERE digest = $1 AND image_name = $2";
const LOCK: Dialects = locking!("SELECT digest FROM blobs WHERE digest = $1", " FOR UPDATE");
// A statement after the one that locks the blob, so that its snapshot shows every reference. Anybody can make a draft that
// names a digest, so drafts keep nothing that is to be purged.
const REFERENCES: &str = references!(
    "kind <> 'upload' AND version_id <> $3
        AND EXISTS (SELECT 1 FROM versions WHERE versions.id = version_id AND state <> 'draft')"
);
const PURGE: &str = "DELETE FROM blobs WHERE digest = $1 RETURNING storage_name, size_bytes";
const GET: &str =
    select!("WHERE b.digest = $1 AND (b.everywhere OR b.image_name = $2) ORDER BY b.everywhere DESC LIMIT 1");
const GET_OF: &str = select!(
    "WHERE b.digest IN (SELECT primary_blob_digest FROM artifacts WHERE version_id = $1
        UNION SELECT blob_digest FROM attachments WHERE version_id = $1)
    AND (b.everywhere OR b.image_name = (SELECT i.name FROM versions v JOIN images i ON i.id = v.image_id WHERE v.id = $1))
    ORDER BY b.digest, b.everywhere DESC LIMIT 1"
);
const UNBLOCK: &str = "DELETE FROM blocked_digests WHERE digest = $1";
const UPLOADS: &str =
    "SELECT s.id, b.digest FROM blocked_digests b JOIN upload_sessions s ON s.expected_digest = b.digest
    WHERE b.everywhere AND s.state IN ('created', 'uploading') AND s.id > $1 ORDER BY s.id LIMIT $2";
pub(crate) const STATEMENTS: &[&str] =
    &[DIGESTS, IS_EVERYWHERE, BLOCK, REVERT, NARROW, LOCK.sqlite, REFERENCES, PURGE, GET, GET_OF, UNBLOCK, UPLOADS];
pub(crate) const POSTGRES: &[&str] = &[LOCK.postgres];

#[async_trait]
impl<C: Connection> BlockRepo for SqlTx<C> {
    async fn block_digests(
        &mut self,
        version: &Version,
        reason: &LongText,
        everywhere: bool,
    ) -> Result<Vec<PurgedDigest>, CatalogError> {
        let (image, now) = (&version.image, self.time());
        let digests: Vec<Digest> = self.list(DIGESTS, values![version.id, *image]).await?;
        let mut purged = Vec::with_capacity(digests.len());
        for digest in digests {
            let before: Option<bool> = self.find(IS_EVERYWHERE, values![digest, *image]).await?;
            if let Some(was_everywhere) = before
                && (was_everywhere || !everywhere)
            {
                purged.push(PurgedDigest::Blocked { digest, everywhere: was_everywhere, was_blocked: true });
                continue;
            }
            // First: afterwards, no blob of this digest is stored if it is blocked everywhere.
            let block = values![digest, *image, version.name, reason, now, everywhere];
            self.execute(BLOCK, block).await?;
            if C::LOCKS_ROWS {
                self.find::<Digest>(LOCK, values![digest]).await?;
            }
            let by: Vec<BlobReference> = self.list(REFERENCES, values![digest, MAX_REFERENCES, version.id]).await?;
            if by.is_empty() {
                purged.push(PurgedDigest::Blocked { digest, everywhere, was_blocked: false });
            } else {
                self.execute(if before.is_some() { NARROW } else { REVERT }, values![digest, *image]).await?;
                purged.push(PurgedDigest::Kept { digest, by });
            }
        }
        Ok(purged)
    }

    async fn purge_blob(&mut self, digest: &Digest) -> Result<Option<OrphanedBlob>, CatalogError> {
        self.find(PURGE, values![digest]).await
    }

    async fn get_blocked_digest(
        &mut self,
        digest: &Digest,
        image: Option<&ImageName>,
    ) -> Result<Option<BlockedDigest>, CatalogError> {
        self.find(GET, values![digest, image.map(ImageName::as_str)]).await
    }

    async fn get_blocked_digest_of(&mut self, version: VersionId) -> Result<Option<BlockedDigest>, CatalogError> {
        self.find(GET_OF, values![version]).await
    }

    async fn unblock_digest(&mut self, digest: &Digest) -> Result<bool, CatalogError> {
        Ok(self.execute(UNBLOCK, values![digest]).await? > 0)
    }

    async fn list_blocked_uploads(
        &mut self,
        after: UploadId,
        limit: u16,
    ) -> Result<Vec<(UploadId, Digest)>, CatalogError> {
        let blocked: Vec<BlockedUpload> = self.list_decodable(UPLOADS, values![after, limit]).await?;
        Ok(blocked.into_iter().map(|BlockedUpload(id, digest)| (id, digest)).collect())
    }
}

/// An upload of a blocked digest.
struct BlockedUpload(UploadId, Digest);

impl Record for BlockedUpload {
    const WHAT: &'static str = BlockedDigest::WHAT;

    fn read(row: &Row<'_>) -> Result<Self, Corrupt> {
        Ok(Self(row.get("id")?, row.get("digest")?))
    }
}

impl Record for BlockedDigest {
    const WHAT: &'static str = "blocked digest";
    const ID: &'static str = "digest";

    fn read(row: &Row<'_>) -> Result<Self, Corrupt> {
        Ok(Self {
            digest: row.get("digest")?,
            image: row.get("image_name")?,
            version: row.get("version_name")?,
            reason: row.get("reason")?,
            everywhere: row.get("everywhere")?,
            blocked_at: row.get("blocked_at")?,
        })
    }
}
