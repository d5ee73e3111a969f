//! Progress of transfers, and the detection of stalled ones.

use super::STALL_TIMEOUT;
use crate::error::Error;
use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::time::Instant;

/// How long the response may take once a part is sent: the server makes it durable first.
const RESPONSE_TIMEOUT: Duration = Duration::from_mins(5);

/// What a transfer is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Stage {
    /// The client computes a digest.
    Hashing,
    /// Bytes are sent.
    Sending,
    /// The server verifies the bytes.
    Verifying,
    /// Bytes are received.
    Receiving,
}

/// How far a transfer has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// The current stage.
    pub stage: Stage,
    /// Bytes done in this stage. Decreases when some have to be transferred again.
    pub done: u64,
    /// Bytes of this stage in all.
    pub total: u64,
}

/// Is called with each progress; often, so it should be quick.
pub(crate) type Observer = Arc<dyn Fn(Progress) + Send + Sync>;

pub(super) fn no_observer() -> Observer {
    Arc::new(|_| {})
}

/// What the parts of an upload have sent together.
pub(super) struct SendProgress {
    total: u64,
    sent: AtomicU64,
    observer: Observer,
}

impl SendProgress {
    pub(super) fn new(total: u64, already_sent: u64, observer: Observer) -> Arc<Self> {
        let progress = Self { total, sent: AtomicU64::new(already_sent), observer };
        progress.report(already_sent);
        Arc::new(progress)
    }

    fn report(&self, done: u64) {
        (self.observer)(Progress { stage: Stage::Sending, done, total: self.total });
    }

    fn add(&self, bytes: u64) {
        self.report(self.sent.fetch_add(bytes, Ordering::Relaxed) + bytes);
    }

    fn subtract(&self, bytes: u64) {
        self.report(self.sent.fetch_sub(bytes, Ordering::Relaxed) - bytes);
    }
}

/// What one part has sent, and when it last did.
pub(super) struct PartProgress {
    size: u64,
    sent: AtomicU64,
    last: Mutex<Instant>,
    upload: Arc<SendProgress>,
}

impl PartProgress {
    pub(super) fn new(size: u64, upload: &Arc<SendProgress>) -> Arc<Self> {
        let (sent, last) = (AtomicU64::new(0), Mutex::new(Instant::now()));
        Arc::new(Self { size, sent, last, upload: Arc::clone(upload) })
    }

    /// Counts `bytes` more.
    pub(super) fn add(&self, bytes: u64) {
        self.touch();
        // The upload first, so that `restart` never subtracts what is not added yet.
        self.upload.add(bytes);
        self.sent.fetch_add(bytes, Ordering::Release);
    }

    /// Starts again at the first byte.
    pub(super) fn restart(&self) {
        self.touch();
        self.upload.subtract(self.sent.swap(0, Ordering::Acquire));
    }

    fn touch(&self) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// Runs `request` until it stalls: a broken network connection does not always fail by itself.
    pub(super) async fn watch<T>(&self, request: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let stalled = async {
            loop {
                let is_sent = self.sent.load(Ordering::Relaxed) >= self.size;
                let timeout = if is_sent { RESPONSE_TIMEOUT } else { STALL_TIMEOUT };
                let last = *self.last.lock().unwrap_or_else(PoisonError::into_inner);
                if last.elapsed() >= timeout {
                    return timeout;
                }
                tokio::time::sleep_until(last + timeout).await;
            }
        };
        tokio::select! {
            done = request => done,
            timeout = stalled => Err(Error::Stalled(timeout)),
        }
    }
}
