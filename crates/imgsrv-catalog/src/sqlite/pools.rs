//! The connections to the file: a writer and readers, or readers alone.

use super::{file::lock_unchanging, wal_index::WalIndex};
use crate::core::{
    inspection::{APPLIED, IDENTITY, Inspection, pending},
    migrations::migrator,
};
use imgsrv_domain::ports::{CatalogError, Unwritable};
use sqlx::{
    Connection as _, Pool, Sqlite, SqliteConnection,
    migrate::{MigrateError, Migrator},
    query, query_as, query_scalar,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use std::{fs::File, path::Path, sync::LazyLock, time::Duration};

static MIGRATOR: LazyLock<Migrator> = migrator!("sqlite");

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
    #[error(
        "the catalog {path} was migrated by a newer version of imgsrv (migration {version} is unknown to this version)"
    )]
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
    /// The schema must be migrated, which the disk does not permit.
    #[error("the catalog {path} must be migrated before it can be used, but {why}")]
    Outdated {
        /// The path of the file.
        path: String,
        /// Why it cannot be migrated.
        why: Unwritable,
    },
    /// The log has changes that cannot be read without creating a file.
    #[error(
        "cannot read the catalog {path}: its latest changes are in {path}-wal, SQLite must create {path}-shm to read \
             them, and {why}"
    )]
    Log {
        /// The path of the file.
        path: String,
        /// Why no file can be created.
        why: Unwritable,
    },
}

impl OpenError {
    pub(super) fn open(path: &Path, source: sqlx::Error) -> Self {
        Self::Open { path: path.display().to_string(), source }
    }
}

/// The connections to the file.
pub(super) struct Pools {
    /// One connection, or why there is none.
    pub(super) writer: Result<Pool<Sqlite>, Unwritable>,
    pub(super) readers: Pool<Sqlite>,
    /// Held while the readers would not notice what another process writes.
    unchanging: Option<File>,
    /// The index of the log, if there is a writer. Dropped after the connections.
    pub(super) log_index: Option<WalIndex>,
}

impl Pools {
    /// A writer and readers. The schema is migrated.
    pub(super) async fn writable(path: &Path, create_if_missing: bool) -> Result<Self, OpenError> {
        let options = options(path).create_if_missing(create_if_missing).journal_mode(SqliteJournalMode::Wal);
        let writer = pool(1)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_with(options.clone())
            .await
            .map_err(|source| OpenError::open(path, source))?;
        migrate(&writer).await.map_err(|source| match source {
            MigrateError::VersionMissing(version) => OpenError::Newer { path: path.display().to_string(), version },
            source => OpenError::Migrate { path: path.display().to_string(), source },
        })?;
        check_writer(&writer).await.map_err(|source| OpenError::open(path, source))?;
        let readers = readers(options).await.map_err(|source| OpenError::open(path, source))?;
        // Without it, what has changed is found by queries.
        let log_index = WalIndex::open(path).ok();
        Ok(Self { writer: Ok(writer), readers, unchanging: None, log_index })
    }

    /// Readers alone, on a disk that accepts no writes.
    ///
    /// SQLite reads a file in WAL mode through its index `-shm`. A crash leaves one behind; otherwise it must be created,
    /// which may be impossible. Without a log the file is the whole catalog and is read as an immutable one: that ignores
    /// the writes of other processes, so the file is locked against them.
    pub(super) async fn read_only(path: &Path, why: Unwritable) -> Result<Self, OpenError> {
        let options = options(path);
        let failed = |source| OpenError::open(path, source);
        if let Ok(readers) = readers(options.clone()).await {
            match check_schema(&readers, path, why).await {
                // Migrations can be listed only if the file can be read.
                Err(OpenError::Open { .. }) => readers.close().await,
                checked => {
                    return checked.map(|()| Self { writer: Err(why), readers, unchanging: None, log_index: None });
                }
            }
        }
        let unchanging = lock_unchanging(path).map_err(|error| failed(error.into()))?;
        let unchanging = unchanging.ok_or_else(|| OpenError::Log { path: path.display().to_string(), why })?;
        let readers = readers(options.immutable(true)).await.map_err(failed)?;
        check_schema(&readers, path, why).await?;
        Ok(Self { writer: Err(why), readers, unchanging: Some(unchanging), log_index: None })
    }

