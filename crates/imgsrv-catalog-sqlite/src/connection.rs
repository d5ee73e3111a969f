//! Running statements on one connection and decoding what comes back.

use crate::error::map;
use imgsrv_catalog_sql::Corrupt;
use imgsrv_domain::ports::{CatalogError, Conflict};
use sqlx::{
    FromRow, Sqlite, SqliteConnection,
    query::{Query, QueryAs, QueryScalar},
    sqlite::{SqliteArguments, SqliteRow},
};

pub(crate) type Statement<'q> = Query<'q, Sqlite, SqliteArguments>;
pub(crate) type Select<'q, R> = QueryAs<'q, Sqlite, R, SqliteArguments>;
pub(crate) type Scalar<'q, T> = QueryScalar<'q, Sqlite, T, SqliteArguments>;

pub(crate) trait Row: for<'r> FromRow<'r, SqliteRow> + Send + Unpin {}
impl<R: for<'r> FromRow<'r, SqliteRow> + Send + Unpin> Row for R {}

pub(crate) async fn row<R: Row>(
    connection: &mut SqliteConnection,
    select: Select<'_, R>,
) -> Result<Option<R>, CatalogError> {
    select.fetch_optional(connection).await.map_err(map)
}

pub(crate) async fn rows<R: Row>(
    connection: &mut SqliteConnection,
    select: Select<'_, R>,
) -> Result<Vec<R>, CatalogError> {
    select.fetch_all(connection).await.map_err(map)
}

pub(crate) async fn find<R: Row, T>(
    connection: &mut SqliteConnection,
    select: Select<'_, R>,
) -> Result<Option<T>, CatalogError>
where
    T: TryFrom<R, Error = Corrupt>,
{
    Ok(row(connection, select).await?.map(T::try_from).transpose()?)
}

pub(crate) async fn list<R: Row, T>(
    connection: &mut SqliteConnection,
    select: Select<'_, R>,
) -> Result<Vec<T>, CatalogError>
where
    T: TryFrom<R, Error = Corrupt>,
{
    Ok(rows(connection, select).await?.into_iter().map(T::try_from).collect::<Result<_, _>>()?)
}

pub(crate) async fn scalar<T>(connection: &mut SqliteConnection, select: Scalar<'_, T>) -> Result<T, CatalogError>
where
    T: Send + Unpin,
    (T,): Row,
{
    select.fetch_one(connection).await.map_err(map)
}

/// Runs a statement and says how many rows it changed.
pub(crate) async fn execute(connection: &mut SqliteConnection, statement: Statement<'_>) -> Result<u64, CatalogError> {
    statement.execute(connection).await.map(|done| done.rows_affected()).map_err(map)
}

/// Runs a statement that must change one row, else the record's revision was not held.
pub(crate) async fn execute_held(
    connection: &mut SqliteConnection,
    statement: Statement<'_>,
) -> Result<(), CatalogError> {
    match execute(connection, statement).await? {
        0 => Err(CatalogError::Conflict(Conflict::StaleRevision)),
        _ => Ok(()),
    }
}
