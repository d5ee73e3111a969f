//! Rows that cannot be decoded: they are counted, and lists that leave them out log them.

use crate::core::record::{Corrupt, Record};
use imgsrv_domain::{
    audit::AuditRecord,
    auth::{ApiToken, Principal},
    image::{Alias, Image},
    lifecycle::Lifecycle,
    manifest::{Artifact, Attachment},
    oidc::ProvisioningRule,
    parts::Part,
    ports::{StreamRow, TrustedBlob},
    publish::Step,
    upload::UploadSession,
    version::Version,
};
use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// The kinds of records that are counted from the start.
const KINDS: &[&str] = &[
    Alias::WHAT,
    ApiToken::WHAT,
    Artifact::WHAT,
    Attachment::WHAT,
    AuditRecord::WHAT,
    Image::WHAT,
    Lifecycle::WHAT,
    Part::WHAT,
    Principal::WHAT,
    ProvisioningRule::WHAT,
    "publish job",
    Step::WHAT,
    StreamRow::WHAT,
    TrustedBlob::WHAT,
    UploadSession::WHAT,
    Version::WHAT,
];
/// How long a row is not logged again, so that clients that repeat a list do not fill the log.
const QUIET: Duration = Duration::from_mins(1);
/// How many rows are remembered as logged.
const MAX_REMEMBERED: usize = 1000;

/// The undecodable rows that this process has read.
#[derive(Debug, Default)]
pub(crate) struct UndecodableRows {
    counts: Mutex<BTreeMap<&'static str, u64>>,
    /// When each row was logged last.
    logged: Mutex<HashMap<(&'static str, Option<String>), Instant>>,
}

impl UndecodableRows {
    /// Counts a row that a read fails because of. The caller of the read logs it.
    pub(crate) fn count(&self, corrupt: &Corrupt) {
        *lock(&self.counts).entry(corrupt.what()).or_default() += 1;
    }

    /// Counts a row that a list leaves out, and logs it.
    pub(crate) fn leave_out(&self, corrupt: &Corrupt) {
        self.count(corrupt);
        if self.is_unlogged(corrupt) {
            let (kind, id) = (label(corrupt.what()), corrupt.id().unwrap_or("unknown"));
            tracing::error!(kind, id, cause = corrupt.why(), "undecodable row omitted from a list");
        }
    }

    /// How many have been read, by kind.
    pub(crate) fn counts(&self) -> BTreeMap<String, u64> {
        let mut counts: BTreeMap<_, _> = KINDS.iter().map(|kind| (label(kind), 0)).collect();
        counts.extend(lock(&self.counts).iter().map(|(kind, count)| (label(kind), *count)));
        counts
    }

    /// Whether the row was not logged recently; it counts as logged from now on.
    fn is_unlogged(&self, corrupt: &Corrupt) -> bool {
        let (mut logged, now) = (lock(&self.logged), Instant::now());
        if logged.len() >= MAX_REMEMBERED {
            logged.retain(|_, at| now.duration_since(*at) < QUIET);
        }
        let row = (corrupt.what(), corrupt.id().map(str::to_owned));
        if logged.get(&row).is_some_and(|at| now.duration_since(*at) < QUIET) {
            return false;
        }
        if logged.len() < MAX_REMEMBERED {
            logged.insert(row, now);
        }
        true
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A kind as a metric's label has it.
fn label(kind: &str) -> String {
    kind.replace(' ', "_")
}
