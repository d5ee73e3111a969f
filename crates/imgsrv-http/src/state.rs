//! What every route holds on to.

use crate::{
    failures::FailureLimit,
    observe::{RequestObserver, Unobserved},
    routes::Readiness,
};
use imgsrv_app::Services;
use std::{sync::Arc, time::Duration};

/// Limits of the API that operators set.
#[derive(Debug, Clone)]
pub struct HttpSettings {
    /// Failed bearers a minute and address before further ones are 429; no limit when absent.
    pub auth_failure_limit: Option<u32>,
    /// How long a request body may be silent.
    pub body_idle_timeout: Duration,
    /// How old an answer on readiness may be.
    pub readiness_age: Duration,
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            auth_failure_limit: Some(600),
            body_idle_timeout: Duration::from_mins(1),
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
    pub(crate) readiness: Arc<Readiness>,
    pub(crate) observer: Arc<dyn RequestObserver>,
}

impl AppState {
    /// The API over `services`.
    pub fn new(services: Services, settings: HttpSettings) -> Self {
        let failures = Arc::new(FailureLimit::new(settings.auth_failure_limit));
        let (readiness, observer) = (Arc::default(), Arc::new(Unobserved));
        Self { services, failures, settings: Arc::new(settings), readiness, observer }
    }

    /// The same, telling `observer` of every request.
    #[must_use]
    pub fn observed_by(self, observer: Arc<dyn RequestObserver>) -> Self {
        Self { observer, ..self }
    }
}
