//! A connection to the database, for the shared statements.
//!
//! Transactions begin and end here, not in sqlx: sqlx does not roll back when the caller is dropped while `BEGIN` is
//! pending, and it waits without limit for a server that does not respond.

use crate::{
    core::{Connection, Kind, Record, Statement, Traced, UndecodableRows, Value, arguments, records},
    postgres::error::map,
};
use imgsrv_domain::{ports::CatalogError, time::Timestamp};
use sqlx::{Executor, Postgres, Row, pool::PoolConnection, postgres::PgArguments, query_with, raw_sql};
use std::{sync::Arc, time::Duration};
use tokio::time::timeout;
use tracing::Span;

/// The limit for the response to one statement. The server's own limits are shorter, so this one detects a server that
/// is gone.
const RESPONSE_LIMIT: Duration = Duration::from_secs(20);
/// The time limit for the rollback of an abandoned transaction.
const ROLLBACK_LIMIT: Duration = Duration::from_secs(5);

/// A connection, inside or outside of a transaction. Dropping it rolls back.
pub(crate) struct PgSession {
    /// Absent only once it is released.
    connection: Option<PoolConnection<Postgres>>,
    /// Whether a transaction may be open.
    open: bool,
    /// Whether a statement was sent whose response was not read completely.
    busy: bool,
    undecodable: Arc<UndecodableRows>,
    span: Span,
}

/// Sends a statement, and waits for the response up to a limit.
macro_rules! send {
    ($session:expr, $kind:expr, $sql:expr, |$connection:ident| $sending:expr) => {{
        let session = $session;
        match &mut session.connection {
            None => Err(CatalogError::Backend("the connection was released".into())),
            Some(_) if session.busy => Err(CatalogError::Unavailable("an earlier statement was abandoned".into())),
            Some(pooled) => {
                let $connection = &mut **pooled;
                session.busy = true;
                let traced = Traced::start(&session.span, $kind, $sql);
                let response = timeout(RESPONSE_LIMIT, $sending).await;
                drop(traced);
                match response {
                    Ok(response) => {
                        session.busy = false;
                        response.map_err(map)
                    }
                    Err(elapsed) => Err(CatalogError::Unavailable(Box::new(elapsed))),
                }
            }
        }
    }};
}

impl PgSession {
    /// Every statement is a transaction of its own.
    pub(crate) const fn single(
        connection: PoolConnection<Postgres>,
        undecodable: Arc<UndecodableRows>,
        span: Span,
    ) -> Self {
        Self { connection: Some(connection), open: false, busy: false, undecodable, span }
    }

    /// All statements are one transaction, which `begin` begins; it also returns the time on the catalog's clock, in
    /// microseconds since the Unix epoch.
    pub(crate) async fn transaction(
        connection: PoolConnection<Postgres>,
        begin: &'static str,
        undecodable: Arc<UndecodableRows>,
        span: Span,
    ) -> Result<(Self, Timestamp), CatalogError> {
        let mut session = Self { connection: Some(connection), open: true, busy: false, undecodable, span };
        let rows = send!(&mut session, Kind::Begin, begin, |connection| raw_sql(begin).fetch_all(connection))?;
        let micros = rows.first().ok_or(sqlx::Error::RowNotFound).and_then(|row| row.try_get(0));
        let now = micros.map(Timestamp::from_micros).map_err(|error| CatalogError::Backend(Box::new(error)))?;
        Ok((session, now))
    }
}

impl Connection for PgSession {
    const LOCKS_ROWS: bool = true;

    fn undecodable(&self) -> &UndecodableRows {
        &self.undecodable
    }

    async fn list<T: Record>(&mut self, sql: impl Statement, values: Vec<Value>) -> Result<Vec<T>, CatalogError> {
        let sql = sql.text(Self::LOCKS_ROWS);
        let arguments = arguments::<PgArguments>(values)?;
        let rows = send!(&mut *self, Kind::Query, sql, |connection| query_with(sql, arguments).fetch_all(connection))?;
        records(&rows).map_err(|corrupt| self.corrupt(corrupt))
    }

    async fn execute(&mut self, sql: &'static str, values: Vec<Value>) -> Result<u64, CatalogError> {
        let arguments = arguments::<PgArguments>(values)?;
        let done = send!(self, Kind::Execute, sql, |connection| query_with(sql, arguments).execute(connection))?;
        Ok(done.rows_affected())
    }

    async fn commit(mut self) -> Result<(), CatalogError> {
        if self.open {
            send!(&mut self, Kind::Commit, "COMMIT", |connection| connection.execute("COMMIT"))?;
            self.open = false;
        }
        Ok(())
    }
}

impl Drop for PgSession {
    fn drop(&mut self) {
        let Some(mut connection) = self.connection.take() else { return };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            drop(connection.detach());
            return;
        };
        if self.busy {
            // The next response would be that of the earlier statement. Closing the connection rolls back.
            drop(connection.detach());
            return;
        }
        let open = self.open;
        if open {
            drop(Traced::start(&self.span, Kind::Rollback, "ROLLBACK"));
        }
        runtime.spawn(async move {
            if open && !matches!(timeout(ROLLBACK_LIMIT, connection.execute("ROLLBACK")).await, Ok(Ok(_))) {
                drop(connection.detach());
                return;
            }
            let _ = timeout(ROLLBACK_LIMIT, connection.return_to_pool()).await;
        });
    }
}
