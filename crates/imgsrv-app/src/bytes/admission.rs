//! Admission control: size limits, quotas and free disk space, checked before bytes are accepted.

use crate::{context::Context, error::UseCaseError};
use imgsrv_domain::{digest::ByteSize, ports::CatalogTx};

/// Refuses an upload that exceeds the maximum size of one upload.
pub(crate) fn check_size(context: &Context, size: ByteSize) -> Result<(), UseCaseError> {
    match context.settings.max_upload_bytes {
        Some(limit) if size.get() > limit => Err(UseCaseError::UploadTooLarge { limit }),
        _ => Ok(()),
    }
}

/// Refuses an upload of `size` that would exceed the number of open uploads or their total size. Uploads that are opened
/// concurrently do not see each other, so they may exceed these limits a little.
pub(crate) async fn check_quota(context: &Context, tx: &mut dyn CatalogTx, size: ByteSize) -> Result<(), UseCaseError> {
    if let Some(limit) = context.settings.max_open_uploads
        && tx.count_open_uploads().await? >= u64::from(limit)
    {
        return Err(UseCaseError::TooManyUploads { limit });
    }
    if let Some(limit) = context.settings.max_staged_bytes
        && tx.sum_staged_bytes().await?.saturating_add(size.get()) > limit
    {
        return Err(UseCaseError::InsufficientSpace(format!(
            "uploads that are not done may have {limit} bytes in all; let some end first"
        )));
    }
    Ok(())
}

/// Refuses `bytes` that would leave less free disk space than the settings require. Where the free space is unknown, as
/// in a bucket, nothing is refused.
pub(crate) async fn check_free_space(context: &Context, bytes: u64) -> Result<(), UseCaseError> {
    let Some(least) = context.settings.min_free_bytes else { return Ok(()) };
    let full = |what: &str, free: u64| {
        UseCaseError::InsufficientSpace(format!(
            "the {what} has {free} bytes left, of which {least} must stay free; what was acknowledged is kept"
        ))
    };
    if let Some(free) = context.blobs.free_bytes().await?
        && free < least.saturating_add(bytes)
    {
        return Err(full("blob store", free));
    }
    match context.catalog.free_bytes().await? {
        Some(free) if free < least => Err(full("catalog's disk", free)),
        _ => Ok(()),
    }
}
