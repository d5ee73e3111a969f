//! What every use case shares: the adapters, the settings, wake-ups and the signal to stop.

use crate::work::wakeups::Wakeups;
use imgsrv_domain::{
    lease::WorkerId,
    ports::{BlobStore, Catalog, Clock, ConditionEngine, Ids, LeasedWork, TokenVerifier},
    retry::Backoff,
};
use std::{sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

/// What the use cases reach the world through.
#[derive(Clone)]
pub struct Adapters {
    /// The catalog.
    pub catalog: Arc<dyn Catalog>,
    /// The blob store.
    pub blobs: Arc<dyn BlobStore>,
    /// The clock of this machine.
    pub clock: Arc<dyn Clock>,
    /// Fresh identifiers.
    pub ids: Arc<dyn Ids>,
    /// Verifies tokens of other issuers.
    pub verifier: Arc<dyn TokenVerifier>,
    /// Asks conditions about them.
    pub conditions: Arc<dyn ConditionEngine>,
}

/// What operators may set.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How long an unfinished upload waits for its next part.
    pub upload_ttl: Duration,
    /// The most bytes an upload may have; no limit when absent.
    pub max_upload_bytes: Option<u64>,
    /// The most uploads that may be open at once; no limit when absent.
    pub max_open_uploads: Option<u32>,
    /// The most bytes that uploads which are not done may have in all; no limit when absent.
    pub max_staged_bytes: Option<u64>,
    /// How many bytes the disks of the blob store and of the catalog must keep free; not looked at when absent.
    pub min_free_bytes: Option<u64>,
    /// How long a worker holds work without renewing.
    pub lease_term: Duration,
    /// Delays between retries of work that the infrastructure failed.
    pub backoff: Backoff,
    /// How strict the formats of artifacts are checked.
    pub format_check: FormatCheck,
    /// Names this run of this process.
    pub worker: WorkerId,
}

/// What every use case holds on to.
pub(crate) struct Context {
    pub(crate) adapters: Adapters,
    pub(crate) settings: Settings,
    pub(crate) wakeups: Wakeups,
    pub(crate) stop: CancellationToken,
}

impl std::ops::Deref for Context {
    type Target = Adapters;

    fn deref(&self) -> &Adapters {
        &self.adapters
    }
}

impl Context {
    /// How long until work of that kind may be claimed. A failure is left to the attempt that follows.
    pub(crate) async fn next_due(&self, work: LeasedWork) -> Option<Duration> {
        self.catalog.next_due(work).await.ok().flatten()
    }
}

/// How strict an operator wants the formats of artifacts to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FormatCheck {
    /// Bytes that are not in the declared format are a warning.
    #[default]
    Warn,
    /// They fail the publish.
    Enforce,
}
