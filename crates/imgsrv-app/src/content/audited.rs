//! The audit log of downloads of what is private: a row a principal, file and hour.

use crate::{audit, context::Context, work::retry::retrying};
use imgsrv_domain::{
    audit::{Actor, AuditAction, AuditEntry, Event},
    error_chain,
    ids::PrincipalId,
    ports::CatalogError,
    time::Timestamp,
};
use std::{
    collections::HashSet,
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// How many downloads of an hour are remembered.
const CAPACITY: usize = 1 << 16;
const HOUR: Duration = Duration::from_hours(1);

/// Who downloads which private file.
#[derive(Debug, Clone)]
pub(crate) struct Audited {
    pub(crate) principal: PrincipalId,
    pub(crate) actor: Actor,
    /// The path of the file, or its digest.
    pub(crate) subject: String,
}

/// The downloads that were recorded in the present hour.
#[derive(Debug, Default)]
pub(crate) struct AuditedDownloads(Mutex<(i64, HashSet<(PrincipalId, String)>)>);

impl AuditedDownloads {
    /// Whether a download in that hour was remembered before.
    fn is_known(&self, hour: i64, download: &Audited) -> bool {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.0 == hour && known.1.contains(&(download.principal, download.subject.clone()))
    }

    fn remember(&self, hour: i64, download: &Audited) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.0 != hour || known.1.len() >= CAPACITY {
            *known = (hour, HashSet::new());
        }
        known.1.insert((download.principal, download.subject.clone()));
    }
}

/// Records a download, unless one in the same hour is recorded. One that cannot be recorded is logged, and served all the
/// same: a catalog that is not writable does not stop downloads.
pub(crate) async fn record(context: &Context, download: &Audited) {
    let hour = hour_of(context.clock.now());
    if context.audited.is_known(hour, download) {
        return;
    }
    match retrying(|| append(context, download)).await {
        Ok(()) => context.audited.remember(hour, download),
        Err(error) => {
            let (subject, error) = (&download.subject, error_chain::text(&error));
            tracing::warn!(principal.id = %download.principal, subject, error, "download of a private file was not recorded");
        }
    }
}

async fn append(context: &Context, download: &Audited) -> Result<(), CatalogError> {
    let mut tx = context.catalog.begin().await?;
    let event = Event::new(AuditAction::FileDownloaded, &download.subject);
    let entry = AuditEntry { at: tx.now(), actor: download.actor.clone(), event };
    let since = Timestamp::from_micros(hour_of(entry.at) * micros(HOUR));
    if tx.has_audited(&entry, since).await? {
        return Ok(());
    }
    audit::commit(tx, &entry.actor, entry.event).await
}

/// The number of the hour, since 1970.
fn hour_of(at: Timestamp) -> i64 {
    at.micros().div_euclid(micros(HOUR))
}

fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}
