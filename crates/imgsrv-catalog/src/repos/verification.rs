//! What is known of stored bytes: when they were verified, and the checksums of their blocks.

use crate::core::{Connection, SqlTx, values};
use async_trait::async_trait;
use imgsrv_domain::{
    blocks::BlockChecksums,
    digest::Digest,
    ports::{BlobName, CatalogError, SECTION_BLOCKS, VerificationRepo},
};

const VERIFIED: &str = "UPDATE blobs SET verified_at = $2, looked_at = NULL WHERE storage_name = $1";
const DELETE_CHECKSUMS: &str = "DELETE FROM block_checksums WHERE storage_name = $1";
const INSERT_CHECKSUMS: &str = "INSERT INTO block_checksums (storage_name, section, checksums) VALUES ($1, $2, $3)";
const RESTORE: &str = "UPDATE blobs SET state = 'trusted', looked_at = NULL
    WHERE digest = $1 AND storage_name = $2 AND state = 'quarantined'";
const LOOKED: &str = "UPDATE blobs SET looked_at = $2 WHERE storage_name = $1 AND state = 'quarantined'";
pub(crate) const STATEMENTS: &[&str] = &[VERIFIED, DELETE_CHECKSUMS, INSERT_CHECKSUMS, RESTORE, LOOKED];

#[async_trait]
impl<C: Connection> VerificationRepo for SqlTx<C> {
    async fn record_verified(
        &mut self,
        name: &BlobName,
        checksums: Option<&BlockChecksums>,
    ) -> Result<bool, CatalogError> {
        if self.execute(VERIFIED, values![name, self.time()]).await? == 0 {
            return Ok(false);
        }
        if let Some(checksums) = checksums {
            self.execute(DELETE_CHECKSUMS, values![name]).await?;
            for (section, checksums) in (0_u32..).zip(checksums.sections(SECTION_BLOCKS)) {
                self.execute(INSERT_CHECKSUMS, values![name, section, checksums]).await?;
            }
        }
        Ok(true)
    }

    async fn restore_blob(&mut self, digest: &Digest, name: &BlobName) -> Result<bool, CatalogError> {
        Ok(self.execute(RESTORE, values![digest, name]).await? > 0)
    }

    async fn note_look(&mut self, name: &BlobName) -> Result<(), CatalogError> {
        self.execute(LOOKED, values![name, self.time()]).await.map(drop)
    }
}
