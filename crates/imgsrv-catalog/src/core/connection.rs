//! Connections, as the shared statements use them, and the decoding of rows.

use crate::{
    core::value::Value,
    rows::{self, Corrupt},
};
use imgsrv_domain::ports::{CatalogError, Conflict};
use sqlx::{FromRow, Row};
use uuid::Uuid;

/// A row type that `T` can be read from.
pub(crate) trait Reads<T>: Row {
    /// The row as a `T`.
    fn read(&self) -> Result<T, sqlx::Error>;
}

impl<T, R: Row> Reads<T> for R
where
    T: for<'r> FromRow<'r, R>,
{
    fn read(&self) -> Result<T, sqlx::Error> {
        T::from_row(self)
    }
}

macro_rules! catalog_row {
    ($($read:ty),* $(,)?) => {
        /// A database's row that every record of the catalog can be read from.
        pub(crate) trait CatalogRow: $(Reads<$read> +)* {}
        impl<R> CatalogRow for R where R: $(Reads<$read> +)* {}
    };
}
catalog_row!(
    (bool,),
    (i64,),
    (rows::SqlTime,),
    (Uuid,),
    (Uuid, Option<Uuid>),
    (Option<rows::SqlTime>, Option<rows::SqlTime>),
    (String, i64),
    rows::AdmissionRow,
    rows::AliasRow,
    rows::ArtifactRow,
    rows::AttachmentRow,
    rows::AuditRow,
    rows::BlobRow,
    rows::EntryRow,
    rows::FingerprintRow,
    rows::ImageRow,
    rows::IntakeRow,
    rows::JobReportRow,
    rows::JobStepRow,
    rows::LeasedRow,
    rows::PartRow,
    rows::PrincipalRow,
    rows::ResolvedRow,
    rows::RuleRow,
    rows::StreamImageRow,
    rows::StreamIndexRow,
    rows::TimedRow<rows::StoredTokenRow>,
    rows::TimedRow<rows::RuleRow>,
    rows::TokenRow,
    rows::UntrustedRow,
    rows::UploadRow,
    rows::VersionRow,
    rows::WaitRow,
);

/// A statement that differs between databases: PostgreSQL locks rows and has the catalog's clock.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Dialects {
    pub(crate) sqlite: &'static str,
    pub(crate) postgres: &'static str,
}

impl Dialects {
    /// The statement for the database of `C`.
    pub(crate) const fn on<C: Connection>(self) -> &'static str {
        if C::LOCKS_ROWS { self.postgres } else { self.sqlite }
    }
}

/// A connection to a database, inside or outside of a transaction. Statements have numbered placeholders (`$1`).
pub(crate) trait Connection: Send {
    /// The database's rows.
    type Row: CatalogRow;
    /// Whether transactions are concurrent, so that a row that is read to be changed must be locked.
    const LOCKS_ROWS: bool;

    /// Runs a query.
    fn rows(
        &mut self,
        sql: &'static str,
        values: Vec<Value>,
    ) -> impl Future<Output = Result<Vec<Self::Row>, CatalogError>> + Send;

    /// Runs a statement and returns how many rows it changed.
    fn execute(
        &mut self,
        sql: &'static str,
        values: Vec<Value>,
    ) -> impl Future<Output = Result<u64, CatalogError>> + Send;

    /// Commits the transaction.
    fn commit(self) -> impl Future<Output = Result<(), CatalogError>> + Send;
}

pub(crate) fn read<R: Reads<T>, T>(row: &R) -> Result<T, CatalogError> {
    row.read().map_err(|error| CatalogError::Corrupt(Box::new(error)))
}

pub(crate) async fn rows<T, C: Connection>(
    connection: &mut C,
    sql: &'static str,
    values: Vec<Value>,
) -> Result<Vec<T>, CatalogError>
where
    C::Row: Reads<T>,
{
    connection.rows(sql, values).await?.iter().map(read).collect()
}

pub(crate) async fn row<T, C: Connection>(
    connection: &mut C,
    sql: &'static str,
    values: Vec<Value>,
) -> Result<Option<T>, CatalogError>
where
    C::Row: Reads<T>,
{
    connection.rows(sql, values).await?.first().map(read).transpose()
}

/// The record of the first row, which is read as an `R`.
pub(crate) async fn find<R, T, C: Connection>(
    connection: &mut C,
    sql: &'static str,
    values: Vec<Value>,
) -> Result<Option<T>, CatalogError>
where
    C::Row: Reads<R>,
    T: TryFrom<R, Error = Corrupt>,
{
    Ok(row::<R, C>(connection, sql, values).await?.map(T::try_from).transpose()?)
}

/// The records of all rows, which are read as `R`s.
pub(crate) async fn list<R, T, C: Connection>(
    connection: &mut C,
    sql: &'static str,
    values: Vec<Value>,
) -> Result<Vec<T>, CatalogError>
where
    C::Row: Reads<R>,
    T: TryFrom<R, Error = Corrupt>,
{
    Ok(rows::<R, C>(connection, sql, values).await?.into_iter().map(T::try_from).collect::<Result<_, _>>()?)
}

/// The one value of a query that always has a row.
pub(crate) async fn scalar<T, C: Connection>(
    connection: &mut C,
    sql: &'static str,
    values: Vec<Value>,
) -> Result<T, CatalogError>
where
    C::Row: Reads<(T,)>,
{
    let found: Option<(T,)> = row(connection, sql, values).await?;
    found.map(|(value,)| value).ok_or_else(|| CatalogError::Backend(Box::new(sqlx::Error::RowNotFound)))
}

/// Runs a statement that must change one row, else the record's revision was stale.
pub(crate) async fn execute_fenced<C: Connection>(
    connection: &mut C,
    sql: &'static str,
    values: Vec<Value>,
) -> Result<(), CatalogError> {
    match connection.execute(sql, values).await? {
        0 => Err(CatalogError::Conflict(Conflict::StaleRevision)),
        _ => Ok(()),
    }
}
