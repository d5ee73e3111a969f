//! Which streams this process is receiving, so that a newer request can end an older one of the same upload.

use imgsrv_domain::ids::UploadId;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

/// How long an older request may take to put away what it has received.
const PUT_AWAY: Duration = Duration::from_secs(10);
/// How long a request must have kept the server waiting to count as stalled.
const STALLED: Duration = Duration::from_secs(1);

/// A request that is receiving bytes.
#[derive(Clone)]
struct Receiver {
    /// Ends it.
    cancel: CancellationToken,
    /// Closed when it has ended.
    ended: watch::Receiver<()>,
    waiting: Waiting,
}

/// Since when a request keeps the server waiting for bytes; absent while the server is busy with what has come.
#[derive(Clone, Default)]
pub(crate) struct Waiting(Arc<Mutex<Option<Instant>>>);

impl Waiting {
    /// The server waits for bytes.
    pub(crate) fn begin(&self) {
        self.set(Some(Instant::now()));
    }

    /// Bytes have come.
    pub(crate) fn end(&self) {
        self.set(None);
    }

    fn set(&self, since: Option<Instant>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = since;
    }

    fn is_stalled(&self) -> bool {
        let since = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        since.is_some_and(|since| since.elapsed() >= STALLED)
    }
}

/// The requests that are receiving bytes, by upload.
#[derive(Default)]
pub(crate) struct Receivers(Mutex<HashMap<UploadId, Receiver>>);

/// The place of a request among them; dropped when it has ended.
pub(crate) struct Place {
    receivers: Arc<Receivers>,
    id: UploadId,
    cancel: CancellationToken,
    waiting: Waiting,
    _ended: watch::Sender<()>,
}

impl Receivers {
    fn map(&self) -> std::sync::MutexGuard<'_, HashMap<UploadId, Receiver>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the request that receives for `id`, if there is one, and takes its place.
    pub(crate) async fn take(self: &Arc<Self>, id: UploadId) -> Place {
        let (sender, ended) = watch::channel(());
        let (cancel, waiting) = (CancellationToken::new(), Waiting::default());
        let own = Receiver { cancel: cancel.clone(), ended, waiting: waiting.clone() };
        let older = self.map().insert(id, own);
        let place = Place { receivers: Arc::clone(self), id, cancel, waiting, _ended: sender };
        end(older).await;
        place
    }

    /// Ends the request that receives for `id`, if it has stalled, so that what it has received counts.
    pub(crate) async fn end_stalled(&self, id: UploadId) {
        let stalled = self.map().get(&id).cloned().filter(|receiver| receiver.waiting.is_stalled());
        end(stalled).await;
    }

    /// Ends the request that receives for `id`, if there is one.
    pub(crate) async fn end(&self, id: UploadId) {
        let older = self.map().get(&id).cloned();
        end(older).await;
    }

    /// Ends all of them, so that what they have received counts.
    pub(crate) fn end_all(&self) {
        for receiver in self.map().values() {
            receiver.cancel.cancel();
        }
    }
}

async fn end(receiver: Option<Receiver>) {
    if let Some(Receiver { cancel, mut ended, .. }) = receiver {
        cancel.cancel();
        // An error says that it has ended.
        let _ = tokio::time::timeout(PUT_AWAY, async { while ended.changed().await.is_ok() {} }).await;
    }
}

impl Place {
    /// Completes when a newer request takes the place.
    pub(crate) fn taken(&self) -> CancellationToken {
        self.cancel.clone()
    }

    /// Where it is noted that the server waits for bytes.
    pub(crate) fn waiting(&self) -> Waiting {
        self.waiting.clone()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut map = self.receivers.map();
        if map.get(&self.id).is_some_and(|receiver| Arc::ptr_eq(&receiver.waiting.0, &self.waiting.0)) {
            map.remove(&self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[tokio::test(start_paused = true)]
    async fn a_newer_request_ends_an_older_one_and_waits_until_it_has_put_its_bytes_away() {
        let receivers = Arc::new(Receivers::default());
        let id = UploadId::new(Uuid::nil());
        let older = receivers.take(id).await;
        let older_waiting = older.waiting();
        let put_away = Arc::new(Mutex::new(false));
        let done = Arc::clone(&put_away);
        tokio::spawn(async move {
            older.taken().cancelled().await;
            tokio::time::sleep(Duration::from_secs(3)).await;
            *done.lock().unwrap() = true;
            drop(older);
        });
        older_waiting.begin();
        receivers.end_stalled(id).await;
        assert!(!*put_away.lock().unwrap(), "it has brought bytes a moment ago");
        older_waiting.end();
        tokio::time::sleep(STALLED).await;
        receivers.end_stalled(id).await;
        assert!(!*put_away.lock().unwrap(), "it is the server that is busy");
        let newer = receivers.take(id).await;
        assert!(*put_away.lock().unwrap());
        assert!(!newer.taken().is_cancelled());
        drop(newer);
        assert!(receivers.map().is_empty());
    }
}
