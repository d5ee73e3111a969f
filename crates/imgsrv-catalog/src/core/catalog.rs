//! The catalog over a database's connections.

use crate::core::{connection::Connection, tx::SqlTx};
use async_trait::async_trait;
use futures::stream::BoxStream;
use imgsrv_domain::{
    ports::{Catalog, CatalogError, CatalogTx, Enqueued},
    time::Timestamp,
};

/// A migrated database.
#[async_trait]
pub trait SqlDatabase: Send + Sync + 'static {
    /// A connection to it.
    type Connection: Connection + 'static;

    /// A connection for single reads.
    async fn reader(&self) -> Result<Self::Connection, CatalogError>;
    /// A connection for reads that must agree with one another.
    async fn snapshot(&self) -> Result<Self::Connection, CatalogError>;
    /// A connection in a fresh transaction, and the time on the database's clock.
    async fn begin(&self) -> Result<(Self::Connection, Timestamp), CatalogError>;
    /// The time on the database's clock.
    async fn now(&self) -> Result<Timestamp, CatalogError>;
    /// How many more bytes there is room for on its disk; `None` where nobody can tell.
    async fn free_bytes(&self) -> Result<Option<u64>, CatalogError>;
    /// What other processes enqueue, as [`Catalog::enqueued`] promises.
    fn enqueued(&self) -> BoxStream<'static, Enqueued>;
    /// Closes every connection.
    async fn close(&self);
}

/// A catalog in a SQL database.
pub struct SqlCatalog<D> {
    pub(crate) database: D,
}

impl<D: SqlDatabase> SqlCatalog<D> {
    /// The catalog in `database`, whose schema is up to date.
    pub const fn new(database: D) -> Self {
        Self { database }
    }

    /// The database.
    pub const fn database(&self) -> &D {
        &self.database
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

    fn enqueued(&self) -> BoxStream<'static, Enqueued> {
        self.database.enqueued()
    }
}
