//! The embedded catalog: one SQLite file in WAL mode.
//!
//! Writes go through one connection, each transaction `BEGIN IMMEDIATE` and fsynced at commit
//! (`synchronous=FULL`); reads go through a small read-only pool and see consistent snapshots.

mod aliases;
mod audit;
mod blobs;
mod connection;
mod error;
mod images;
mod jobs;
mod lock;
mod manifests;
mod principals;
mod queries;
mod tx;
mod uploads;
mod versions;

pub use lock::{DataDirLock, LockError};

use async_trait::async_trait;
use imgsrv_domain::ports::{Catalog, CatalogError, CatalogTx, Clock};
use sqlx::{
    Connection, Pool, Sqlite,
    migrate::{MigrateError, Migrator},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use std::{path::Path, sync::Arc, time::Duration};

static MIGRATOR: Migrator = sqlx::migrate!("../../migrations/sqlite");

/// How long a request waits for its turn to write before the catalog counts as unreachable.
const PATIENCE: Duration = Duration::from_secs(10);
const READERS: u32 = 4;

/// Why the catalog could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file cannot be opened.
    #[error("cannot open the catalog {path}: {source}")]
    Open {
        /// The file.
        path: String,
        /// Why.
        source: sqlx::Error,
    },
    /// A newer program has changed the schema.
    #[error("the catalog {path} was migrated by a newer imgsrv (migration {version} is unknown to this one)")]
    Newer {
        /// The file.
        path: String,
        /// The migration that this program does not know.
        version: i64,
    },
    /// The schema could not be brought up to date.
    #[error("cannot migrate the catalog {path}: {source}")]
    Migrate {
        /// The file.
        path: String,
        /// Why.
        source: MigrateError,
    },
}

/// A pool that drops a connection whose rollback failed: SQLite rolls back by itself when the disk is full, and the
/// driver would take the connection to be inside a transaction for ever after.
fn pool(connections: u32) -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(PATIENCE)
        .before_acquire(|connection, _| Box::pin(async move { Ok(!connection.is_in_transaction()) }))
}

/// The catalog in one SQLite file.
pub struct SqliteCatalog {
    writer: Pool<Sqlite>,
    readers: Pool<Sqlite>,
    clock: Arc<dyn Clock>,
}

impl SqliteCatalog {
    /// Opens the catalog at `path`, makes it if it is not there, and brings its schema up to date.
    pub async fn open(path: &Path, clock: Arc<dyn Clock>) -> Result<Self, OpenError> {
        let shown = || path.display().to_string();
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(PATIENCE);
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
        let readers = pool(READERS)
            .connect_with(options.read_only(true).pragma("cache_size", "-1024"))
            .await
            .map_err(|source| OpenError::Open { path: shown(), source })?;
        Ok(Self { writer, readers, clock })
    }

    /// Closes every connection; the write-ahead log is merged into the file.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

async fn migrate(writer: &Pool<Sqlite>) -> Result<(), MigrateError> {
    let mut connection = writer.acquire().await?;
    MIGRATOR.run_direct(None, &mut *connection, false).await
}

#[async_trait]
impl Catalog for SqliteCatalog {
    async fn begin(&self) -> Result<Box<dyn CatalogTx>, CatalogError> {
        let inner = self.writer.begin_with("BEGIN IMMEDIATE").await.map_err(error::map)?;
        Ok(Box::new(tx::SqliteTx::new(inner, self.clock.now())))
    }
}

/// Every statement of this crate, so that a test can prepare each on the migrated schema.
#[doc(hidden)]
pub const STATEMENTS: &[&[&str]] = &[
    aliases::STATEMENTS,
    audit::STATEMENTS,
    blobs::STATEMENTS,
    images::STATEMENTS,
    jobs::STATEMENTS,
    manifests::STATEMENTS,
    principals::STATEMENTS,
    queries::STATEMENTS,
    uploads::STATEMENTS,
    versions::STATEMENTS,
];
