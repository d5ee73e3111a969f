//! Waiting for the end of an upload's ingest.

use imgsrv_domain::ids::UploadId;
use tokio::sync::broadcast;

/// Announcements that are remembered for a waiting task; one that misses more checks the upload itself.
const REMEMBERED: usize = 64;

/// Announces ingests that have ended in this process.
#[derive(Debug)]
pub(crate) struct Endings(broadcast::Sender<UploadId>);

/// A subscription to the ends of uploads, from now on.
pub(crate) struct EndSubscription(broadcast::Receiver<UploadId>);

impl Default for Endings {
    fn default() -> Self {
        Self(broadcast::channel(REMEMBERED).0)
    }
}

impl Endings {
    /// Announces that the ingest of an upload has ended, for better or worse, and that this is committed.
    pub(crate) fn announce(&self, upload: UploadId) {
        // An error means that no receiver waits.
        let _ = self.0.send(upload);
    }

    /// Subscribes.
    pub(crate) fn listen(&self) -> EndSubscription {
        EndSubscription(self.0.subscribe())
    }
}

impl EndSubscription {
    /// Completes when the end of `upload` was reported, or a report may have been missed.
    pub(crate) async fn end_of(&mut self, upload: UploadId) {
        while self.0.recv().await.is_ok_and(|ended| ended != upload) {}
    }
}
