//! The limit on request bodies that are received into storage at the same time.

use crate::response::problem::{Code, Problem};
use std::{sync::Arc, time::Duration};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// One slot for each part or tus request whose body may be received at the same time.
#[derive(Debug, Clone)]
pub(crate) struct ReceiveSlots {
    slots: Arc<Semaphore>,
    limit: usize,
}

impl ReceiveSlots {
    pub(crate) fn new(limit: usize) -> Self {
        Self { slots: Arc::new(Semaphore::new(limit)), limit }
    }

    /// Acquires a slot, which is released when the permit is dropped; a problem when all are in use.
    pub(crate) fn acquire(&self) -> Result<OwnedSemaphorePermit, Problem> {
        Arc::clone(&self.slots).try_acquire_owned().map_err(|_| {
            let detail = format!("{} parts are being received already", self.limit);
            Problem::new(Code::TooManyUploads).detail(detail).retry_after(Duration::from_secs(1))
        })
    }
}
