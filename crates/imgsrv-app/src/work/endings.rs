//! Waiting for the end of an upload's ingest.

use imgsrv_domain::ids::UploadId;
use tokio::sync::broadcast;

/// Announcements that are remembered for a waiting task; one that misses more checks the upload itself.
const REMEMBERED: usize = 64;

/// Announces ingests that have ended in this process.
#[derive(Debug)]
pub(crate) struct Endings(broadcast::Sender<UploadId>);

/// What is announced from now on.
pub(crate) struct Announced(broadcast::Receiver<UploadId>);

impl Default for Endings {
    fn default() -> Self {
        Self(broadcast::channel(REMEMBERED).0)
    }
}

impl Endings {
    /// Announces that the ingest of an upload has ended, for better or worse, and that this is committed.
    pub(crate) fn announce(&self, upload: UploadId) {
        // An error means that nobody waits.
        let _ = self.0.send(upload);
    }

    /// Begins to listen.
    pub(crate) fn listen(&self) -> Announced {
        Announced(self.0.subscribe())
    }
}

impl Announced {
    /// Completes when the end of `upload` was announced, or may have been.
    pub(crate) async fn end_of(&mut self, upload: UploadId) {
        while self.0.recv().await.is_ok_and(|ended| ended != upload) {}
    }
}
