//! The embedded catalog: one SQLite file in WAL mode.
//!
//! Writes use one connection, each transaction begun with `BEGIN IMMEDIATE` and fsynced at commit (`synchronous=FULL`);
//! reads use a small read-only pool.

mod connection;
mod error;

use crate::{
    core::{SqlCatalog, SqlDatabase, UndecodableRows, query_span, transaction_span},
    sqlite::connection::SqliteSession,
};
use async_trait::async_trait;
use futures::stream::{self, BoxStream};
use imgsrv_domain::{
    ports::{CatalogError, Clock},
    time::Timestamp,
    work::WorkKind,
};
use sqlx::{
    Connection as _, Pool, Sqlite,
    migrate::{MigrateError, Migrator},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

static MIGRATOR: Migrator = sqlx::migrate!("../../migrations/sqlite");

/// How long a request waits for a connection before the catalog counts as unreachable.
const ACQUIRE_LIMIT: Duration = Duration::from_secs(10);
const READERS: u32 = 4;

/// Why the catalog could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file cannot be opened.
    #[error("cannot open the catalog {path}: {source}")]
    Open {
        /// The path of the file.
        path: String,
        /// Why.
        source: sqlx::Error,
    },
    /// A newer program has migrated the schema.
    #[error("the catalog {path} was migrated by a newer imgsrv (migration {version} is unknown to this one)")]
    Newer {
        /// The path of the file.
        path: String,
        /// The unknown migration.
        version: i64,
    },
    /// The schema could not be migrated.
    #[error("cannot migrate the catalog {path}: {source}")]
    Migrate {
        /// The path of the file.
        path: String,
        /// Why.
        source: MigrateError,
    },
}

/// A pool that closes a connection whose rollback failed: SQLite itself rolls back when the disk is full, and the driver
/// would count the connection as inside a transaction from then on.
fn pool(connections: u32) -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(ACQUIRE_LIMIT)
        .before_acquire(|connection, _| Box::pin(async move { Ok(!connection.is_in_transaction()) }))
}

/// The catalog in one SQLite file.
pub type SqliteCatalog = SqlCatalog<SqliteDatabase>;

/// One SQLite file with the catalog's schema.
pub struct SqliteDatabase {
    writer: Pool<Sqlite>,
    readers: Pool<Sqlite>,
    clock: Arc<dyn Clock>,
    folder: PathBuf,
    undecodable: Arc<UndecodableRows>,
}

/// Opens the catalog at `path`, creates it if it does not exist, and migrates its schema. Its clock is `clock`.
pub async fn open(path: &Path, clock: Arc<dyn Clock>) -> Result<SqliteCatalog, OpenError> {
    let shown = || path.display().to_string();
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(ACQUIRE_LIMIT);
    let writer = pool(1)
        .idle_timeout(None)
        .max_lifetime(None)
        .connect_with(options.clone())
        .await
        .map_err(|source| OpenError::Open { path: shown(), source })?;
    migrate(&writer).await.map_err(|source| match source {
        MigrateError::VersionMissing(version) => OpenError::Newer { path: shown(), version },
        source => OpenError::Migrate { path: shown(), source },
    })?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned();
    let readers = pool(READERS)
        .connect_with(options.read_only(true).pragma("cache_size", "-1024"))
        .await
        .map_err(|source| OpenError::Open { path: shown(), source })?;
    Ok(SqlCatalog { database: SqliteDatabase { writer, readers, clock, folder, undecodable: Arc::default() } })
}

async fn migrate(writer: &Pool<Sqlite>) -> Result<(), MigrateError> {
    let mut connection = writer.acquire().await?;
    MIGRATOR.run_direct(None, &mut *connection, false).await
}

#[async_trait]
impl SqlDatabase for SqliteDatabase {
    type Connection = SqliteSession;

    fn undecodable(&self) -> &UndecodableRows {
        &self.undecodable
    }

    async fn reader(&self) -> Result<SqliteSession, CatalogError> {
        SqliteSession::single(&self.readers, Arc::clone(&self.undecodable), query_span()).await
    }

    async fn writer(&self) -> Result<SqliteSession, CatalogError> {
        SqliteSession::single(&self.writer, Arc::clone(&self.undecodable), query_span()).await
    }

    async fn snapshot(&self) -> Result<(SqliteSession, Timestamp), CatalogError> {
        let undecodable = Arc::clone(&self.undecodable);
        let session = SqliteSession::transaction(&self.readers, "BEGIN", undecodable, query_span()).await?;
        Ok((session, self.clock.now()))
    }

    async fn begin(&self) -> Result<(SqliteSession, Timestamp), CatalogError> {
        let undecodable = Arc::clone(&self.undecodable);
        let begin = "BEGIN IMMEDIATE";
        let session = SqliteSession::transaction(&self.writer, begin, undecodable, transaction_span()).await?;
        Ok((session, self.clock.now()))
    }

    async fn now(&self) -> Result<Timestamp, CatalogError> {
        Ok(self.clock.now())
    }

    fn clock(&self, _read: Option<Timestamp>) -> Result<Timestamp, CatalogError> {
        Ok(self.clock.now())
    }

    async fn free_bytes(&self) -> Result<Option<u64>, CatalogError> {
        let folder = self.folder.clone();
        let statvfs = tokio::task::spawn_blocking(move || rustix::fs::statvfs(&folder)).await;
        let disk = statvfs
            .map_err(|panic| CatalogError::Unavailable(Box::new(panic)))?
            .map_err(|error| CatalogError::Unavailable(Box::new(error)))?;
        Ok(Some(disk.f_bavail.saturating_mul(disk.f_frsize)))
    }

    /// Nothing: no other process writes to the file.
    fn enqueued(&self) -> BoxStream<'static, Option<WorkKind>> {
        Box::pin(stream::empty())
    }

    /// The last connection merges the write-ahead log into the file.
    async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}
