//! Admission control: size limits, quotas and free disk space, checked before bytes are accepted.

use crate::{context::Context, error::UseCaseError};
use futures::{StreamExt, stream};
use imgsrv_domain::{
    digest::ByteSize,
    ids::PrincipalId,
    ports::{BodyError, BodyStream, CatalogTx},
    space::SpaceReservation,
};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Space that is reserved at once for bytes whose number is not declared.
const STEP: u64 = 4 << 20;
/// Reserved space below which the next frame is not received: more than any frame has.
const HEADROOM: u64 = 1 << 20;

/// Refuses an upload that exceeds the maximum size of one upload.
pub(crate) fn check_size(context: &Context, size: ByteSize) -> Result<(), UseCaseError> {
    match context.settings.max_upload_bytes {
        Some(limit) if size.get() > limit => Err(UseCaseError::UploadTooLarge { size, limit }),
        _ => Ok(()),
    }
}

/// Refuses an upload of `size` that would exceed the number of open uploads or their total size, of the principal or of all.
/// Uploads that are opened
/// concurrently do not see each other, so they may exceed these limits a little.
pub(crate) async fn check_quota(
    context: &Context,
    tx: &mut dyn CatalogTx,
    by: PrincipalId,
    size: ByteSize,
) -> Result<(), UseCaseError> {
    if let Some(limit) = context.settings.max_open_uploads_per_principal
        && tx.count_open_uploads_of(by).await? >= u64::from(limit)
    {
        return Err(UseCaseError::TooManyOwnUploads { limit });
    }
    if let Some(limit) = context.settings.max_open_uploads
        && tx.count_open_uploads().await? >= u64::from(limit)
    {
        return Err(UseCaseError::TooManyUploads { limit });
    }
    if let Some(limit) = context.settings.max_staged_bytes_per_principal
        && tx.sum_staged_bytes_of(by).await?.saturating_add(size.get()) > limit
    {
        return Err(UseCaseError::InsufficientSpace(format!(
            "unfinished uploads of one principal can have a total size of at most {limit} bytes; complete or abort some of \
             them first"
        )));
    }
    if let Some(limit) = context.settings.max_staged_bytes
        && tx.sum_staged_bytes().await?.saturating_add(size.get()) > limit
    {
        return Err(UseCaseError::InsufficientSpace(format!(
            "unfinished uploads can have a total size of at most {limit} bytes; complete or abort some of them first"
        )));
    }
    Ok(())
}

/// Refuses `bytes` that would leave less free disk space than the settings require, in addition to reserved space. Where the
/// free space is unknown, as in a bucket, nothing is refused. Returns whether it is known and limited.
pub(crate) async fn check_free_space(context: &Context, bytes: u64) -> Result<bool, UseCaseError> {
    let Some(least) = context.settings.min_free_bytes else { return Ok(false) };
    let full = |what: &str, free: u64, promised: u64| {
        let promised = match promised {
            0 => String::new(),
            promised => format!(" and {promised} are reserved for parts that are being received"),
        };
        UseCaseError::InsufficientSpace(format!(
            "the {what} has {free} bytes left, of which {least} must stay free{promised}; acknowledged data is kept"
        ))
    };
    // Read first: bytes that are written meanwhile count twice, rather than not at all.
    let promised = context.space.ledger.promised();
    let free = context.blobs.free_bytes().await?;
    if let Some(free) = free
        && free < least.saturating_add(promised).saturating_add(bytes)
    {
        return Err(full("blob store", free, promised));
    }
    match context.catalog.free_bytes().await? {
        Some(free) if free < least => Err(full("catalog's disk", free, 0)),
        _ => Ok(free.is_some()),
    }
}

/// Admits the body of a request: reserves the space that it declares, or some to begin with.
pub(crate) async fn admit(context: &Arc<Context>, declared: Option<u64>) -> Result<Admission, UseCaseError> {
    let bytes = declared.unwrap_or(STEP);
    let _turn = context.space.turn.lock().await;
    let is_limited = check_free_space(context, bytes).await?;
    let space = is_limited.then(|| context.space.ledger.reserve(bytes));
    let unused = Arc::new(Mutex::new(bytes));
    Ok(Admission {
        context: Arc::clone(context),
        space,
        is_declared: declared.is_some(),
        unused,
        refusal: Arc::default(),
    })
}

/// The space that is reserved for the body of a request.
#[derive(Clone)]
pub(crate) struct Admission {
    context: Arc<Context>,
    /// For the store, which records what it has used of it; absent where space is not limited.
    pub(crate) space: Option<SpaceReservation>,
    is_declared: bool,
    /// Reserved bytes that have not arrived.
    unused: Arc<Mutex<u64>>,
    /// Why the body was not received completely.
    refusal: Arc<Mutex<Option<UseCaseError>>>,
}

impl Admission {
    /// Reserves space for the next frame, unless it is reserved already.
    pub(crate) async fn extend(&self) -> Result<(), UseCaseError> {
        let Some(space) = &self.space else { return Ok(()) };
        if self.is_declared || *self.unused() >= HEADROOM {
            return Ok(());
        }
        let _turn = self.context.space.turn.lock().await;
        check_free_space(&self.context, STEP).await?;
        space.extend(STEP);
        *self.unused() += STEP;
        Ok(())
    }

    fn unused(&self) -> MutexGuard<'_, u64> {
        self.unused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `bytes`, received only as far as there is space. Then it ends: as if the client had stopped there if `is_divisible`,
    /// or else with an error.
    pub(crate) fn limit(&self, bytes: BodyStream, is_divisible: bool) -> BodyStream {
        if self.space.is_none() || self.is_declared {
            return bytes;
        }
        let limited = stream::unfold((self.clone(), Some(bytes)), move |(admission, bytes)| async move {
            let mut bytes = bytes?;
            if let Err(refused) = admission.extend().await {
                *admission.refusal.lock().unwrap_or_else(PoisonError::into_inner) = Some(refused);
                return (!is_divisible).then_some((Err(BodyError::Cut), (admission, None)));
            }
            let frame = bytes.next().await?;
            if let Ok(frame) = &frame {
                let mut unused = admission.unused();
                *unused = unused.saturating_sub(frame.len() as u64);
            }
            Some((frame, (admission, Some(bytes))))
        });
        limited.boxed()
    }

    /// Why the body was not received: for lack of space, or because of `error`.
    pub(crate) fn refusal_or(&self, error: UseCaseError) -> UseCaseError {
        self.refusal.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or(error)
    }
}
