//! What every route holds on to.

use crate::{
    middleware::{
        failed_bearers::FailureLimit,
        observation::{RequestObserver, Unobserved},
    },
    readiness::Readiness,
    response::problem::{Code, Problem},
    streams::StreamDocuments,
};
use imgsrv_app::Services;
use ipnet::IpNet;
use std::{sync::Arc, time::Duration};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Limits of the API that operators set.
#[derive(Debug, Clone)]
pub struct HttpSettings {
    /// Failed bearers a minute and address before further ones are 429; no limit when absent.
    pub auth_failure_limit: Option<u32>,
    /// The most bytes in all header names and values of a request.
    pub max_header_bytes: usize,
    /// How long a request body may be silent.
    pub body_timeout: Duration,
    /// The least bytes a second that a request body must come with, over as long as it may be silent.
    pub min_body_rate: u64,
    /// The least bytes a second that an answer must be taken with, over as long as a request body may be silent.
    pub min_send_rate: u64,
    /// The most parts that are received at once; further ones are 429.
    pub max_receiving_parts: usize,
    /// The proxies that are believed about where a request comes from.
    pub trusted_proxies: Vec<IpNet>,
    /// How old an answer on readiness may be.
    pub readiness_age: Duration,
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            auth_failure_limit: Some(600),
            max_header_bytes: 32 << 10,
            body_timeout: Duration::from_mins(1),
            min_body_rate: 1024,
            min_send_rate: 1024,
            max_receiving_parts: 256,
            trusted_proxies: Vec::new(),
            readiness_age: Duration::from_secs(1),
        }
    }
}

/// What every route holds on to.
#[derive(Clone)]
pub struct AppState {
    pub(crate) services: Services,
    pub(crate) failures: Arc<FailureLimit>,
    pub(crate) settings: Arc<HttpSettings>,
    /// A place for each part that may be received at once.
    pub(crate) receiving: Arc<Semaphore>,
    pub(crate) readiness: Arc<Readiness>,
    pub(crate) streams: Arc<StreamDocuments>,
    pub(crate) observer: Arc<dyn RequestObserver>,
}

impl AppState {
    /// The API over `services`.
    pub fn new(services: Services, settings: HttpSettings) -> Self {
        let failures = Arc::new(FailureLimit::new(settings.auth_failure_limit));
        let receiving = Arc::new(Semaphore::new(settings.max_receiving_parts));
        let (readiness, observer) = (Arc::default(), Arc::new(Unobserved));
        let (settings, streams) = (Arc::new(settings), Arc::default());
        Self { services, failures, settings, receiving, readiness, streams, observer }
    }

    /// A place for one more part that is received, or a problem when there is none.
    pub(crate) fn receiving_place(&self) -> Result<OwnedSemaphorePermit, Problem> {
        Arc::clone(&self.receiving).try_acquire_owned().map_err(|_| {
            let detail = format!("{} parts are being received already", self.settings.max_receiving_parts);
            Problem::new(Code::TooManyUploads).detail(detail).retry_after(Duration::from_secs(1))
        })
    }

    /// The same, telling `observer` of every request.
    #[must_use]
    pub fn observed_by(self, observer: Arc<dyn RequestObserver>) -> Self {
        Self { observer, ..self }
    }
}
