//! A connection to the database, for the shared statements.
//!
//! Transactions are begun and ended here, not by sqlx: its own are not rolled back when whoever begins one is dropped
//! in the middle of `BEGIN`, and it waits without end for a server that has fallen silent.

use crate::postgres::error::map;
use crate::{Connection, Value, arguments};
use imgsrv_domain::ports::CatalogError;
use sqlx::{
    Executor, Postgres,
    pool::PoolConnection,
    postgres::{PgArguments, PgRow},
    query_with,
};
use std::time::Duration;
use tokio::time::timeout;

/// How long the server may take to answer one statement. Its own deadlines are shorter, so this one tells of a server
/// that is gone.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long it may take to end a transaction that was given up.
const RELEASE: Duration = Duration::from_secs(5);

/// A connection, inside or outside of a transaction. Dropping it rolls back.
pub struct PgSession {
    /// Absent only once it is released.
    connection: Option<PoolConnection<Postgres>>,
    /// Whether a transaction may be open.
    open: bool,
    /// Whether a statement was sent whose end was not seen.
    busy: bool,
}

/// Waits for an answer of the server, but not for ever.
macro_rules! ask {
    ($session:expr, |$connection:ident| $asking:expr) => {{
        let session = $session;
        match &mut session.connection {
            None => Err(CatalogError::Backend("the connection was released".into())),
            Some(_) if session.busy => Err(CatalogError::Unavailable("an earlier statement was given up".into())),
            Some(pooled) => {
                let $connection = &mut **pooled;
                session.busy = true;
                match timeout(PATIENCE, $asking).await {
                    Ok(answer) => {
                        session.busy = false;
                        answer.map_err(map)
                    }
                    Err(silent) => Err(CatalogError::Unavailable(Box::new(silent))),
                }
            }
        }
    }};
}

impl PgSession {
    /// Every statement is a transaction of its own.
    pub(crate) const fn single(connection: PoolConnection<Postgres>) -> Self {
        Self { connection: Some(connection), open: false, busy: false }
    }

    /// All statements are one transaction, which `begin` begins.
    pub(crate) async fn whole(connection: PoolConnection<Postgres>, begin: &'static str) -> Result<Self, CatalogError> {
        let mut session = Self { connection: Some(connection), open: true, busy: false };
        ask!(&mut session, |connection| connection.execute(begin))?;
        Ok(session)
    }
}

impl Connection for PgSession {
    type Row = PgRow;
    const LOCKS_ROWS: bool = true;

    async fn rows(&mut self, sql: &'static str, values: Vec<Value>) -> Result<Vec<PgRow>, CatalogError> {
        let arguments = arguments::<PgArguments>(values)?;
        ask!(self, |connection| query_with(sql, arguments).fetch_all(connection))
    }

    async fn execute(&mut self, sql: &'static str, values: Vec<Value>) -> Result<u64, CatalogError> {
        let arguments = arguments::<PgArguments>(values)?;
        let done = ask!(self, |connection| query_with(sql, arguments).execute(connection))?;
        Ok(done.rows_affected())
    }

    async fn commit(mut self) -> Result<(), CatalogError> {
        if self.open {
            ask!(&mut self, |connection| connection.execute("COMMIT"))?;
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
            // Nobody knows what it would answer next. The server rolls back when it is closed.
            drop(connection.detach());
            return;
        }
        let open = self.open;
        runtime.spawn(async move {
            if open && !matches!(timeout(RELEASE, connection.execute("ROLLBACK")).await, Ok(Ok(_))) {
                drop(connection.detach());
                return;
            }
            let _ = timeout(RELEASE, connection.return_to_pool()).await;
        });
    }
}
