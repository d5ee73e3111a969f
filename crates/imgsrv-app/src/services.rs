//! All use cases over one set of adapters.

use crate::{
    auth::{
        audit_log::AuditLogReader, authenticate::Authenticator, bootstrap::Bootstrap, principals::Principals,
        rules::Rules,
    },
    bytes::{
        blocks::Blocks,
        checksums::Checksums,
        clearing::Clear,
        collect::Collect,
        fsck::{FsckOptions, FsckReport, fsck},
        garbage::Garbage,
        ingest::Ingest,
        scrub::Scrub,
        space::Space,
        storage::Storage,
        store_binding::{BindError, bind_blob_store},
        sweep::Sweep,
        totals::{CollectionCounts, CollectionTotals},
        uploads::Uploads,
    },
    content::{
        aliases::Aliases, audited::AuditedDownloads, browse::Browse, delivery::Delivery, drafts::Drafts,
        fetches::Fetches, images::Images, incus::metadata::IncusMetadata, lifecycles::Lifecycles, links::Links,
        published::PublishedVersions, retainer::Retainer, retention::Retention, tombstones::Tombstones,
        versions::Versions,
    },
    context::{Adapters, Context, Settings},
    error::UseCaseError,
    intakes::{ActiveAppends, Intakes},
    nodes::Nodes,
    publishing::{Publishing, RunJob},
    streams::Streams,
    work::{
        crash_point::arm_crash_points,
        endings::Endings,
        local_queue::LocalQueues,
        retry::retrying,
        revision::LatestRevision,
        runtime::{Handler, WorkError},
        wakeups::Wakeups,
        worker::Worker,
    },
};
use futures::StreamExt;
use imgsrv_domain::{
    digest::Digest,
    work::{WorkKind, WorkName},
};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// The use cases.
#[derive(Clone)]
pub struct Services {
    context: Arc<Context>,
    auth: Arc<Authenticator>,
    published: Arc<PublishedVersions>,
    streams: Arc<Streams>,
    appends: Arc<ActiveAppends>,
}

impl Services {
    /// The use cases over `adapters`. `stop` makes workers release their leases.
    pub fn new(adapters: Adapters, settings: Settings, stop: CancellationToken) -> Self {
        arm_crash_points();
        let (wakeups, endings, revision) = (Wakeups::default(), Endings::default(), LatestRevision::default());
        let (space, collected, fetches) = (Space::default(), CollectionTotals::default(), Fetches::default());
        let (checksums, verifying) = (Checksums::default(), tokio::sync::Mutex::default());
        let context = Arc::new(Context {
            adapters,
            settings,
            wakeups,
            local_queues: LocalQueues::default(),
            endings,
            space,
            fetches,
            audited: AuditedDownloads::default(),
            checksums,
            verifying,
            revision,
            collected,
            stop,
        });
        let auth = Arc::new(Authenticator::new(Arc::clone(&context)));
        let published = Arc::new(PublishedVersions::new(Arc::clone(&context)));
        let streams = Arc::new(Streams::new(Arc::clone(&context)));
        Self { context, auth, published, streams, appends: Arc::default() }
    }

    /// Wakes the workers of this process when other processes enqueue work in the same catalog. Returns when no other
    /// process can.
    pub async fn relay_wakeups(&self) {
        let mut enqueued = self.context.catalog.enqueued();
        while let Some(kind) = enqueued.next().await {
            match kind {
                Some(kind) => self.context.wakeups.wake(kind),
                None => self.context.wakeups.wake_all(),
            }
        }
    }

    /// The adapters, for health checks.
    pub fn adapters(&self) -> &Adapters {
        &self.context.adapters
    }

    /// Maximum size of one upload; unlimited when absent.
    pub fn max_upload_bytes(&self) -> Option<u64> {
        self.context.settings.max_upload_bytes
    }

    /// Uploads.
    pub fn uploads(&self) -> Uploads {
        Uploads(Arc::clone(&self.context))
    }

    /// Intakes.
    pub fn intakes(&self) -> Intakes {
        Intakes { context: Arc::clone(&self.context), active: Arc::clone(&self.appends) }
    }

    /// Ends all append requests, so that what they have received is recorded before the process stops.
    pub fn end_appends(&self) {
        self.appends.end_all();
    }

    /// Images.
    pub fn images(&self) -> Images {
        Images(Arc::clone(&self.context))
    }

    /// Looking at the catalog.
    pub fn browse(&self) -> Browse {
        Browse(Arc::clone(&self.published))
    }

