//! The state of the API, of which every handler takes only the use cases and services that it needs.

use crate::{
    degradation::Degradation,
    middleware::{
        failed_bearers::FailedBearers,
        observation::{NoObserver, RequestObserver},
    },
    public_url::{PublicUrl, Urls},
    readiness::Readiness,
    receive_slots::ReceiveSlots,
    response::manifests::Manifests,
    send_budget::SendBudget,
    streams::{RemoteDocuments, StreamDocuments},
};
use axum::{extract::FromRequestParts, http::request::Parts};
use bytes::Bytes;
use imgsrv_app::{
    Aliases, AuditLogReader, Blocks, Browse, Delivery, Drafts, Garbage, Images, IncusMetadata, Intakes, Lifecycles,
    Links, Nodes, Principals, Publishing, Retention, Rules, Services, Storage, Uploads, Versions,
};
use imgsrv_domain::digest::BlobClaim;
use imgsrv_web::Site;
use ipnet::IpNet;
use std::{convert::Infallible, ops::Deref, sync::Arc, time::Duration};

/// Limits of the API that operators set.
#[derive(Debug, Clone)]
pub struct HttpSettings {
    /// Failed bearers per minute and client before further ones are 429; no limit when absent.
    pub auth_failure_limit: Option<u32>,
    /// The most bytes in all header names and values of a request.
    pub max_header_bytes: usize,
    /// The longest time without a byte of a request body.
    pub body_timeout: Duration,
    /// The least bytes per second of a request body, averaged over `body_timeout`.
    pub min_body_rate: u64,
    /// The least bytes per second of a response body, averaged over `body_timeout`.
    pub min_send_rate: u64,
    /// The most bytes that are read for responses and not received by clients.
    pub max_send_buffer_bytes: u32,
    /// The most parts that are received at the same time; further ones are 429.
    pub max_receiving_parts: usize,
    /// The reverse proxies whose forwarding headers are trusted.
    pub trusted_proxies: Vec<IpNet>,
    /// How long a readiness result is reused.
    pub readiness_age: Duration,
    /// The certificate of the server's own authority in PEM; absent when it has none.
    pub authority: Option<Bytes>,
    /// The URL at which clients reach the server; unknown when absent.
    pub public_url: Option<PublicUrl>,
    /// Whether anonymous requests for files that do not exist or are private get a challenge to send Basic credentials.
    pub auth_challenge: bool,
    /// The branding of pages.
    pub site: Site,
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            auth_failure_limit: Some(600),
            max_header_bytes: 32 << 10,
            body_timeout: Duration::from_mins(1),
            min_body_rate: 1024,
            min_send_rate: 1024,
            max_send_buffer_bytes: 256 << 20,
            max_receiving_parts: 256,
            trusted_proxies: Vec::new(),
            readiness_age: Duration::from_secs(1),
            authority: None,
            public_url: None,
            auth_challenge: false,
            site: Site::default(),
        }
    }
}

/// The most bytes of an upload; no limit when absent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MaxUploadBytes(pub(crate) Option<u64>);

/// The certificate of the server's own authority in PEM; absent when it has none.
pub(crate) struct Authority(pub(crate) Option<Bytes>);

/// The state of the API. A clone costs one reference count, because every request makes several.
#[derive(Clone)]
pub struct AppState(Arc<State>);

impl Deref for AppState {
    type Target = State;

    fn deref(&self) -> &State {
        &self.0
    }
}

/// What the state of the API consists of.
#[derive(Clone)]
pub struct State {
    pub(crate) services: Services,
    pub(crate) settings: Arc<HttpSettings>,
    pub(crate) observer: Arc<dyn RequestObserver>,
    pub(crate) failed_bearers: Arc<FailedBearers>,
    pub(crate) send_budget: Arc<SendBudget>,
    pub(crate) urls: Urls,
    pub(crate) site: Arc<Site>,
    /// The SHA-256 of the certificate of the server's own authority, in hexadecimal.
    pub(crate) authority_sha256: Option<Arc<str>>,
    degradation: Arc<Degradation>,
    manifests: Arc<Manifests>,
    receive_slots: ReceiveSlots,
    readiness: Arc<Readiness>,
    streams: Arc<StreamDocuments>,
    remotes: Arc<RemoteDocuments>,
}

