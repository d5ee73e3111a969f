//! All use cases over one set of adapters.

use crate::{
    auth::{
        audit_log::AuditLogReader, authenticate::Authenticator, bootstrap::Bootstrap, principals::Principals,
        rules::Rules,
    },
    bytes::{
        ingest::Ingest,
        store_binding::{BindError, bind_blob_store},
        sweep::Sweeper,
        uploads::Uploads,
    },
    content::{
        aliases::Aliases, delivery::Delivery, drafts::Drafts, images::Images, incus::metadata::IncusMetadata,
        published::PublishedVersions, versions::Versions,
    },
    context::{Adapters, Context, Settings},
    intakes::{ActiveAppends, Intakes},
    publishing::{PublishWorker, Publishing},
    streams::Streams,
    work::{revision::LatestRevision, wakeups::Wakeups},
};
use futures::StreamExt;
use imgsrv_domain::ports::Enqueued;
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
        let (wakeups, revision) = (Wakeups::default(), LatestRevision::default());
        let context = Arc::new(Context { adapters, settings, wakeups, revision, stop });
        let auth = Arc::new(Authenticator::new(Arc::clone(&context)));
        let published = Arc::new(PublishedVersions::new(Arc::clone(&context)));
        let streams = Arc::new(Streams::new(Arc::clone(&context)));
        Self { context, auth, published, streams, appends: Arc::default() }
    }

    /// Wakes the workers of this process when other processes enqueue work in the same catalog. Returns when no other
    /// process can.
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

    /// Publishing.
    pub fn publishing(&self) -> Publishing {
        Publishing(Arc::clone(&self.context))
    }

    /// Downloads.
    pub fn delivery(&self) -> Delivery {
        Delivery(Arc::clone(&self.published))
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

    /// Bootstrapping authentication.
    pub fn bootstrap(&self) -> Bootstrap {
        Bootstrap::new(Arc::clone(&self.context.catalog), Arc::clone(&self.context.ids))
    }

    /// Binds the catalog to the blob store, or verifies that it is bound to it.
    pub async fn bind_blob_store(&self) -> Result<(), BindError> {
        bind_blob_store(&self.context).await
    }

    /// The worker that ingests completed uploads.
    pub fn ingest(&self) -> Ingest {
        Ingest(Arc::clone(&self.context))
    }

    /// The worker that runs publish jobs.
    pub fn publish_worker(&self) -> PublishWorker {
        PublishWorker(Arc::clone(&self.context))
    }

    /// The worker that expires and clears uploads.
    pub fn sweeper(&self) -> Sweeper {
        Sweeper(Arc::clone(&self.context))
    }
}
