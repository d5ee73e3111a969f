//! The queue of background work.

use crate::core::{
    Connection, Corrupt, Dialects, Record, Row, SqlCatalog, SqlDatabase, SqlTx, Statement, Value, locking, timed,
    values,
};
use async_trait::async_trait;
use imgsrv_domain::{
    ports::{CatalogError, Renewal, Setback, WorkQueue, WorkRepo},
    time::Timestamp,
    work::{Lease, LeasedWork, WorkKind, WorkName, WorkerId},
};
use std::time::Duration;
use uuid::Uuid;

const ENQUEUE: &str = "INSERT INTO work_items (kind, subject, wanted_since, due_at) VALUES ($1, $2, $3, $3)
    ON CONFLICT (kind, subject) DO UPDATE SET wanted_since = excluded.wanted_since, due_at = excluded.due_at,
        failures = 0, silent = 0, failing_since = NULL, error = NULL, parked_at = NULL
    WHERE work_items.owner IS NULL";

// The attempt that begins is counted as by `acquire!`.
const ENQUEUE_LEASED: &str =
    "INSERT INTO work_items (kind, subject, owner, wanted_since, due_at, attempt, failures, silent)
    VALUES ($1, $2, $3, $4, $5, 1, 1, 1) ON CONFLICT (kind, subject) DO NOTHING
    RETURNING id, kind, subject, owner, attempt, failures, silent, failing_since";

/// The item that a lease with the values `$1` to `$3` is of.
macro_rules! leased {
    ($change:literal) => {
        concat!($change, " WHERE id = $1 AND owner = $2 AND attempt = $3 AND parked_at IS NULL")
    };
}
const LOCK: Dialects = locking!(leased!("SELECT id FROM work_items"), " FOR NO KEY UPDATE");
const ADVANCE: &str =
    leased!("UPDATE work_items SET due_at = $4, failures = 1, silent = 1, failing_since = NULL, error = NULL");
const FINISH: &str = leased!("DELETE FROM work_items");
const POSTPONE: &str = leased!(
    "UPDATE work_items SET owner = NULL, due_at = $4,
    failing_since = CASE WHEN failing_since <= $5 THEN failing_since ELSE $5 END, error = $6,
    silent = CASE WHEN $7 THEN silent ELSE 0 END"
);
const RELEASE: &str =
    leased!("UPDATE work_items SET owner = NULL, due_at = $4, failures = failures - 1, silent = silent - 1");
const REPEAT: &str = leased!(
    "UPDATE work_items SET owner = NULL, wanted_since = $4, due_at = $4, failures = 0, silent = 0,
    failing_since = NULL, error = NULL"
);
const PARK: &str = leased!("UPDATE work_items SET owner = NULL, parked_at = $4, error = $5");
const DISCARD_PARKED: &str = "DELETE FROM work_items WHERE kind = $1 AND subject = $2 AND parked_at IS NOT NULL";
const PARK_UNDECODABLE: &str =
    "UPDATE work_items SET owner = NULL, parked_at = due_at, error = 'the item cannot be decoded' WHERE id = $1";

