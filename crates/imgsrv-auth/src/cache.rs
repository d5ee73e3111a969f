//! Cached keys of one issuer, with bounds on their age and on how often they are fetched.

use crate::{
    fetch::{FetchError, Fetcher},
    keys::{KeySet, Verification},
};
use imgsrv_domain::{error_chain, oidc::IssuerUrl};
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{sync::Mutex as AsyncMutex, task::JoinHandle, time::Instant};
use tracing::Instrument;
use url::Url;

/// Keys older than this are refreshed in the background, and used meanwhile.
const FRESH: Duration = Duration::from_mins(5);
/// Keys older than this are never used.
const MAX_AGE: Duration = Duration::from_hours(1);
/// The discovery document is fetched again after this time.
const DISCOVERY_AGE: Duration = Duration::from_hours(1);
/// Most fetches of an issuer's keys in a window.
const MAX_FETCHES: usize = 5;
const WINDOW: Duration = Duration::from_mins(1);
/// After this many fetches in a window, the remaining ones are spread over it, so that a storm of made-up key ids delays
/// the discovery of a new key by at most this long.
const BURST: usize = 3;
const SPREAD: Duration = Duration::from_secs(20);

/// Why an issuer's keys are not available.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum KeysUnavailable {
    #[error("the issuer's keys cannot be fetched: {0}")]
    Failed(Arc<str>),
    #[error("the issuer's keys could not be fetched; the limit of {MAX_FETCHES} attempts per minute is reached")]
    RateLimited,
}

#[derive(Clone)]
struct Cached {
    keys: Arc<KeySet>,
    fetched_at: Instant,
}

/// State of fetching, locked by the task that fetches.
#[derive(Default)]
struct Fetching {
    fetches: VecDeque<Instant>,
    keys_url: Option<(Url, Instant)>,
    /// When the last fetch ended, and how.
    last: Option<(Instant, Result<(), KeysUnavailable>)>,
}

/// The keys of one issuer.
pub(crate) struct IssuerKeys {
    issuer: IssuerUrl,
    fetcher: Fetcher,
    cached: Mutex<Option<Cached>>,
    fetching: AsyncMutex<Fetching>,
}

impl IssuerKeys {
    pub(crate) fn new(issuer: IssuerUrl, fetcher: Fetcher) -> Self {
        Self { issuer, fetcher, cached: Mutex::default(), fetching: AsyncMutex::default() }
    }

    fn cached(&self) -> Option<Cached> {
        let cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner).clone();
        cached.filter(|cached| cached.fetched_at.elapsed() < MAX_AGE)
    }

    /// Runs `verify` on the issuer's keys, and once more on freshly fetched ones if the key is unknown.
    pub(crate) async fn verify(
        self: &Arc<Self>,
        verify: impl Fn(&KeySet) -> Verification,
    ) -> Result<Verification, KeysUnavailable> {
        let arrived = Instant::now();
        if let Some(cached) = self.cached() {
            let verification = verify(&cached.keys);
            if verification != Verification::UnknownKey {
                // Refreshed in the background; one task at a time.
                if cached.fetched_at.elapsed() >= FRESH && self.fetching.try_lock().is_ok() {
                    self.refresh(arrived);
                }
                return Ok(verification);
            }
        }
        let refreshed = self.refresh(arrived).await.unwrap_or(Err(KeysUnavailable::RateLimited));
        match (self.cached(), refreshed) {
            (Some(cached), Ok(()) | Err(KeysUnavailable::RateLimited)) => Ok(verify(&cached.keys)),
            (_, Err(failure)) => Err(failure),
            (None, Ok(())) => Err(KeysUnavailable::RateLimited),
        }
    }

    /// Fetches in a spawned task: a request that times out or is cancelled neither wastes the fetch nor withholds its
    /// result from the others.
    fn refresh(self: &Arc<Self>, arrived: Instant) -> JoinHandle<Result<(), KeysUnavailable>> {
        let keys = Arc::clone(self);
        tokio::spawn(async move { keys.refresh_once(arrived).await }.in_current_span())
    }

    /// Fetches the issuer's keys unless a fetch has ended since `arrived`, so that concurrent requests share one fetch.
    async fn refresh_once(&self, arrived: Instant) -> Result<(), KeysUnavailable> {
        let mut fetching = self.fetching.lock().await;
        if let Some((ended, outcome)) = &fetching.last
            && *ended >= arrived
        {
            return outcome.clone();
        }
        let now = Instant::now();
        while fetching.fetches.front().is_some_and(|fetch| now.duration_since(*fetch) >= WINDOW) {
            fetching.fetches.pop_front();
        }
        let is_soon = fetching.fetches.back().is_some_and(|last| now.duration_since(*last) < SPREAD);
        if fetching.fetches.len() >= MAX_FETCHES || (fetching.fetches.len() >= BURST && is_soon) {
            return Err(KeysUnavailable::RateLimited);
        }
        fetching.fetches.push_back(now);
        let outcome = match self.fetch(&mut fetching).await {
            Ok(keys) => {
                let cached = Cached { keys: Arc::new(keys), fetched_at: Instant::now() };
                *self.cached.lock().unwrap_or_else(PoisonError::into_inner) = Some(cached);
                Ok(())
            }
            Err(error) => {
                let reason = error_chain::text(&error);
                tracing::warn!(issuer = %self.issuer, reason, "issuer keys could not be fetched");
                Err(KeysUnavailable::Failed(reason.into()))
            }
        };
        fetching.last = Some((Instant::now(), outcome.clone()));
        outcome
    }

    /// Fetches the keys from the URL in the discovery document, which is fetched again after a failure.
    async fn fetch(&self, fetching: &mut Fetching) -> Result<KeySet, FetchError> {
        let known = fetching.keys_url.take().filter(|(_, read_at)| read_at.elapsed() < DISCOVERY_AGE);
        let (url, read_at) = match known {
            Some(known) => known,
            None => (self.fetcher.keys_url(&self.issuer).await?, Instant::now()),
        };
        let keys = self.fetcher.keys(&url).await?;
        fetching.keys_url = Some((url, read_at));
        Ok(keys)
    }
}
