//! Rows as every dialect returns them, and the records they stand for.

mod auth;
mod content;
mod findings;
mod intakes;
mod manifests;
mod statistics;
mod time;
mod uploads;

pub use auth::*;
pub use content::*;
pub use findings::*;
pub use intakes::*;
pub(crate) use manifests::manifest_entries;
pub use manifests::{EntryRow, ResolvedRow};
pub use statistics::WaitRow;
pub(crate) use statistics::statistics;
pub use time::SqlTime;
pub use uploads::*;

use imgsrv_domain::{
    digest::HashState,
    lease::{LeaseKey, Queued, Running, WorkerId},
    ports::CatalogError,
};
use std::{fmt::Display, str::FromStr};

/// A stored row that breaks a rule of the domain: the catalog was changed by something else, or is damaged.
#[derive(Debug, thiserror::Error)]
#[error("the stored {what} is corrupt: {why}")]
pub struct Corrupt {
    what: &'static str,
    why: String,
}

impl Corrupt {
    /// `what` breaks a rule, namely `why`.
    pub fn new(what: &'static str, why: impl Display) -> Self {
        Self { what, why: why.to_string() }
    }
}

impl From<Corrupt> for CatalogError {
    fn from(corrupt: Corrupt) -> Self {
        Self::Backend(Box::new(corrupt))
    }
}

/// Parses a column into the value object it holds.
fn parse<T: FromStr>(what: &'static str, raw: &str) -> Result<T, Corrupt>
where
    T::Err: Display,
{
    raw.parse().map_err(|why| Corrupt::new(what, why))
}

fn parse_optional<T: FromStr>(what: &'static str, raw: Option<&str>) -> Result<Option<T>, Corrupt>
where
    T::Err: Display,
{
    raw.map(|raw| parse(what, raw)).transpose()
}

fn convert<T, U: TryFrom<T>>(what: &'static str, raw: T) -> Result<U, Corrupt>
where
    U::Error: Display,
{
    U::try_from(raw).map_err(|why| Corrupt::new(what, why))
}

fn hash_state(bytes: Option<i64>, state: Option<&[u8]>) -> Result<Option<HashState>, Corrupt> {
    match (bytes, state) {
        (Some(bytes), Some(state)) => {
            Ok(Some(HashState { bytes: convert("hash", bytes)?, state: convert("hash", state)? }))
        }
        (None, None) => Ok(None),
        _ => Err(Corrupt::new("hash", "only half of it is there")),
    }
}

/// The columns in which waiting and running work is stored; all empty when there is no work.
#[derive(Debug, Clone, Default)]
pub struct WorkColumns {
    /// Since when the work is wanted.
    pub wanted_since: Option<SqlTime>,
    /// Since when the infrastructure has failed every attempt at it.
    pub failing_since: Option<SqlTime>,
    /// From when on it may be claimed.
    pub due_at: Option<SqlTime>,
    /// How many claims there were.
    pub attempts: Option<i64>,
    /// Who holds it.
    pub owner: Option<String>,
}

impl From<&Queued> for WorkColumns {
    fn from(queued: &Queued) -> Self {
        Self {
            wanted_since: Some(queued.since.into()),
            failing_since: queued.failing_since.map(Into::into),
            due_at: Some(queued.not_before.into()),
            attempts: Some(queued.attempts.into()),
            owner: None,
        }
    }
}

impl From<&Running> for WorkColumns {
    fn from(running: &Running) -> Self {
        Self {
            wanted_since: Some(running.since.into()),
            failing_since: running.failing_since.map(Into::into),
            due_at: Some(running.expires_at.into()),
            attempts: Some(running.key.attempt.into()),
            owner: Some(running.key.owner.as_str().to_owned()),
        }
    }
}

impl WorkColumns {
    fn queued(self) -> Result<Queued, Corrupt> {
        let failing_since = self.failing_since.map(Into::into);
        match (self.wanted_since, self.due_at, self.attempts, self.owner) {
            (Some(since), Some(due), Some(attempts), None) => Ok(Queued {
                since: since.into(),
                failing_since,
                not_before: due.into(),
                attempts: convert("work", attempts)?,
            }),
            _ => Err(Corrupt::new("work", "waiting work needs its times and no owner")),
        }
    }

    fn running(self) -> Result<Running, Corrupt> {
        let failing_since = self.failing_since.map(Into::into);
        match (self.wanted_since, self.due_at, self.attempts, self.owner) {
            (Some(since), Some(due), Some(attempts), Some(owner)) => {
                let key = LeaseKey { owner: WorkerId::new(owner), attempt: convert("work", attempts)? };
                Ok(Running { since: since.into(), failing_since, key, expires_at: due.into() })
            }
            _ => Err(Corrupt::new("work", "running work needs its times and an owner")),
        }
    }
}