    pub(super) fn writer(&self) -> Result<&Pool<Sqlite>, CatalogError> {
        self.writer.as_ref().map_err(|why| CatalogError::unwritable(*why))
    }

    /// Closes every connection, once it is idle. The last one merges the write-ahead log into the file.
    pub(super) async fn close(&self) {
        self.readers.close().await;
        if let Ok(writer) = &self.writer {
            writer.close().await;
        }
    }

    /// Closes the readers, so that the file can be opened in another way. Fails if one of them stays in use.
    pub(super) async fn close_readers(&mut self) -> Result<(), sqlx::Error> {
        let closed = tokio::time::timeout(ACQUIRE_LIMIT, self.readers.close()).await;
        self.unchanging = None;
        closed.map_err(|_elapsed| sqlx::Error::PoolTimedOut)
    }
}

fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(ACQUIRE_LIMIT)
}

/// A pool that closes a connection whose rollback failed: SQLite itself rolls back when the disk is full, and the driver
/// would count the connection as inside a transaction from then on.
fn pool(connections: u32) -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(ACQUIRE_LIMIT)
        .before_acquire(|connection, _| Box::pin(async move { Ok(!connection.is_in_transaction()) }))
}

/// Cache of each reader, in KiB: what a page of 50 images reads in a catalog of a million versions takes 2 MiB.
const READER_CACHE: &str = "-3072";

/// All of them are opened now and stay open: one that was opened later would read another file, if the catalog has been
/// replaced.
async fn readers(options: SqliteConnectOptions) -> Result<Pool<Sqlite>, sqlx::Error> {
    let options = options.create_if_missing(false).read_only(true).pragma("cache_size", READER_CACHE);
    let pool = pool(READERS).min_connections(READERS).idle_timeout(None).max_lifetime(None);
    pool.connect_with(options).await
}

async fn migrate(writer: &Pool<Sqlite>) -> Result<(), MigrateError> {
    let mut connection = writer.acquire().await?;
    MIGRATOR.run_direct(None, &mut *connection, false).await
}

/// Fails if SQLite could open the file only for reads, which it does silently. `BEGIN IMMEDIATE` would not fail.
async fn check_writer(writer: &Pool<Sqlite>) -> Result<(), sqlx::Error> {
    query("DELETE FROM work_items WHERE false").execute(writer).await.map(drop)
}

/// Inspects the catalog at `path` without changing it; `None` if there is none.
pub(super) async fn inspect(path: &Path) -> Result<Option<Inspection>, OpenError> {
    if !std::fs::metadata(path).is_ok_and(|file| file.len() > 0) {
        return Ok(None);
    }
    let failed = |source| OpenError::open(path, source);
    let options = options(path).create_if_missing(false).read_only(true);
    let mut connection = SqliteConnection::connect_with(&options).await.map_err(failed)?;
    let applied: Vec<i64> = query_scalar(APPLIED).fetch_all(&mut connection).await.map_err(failed)?;
    let newer = |version| OpenError::Newer { path: path.display().to_string(), version };
    let pending = pending(&MIGRATOR, &applied).map_err(newer)?;
    let identity = query_as(IDENTITY).fetch_one(&mut connection).await.map_err(failed)?;
    connection.close().await.map_err(failed)?;
    Ok(Some(Inspection::new(pending, identity)))
}

/// Checks that the schema is the one that this program needs.
async fn check_schema(readers: &Pool<Sqlite>, path: &Path, why: Unwritable) -> Result<(), OpenError> {
    let applied = query_scalar(APPLIED).fetch_all(readers).await;
    let applied: Vec<i64> = applied.map_err(|source| OpenError::open(path, source))?;
    let path = path.display().to_string();
    match pending(&MIGRATOR, &applied) {
        Ok(0) => Ok(()),
        Ok(_) => Err(OpenError::Outdated { path, why }),
        Err(version) => Err(OpenError::Newer { path, version }),
    }
}
