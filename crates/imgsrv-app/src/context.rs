//! What every use case shares: the adapters, the settings, wake-ups, the revision of the catalog and the signal to stop.

use crate::{
    bytes::{checksums::Checksums, space::Space, totals::CollectionTotals},
    content::{audited::AuditedDownloads, fetches::Fetches},
    work::{endings::Endings, local_queue::LocalQueues, retry::Backoff, revision::LatestRevision, wakeups::Wakeups},
};
use imgsrv_domain::{
    access::Visibility,
    audit::Actor,
    lifecycle::Drain,
    ports::{BlobStore, Catalog, Clock, ConditionEngine, Ids, TokenVerifier},
    retention::RetentionPolicy,
    work::WorkerId,
};
use std::{
    num::{NonZeroU32, NonZeroU64},
    sync::Arc,
    time::Duration,
};
use tokio_util::sync::CancellationToken;

/// The implementations of the ports.
#[derive(Clone)]
pub struct Adapters {
    /// The catalog.
    pub catalog: Arc<dyn Catalog>,
    /// The blob store.
    pub blobs: Arc<dyn BlobStore>,
    /// The clock of this machine.
    pub clock: Arc<dyn Clock>,
    /// Creates identifiers.
    pub ids: Arc<dyn Ids>,
    /// Verifies tokens of OIDC issuers.
    pub verifier: Arc<dyn TokenVerifier>,
    /// Evaluates the conditions of provisioning rules.
    pub conditions: Arc<dyn ConditionEngine>,
}

/// Settings of the use cases.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Who may read images that are created without a choice.
    pub default_visibility: Visibility,
    /// Time from the last accepted part until an unfinished upload expires.
    pub upload_ttl: Duration,
    /// Maximum size of one upload; unlimited when absent.
    pub max_upload_bytes: Option<u64>,
    /// Maximum number of open uploads; unlimited when absent.
    pub max_open_uploads: Option<u32>,
    /// Maximum number of open uploads of one principal; unlimited when absent.
    pub max_open_uploads_per_principal: Option<u32>,
    /// Maximum total size of all uploads that have not ended; unlimited when absent.
    pub max_staged_bytes: Option<u64>,
    /// The most bytes that all unfinished uploads of one principal may have together.
    pub max_staged_bytes_per_principal: Option<u64>,
    /// Space that the disks of the blob store and of the catalog must keep free; not checked when absent.
    pub min_free_bytes: Option<u64>,
    /// Time until a lease expires that is not renewed.
    pub lease_term: Duration,
    /// How many attempts in a row at an item of work may crash before the item is parked.
    pub work_attempts: u32,
    /// Interval of the sweep for expired uploads and abandoned staged bytes.
    pub sweep_interval: Duration,
    /// What is collected as garbage.
    pub collection: CollectionSettings,
    /// How stored blobs are verified.
    pub scrub: ScrubSettings,
    /// How long the files of a removed version are served, unless the request says.
    pub removal_drain: Drain,
    /// How long a hold stays in force after its release.
    pub hold_cooldown: Duration,
    /// The retention policy of images without one of their own.
    pub default_retention: Option<RetentionPolicy>,
    /// Interval at which enabled retention policies are applied.
    pub retention_interval: Duration,
    /// Delays between retries of leased work after failures of the catalog or the blob store.
    pub backoff: Backoff,
    /// What happens to artifacts whose bytes are not in the declared format.
    pub format_check: FormatCheck,
    /// How many of the newest versions of an image Simple Streams list for each architecture, variant and kind, beside those
    /// that aliases refer to; all when absent.
    pub streams_newest: Option<NonZeroU32>,
    /// Identifies this run of this process as a lease owner.
    pub worker: WorkerId,
}

/// What is collected as garbage, and when.
#[derive(Debug, Clone)]
pub struct CollectionSettings {
    /// Interval of collections; only on demand when absent.
    pub interval: Option<Duration>,
    /// How long blobs are kept after nothing refers to them any more.
    pub grace: Duration,
    /// How long ended uploads, abandoned jobs and fingerprints are kept; without a limit when absent.
    pub history: Option<Duration>,
    /// How long rows of the audit log are kept; without a limit when absent.
    pub audit: Option<Duration>,
    /// How long drafts are kept that do not change; without a limit when absent.
    pub drafts: Option<Duration>,
    /// How long principals are kept that provisioning rules created and that are not seen; without a limit when absent.
    pub principals: Option<Duration>,
}

impl Default for CollectionSettings {
    fn default() -> Self {
        const DAY: Duration = Duration::from_hours(24);
        let (interval, grace, history) = (Some(Duration::from_hours(1)), 7 * DAY, Some(30 * DAY));
        Self { interval, grace, history, audit: None, drafts: None, principals: None }
    }
}

/// How stored blobs are verified regularly.
#[derive(Debug, Clone)]
pub struct ScrubSettings {
    /// The most bytes that are read in a second; only quarantined blobs are verified when absent.
    pub rate: Option<NonZeroU64>,
    /// The age of the last verification that no blob exceeds, as far as the rate allows.
    pub cycle: Duration,
}

impl ScrubSettings {
    /// The default rate in bytes a second.
    pub const RATE: u64 = 16 << 20;
}

impl Default for ScrubSettings {
    fn default() -> Self {
        Self { rate: NonZeroU64::new(Self::RATE), cycle: Duration::from_hours(30 * 24) }
    }
}

/// The shared state of all use cases.
pub(crate) struct Context {
    pub(crate) adapters: Adapters,
    pub(crate) settings: Settings,
    pub(crate) wakeups: Wakeups,
    pub(crate) local_queues: LocalQueues,
    pub(crate) endings: Endings,
    pub(crate) space: Space,
    pub(crate) fetches: Fetches,
    pub(crate) audited: AuditedDownloads,
    pub(crate) checksums: Checksums,
    /// Held while a blob is verified on demand: one at a time.
    pub(crate) verifying: tokio::sync::Mutex<()>,
    pub(crate) revision: LatestRevision,
    pub(crate) collected: CollectionTotals,
    pub(crate) stop: CancellationToken,
}

impl std::ops::Deref for Context {
    type Target = Adapters;

    fn deref(&self) -> &Adapters {
        &self.adapters
    }
}

impl Context {
    /// This process, as the audit log names it.
    pub(crate) fn worker_actor(&self) -> Actor {
        Actor::Worker(self.settings.worker.to_string())
    }
}

/// What happens to artifacts whose bytes are not in the declared format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FormatCheck {
    /// Publishing adds a warning.
    #[default]
    Warn,
    /// Publishing fails.
    Enforce,
}
