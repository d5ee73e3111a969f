//! Memory for parts that are being received, over all uploads. A part takes little until it has sent much.

use crate::batches::FIRST_BYTES;
use imgsrv_domain::ports::BlobError;
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

/// Parts that may begin at once. Each has up to half a MiB in memory: [`FIRST_BYTES`] and its last frame. Further parts
/// wait.
const BEGINNING: usize = 256;
const _: () = assert!(FIRST_BYTES <= 256 << 10);
/// Memory for the chunks of parts that have sent more than that, in MiB: 64 parts at once with chunks of the usual size.
/// Further parts wait.
const RECEIVING_MIB: u32 = 896;
/// How long a part waits for memory.
const RECEIVING_TIMEOUT: Duration = Duration::from_secs(30);

/// The memory, 1 GiB in all.
pub(super) struct ReceivingMemory {
    beginning: Arc<Semaphore>,
    receiving: Arc<Semaphore>,
}

impl ReceivingMemory {
    pub(super) fn new() -> Self {
        let semaphore = |permits| Arc::new(Semaphore::new(permits));
        Self { beginning: semaphore(BEGINNING), receiving: semaphore(RECEIVING_MIB as usize) }
    }

    /// Admits the beginning of a part that takes `bytes` as a whole. Nothing is read from the client before.
    pub(super) async fn admit(&self, bytes: u64) -> Result<Admitted, BlobError> {
        let permit = acquire(&self.beginning, 1).await?;
        let rest = Some((Arc::clone(&self.receiving), mib(bytes).min(RECEIVING_MIB)));
        Ok(Admitted { _permit: permit, rest })
    }
}

/// The memory that a part may take.
pub(super) struct Admitted {
    _permit: OwnedSemaphorePermit,
    /// What the whole part takes, until it is admitted.
    rest: Option<(Arc<Semaphore>, u32)>,
}

impl Admitted {
    /// Admits the whole part, unless it is admitted already. A part that waits here has not begun to take what others wait
    /// for, so no two parts wait for each other.
    pub(super) async fn grow(&mut self) -> Result<(), BlobError> {
        if let Some((receiving, mib)) = &self.rest {
            let whole = acquire(receiving, *mib).await?;
            *self = Self { _permit: whole, rest: None };
        }
        Ok(())
    }
}

#[cfg(test)]
impl Admitted {
    /// A part that nothing limits.
    pub(super) fn whole() -> Self {
        let permit = Arc::new(Semaphore::new(1)).try_acquire_owned();
        Self { _permit: permit.expect("it is free"), rest: None }
    }
}

async fn acquire(memory: &Arc<Semaphore>, amount: u32) -> Result<OwnedSemaphorePermit, BlobError> {
    let permit = timeout(RECEIVING_TIMEOUT, Arc::clone(memory).acquire_many_owned(amount)).await;
    permit.map_err(BlobError::unavailable)?.map_err(BlobError::unavailable)
}

pub(super) fn mib(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(1 << 20)).unwrap_or(u32::MAX)
}