    /// Reading versions.
    pub fn versions(&self) -> Versions {
        Versions(Arc::clone(&self.published))
    }

    /// Editing drafts.
    pub fn drafts(&self) -> Drafts {
        Drafts(Arc::clone(&self.context))
    }

    /// Creating the metadata of Incus images.
    pub fn incus_metadata(&self) -> IncusMetadata {
        IncusMetadata(Arc::clone(&self.context))
    }

    /// Aliases.
    pub fn aliases(&self) -> Aliases {
        Aliases(Arc::clone(&self.context))
    }

    /// Lifecycles of published versions.
    pub fn lifecycles(&self) -> Lifecycles {
        Lifecycles(Arc::clone(&self.context))
    }

    /// Retention policies.
    pub fn retention(&self) -> Retention {
        Retention(Arc::clone(&self.context))
    }

    /// Publishing.
    pub fn publishing(&self) -> Publishing {
        Publishing(Arc::clone(&self.context))
    }

    /// Downloads.
    pub fn delivery(&self) -> Delivery {
        Delivery(Arc::clone(&self.published))
    }

    /// Links.
    pub fn links(&self) -> Links {
        Links(self.delivery())
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

    /// The audit log.
    pub fn audit_log(&self) -> AuditLogReader {
        AuditLogReader(Arc::clone(&self.context))
    }

    /// Garbage collection.
    pub fn garbage(&self) -> Garbage {
        Garbage(Arc::clone(&self.context))
    }

    /// Blocked digests.
    pub fn blocks(&self) -> Blocks {
        Blocks(Arc::clone(&self.context))
    }

    /// Nodes.
    pub fn nodes(&self) -> Nodes {
        Nodes(Arc::clone(&self.context))
    }

    /// The state of the storage, and verifying blobs.
    pub fn storage(&self) -> Storage {
        Storage(Arc::clone(&self.context))
    }

    /// Checks the catalog against the blob store, for a process with direct access to both. `hashed` is called with the
    /// digest of each blob that was hashed.
    pub async fn fsck(
        &self,
        options: FsckOptions,
        hashed: impl Fn(&Digest) + Send + Sync,
    ) -> Result<FsckReport, UseCaseError> {
        fsck(&self.context, options, hashed).await
    }

    /// What the collections of this process have done.
    pub fn collection_counts(&self) -> CollectionCounts {
        self.context.collected.counts()
    }

    /// Bootstrapping authentication.
    pub fn bootstrap(&self) -> Bootstrap {
        Bootstrap::new(Arc::clone(&self.context.catalog), Arc::clone(&self.context.ids))
    }

    /// Binds the catalog to the blob store, or verifies that it is bound to it.
    pub async fn bind_blob_store(&self) -> Result<(), BindError> {
        bind_blob_store(&self.context).await
    }

    /// Makes the work that recurs due at once, and records that fetches are recorded from now on.
    pub async fn enqueue_recurring(&self) -> Result<(), WorkError> {
        retrying(|| async {
            let mut tx = self.context.catalog.begin().await?;
            let collects = self.context.settings.collection.interval.is_some();
            let recurs = |kind: &&WorkKind| kind.recurs() && (collects || **kind != WorkKind::Collect);
            for kind in WorkKind::ALL.iter().filter(recurs) {
                tx.enqueue_work(WorkName::recurring(*kind)).await?;
            }
            tx.start_recording_fetches().await?;
            tx.commit().await
        })
        .await?;
        Ok(())
    }

    /// The worker of one kind of work.
    pub fn worker(&self, kind: WorkKind) -> Worker {
        let context = Arc::clone(&self.context);
        let handler: Arc<dyn Handler> = match kind {
            WorkKind::Ingest => Arc::new(Ingest(Arc::clone(&context))),
            WorkKind::Publish => Arc::new(RunJob(Arc::clone(&context))),
            WorkKind::Clear => Arc::new(Clear(Arc::clone(&context))),
            WorkKind::Sweep => Arc::new(Sweep(Arc::clone(&context))),
            WorkKind::Collect => Arc::new(Collect(Arc::clone(&context))),
            WorkKind::Tombstone => Arc::new(Tombstones(Arc::clone(&context))),
            WorkKind::Retention => Arc::new(Retainer(Arc::clone(&context))),
            WorkKind::Scrub => Arc::new(Scrub(Arc::clone(&context))),
        };
        Worker { context, handler }
    }
}