/// Leases an item that `$filter` selects, counting the attempt as a silent failure until it proves otherwise.
macro_rules! acquire {
    ($now:literal, $term:literal, $horizon:literal, $filter:literal, $lock:literal) => {
        concat!(
            "UPDATE work_items SET owner = $3, attempt = attempt + 1, failures = failures + 1, silent = silent + 1,
                due_at = ",
            $now,
            " + ",
            $term,
            " WHERE id = coalesce(
                (SELECT id FROM work_items WHERE kind = $1 AND ",
            $filter,
            " AND parked_at IS NULL AND due_at <= ",
            $now,
            " ORDER BY due_at LIMIT 1",
            $lock,
            "), (SELECT id FROM work_items WHERE kind = $1 AND ",
            $filter,
            " AND parked_at IS NULL AND due_at > ",
            $now,
            " + ",
            $horizon,
            " ORDER BY due_at DESC LIMIT 1",
            $lock,
            ")) RETURNING id, kind, subject, owner, attempt, failures, silent, failing_since"
        )
    };
}
macro_rules! acquire_on {
    ($filter:literal) => {
        Dialects {
            sqlite: acquire!("$6", "$4", "$5", $filter, ""),
            postgres: acquire!(
                "catalog_now()",
                "$4 * interval '1 microsecond'",
                "$5 * interval '1 microsecond'",
                $filter,
                " FOR UPDATE SKIP LOCKED"
            ),
        }
    };
}
const ACQUIRE: Dialects = acquire_on!("CAST($2 AS uuid) IS NULL");
const ACQUIRE_ONE: Dialects = acquire_on!("subject = $2");

macro_rules! renew {
    ($due:literal) => {
        concat!("UPDATE work_items SET due_at = ", $due, " WHERE id = $1 AND owner = $2 AND attempt = $3")
    };
}
const RENEW: Dialects =
    Dialects { sqlite: renew!("$5 + $4"), postgres: renew!("catalog_now() + $4 * interval '1 microsecond'") };
const ACQUIRED_BY_ANOTHER: &str =
    "SELECT id FROM work_items WHERE id = $1 AND owner IS NOT NULL AND (owner <> $2 OR attempt <> $3)";
const NEXT_DUE: Dialects =
    timed!("SELECT min(due_at) AS due, ", " FROM work_items WHERE kind = $1 AND parked_at IS NULL");

// The row is failed as it would be if it could be decoded.
const FAIL_UPLOAD: &str = "UPDATE upload_sessions SET state = 'failed', failure_reason = $2, updated_at = $3,
    hashed_bytes = NULL, hashed_state = NULL, revision = revision + 1 WHERE id = $1 AND state IN ('completed', 'ingesting')";
const FAIL_INTAKE: &str = "UPDATE intakes SET state = 'failed', reason = $2, updated_at = $3, revision = revision + 1
    WHERE id = $1 AND state = 'receiving'";
const FAIL_STEP: &str = "UPDATE publish_steps SET state = 'failed', reason = $2,
    started_at = coalesce(started_at, $3), finished_at = $3 WHERE job_id = $1 AND sequence =
    (SELECT min(sequence) FROM publish_steps WHERE job_id = $1 AND state IN ('queued', 'running'))";
const FAIL_JOB: &str = "UPDATE publish_jobs SET state = 'failed', updated_at = $2,
    started_at = coalesce(started_at, $2), finished_at = $2, revision = revision + 1
    WHERE id = $1 AND state IN ('queued', 'running')";

pub(crate) const STATEMENTS: &[&str] = &[
    ENQUEUE,
    ENQUEUE_LEASED,
    LOCK.sqlite,
    DISCARD_PARKED,
    ADVANCE,
    FINISH,
    POSTPONE,
    RELEASE,
    REPEAT,
    PARK,
    PARK_UNDECODABLE,
    ACQUIRED_BY_ANOTHER,
    NEXT_DUE.sqlite,
    FAIL_UPLOAD,
    FAIL_INTAKE,
    FAIL_STEP,
    FAIL_JOB,
];
pub(crate) const SQLITE: &[&str] = &[ACQUIRE.sqlite, ACQUIRE_ONE.sqlite, RENEW.sqlite];
pub(crate) const POSTGRES: &[&str] =
    &[ACQUIRE.postgres, ACQUIRE_ONE.postgres, RENEW.postgres, NEXT_DUE.postgres, LOCK.postgres];

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

fn with_lease(lease: &Lease, own: Vec<Value>) -> Vec<Value> {
    [values![lease.item, lease.owner, lease.attempt], own].concat()
}

impl<C: Connection> SqlTx<C> {
    /// Changes the item of a lease, and returns whether the lease was valid.
    async fn change(&mut self, sql: &'static str, lease: &Lease, own: Vec<Value>) -> Result<bool, CatalogError> {
        Ok(self.execute(sql, with_lease(lease, own)).await? > 0)
    }
}

#[async_trait]
impl<C: Connection> WorkRepo for SqlTx<C> {
    async fn enqueue_work(&mut self, work: WorkName) -> Result<(), CatalogError> {
        self.execute(ENQUEUE, values![work.kind, work.subject, self.time()]).await.map(drop)
    }

    async fn enqueue_leased_work(
        &mut self,
        work: WorkName,
        owner: &WorkerId,
        term: Duration,
    ) -> Result<Option<LeasedWork>, CatalogError> {
        let (now, until) = (self.time(), self.time().plus(term));
        self.find(ENQUEUE_LEASED, values![work.kind, work.subject, owner, now, until]).await
    }

    async fn lock_work(&mut self, lease: &Lease) -> Result<bool, CatalogError> {
        let found: Option<i64> = self.find(LOCK, with_lease(lease, values![])).await?;
        Ok(found.is_some())
    }

    async fn discard_parked_work(&mut self, work: WorkName) -> Result<(), CatalogError> {
        self.execute(DISCARD_PARKED, values![work.kind, work.subject]).await.map(drop)
    }

    async fn advance_work(&mut self, lease: &Lease, term: Duration) -> Result<bool, CatalogError> {
        self.change(ADVANCE, lease, values![self.time().plus(term)]).await
    }

    async fn finish_work(&mut self, lease: &Lease) -> Result<bool, CatalogError> {
        self.change(FINISH, lease, values![]).await
    }

    async fn postpone_work(&mut self, lease: &Lease, setback: &Setback) -> Result<bool, CatalogError> {
        let (now, due) = (self.time(), self.time().plus(setback.delay));
        self.change(POSTPONE, lease, values![due, now, setback.error, setback.silent]).await
    }

    async fn release_work(&mut self, lease: &Lease) -> Result<bool, CatalogError> {
        self.change(RELEASE, lease, values![self.time()]).await
    }

    async fn repeat_work(&mut self, lease: &Lease, delay: Duration) -> Result<bool, CatalogError> {
        self.change(REPEAT, lease, values![self.time().plus(delay)]).await
    }

    async fn park_work(&mut self, lease: &Lease, reason: &str) -> Result<bool, CatalogError> {
        self.change(PARK, lease, values![self.time(), reason]).await
    }

    async fn fail_undecodable(&mut self, work: WorkName, reason: &str) -> Result<bool, CatalogError> {
        let now = self.time();
        let failed = match work.kind {
            WorkKind::Ingest => {
                let failed = self.execute(FAIL_UPLOAD, values![work.subject, reason, now]).await?;
                self.execute(FAIL_INTAKE, values![work.subject, reason, now]).await?;
                failed
            }
            WorkKind::Publish => {
                self.execute(FAIL_STEP, values![work.subject, reason, now]).await?;
                self.execute(FAIL_JOB, values![work.subject, now]).await?
            }
            WorkKind::Clear
            | WorkKind::Sweep
            | WorkKind::Collect
            | WorkKind::Tombstone
            | WorkKind::Retention
            | WorkKind::Scrub => 0,
        };
        Ok(failed > 0)
    }
}

#[async_trait]
impl<D: SqlDatabase> WorkQueue for SqlCatalog<D> {
    async fn acquire_work(
        &self,
        kind: WorkKind,
        subject: Option<Uuid>,
        owner: &WorkerId,
        term: Duration,
        horizon: Duration,
    ) -> Result<Option<LeasedWork>, CatalogError> {
        let sql = if subject.is_some() { ACQUIRE_ONE } else { ACQUIRE };
        let values = values![kind, subject, owner, micros(term), micros(horizon)];
        loop {
            let (mut writer, values) = self.timed_write(values.clone()).await?;
            match writer.find(sql, values).await? {
                Some(Acquired { leased: Err(error), item }) => {
                    tracing::error!(work.kind = %kind, work.item = item, %error, "work item parked");
                    writer.execute(PARK_UNDECODABLE, values![item]).await?;
                }
                Some(Acquired { leased: Ok(leased), .. }) => return Ok(Some(leased)),
                None => return Ok(None),
            }
        }
    }

    async fn renew_work(&self, lease: &Lease, term: Duration) -> Result<Renewal, CatalogError> {
        let (mut writer, values) = self.timed_write(with_lease(lease, values![micros(term)])).await?;
        if writer.execute(RENEW.text(<D::Connection as Connection>::LOCKS_ROWS), values).await? > 0 {
            return Ok(Renewal::Renewed);
        }
        let acquired: Option<i64> = writer.find(ACQUIRED_BY_ANOTHER, with_lease(lease, values![])).await?;
        Ok(if acquired.is_some() { Renewal::Lost } else { Renewal::Ended })
    }

    async fn next_due(&self, kind: WorkKind) -> Result<Option<Duration>, CatalogError> {
        let (Due(due), now) = self.reader().await?.get(NEXT_DUE, values![kind]).await?;
        due.map(|due| Ok(due.since(self.database.clock(now)?))).transpose()
    }
}

#[expect(private_bounds, reason = "the databases have public names of their own")]
impl<D: SqlDatabase> SqlCatalog<D> {
    /// A connection for single writes, and `values` with the time on the clock after them, if statements cannot read it.
    async fn timed_write(&self, values: Vec<Value>) -> Result<(D::Connection, Vec<Value>), CatalogError> {
        let values = self.with_time(values)?;
        Ok((self.database.writer().await?, values))
    }
}

/// When the next item is due, if there is one.
struct Due(Option<Timestamp>);

impl Record for Due {
    const WHAT: &'static str = "work item";

    fn read(row: &Row<'_>) -> Result<Self, Corrupt> {
        row.optional("due").map(Self)
    }
}

/// An item that was just leased, as far as it can be decoded.
struct Acquired {
    item: i64,
    leased: Result<LeasedWork, Corrupt>,
}

impl Record for Acquired {
    const WHAT: &'static str = LeasedWork::WHAT;

    fn read(row: &Row<'_>) -> Result<Self, Corrupt> {
        Ok(Self { item: row.get("id")?, leased: row.record() })
    }
}

/// The counts of the row include the attempt that begins.
impl Record for LeasedWork {
    const WHAT: &'static str = "work item";

    fn read(row: &Row<'_>) -> Result<Self, Corrupt> {
        let work = WorkName { kind: row.get("kind")?, subject: row.get("subject")? };
        let lease = Lease { work, item: row.get("id")?, owner: row.get("owner")?, attempt: row.get("attempt")? };
        let earlier = |count: u32| count.saturating_sub(1);
        let (failures, silent) = (earlier(row.get("failures")?), earlier(row.get("silent")?));
        Ok(Self { lease, failures, silent, failing_since: row.optional("failing_since")? })
    }
}
