//! A connection to the file, for the shared statements.

use crate::error::map;
use imgsrv_catalog_sql::{Connection, Value};
use imgsrv_domain::ports::CatalogError;
use sqlx::{
    Arguments, Sqlite, SqliteConnection, Transaction,
    error::BoxDynError,
    pool::PoolConnection,
    query_with,
    sqlite::{SqliteArguments, SqliteRow},
    types::Json,
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

fn arguments(values: Vec<Value>) -> Result<SqliteArguments, CatalogError> {
    let mut arguments = SqliteArguments::default();
    for value in values {
        add(&mut arguments, value).map_err(CatalogError::Backend)?;
    }
    Ok(arguments)
}

fn add(arguments: &mut SqliteArguments, value: Value) -> Result<(), BoxDynError> {
    match value {
        Value::Bool(value) => arguments.add(value),
        Value::Int(value) => arguments.add(value),
        Value::Text(value) => arguments.add(value),
        Value::Bytes(value) => arguments.add(value),
        Value::Json(value) => arguments.add(Json(value)),
        Value::Uuid(value) => arguments.add(value),
        Value::Time(value) => arguments.add(value),
    }
}

impl Connection for SqliteSession {
    type Row = SqliteRow;
    /// One writer at a time: `BEGIN IMMEDIATE`.
    const LOCKS_ROWS: bool = false;

    async fn rows(&mut self, sql: &'static str, values: Vec<Value>) -> Result<Vec<SqliteRow>, CatalogError> {
        query_with(sql, arguments(values)?).fetch_all(self.connection()).await.map_err(map)
    }

    async fn execute(&mut self, sql: &'static str, values: Vec<Value>) -> Result<u64, CatalogError> {
        let done = query_with(sql, arguments(values)?).execute(self.connection()).await;
        done.map(|done| done.rows_affected()).map_err(map)
    }

    async fn commit(self) -> Result<(), CatalogError> {
        match self {
            Self::Single(_) => Ok(()),
            Self::Whole(transaction) => transaction.commit().await.map_err(map),
        }
    }
}
