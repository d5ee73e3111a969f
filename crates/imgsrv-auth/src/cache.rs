//! The keys of one issuer, kept within bounds of age, and asked for again within bounds of rate.

use crate::{
    fetch::{FetchError, Fetcher},
    keys::{KeySet, Signed},
};
use imgsrv_domain::oidc::IssuerUrl;
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{sync::Mutex as AsyncMutex, task::JoinHandle, time::Instant};
use url::Url;

/// Keys are used as they are up to this age, and beyond it while newer ones are asked for.
const FRESH: Duration = Duration::from_mins(5);
/// Keys beyond this age are not used, whatever happens.
const MAX_AGE: Duration = Duration::from_hours(1);
/// Where the keys are is asked again after this time.
const DISCOVERY_AGE: Duration = Duration::from_hours(1);
/// How often an issuer is asked for its keys in a minute, at most.
const MAX_ASKED: usize = 5;
const WINDOW: Duration = Duration::from_mins(1);
/// So many of them at any time; the others are spread over the minute, so that a storm of made-up key ids does not keep
/// a new key from being found for longer than this.
const AT_ONCE: usize = 3;
const SPREAD: Duration = Duration::from_secs(20);

/// Why nobody can say whether a token is authentic.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum Unreadable {
    #[error("the issuer's keys cannot be read: {0}")]
    Failed(Arc<str>),
    #[error("the issuer's keys could not be read a moment ago; they are asked for at most {MAX_ASKED} times a minute")]
    AskedTooOften,
}

#[derive(Clone)]
struct Kept {
    keys: Arc<KeySet>,
    read_at: Instant,
}

/// What asking needs, held by the one who asks.
#[derive(Default)]
struct Asking {
    asked: VecDeque<Instant>,
    keys_url: Option<(Url, Instant)>,
    /// When the last answer came, and what was wrong with it.
    last: Option<(Instant, Option<Unreadable>)>,
}

/// The keys of one issuer.
pub(crate) struct IssuerKeys {
    issuer: IssuerUrl,
    kept: Mutex<Option<Kept>>,
    asking: AsyncMutex<Asking>,
}

impl IssuerKeys {
    pub(crate) fn new(issuer: IssuerUrl) -> Self {
        Self { issuer, kept: Mutex::default(), asking: AsyncMutex::default() }
    }

    fn kept(&self) -> Option<Kept> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).clone();
        kept.filter(|kept| kept.read_at.elapsed() < MAX_AGE)
    }

    /// What the issuer's keys say, in the words of `verify`. A key that is not known is asked for at once.
    pub(crate) async fn verify(
        self: &Arc<Self>,
        fetcher: &Arc<Fetcher>,
        verify: impl Fn(&KeySet) -> Signed,
    ) -> Result<Signed, Unreadable> {
        let arrived = Instant::now();
        if let Some(kept) = self.kept() {
            let said = verify(&kept.keys);
            if said != Signed::UnknownKey {
                // Newer keys are asked for behind the back of the request, unless somebody does already.
                if kept.read_at.elapsed() >= FRESH && self.asking.try_lock().is_ok() {
                    self.ask(fetcher, arrived);
                }
                return Ok(said);
            }
        }
        let failure = self.ask(fetcher, arrived).await.unwrap_or(Err(Unreadable::AskedTooOften)).err();
        match (self.kept(), failure) {
            (Some(kept), None | Some(Unreadable::AskedTooOften)) => Ok(verify(&kept.keys)),
            (_, Some(failure)) => Err(failure),
            (None, None) => Err(Unreadable::AskedTooOften),
        }
    }

    /// Asks in a task of its own: whoever gives up waiting, or breaks off, neither wastes what was asked nor keeps
    /// the answer from the others.
    fn ask(self: &Arc<Self>, fetcher: &Arc<Fetcher>, arrived: Instant) -> JoinHandle<Result<(), Unreadable>> {
        let (keys, fetcher) = (Arc::clone(self), Arc::clone(fetcher));
        tokio::spawn(async move { keys.ask_once(&fetcher, arrived).await })
    }

    /// Asks the issuer for its keys, unless an answer came since `arrived`: of many who wait, one asks.
    async fn ask_once(&self, fetcher: &Fetcher, arrived: Instant) -> Result<(), Unreadable> {
        let mut asking = self.asking.lock().await;
        if let Some((answered, failure)) = &asking.last
            && *answered >= arrived
        {
            return failure.clone().map_or(Ok(()), Err);
        }
        let now = Instant::now();
        while asking.asked.front().is_some_and(|asked| now.duration_since(*asked) >= WINDOW) {
            asking.asked.pop_front();
        }
        let is_soon = asking.asked.back().is_some_and(|last| now.duration_since(*last) < SPREAD);
        if asking.asked.len() >= MAX_ASKED || (asking.asked.len() >= AT_ONCE && is_soon) {
            return Err(Unreadable::AskedTooOften);
        }
        asking.asked.push_back(now);
        let failure = match self.read(fetcher, &mut asking).await {
            Ok(keys) => {
                let kept = Kept { keys: Arc::new(keys), read_at: Instant::now() };
                *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(kept);
                None
            }
            Err(error) => {
                let why = with_causes(&error);
                tracing::warn!(issuer = %self.issuer, why, "the keys of an issuer cannot be read");
                Some(Unreadable::Failed(why.into()))
            }
        };
        asking.last = Some((Instant::now(), failure.clone()));
        failure.map_or(Ok(()), Err)
    }

    /// Reads the keys from where the issuer says they are; after a failure that is asked again.
    async fn read(&self, fetcher: &Fetcher, asking: &mut Asking) -> Result<KeySet, FetchError> {
        let known = asking.keys_url.take().filter(|(_, read_at)| read_at.elapsed() < DISCOVERY_AGE);
        let (url, read_at) = match known {
            Some(known) => known,
            None => (fetcher.keys_url(&self.issuer).await?, Instant::now()),
        };
        let keys = fetcher.keys(&url).await?;
        asking.keys_url = Some((url, read_at));
        Ok(keys)
    }
}

fn with_causes(error: &FetchError) -> String {
    let (mut text, mut cause) = (error.to_string(), std::error::Error::source(error));
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}
