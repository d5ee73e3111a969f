//! Rows of the work queue.

use crate::rows::decode::{Corrupt, convert, parse};
use crate::rows::time::SqlTime;
use imgsrv_domain::work::{Lease, LeasedWork, WorkName, WorkerId};
use uuid::Uuid;

/// An item that was just leased; its counts include the attempt that begins.
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct LeasedRow {
    id: i64,
    kind: String,
    subject: Uuid,
    owner: String,
    attempt: i64,
    failures: i64,
    silent: i64,
    failing_since: Option<SqlTime>,
}

impl TryFrom<LeasedRow> for LeasedWork {
    type Error = Corrupt;

    fn try_from(row: LeasedRow) -> Result<Self, Corrupt> {
        const WHAT: &str = "work item";
        let work = WorkName { kind: parse(WHAT, &row.kind)?, subject: row.subject };
        let lease = Lease { work, item: row.id, owner: WorkerId::new(row.owner), attempt: convert(WHAT, row.attempt)? };
        Ok(Self {
            lease,
            failures: convert(WHAT, row.failures - 1)?,
            silent: convert(WHAT, row.silent - 1)?,
            failing_since: row.failing_since.map(Into::into),
        })
    }
}
