//! Room for more bytes: what operators allow, and what the disks have. Looked at before a byte is accepted.

use crate::{context::Context, error::UseCaseError};
use imgsrv_domain::{digest::ByteSize, ports::CatalogTx};

impl Context {
    /// Refuses an upload that is larger than any may be.
    pub(crate) fn check_upload_size(&self, size: ByteSize) -> Result<(), UseCaseError> {
        match self.settings.max_upload_bytes {
            Some(limit) if size.get() > limit => Err(UseCaseError::UploadTooLarge { limit }),
            _ => Ok(()),
        }
    }

    /// Refuses one more open upload of `size` when there are as many as may be, or as many bytes are on their way; or
    /// about as many: two that are opened at once do not wait for each other.
    pub(crate) async fn check_admission(&self, tx: &mut dyn CatalogTx, size: ByteSize) -> Result<(), UseCaseError> {
        if let Some(limit) = self.settings.max_open_uploads
            && tx.count_open_uploads().await? >= u64::from(limit)
        {
            return Err(UseCaseError::TooManyUploads { limit });
        }
        if let Some(limit) = self.settings.max_staged_bytes
            && tx.sum_staged_bytes().await?.saturating_add(size.get()) > limit
        {
            return Err(UseCaseError::NoRoom(format!(
                "uploads that are not done may have {limit} bytes in all; let some end first"
            )));
        }
        Ok(())
    }

    /// Refuses `bytes` more when the disks would then have less than must stay free. What nobody can tell, such as the
    /// room in a bucket, refuses nothing.
    pub(crate) async fn check_free_space(&self, bytes: u64) -> Result<(), UseCaseError> {
        let Some(least) = self.settings.min_free_bytes else { return Ok(()) };
        let full = |what: &str, free: u64| {
            UseCaseError::NoRoom(format!(
                "the {what} has {free} bytes left, of which {least} must stay free; what was acknowledged is kept"
            ))
        };
        if let Some(free) = self.blobs.free_bytes().await?
            && free < least.saturating_add(bytes)
        {
            return Err(full("blob store", free));
        }
        match self.catalog.free_bytes().await? {
            Some(free) if free < least => Err(full("catalog's disk", free)),
            _ => Ok(()),
        }
    }
}
