//! The catalog in a SQL database.

use crate::core::{connection::Connection, stored::values, tx::SqlTx, undecodable::UndecodableRows, value::Value};
use async_trait::async_trait;
use futures::stream::BoxStream;
use imgsrv_domain::{
    ports::{Catalog, CatalogError, CatalogTx, ChangeMark},
    time::Timestamp,
    work::WorkKind,
};

/// A database with the catalog's schema.
#[async_trait]
pub(crate) trait SqlDatabase: Send + Sync + 'static {
    /// A connection to it.
    type Connection: Connection + 'static;

    /// The undecodable rows that its connections have read.
    fn undecodable(&self) -> &UndecodableRows;
    /// A connection for single reads.
    async fn reader(&self) -> Result<Self::Connection, CatalogError>;
    /// A connection for single statements that may write.
    async fn writer(&self) -> Result<Self::Connection, CatalogError>;
    /// A connection for reads of one consistent state, and the time on the database's clock.
    async fn snapshot(&self) -> Result<(Self::Connection, Timestamp), CatalogError>;
    /// A connection in a new transaction, and the time on the database's clock.
    async fn begin(&self) -> Result<(Self::Connection, Timestamp), CatalogError>;
    /// The time on the database's clock.
    async fn now(&self) -> Result<Timestamp, CatalogError>;
    /// The time on the database's clock at which a statement ran that read it as `read`: always on a database that has
    /// a clock, never on another.
    fn clock(&self, read: Option<Timestamp>) -> Result<Timestamp, CatalogError>;
    /// The free space on its disk; `None` where it is not known.
    async fn free_bytes(&self) -> Result<Option<u64>, CatalogError>;
    /// Checks that its connections use the database that later connections would.
    async fn check(&self) -> Result<(), CatalogError> {
        Ok(())
    }
    /// The same as [`Catalog::change_mark`].
    fn change_mark(&self) -> Option<ChangeMark> {
        None
    }
    /// What other processes enqueue, as [`Catalog::enqueued`] promises.
    fn enqueued(&self) -> BoxStream<'static, Option<WorkKind>>;
    /// Closes every connection.
    async fn close(&self);
}

/// A catalog in a SQL database.
pub struct SqlCatalog<D> {
    pub(crate) database: D,
}

#[expect(private_bounds, reason = "the databases have public names of their own")]
impl<D: SqlDatabase> SqlCatalog<D> {
    /// A connection for single reads.
    pub(crate) async fn reader(&self) -> Result<D::Connection, CatalogError> {
        self.database.reader().await
    }

    /// `values` with the time on the clock after them, if statements cannot read it.
    pub(crate) fn with_time(&self, mut values: Vec<Value>) -> Result<Vec<Value>, CatalogError> {
        if !<D::Connection as Connection>::LOCKS_ROWS {
            values.extend(values![self.database.clock(None)?]);
        }
        Ok(values)
    }

    /// Closes every connection.
    pub async fn close(&self) {
        self.database.close().await;
    }
}

#[async_trait]
impl<D: SqlDatabase> Catalog for SqlCatalog<D> {
    async fn begin(&self) -> Result<Box<dyn CatalogTx>, CatalogError> {
        let (connection, now) = self.database.begin().await?;
        Ok(Box::new(SqlTx::new(connection, now)))
    }

    fn change_mark(&self) -> Option<ChangeMark> {
        self.database.change_mark()
    }

    fn enqueued(&self) -> BoxStream<'static, Option<WorkKind>> {
        self.database.enqueued()
    }
}
