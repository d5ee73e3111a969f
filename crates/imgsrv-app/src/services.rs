//! All use cases over one set of adapters.

use crate::{
    aliases::Aliases,
    authenticate::Authenticator,
    binding::BindError,
    bootstrap::Bootstrap,
    delivery::Delivery,
    drafts::Drafts,
    images::Images,
    ingest::Ingest,
    intakes::{Intakes, Receivers},
    principals::Principals,
    publishing::{FormatCheck, PublishWorker, Publishing, list_backlog},
    rules::Rules,
    streams::Streams,
    sweep::Sweeper,
    trail::Trail,
    uploads::Uploads,
    work::{Wakeups, WorkError},
};
use futures::StreamExt;
use imgsrv_domain::{
    lease::WorkerId,
    ports::{BlobStore, Catalog, Clock, ConditionEngine, Enqueued, Ids, LeasedWork, TokenVerifier},
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

/// The use cases.
#[derive(Clone)]
pub struct Services {
    context: Arc<Context>,
    auth: Arc<Authenticator>,
    streams: Arc<Streams>,
    receivers: Arc<Receivers>,
}

impl Services {
    /// The use cases over `adapters`. `stop` makes workers hand their work back.
    pub fn new(adapters: Adapters, settings: Settings, stop: CancellationToken) -> Self {
        let context = Arc::new(Context { adapters, settings, wakeups: Wakeups::default(), stop });
        let auth = Arc::new(Authenticator::new(Arc::clone(&context)));
        let streams = Arc::new(Streams::new(Arc::clone(&context.catalog)));
        Self { context, auth, streams, receivers: Arc::default() }
    }

    /// Wakes the workers of this process when other ones enqueue work in the same catalog; ends when none can.
    pub async fn relay_wakeups(&self) {
        let mut enqueued = self.context.catalog.enqueued();
        let Wakeups { ingest, publish } = &self.context.wakeups;
        while let Some(work) = enqueued.next().await {
            match work {
                Enqueued::Ingest => ingest.notify_one(),
                Enqueued::Publish => publish.notify_one(),
                Enqueued::Anything => {
                    ingest.notify_one();
                    publish.notify_one();
                }
            }
        }
    }

    /// The adapters underneath, for health checks.
    pub fn adapters(&self) -> &Adapters {
        &self.context.adapters
    }

    /// The most bytes an upload may have; no limit when absent.
    pub fn max_upload_bytes(&self) -> Option<u64> {
        self.context.settings.max_upload_bytes
    }

    /// Uploads.
    pub fn uploads(&self) -> Uploads {
        Uploads(Arc::clone(&self.context))
    }

    /// Intakes.
    pub fn intakes(&self) -> Intakes {
        Intakes::new(Arc::clone(&self.context), Arc::clone(&self.receivers))
    }

    /// Ends every stream that is being received, so that what it has brought counts: the process stops.
    pub fn end_streams(&self) {
        self.receivers.end_all();
    }

    /// Images.
    pub fn images(&self) -> Images {
        Images(Arc::clone(&self.context))
    }

    /// Versions and their manifests.
    pub fn drafts(&self) -> Drafts {
        Drafts(Arc::clone(&self.context))
    }

    /// Aliases.
    pub fn aliases(&self) -> Aliases {
        Aliases(Arc::clone(&self.context))
    }

    /// Publishing.
    pub fn publishing(&self) -> Publishing {
        Publishing(Arc::clone(&self.context))
    }

    /// Downloads.
    pub fn delivery(&self) -> Delivery {
        Delivery(Arc::clone(&self.context))
    }

    /// Authentication.
    pub fn auth(&self) -> Arc<Authenticator> {
        Arc::clone(&self.auth)
    }

    /// Simple Streams.
    pub fn streams(&self) -> Arc<Streams> {
        Arc::clone(&self.streams)
    }

    /// Principals, roles and tokens.
    pub fn principals(&self) -> Principals {
        Principals::new(Arc::clone(&self.context.catalog), Arc::clone(&self.context.ids))
    }

    /// Provisioning rules.
    pub fn rules(&self) -> Rules {
        Rules(Arc::clone(&self.context))
    }

    /// The audit trail.
    pub fn trail(&self) -> Trail {
        Trail(Arc::clone(&self.context))
    }

    /// The way in before anybody can manage authentication.
    pub fn bootstrap(&self) -> Bootstrap {
        Bootstrap::new(Arc::clone(&self.context.catalog), Arc::clone(&self.context.ids))
    }

    /// Ties the catalog and the blob store to each other, or finds that they are not each other's.
    pub async fn bind_blob_store(&self) -> Result<(), BindError> {
        self.context.bind_blob_store().await
    }

    /// The worker that makes completed uploads trusted.
    pub fn ingest(&self) -> Ingest {
        Ingest(Arc::clone(&self.context))
    }

    /// The worker that runs publish jobs.
    pub fn publish_worker(&self) -> PublishWorker {
        PublishWorker(Arc::clone(&self.context))
    }

    /// Lists in streams what was published without them, before they were kept or by an earlier version beside this
    /// one. Any node may; it is done once.
    pub async fn list_backlog(&self) -> Result<(), WorkError> {
        list_backlog(&self.context).await
    }

    /// The worker that expires and clears uploads.
    pub fn sweeper(&self) -> Sweeper {
        Sweeper(Arc::clone(&self.context))
    }
}