impl AppState {
    /// The API over `services`.
    pub fn new(services: Services, settings: HttpSettings) -> Self {
        let adapters = services.adapters();
        let clock = Arc::clone(&adapters.clock);
        Self(Arc::new(State {
            observer: Arc::new(NoObserver),
            failed_bearers: Arc::new(FailedBearers::new(settings.auth_failure_limit, clock)),
            send_budget: Arc::new(SendBudget::new(settings.max_send_buffer_bytes)),
            manifests: Arc::new(Manifests::new(Urls(settings.public_url.clone()))),
            urls: Urls(settings.public_url.clone()),
            site: Arc::new(settings.site.clone()),
            authority_sha256: settings.authority.as_ref().map(|pem| BlobClaim::of(pem).digest.hex().into()),
            degradation: Arc::default(),
            receive_slots: ReceiveSlots::new(settings.max_receiving_parts),
            readiness: Arc::new(Readiness::new(adapters.clone(), settings.readiness_age)),
            streams: Arc::new(StreamDocuments::new(services.streams())),
            remotes: Arc::new(RemoteDocuments::new(services.streams())),
            settings: Arc::new(settings),
            services,
        }))
    }

    /// The budget of bytes that responses hold, for its metrics.
    pub fn send_budget(&self) -> Arc<SendBudget> {
        Arc::clone(&self.send_budget)
    }

    /// Why writes are refused; the owner of the storage sets it.
    pub fn degradation(&self) -> Arc<Degradation> {
        Arc::clone(&self.degradation)
    }

    /// The same, with every request reported to `observer`.
    #[must_use]
    pub fn observed_by(self, observer: Arc<dyn RequestObserver>) -> Self {
        Self(Arc::new(State { observer, ..Arc::unwrap_or_clone(self.0) }))
    }
}

/// What handlers can take from the state.
macro_rules! provides {
    ($($type:ty: |$state:ident| $value:expr;)*) => {$(
        impl FromRequestParts<AppState> for $type {
            type Rejection = Infallible;

            async fn from_request_parts(_: &mut Parts, $state: &AppState) -> Result<Self, Infallible> {
                Ok($value)
            }
        }
    )*};
}

provides! {
    Authority: |state| Authority(state.settings.authority.clone());
    Aliases: |state| state.services.aliases();
    AuditLogReader: |state| state.services.audit_log();
    Blocks: |state| state.services.blocks();
    Browse: |state| state.services.browse();
    Delivery: |state| state.services.delivery();
    Drafts: |state| state.services.drafts();
    Garbage: |state| state.services.garbage();
    Storage: |state| state.services.storage();
    Images: |state| state.services.images();
    IncusMetadata: |state| state.services.incus_metadata();
    Links: |state| state.services.links();
    Lifecycles: |state| state.services.lifecycles();
    Intakes: |state| state.services.intakes();
    Nodes: |state| state.services.nodes();
    Principals: |state| state.services.principals();
    Publishing: |state| state.services.publishing();
    Retention: |state| state.services.retention();
    Rules: |state| state.services.rules();
    Urls: |state| state.urls.clone();
    Uploads: |state| state.services.uploads();
    Versions: |state| state.services.versions();
    MaxUploadBytes: |state| MaxUploadBytes(state.services.max_upload_bytes());
    ReceiveSlots: |state| state.receive_slots.clone();
    Arc<Degradation>: |state| Arc::clone(&state.degradation);
    Arc<Manifests>: |state| Arc::clone(&state.manifests);
    Arc<Readiness>: |state| Arc::clone(&state.readiness);
    Arc<RemoteDocuments>: |state| Arc::clone(&state.remotes);
    Arc<StreamDocuments>: |state| Arc::clone(&state.streams);
}
