//! The downloads of what is private that the audit log has: a row a principal, file and hour.

use imgsrv_domain::{audit::Actor, ids::PrincipalId, time::Timestamp};
use std::{
    collections::HashSet,
    sync::{Mutex, PoisonError},
};

/// How many downloads of an hour are remembered.
const CAPACITY: usize = 1 << 16;
const HOUR_MICROS: i64 = 3_600_000_000;

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
    pub(crate) fn is_known(&self, hour: i64, download: &Audited) -> bool {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.0 == hour && known.1.contains(&(download.principal, download.subject.clone()))
    }

    /// Remembers a download in that hour.
    pub(crate) fn remember(&self, hour: i64, download: &Audited) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.0 != hour || known.1.len() >= CAPACITY {
            *known = (hour, HashSet::new());
        }
        known.1.insert((download.principal, download.subject.clone()));
    }
}

/// The number of the hour, since 1970.
pub(crate) fn hour_of(at: Timestamp) -> i64 {
    at.micros().div_euclid(HOUR_MICROS)
}

/// The start of an hour of that number.
pub(crate) const fn start_of(hour: i64) -> Timestamp {
    Timestamp::from_micros(hour.saturating_mul(HOUR_MICROS))
}
