//! A connection to the file, for the shared statements.

use crate::{
    core::{Connection, Kind, Record, Statement, Traced, UndecodableRows, Value, arguments, records},
    sqlite::{error::map, file::CatalogFile},
};
use imgsrv_domain::ports::CatalogError;
use sqlx::{Pool, Sqlite, SqliteConnection, Transaction, pool::PoolConnection, query_with, sqlite::SqliteArguments};
use std::sync::Arc;
use tracing::Span;

/// A connection, inside or outside of a transaction. Dropping it rolls back.
pub(crate) struct SqliteSession {
    open: Open,
    /// The file that it writes to; absent if it only reads.
    file: Option<Arc<CatalogFile>>,
    undecodable: Arc<UndecodableRows>,
    span: Span,
}

enum Open {
    /// Every statement is a transaction of its own.
    Single(PoolConnection<Sqlite>),
    /// All statements are one transaction.
    Transaction(Transaction<'static, Sqlite>),
    Ended,
}

impl SqliteSession {
    /// Every statement is a transaction of its own.
    pub(crate) async fn single(
        pool: &Pool<Sqlite>,
        undecodable: Arc<UndecodableRows>,
        span: Span,
    ) -> Result<Self, CatalogError> {
        let connection = pool.acquire().await.map_err(map)?;
        Ok(Self { open: Open::Single(connection), file: None, undecodable, span })
    }

    /// All statements are one transaction, which `begin` begins.
    pub(crate) async fn transaction(
        pool: &Pool<Sqlite>,
        begin: &'static str,
        undecodable: Arc<UndecodableRows>,
        span: Span,
    ) -> Result<Self, CatalogError> {
        let traced = Traced::start(&span, Kind::Begin, begin);
        let transaction = pool.begin_with(begin).await.map_err(map)?;
        drop(traced);
        Ok(Self { open: Open::Transaction(transaction), file: None, undecodable, span })
    }

    /// The same session for writes to `file`. They succeed only if it is still the file at its path.
    pub(crate) fn writing(mut self, file: &Arc<CatalogFile>) -> Result<Self, CatalogError> {
        file.check()?;
        self.file = Some(Arc::clone(file));
        Ok(self)
    }

    /// The result of a statement. If it was committed by itself, it counts only if the file is still in place.
    async fn checked<T>(&self, result: Result<T, sqlx::Error>) -> Result<T, CatalogError> {
        let Some(file) = &self.file else { return result.map_err(map) };
        match result {
            Ok(done) if matches!(self.open, Open::Transaction(_)) => Ok(done),
            Ok(done) => file.check().map(|()| done),
            Err(error) => Err(file.write_error(error).await),
        }
    }
}

impl Open {
    fn connection(&mut self) -> Result<&mut SqliteConnection, CatalogError> {
        match self {
            Self::Single(connection) => Ok(connection),
            Self::Transaction(transaction) => Ok(transaction),
            Self::Ended => Err(CatalogError::Backend("the transaction has ended".into())),
        }
    }
}

impl Connection for SqliteSession {
    /// One writer at a time: `BEGIN IMMEDIATE`.
    const LOCKS_ROWS: bool = false;

    fn undecodable(&self) -> &UndecodableRows {
        &self.undecodable
    }

    async fn list<T: Record>(&mut self, sql: impl Statement, values: Vec<Value>) -> Result<Vec<T>, CatalogError> {
        let sql = sql.text(Self::LOCKS_ROWS);
        let arguments = arguments::<SqliteArguments>(values)?;
        let connection = self.open.connection()?;
        let traced = Traced::start(&self.span, Kind::Query, sql);
        let rows = query_with(sql, arguments).fetch_all(connection).await;
        drop(traced);
        let rows = self.checked(rows).await?;
        records(&rows).map_err(|corrupt| self.corrupt(corrupt))
    }

    async fn execute(&mut self, sql: &'static str, values: Vec<Value>) -> Result<u64, CatalogError> {
        let arguments = arguments::<SqliteArguments>(values)?;
        let connection = self.open.connection()?;
        let traced = Traced::start(&self.span, Kind::Execute, sql);
        let done = query_with(sql, arguments).execute(connection).await;
        drop(traced);
        self.checked(done).await.map(|done| done.rows_affected())
    }

    async fn commit(mut self) -> Result<(), CatalogError> {
        match std::mem::replace(&mut self.open, Open::Ended) {
            Open::Single(_) | Open::Ended => Ok(()),
            Open::Transaction(transaction) => {
                let traced = Traced::start(&self.span, Kind::Commit, "COMMIT");
                let committed = transaction.commit().await;
                drop(traced);
                self.checked(committed).await
            }
        }
    }
}

impl Drop for SqliteSession {
    fn drop(&mut self) {
        if let Open::Transaction(_) = &self.open {
            // The driver rolls back after this.
            drop(Traced::start(&self.span, Kind::Rollback, "ROLLBACK"));
        }
    }
}
