//! All use cases over one set of adapters.

use crate::{
    auth::{audit_log::Trail, authenticate::Authenticator, bootstrap::Bootstrap, principals::Principals, rules::Rules},
    bytes::{ingest::Ingest, store_binding::BindError, sweep::Sweeper, uploads::Uploads},
    content::{aliases::Aliases, delivery::Delivery, drafts::Drafts, images::Images},
    context::{Adapters, Context, Settings},
    intakes::{Intakes, Receivers},
    publishing::{PublishWorker, Publishing},
    streams::Streams,
    work::wakeups::Wakeups,
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

    /// The worker that expires and clears uploads.
    pub fn sweeper(&self) -> Sweeper {
        Sweeper(Arc::clone(&self.context))
    }
}
