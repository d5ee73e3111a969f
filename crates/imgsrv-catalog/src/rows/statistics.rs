//! Rows of the counters and of the work that waits.

use crate::rows::time::SqlTime;
use imgsrv_domain::{
    ports::{Oldest, Statistics},
    time::Timestamp,
};
use std::collections::BTreeMap;

/// The oldest of the work of one kind in one state.
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct WaitRow {
    pub(crate) work: String,
    pub(crate) state: String,
    pub(crate) since: Option<SqlTime>,
}

/// Counters are named `kind` or `kind:value:...`, as the triggers write them.
pub(crate) fn statistics(
    counters: Vec<(String, i64)>,
    waits: Vec<WaitRow>,
    parked: Vec<(String, i64)>,
    now: Timestamp,
) -> Statistics {
    let mut statistics = Statistics {
        uploads: BTreeMap::new(),
        jobs: BTreeMap::new(),
        steps: BTreeMap::new(),
        versions: BTreeMap::new(),
        blobs: 0,
        blob_bytes: 0,
        incus_rows: 0,
        ingest: Oldest::default(),
        oldest_steps: BTreeMap::new(),
        parked: parked.into_iter().map(|(kind, count)| (kind, u64::try_from(count).unwrap_or(0))).collect(),
        now,
    };
    for (name, value) in counters {
        let value = u64::try_from(value).unwrap_or(0);
        let kind: Vec<&str> = name.split(':').collect();
        match kind.as_slice() {
            ["uploads", state] => *statistics.uploads.entry((*state).to_owned()).or_default() = value,
            ["jobs", state] => *statistics.jobs.entry((*state).to_owned()).or_default() = value,
            ["steps", step, state] => {
                *statistics.steps.entry(((*step).to_owned(), (*state).to_owned())).or_default() = value;
            }
            ["versions", state] => *statistics.versions.entry((*state).to_owned()).or_default() = value,
            ["blobs"] => statistics.blobs = value,
            ["blob_bytes"] => statistics.blob_bytes = value,
            ["incus_rows"] => statistics.incus_rows = value,
            // A newer program counts more.
            _ => {}
        }
    }
    for WaitRow { work, state, since } in waits {
        let oldest = match work.as_str() {
            "ingest" => &mut statistics.ingest,
            _ => statistics.oldest_steps.entry(work).or_default(),
        };
        match state.as_str() {
            "completed" | "queued" => oldest.queued = since.map(Into::into),
            _ => oldest.running = since.map(Into::into),
        }
    }
    statistics
}
