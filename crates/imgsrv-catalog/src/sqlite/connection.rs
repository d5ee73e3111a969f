//! A connection to the file, for the shared statements.

use crate::sqlite::error::map;
use crate::{Connection, Value, arguments};
use imgsrv_domain::ports::CatalogError;
use sqlx::{
    Sqlite, SqliteConnection, Transaction,
    pool::PoolConnection,
    query_with,
    sqlite::{SqliteArguments, SqliteRow},
};

/// A connection, inside or outside of a transaction.
pub enum SqliteSession {
    /// Every statement is a transaction of its own.
    Single(PoolConnection<Sqlite>),
    /// All of them are one; dropping it rolls back.
    Whole(Transaction<'static, Sqlite>),
}

impl SqliteSession {
    fn connection(&mut self) -> &mut SqliteConnection {
        match self {
            Self::Single(connection) => connection,
            Self::Whole(transaction) => transaction,
        }
    }
}

impl Connection for SqliteSession {
    type Row = SqliteRow;
    /// One writer at a time: `BEGIN IMMEDIATE`.
    const LOCKS_ROWS: bool = false;

    async fn rows(&mut self, sql: &'static str, values: Vec<Value>) -> Result<Vec<SqliteRow>, CatalogError> {
        query_with(sql, arguments::<SqliteArguments>(values)?).fetch_all(self.connection()).await.map_err(map)
    }

    async fn execute(&mut self, sql: &'static str, values: Vec<Value>) -> Result<u64, CatalogError> {
        let done = query_with(sql, arguments::<SqliteArguments>(values)?).execute(self.connection()).await;
        done.map(|done| done.rows_affected()).map_err(map)
    }

    async fn commit(self) -> Result<(), CatalogError> {
        match self {
            Self::Single(_) => Ok(()),
            Self::Whole(transaction) => transaction.commit().await.map_err(map),
        }
    }
}
