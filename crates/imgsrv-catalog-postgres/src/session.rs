//! A connection to the database, for the shared statements.

use crate::error::map;
use imgsrv_catalog_sql::{Connection, Value};
use imgsrv_domain::ports::CatalogError;
use sqlx::{
    Arguments, PgConnection, Postgres, Transaction,
    error::BoxDynError,
    pool::PoolConnection,
    postgres::{PgArguments, PgRow},
    query_with,
    types::Json,
};
use std::time::Duration;

/// How long the server may take to answer one statement. Its own deadlines are shorter, so this one tells of a server
/// that is gone.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A connection, inside or outside of a transaction.
pub enum PgSession {
    /// Every statement is a transaction of its own.
    Single(PoolConnection<Postgres>),
    /// All of them are one; dropping it rolls back.
    Whole(Transaction<'static, Postgres>),
}

impl PgSession {
    fn connection(&mut self) -> &mut PgConnection {
        match self {
            Self::Single(connection) => connection,
            Self::Whole(transaction) => transaction,
        }
    }
}

/// Waits for an answer of the server, but not for ever.
pub(crate) async fn answered<T>(
    asking: impl Future<Output = Result<T, sqlx::Error>> + Send,
) -> Result<T, CatalogError> {
    match tokio::time::timeout(PATIENCE, asking).await {
        Ok(answer) => answer.map_err(map),
        Err(silent) => Err(CatalogError::Unavailable(Box::new(silent))),
    }
}

fn arguments(values: Vec<Value>) -> Result<PgArguments, CatalogError> {
    let mut arguments = PgArguments::default();
    for value in values {
        add(&mut arguments, value).map_err(CatalogError::Backend)?;
    }
    Ok(arguments)
}

fn add(arguments: &mut PgArguments, value: Value) -> Result<(), BoxDynError> {
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

impl Connection for PgSession {
    type Row = PgRow;
    const LOCKS_ROWS: bool = true;

    async fn rows(&mut self, sql: &'static str, values: Vec<Value>) -> Result<Vec<PgRow>, CatalogError> {
        answered(query_with(sql, arguments(values)?).fetch_all(self.connection())).await
    }

    async fn execute(&mut self, sql: &'static str, values: Vec<Value>) -> Result<u64, CatalogError> {
        let done = answered(query_with(sql, arguments(values)?).execute(self.connection())).await?;
        Ok(done.rows_affected())
    }

    async fn commit(self) -> Result<(), CatalogError> {
        match self {
            Self::Single(_) => Ok(()),
            Self::Whole(transaction) => answered(transaction.commit()).await,
        }
    }
}
