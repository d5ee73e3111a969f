//! The embedded catalog: one SQLite file in WAL mode.
//!
//! Writes use one connection, each transaction begun with `BEGIN IMMEDIATE` and fsynced at commit (`synchronous=FULL`);
//! reads use a small read-only pool. On a full or read-only disk there may be the pool alone. No write is acknowledged
//! once the file was removed or replaced.

mod connection;
mod error;
mod file;
mod pools;
mod wal_index;

pub use pools::OpenError;

use crate::{
    core::{Inspection, SqlCatalog, SqlDatabase, UndecodableRows, query_span, transaction_span},
    sqlite::{connection::SqliteSession, file::CatalogFile, pools::Pools},
};
use async_trait::async_trait;
use futures::stream::{self, BoxStream};
use imgsrv_domain::{
    ports::{CatalogError, ChangeMark, Clock, Unwritable},
    time::Timestamp,
    work::WorkKind,
};
use std::{path::Path, sync::Arc};
use tokio::sync::RwLock;

/// The catalog in one SQLite file.
pub type SqliteCatalog = SqlCatalog<SqliteDatabase>;

/// One SQLite file with the catalog's schema.
pub struct SqliteDatabase {
    /// Locked exclusively while connections are replaced.
    pools: RwLock<Pools>,
    file: Arc<CatalogFile>,
    clock: Arc<dyn Clock>,
    undecodable: Arc<UndecodableRows>,
}

/// Opens the catalog at `path`, creates it if it does not exist, and migrates its schema. Its clock is `clock`.
pub async fn open(path: &Path, clock: Arc<dyn Clock>) -> Result<SqliteCatalog, OpenError> {
    catalog(path, Pools::writable(path, true).await?, clock)
}

/// Opens the existing catalog at `path`, whose disk accepts no writes because of `why`. Writes fail until
/// `SqlCatalog::accept_writes` succeeds.
///
/// Commands that write to the catalog hold [`lock_for_command`] meanwhile.
pub async fn open_read_only(path: &Path, clock: Arc<dyn Clock>, why: Unwritable) -> Result<SqliteCatalog, OpenError> {
    catalog(path, Pools::read_only(path, why).await?, clock)
}

pub use file::{CommandLock, lock_for_command};

/// Inspects the catalog at `path` without changing it, also beside a server; `None` if there is none.
pub async fn inspect(path: &Path) -> Result<Option<Inspection>, OpenError> {
    pools::inspect(path).await
}

fn catalog(path: &Path, pools: Pools, clock: Arc<dyn Clock>) -> Result<SqliteCatalog, OpenError> {
    let file = CatalogFile::of(path).map_err(|error| OpenError::open(path, error.into()))?;
    let (pools, file) = (RwLock::new(pools), Arc::new(file));
    let database = SqliteDatabase { pools, file, clock, undecodable: Arc::default() };
    Ok(SqlCatalog { database })
}

impl SqlCatalog<SqliteDatabase> {
    /// Whether the catalog was opened for reads alone and still is.
    pub async fn is_read_only(&self) -> bool {
        self.database.pools.read().await.writer.is_err()
    }

    /// Makes a catalog that was opened for reads alone accept writes, if its disk does now. Reads wait meanwhile. If this
    /// fails, the catalog can be read as before.
    pub async fn accept_writes(&self) -> Result<(), OpenError> {
        let database = &self.database;
        let mut pools = database.pools.write().await;
        let Err(why) = pools.writer else { return Ok(()) };
        let path = database.file.path();
        database.file.find().map_err(|error| OpenError::open(path, error.into()))?;
        // Before there is a writer: it would share their read-only index, and some would not notice what it writes.
        let opened = match pools.close_readers().await {
            Ok(()) => Pools::writable(path, false).await,
            Err(error) => Err(OpenError::open(path, error)),
        };
        let (reopened, done) = match opened {
            Ok(writable) => (writable, Ok(())),
            Err(error) => (Pools::read_only(path, why).await?, Err(error)),
        };
        *pools = reopened;
        done
    }
}

#[async_trait]
impl SqlDatabase for SqliteDatabase {
    type Connection = SqliteSession;

    fn undecodable(&self) -> &UndecodableRows {
        &self.undecodable
    }

    async fn reader(&self) -> Result<SqliteSession, CatalogError> {
        let pools = self.pools.read().await;
        SqliteSession::single(&pools.readers, Arc::clone(&self.undecodable), query_span()).await
    }

    async fn writer(&self) -> Result<SqliteSession, CatalogError> {
        let pools = self.pools.read().await;
        let session = SqliteSession::single(pools.writer()?, Arc::clone(&self.undecodable), query_span()).await?;
        session.writing(&self.file)
    }

    async fn snapshot(&self) -> Result<(SqliteSession, Timestamp), CatalogError> {
        let (pools, undecodable) = (self.pools.read().await, Arc::clone(&self.undecodable));
        let session = SqliteSession::transaction(&pools.readers, "BEGIN", undecodable, query_span()).await?;
        Ok((session, self.clock.now()))
    }

    async fn begin(&self) -> Result<(SqliteSession, Timestamp), CatalogError> {
        let (pools, undecodable) = (self.pools.read().await, Arc::clone(&self.undecodable));
        let begin = "BEGIN IMMEDIATE";
        let session = SqliteSession::transaction(pools.writer()?, begin, undecodable, transaction_span()).await?;
        Ok((session.writing(&self.file)?, self.clock.now()))
    }

    async fn now(&self) -> Result<Timestamp, CatalogError> {
        Ok(self.clock.now())
    }

    fn clock(&self, _read: Option<Timestamp>) -> Result<Timestamp, CatalogError> {
        Ok(self.clock.now())
    }

    async fn free_bytes(&self) -> Result<Option<u64>, CatalogError> {
        let file = Arc::clone(&self.file);
        let statvfs = tokio::task::spawn_blocking(move || rustix::fs::statvfs(file.path())).await;
        let disk = statvfs
            .map_err(|panic| CatalogError::Unavailable(Box::new(panic)))?
            .map_err(|error| CatalogError::Unavailable(Box::new(error)))?;
        Ok(Some(disk.f_bavail.saturating_mul(disk.f_frsize)))
    }

    async fn check(&self) -> Result<(), CatalogError> {
        let file = Arc::clone(&self.file);
        let checked = tokio::task::spawn_blocking(move || file.check()).await;
        checked.map_err(|panic| CatalogError::Unavailable(Box::new(panic)))?
    }

    /// Nothing has changed while the header of the log's index is the same.
    fn change_mark(&self) -> Option<ChangeMark> {
        self.pools.try_read().ok()?.log_index.as_ref()?.mark()
    }

    /// Nothing: no other process writes to the file.
    fn enqueued(&self) -> BoxStream<'static, Option<WorkKind>> {
        Box::pin(stream::empty())
    }

    /// The last connection merges the write-ahead log into the file.
    async fn close(&self) {
        self.pools.read().await.close().await;
    }
}
