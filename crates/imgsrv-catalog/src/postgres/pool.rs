//! The pool of connections, and bringing the schema up to date.

use crate::postgres::{MIGRATOR, listen, session::PgSession};
use crate::{Connection, SqlDatabase, SqlTime};
use async_trait::async_trait;
use futures::stream::BoxStream;
use imgsrv_domain::{
    ports::{CatalogError, Enqueued},
    time::Timestamp,
};
use sqlx::{
    Connection as _, Executor, PgConnection, PgPool, Postgres, Row,
    migrate::MigrateError,
    pool::PoolConnection,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

/// How long a request waits for a connection before the catalog counts as unreachable.
const ACQUIRE: Duration = Duration::from_secs(5);
/// A connection that was idle for longer is tried before it is used: the server may have restarted.
const TRUSTED_IDLE: Duration = Duration::from_secs(1);
/// How long one node may take to migrate before another one that waits for it gives up.
const MIGRATION: Duration = Duration::from_mins(10);
/// The server's own deadlines: for a statement, for a lock, and for a transaction whose node has fallen silent.
const SESSION: &str = "SET statement_timeout = '15s'; SET lock_timeout = '5s';
    SET idle_in_transaction_session_timeout = '10s'";
/// How the server notices that a node has vanished without a word, and frees what it held.
const VANISHED: &str = "SET application_name = 'imgsrv'; SET tcp_keepalives_idle = 15;
    SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3";
/// How it notices that a statement is no longer waited for, where its version and system can.
const GIVEN_UP: &str = "DO $$ BEGIN PERFORM set_config('client_connection_check_interval', '1s', false);
    EXCEPTION WHEN OTHERS THEN NULL; END $$";

/// How to reach the database.
#[derive(Clone)]
pub struct PgSettings {
    /// `postgres://user:password@host:port/database?sslmode=...`. A secret: it may hold a password.
    pub url: String,
    /// The most connections this process holds, one more for listening aside.
    pub max_connections: u32,
}

/// Why the catalog could not be opened. None of it shows the URL.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The URL is not one of PostgreSQL.
    #[error("the PostgreSQL URL is not valid: {0}")]
    Url(#[source] sqlx::Error),
    /// The server cannot be reached, or refuses.
    #[error("cannot reach the PostgreSQL catalog at {host}:{port}: {source}")]
    Connect {
        /// Its host.
        host: String,
        /// Its port.
        port: u16,
        /// Why.
        source: sqlx::Error,
    },
    /// A newer program has changed the schema.
    #[error("the PostgreSQL catalog was migrated by a newer imgsrv (migration {0} is unknown to this one)")]
    Newer(i64),
    /// The schema could not be brought up to date.
    #[error("cannot migrate the PostgreSQL catalog: {0}")]
    Migrate(#[source] MigrateError),
    /// Migrating took too long, here or on another node that this one waited for.
    #[error("the PostgreSQL catalog was not migrated within 10 minutes, by this node or another")]
    Slow,
}

/// How many connections the pool holds, and what getting one has cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolStatus {
    /// Open connections that nobody uses.
    pub idle: u32,
    /// Connections in use.
    pub used: u32,
    /// How often a connection was asked for.
    pub acquires: u64,
    /// How long all of that took.
    pub waited: Duration,
}

/// A PostgreSQL database with the catalog's schema.
pub struct PgDatabase {
    pool: PgPool,
    acquires: AtomicU64,
    waited_micros: AtomicU64,
    /// Connects the listener; it has a connection of its own, so that closing the pool does not wait for it.
    options: PgConnectOptions,
}

impl PgDatabase {
    pub(crate) async fn open(settings: &PgSettings) -> Result<Self, OpenError> {
        let options: PgConnectOptions = settings.url.parse().map_err(OpenError::Url)?;
        migrate(&options).await?;
        let pool = PgPoolOptions::new()
            .max_connections(settings.max_connections)
            .acquire_timeout(ACQUIRE)
            .test_before_acquire(false)
            .before_acquire(|connection, meta| {
                Box::pin(async move { Ok(meta.idle_for < TRUSTED_IDLE || connection.ping().await.is_ok()) })
            })
            .after_connect(|connection, _| {
                Box::pin(async move {
                    connection.execute(VANISHED).await?;
                    connection.execute(GIVEN_UP).await?;
                    connection.execute(SESSION).await.map(drop)
                })
            })
            .connect_with(options.clone())
            .await
            .map_err(|source| connecting(&options, source))?;
        Ok(Self { pool, acquires: AtomicU64::new(0), waited_micros: AtomicU64::new(0), options })
    }

    /// How many connections the pool holds now.
    pub fn pool_status(&self) -> PoolStatus {
        let idle = u32::try_from(self.pool.num_idle()).unwrap_or(u32::MAX);
        PoolStatus {
            idle,
            used: self.pool.size().saturating_sub(idle),
            acquires: self.acquires.load(Ordering::Relaxed),
            waited: Duration::from_micros(self.waited_micros.load(Ordering::Relaxed)),
        }
    }

    async fn acquire(&self) -> Result<PoolConnection<Postgres>, CatalogError> {
        let started = Instant::now();
        let acquired = self.pool.acquire().await;
        self.acquires.fetch_add(1, Ordering::Relaxed);
        let waited = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.waited_micros.fetch_add(waited, Ordering::Relaxed);
        // Whatever is the reason, it is not this request's fault, and may pass.
        acquired.map_err(|error| CatalogError::Unavailable(Box::new(error)))
    }
}

fn connecting(options: &PgConnectOptions, source: sqlx::Error) -> OpenError {
    OpenError::Connect { host: options.get_host().to_owned(), port: options.get_port(), source }
}

/// Migrates on a connection of its own, under sqlx's advisory lock, without the deadlines of everyday statements.
async fn migrate(options: &PgConnectOptions) -> Result<(), OpenError> {
    let connecting_error = |source| connecting(options, source);
    let connect = async {
        let mut connection = PgConnection::connect_with(options).await?;
        connection.execute(VANISHED).await?;
        Ok(connection)
    };
    let connected = tokio::time::timeout(ACQUIRE, connect).await;
    let late = |_| connecting_error(sqlx::Error::PoolTimedOut);
    let mut connection = connected.map_err(late)?.map_err(connecting_error)?;
    match tokio::time::timeout(MIGRATION, MIGRATOR.run_direct(None, &mut connection, false)).await {
        Ok(Ok(())) => {}
        Ok(Err(MigrateError::VersionMissing(version))) => return Err(OpenError::Newer(version)),
        Ok(Err(error)) => return Err(OpenError::Migrate(error)),
        Err(_) => return Err(OpenError::Slow),
    }
    let _ = tokio::time::timeout(ACQUIRE, connection.close()).await;
    Ok(())
}

const NOW: &str = "SELECT catalog_now()";

async fn now(session: &mut PgSession) -> Result<Timestamp, CatalogError> {
    let rows = session.rows(NOW, Vec::new()).await?;
    let now = rows.first().ok_or(sqlx::Error::RowNotFound).and_then(|row| row.try_get::<SqlTime, _>(0));
    now.map(Into::into).map_err(|error| CatalogError::Backend(Box::new(error)))
}

#[async_trait]
impl SqlDatabase for PgDatabase {
    type Connection = PgSession;

    async fn reader(&self) -> Result<PgSession, CatalogError> {
        self.acquire().await.map(PgSession::single)
    }

    async fn snapshot(&self) -> Result<PgSession, CatalogError> {
        PgSession::whole(self.acquire().await?, "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY").await
    }

    async fn begin(&self) -> Result<(PgSession, Timestamp), CatalogError> {
        let mut session = PgSession::whole(self.acquire().await?, "BEGIN ISOLATION LEVEL READ COMMITTED").await?;
        let now = now(&mut session).await?;
        Ok((session, now))
    }

    async fn now(&self) -> Result<Timestamp, CatalogError> {
        now(&mut self.reader().await?).await
    }

    async fn free_bytes(&self) -> Result<Option<u64>, CatalogError> {
        Ok(None)
    }

    fn enqueued(&self) -> BoxStream<'static, Enqueued> {
        listen::enqueued(self.options.clone())
    }

    async fn close(&self) {
        self.pool.close().await;
    }
}
