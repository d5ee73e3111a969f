//! The limit on request bodies that are received into storage at the same time.

use crate::response::problem::{Code, Problem};
use std::{sync::Arc, time::Duration};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::Instrument;

/// One slot for each part or tus request whose body may be received at the same time.
#[derive(Debug, Clone)]
pub(crate) struct ReceiveSlots {
    slots: Arc<Semaphore>,
    limit: usize,
}

/// A slot, released when it is dropped.
pub(crate) struct ReceiveSlot {
    _permit: OwnedSemaphorePermit,
}

impl ReceiveSlots {
    pub(crate) fn new(limit: usize) -> Self {
        Self { slots: Arc::new(Semaphore::new(limit)), limit }
    }

    /// Acquires a slot; a problem when all are in use.
    pub(crate) fn acquire(&self) -> Result<ReceiveSlot, Problem> {
        match Arc::clone(&self.slots).try_acquire_owned() {
            Ok(permit) => Ok(ReceiveSlot { _permit: permit }),
            Err(_) => {
                let detail = format!("{} parts are being received already", self.limit);
                Err(Problem::new(Code::TooManyUploads).detail(detail).retry_after(Duration::from_secs(1)))
            }
        }
    }
}

impl ReceiveSlot {
    /// Runs `receiving` in a task that a client's disconnect does not cancel, so that it can undo or record what it has
    /// staged. The slot is released when the task ends.
    pub(crate) async fn run<T: Send + 'static>(
        self,
        receiving: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, Problem> {
        let task = async move {
            let _slot = self;
            receiving.await
        };
        tokio::spawn(task.in_current_span()).await.map_err(|_| Problem::new(Code::Internal))
    }
}
