//! What the shared statements need of a connection, and decoding what comes back.

use crate::{Corrupt, core::value::Value, rows};
use imgsrv_domain::ports::{CatalogError, Conflict};
use sqlx::{FromRow, Row};
use uuid::Uuid;

/// A row type that `T` can be read from.
pub trait Reads<T>: Row {
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
        /// A database's row that everything in the catalog can be read from.
        pub trait CatalogRow: $(Reads<$read> +)* {}
        impl<R> CatalogRow for R where R: $(Reads<$read> +)* {}
    };
}
catalog_row!(
    (bool,),
    (i64,),
    (Uuid,),
    (Uuid, Option<Uuid>),
    (Option<rows::SqlTime>,),
    (String, i64),
    rows::AdmissionRow,
    rows::AliasRow,
    rows::ArtifactRow,
    rows::AttachmentRow,
    rows::AuditRow,
    rows::BlobRow,
    rows::CredentialRow,
    rows::EntryRow,
    rows::ImageRow,
    rows::InspectionRow,
    rows::IntakeRow,
    rows::JobRow,
    rows::PairRow,
    rows::PartRow,
    rows::PrincipalRow,
    rows::PublishedFileRow,
    rows::ReleasedFileRow,
    rows::ResolvedRow,
    rows::RuleRow,
    rows::StepRow,
    rows::StreamAliasRow,
    rows::StreamImageRow,
    rows::StreamRowRow,
    rows::TokenRow,
    rows::UntrustedRow,
    rows::UploadRow,
    rows::VersionRow,
    rows::WaitRow,
    rows::WarningRow,
);

/// A statement that locks the rows it finds, where the database has several writers at once.
#[derive(Debug, Clone, Copy)]
pub struct Lockable {
    /// For a database whose transactions exclude one another.
    pub plain: &'static str,
    /// For one that locks rows.
    pub locking: &'static str,
}

impl Lockable {
    pub(crate) const fn on<C: Connection>(self) -> &'static str {
        if C::LOCKS_ROWS { self.locking } else { self.plain }
    }
}

/// A connection to a database, inside or outside of a transaction. Statements have numbered placeholders (`$1`).
pub trait Connection: Send {
    /// The database's rows.
    type Row: CatalogRow;
    /// Whether transactions run beside one another, so that a row that is read to be changed must be locked.
    const LOCKS_ROWS: bool;

    /// Runs a query.
    fn rows(
        &mut self,
        sql: &'static str,
        values: Vec<Value>,
    ) -> impl Future<Output = Result<Vec<Self::Row>, CatalogError>> + Send;

    /// Runs a statement and says how many rows it changed.
    fn execute(
        &mut self,
        sql: &'static str,
        values: Vec<Value>,
    ) -> impl Future<Output = Result<u64, CatalogError>> + Send;

    /// Commits the transaction.
    fn commit(self) -> impl Future<Output = Result<(), CatalogError>> + Send;
}

fn read<R: Reads<T>, T>(row: &R) -> Result<T, CatalogError> {
    row.read().map_err(|error| CatalogError::Backend(Box::new(error)))
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

/// The record that a row of type `R` stands for, if there is one.
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

/// The records that rows of type `R` stand for.
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

/// Runs a statement that must change one row, else the record's revision was not held.
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
