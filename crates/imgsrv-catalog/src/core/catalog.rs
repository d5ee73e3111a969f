//! The catalog in a SQL database.

use crate::{
    core::{
        connection::{self, Connection, Reads},
        tx::SqlTx,
        value::Value,
    },
    rows::{Corrupt, SqlTime},
};
use async_trait::async_trait;
use futures::stream::BoxStream;
use imgsrv_domain::{
    ports::{Catalog, CatalogError, CatalogTx},
    time::Timestamp,
    work::WorkKind,
};
use tracing::Span;

/// A database with the catalog's schema. The statements of a connection are traced in the span that it is given.
#[async_trait]
pub(crate) trait SqlDatabase: Send + Sync + 'static {
    /// A connection to it.
    type Connection: Connection + 'static;

    /// A connection for single reads.
    async fn reader(&self, span: Span) -> Result<Self::Connection, CatalogError>;
    /// A connection for single statements that may write.
    async fn writer(&self, span: Span) -> Result<Self::Connection, CatalogError>;
    /// A connection for reads of one consistent state, and the time on the database's clock.
    async fn snapshot(&self, span: Span) -> Result<(Self::Connection, Timestamp), CatalogError>;
    /// A connection in a new transaction, and the time on the database's clock.
    async fn begin(&self, span: Span) -> Result<(Self::Connection, Timestamp), CatalogError>;
    /// The time on the database's clock.
    async fn now(&self, span: Span) -> Result<Timestamp, CatalogError>;
    /// The time on the database's clock at which a statement ran that read it as `read`: always on a database that has
    /// a clock, never on another.
    fn clock(&self, read: Option<SqlTime>) -> Result<Timestamp, CatalogError>;
    /// The free space on its disk; `None` where it is not known.
    async fn free_bytes(&self) -> Result<Option<u64>, CatalogError>;
    /// What other processes enqueue, as [`Catalog::enqueued`] promises.
    fn enqueued(&self) -> BoxStream<'static, Option<WorkKind>>;
    /// Closes every connection.
    async fn close(&self);
}

/// A catalog in a SQL database.
pub struct SqlCatalog<D> {
    pub(crate) database: D,
}

fn query_span() -> Span {
    tracing::debug_span!("catalog.query")
}

#[expect(private_bounds, reason = "its methods are private, too")]
impl<D: SqlDatabase> SqlCatalog<D> {
    /// A connection for single reads, traced as one query.
    pub(crate) async fn reader(&self) -> Result<D::Connection, CatalogError> {
        self.database.reader(query_span()).await
    }

    /// A connection for single statements that may write, traced as one query.
    pub(crate) async fn writer(&self) -> Result<D::Connection, CatalogError> {
        self.database.writer(query_span()).await
    }

    /// A connection for reads of one consistent state, and the time on the catalog's clock.
    pub(crate) async fn snapshot(&self) -> Result<(D::Connection, Timestamp), CatalogError> {
        self.database.snapshot(query_span()).await
    }

    /// The time on the catalog's clock.
    pub(crate) async fn now(&self) -> Result<Timestamp, CatalogError> {
        self.database.now(query_span()).await
    }

    /// The record that one statement finds.
    pub(crate) async fn find<R, T>(&self, sql: &'static str, values: Vec<Value>) -> Result<Option<T>, CatalogError>
    where
        <D::Connection as Connection>::Row: Reads<R>,
        T: TryFrom<R, Error = Corrupt>,
    {
        connection::find::<R, T, _>(&mut self.reader().await?, sql, values).await
    }

    /// The records that one statement finds.
    pub(crate) async fn list<R, T>(&self, sql: &'static str, values: Vec<Value>) -> Result<Vec<T>, CatalogError>
    where
        <D::Connection as Connection>::Row: Reads<R>,
        T: TryFrom<R, Error = Corrupt>,
    {
        connection::list::<R, T, _>(&mut self.reader().await?, sql, values).await
    }
}

#[async_trait]
impl<D: SqlDatabase> Catalog for SqlCatalog<D> {
    async fn begin(&self) -> Result<Box<dyn CatalogTx>, CatalogError> {
        let (connection, now) = self.database.begin(tracing::debug_span!("catalog.transaction")).await?;
        Ok(Box::new(SqlTx::new(connection, now)))
    }

    fn enqueued(&self) -> BoxStream<'static, Option<WorkKind>> {
        self.database.enqueued()
    }
}
