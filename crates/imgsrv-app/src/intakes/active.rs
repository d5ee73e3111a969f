//! The append requests that this process is receiving, so that a newer one can end an older one of the same upload.

use imgsrv_domain::ids::UploadId;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

/// How long an older request may take to record what it has received.
const END_TIMEOUT: Duration = Duration::from_secs(10);
/// A request counts as stalled if the server has received no bytes of it for this long.
const STALL: Duration = Duration::from_secs(1);

/// An append request that is receiving bytes.
#[derive(Clone)]
struct ActiveAppend {
    /// Ends it.
    cancel: CancellationToken,
    /// Closed when it has ended.
    ended: watch::Receiver<()>,
    waiting: WaitTime,
}

/// Since when the server has been waiting for bytes of a request; absent while it processes received ones.
#[derive(Clone, Default)]
pub(super) struct WaitTime(Arc<Mutex<Option<Instant>>>);

impl WaitTime {
    /// The server starts to wait for bytes.
    pub(super) fn begin(&self) {
        *self.since() = Some(Instant::now());
    }

    /// Bytes have arrived.
    pub(super) fn end(&self) {
        *self.since() = None;
    }

    fn since(&self) -> MutexGuard<'_, Option<Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_stalled(&self) -> bool {
        self.since().is_some_and(|since| since.elapsed() >= STALL)
    }
}

/// The append requests that are receiving bytes, by upload.
#[derive(Default)]
pub(crate) struct ActiveAppends(Mutex<HashMap<UploadId, ActiveAppend>>);

/// Registers a request until it is dropped.
pub(super) struct Registration {
    registry: Arc<ActiveAppends>,
    id: UploadId,
    /// Cancelled when the request must end.
    pub(super) cancel: CancellationToken,
    /// Where the request records that the server waits for bytes.
    pub(super) waiting: WaitTime,
    _ended: watch::Sender<()>,
}

impl ActiveAppends {
    fn map(&self) -> MutexGuard<'_, HashMap<UploadId, ActiveAppend>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers a request for `id`, and ends the older one if there is one.
    pub(super) async fn register(self: &Arc<Self>, id: UploadId) -> Registration {
        let (sender, ended) = watch::channel(());
        let (cancel, waiting) = (CancellationToken::new(), WaitTime::default());
        let own = ActiveAppend { cancel: cancel.clone(), ended, waiting: waiting.clone() };
        let older = self.map().insert(id, own);
        let registration = Registration { registry: Arc::clone(self), id, cancel, waiting, _ended: sender };
        end(older).await;
        registration
    }

    /// Ends the request for `id` if it has stalled, so that what it has received is recorded.
    pub(super) async fn end_stalled(&self, id: UploadId) {
        let stalled = self.map().get(&id).cloned().filter(|active| active.waiting.is_stalled());
        end(stalled).await;
    }

    /// Ends the request for `id`, if there is one.
    pub(super) async fn end(&self, id: UploadId) {
        let active = self.map().get(&id).cloned();
        end(active).await;
    }

    /// Ends all requests, so that what they have received is recorded.
    pub(crate) fn end_all(&self) {
        for active in self.map().values() {
            active.cancel.cancel();
        }
    }
}

async fn end(active: Option<ActiveAppend>) {
    if let Some(ActiveAppend { cancel, mut ended, .. }) = active {
        cancel.cancel();
        // An error means that it has ended.
        let _ = tokio::time::timeout(END_TIMEOUT, async { while ended.changed().await.is_ok() {} }).await;
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut map = self.registry.map();
        if map.get(&self.id).is_some_and(|active| Arc::ptr_eq(&active.waiting.0, &self.waiting.0)) {
            map.remove(&self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[tokio::test(start_paused = true)]
    async fn a_newer_request_ends_an_older_one_and_waits_until_it_has_recorded_its_bytes() {
        let registry = Arc::new(ActiveAppends::default());
        let id = UploadId::new(Uuid::nil());
        let older = registry.register(id).await;
        let older_waiting = older.waiting.clone();
        let recorded = Arc::new(Mutex::new(false));
        let done = Arc::clone(&recorded);
        tokio::spawn(async move {
            older.cancel.cancelled().await;
            tokio::time::sleep(Duration::from_secs(3)).await;
            *done.lock().unwrap() = true;
            drop(older);
        });
        older_waiting.begin();
        registry.end_stalled(id).await;
        assert!(!*recorded.lock().unwrap(), "it has sent bytes a moment ago");
        older_waiting.end();
        tokio::time::sleep(STALL).await;
        registry.end_stalled(id).await;
        assert!(!*recorded.lock().unwrap(), "the server is processing bytes");
        let newer = registry.register(id).await;
        assert!(*recorded.lock().unwrap());
        assert!(!newer.cancel.is_cancelled());
        drop(newer);
        assert!(registry.map().is_empty());
    }
}
