//! The connection pool, and the migration of the schema.

use crate::{
    core::{
        Connection as _, SqlDatabase, UndecodableRows,
        inspection::{APPLIED, IDENTITY, Inspection, pending},
        migrations::migrator,
        query_span, transaction_span,
    },
    postgres::{listen, session::PgSession},
};
use async_trait::async_trait;
use futures::stream::BoxStream;
use imgsrv_domain::{ports::CatalogError, time::Timestamp, work::WorkKind};
use sqlx::{
    Connection as _, Executor, PgConnection, PgPool, Postgres,
    migrate::{MigrateError, Migrator},
    pool::PoolConnection,
    postgres::{PgConnectOptions, PgPoolOptions},
    query_as, query_scalar,
};
use std::{
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

static MIGRATOR: LazyLock<Migrator> = migrator!("postgres");

/// How long a request waits for a connection before the catalog counts as unreachable.
const ACQUIRE_LIMIT: Duration = Duration::from_secs(5);
/// A connection that was idle for longer is checked before it is used: the server may have restarted.
const TRUSTED_IDLE: Duration = Duration::from_secs(1);
/// How long a node migrates, or waits for another node that does, before it fails.
const MIGRATION_LIMIT: Duration = Duration::from_mins(10);
/// The server's own limits: for a statement, for a lock, and for a transaction whose node does not respond. Statements
/// are short, so that compiling one takes longer than it saves; the cost of a recursive one is estimated too high.
const SERVER_LIMITS: &str = "SET statement_timeout = '15s'; SET lock_timeout = '5s';
    SET idle_in_transaction_session_timeout = '10s'; SET jit = off";
/// Makes the server detect that a node is gone, and release its locks.
const KEEPALIVES: &str = "SET application_name = 'imgsrv'; SET tcp_keepalives_idle = 15;
    SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3";
/// Makes it detect that a node no longer waits for a statement, where its version and system can.
const CONNECTION_CHECK: &str = "DO $$ BEGIN PERFORM set_config('client_connection_check_interval', '1s', false);
    EXCEPTION WHEN OTHERS THEN NULL; END $$";

/// How to reach the database.
#[derive(Clone)]
pub struct PgSettings {
    /// `postgres://user:password@host:port/database?sslmode=...`. A secret: it may contain a password.
    pub url: String,
    /// The most connections of this process, not counting one for notifications.
    pub max_connections: u32,
}

impl PgSettings {
    /// The database, without the password and the user.
    pub fn shown(&self) -> String {
        match self.url.parse::<PgConnectOptions>() {
            Ok(options) => {
                format!("{}:{}/{}", options.get_host(), options.get_port(), options.get_database().unwrap_or_default())
            }
            Err(_) => "an invalid URL".to_owned(),
        }
    }
}

/// Why the catalog could not be opened. No variant shows the URL.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The URL is not a PostgreSQL URL.
    #[error("the PostgreSQL URL is not valid: {0}")]
    Url(#[source] sqlx::Error),
    /// The server cannot be reached, or refuses the connection.
    #[error("cannot reach the PostgreSQL catalog at {host}:{port}: {source}")]
    Connect {
        /// Its host.
        host: String,
        /// Its port.
        port: u16,
        /// Why.
        source: sqlx::Error,
    },
    /// The database cannot be read.
    #[error("cannot read the PostgreSQL catalog: {0}")]
    Read(#[source] sqlx::Error),
    /// A newer program has migrated the schema.
    #[error(
        "the PostgreSQL catalog was migrated by a newer version of imgsrv (migration {0} is unknown to this version)"
    )]
    Newer(i64),
    /// The schema could not be migrated.
    #[error("cannot migrate the PostgreSQL catalog: {0}")]
    Migrate(#[source] MigrateError),
    /// The migration took too long, here or on another node that this one waited for.
    #[error("the PostgreSQL catalog was not migrated within 10 minutes, by this node or another")]
    Slow,
}

/// The connections of the pool, and the cost of acquiring them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolStatus {
    /// Open connections that are not in use.
    pub idle: u32,
    /// Connections in use.
    pub used: u32,
    /// How often a connection was acquired.
    pub acquires: u64,
    /// The sum of the waiting times.
    pub waited: Duration,
}

/// A PostgreSQL database with the catalog's schema.
pub struct PgDatabase {
    pool: PgPool,
    acquires: AtomicU64,
    waited_micros: AtomicU64,
    undecodable: Arc<UndecodableRows>,
    /// For the listener, whose connection is not in the pool, so that closing the pool does not wait for it.
    options: PgConnectOptions,
}

impl PgDatabase {
    pub(crate) async fn open(settings: &PgSettings) -> Result<Self, OpenError> {
        let options: PgConnectOptions = settings.url.parse().map_err(OpenError::Url)?;
        migrate(&options).await?;
        let pool = PgPoolOptions::new()
            .max_connections(settings.max_connections)
            .acquire_timeout(ACQUIRE_LIMIT)
            .test_before_acquire(false)
            .before_acquire(|connection, meta| {
                Box::pin(async move { Ok(meta.idle_for < TRUSTED_IDLE || connection.ping().await.is_ok()) })
            })
            .after_connect(|connection, _| {
                Box::pin(async move {
                    connection.execute(KEEPALIVES).await?;
                    connection.execute(CONNECTION_CHECK).await?;
                    connection.execute(SERVER_LIMITS).await.map(drop)
                })
            })
            .connect_with(options.clone())
            .await
            .map_err(|source| connecting(&options, source))?;
        Ok(Self {
            pool,
            acquires: AtomicU64::new(0),
            waited_micros: AtomicU64::new(0),
            undecodable: Arc::default(),
            options,
        })
    }

    pub(crate) fn pool_status(&self) -> PoolStatus {
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
        // Every reason is transient, and not this request's fault.
        acquired.map_err(|error| CatalogError::Unavailable(Box::new(error)))
    }
}

fn connecting(options: &PgConnectOptions, source: sqlx::Error) -> OpenError {
    OpenError::Connect { host: options.get_host().to_owned(), port: options.get_port(), source }
}

/// A connection outside of the pool.
async fn connect(options: &PgConnectOptions) -> Result<PgConnection, OpenError> {
    let connecting_error = |source| connecting(options, source);
    let connect = async {
        let mut connection = PgConnection::connect_with(options).await?;
        connection.execute(KEEPALIVES).await?;
        Ok(connection)
    };
    let connected = tokio::time::timeout(ACQUIRE_LIMIT, connect).await;
    connected.map_err(|_elapsed| connecting_error(sqlx::Error::PoolTimedOut))?.map_err(connecting_error)
}

const HAS_CATALOG: &str =
    "SELECT to_regclass('_sqlx_migrations') IS NOT NULL AND to_regclass('catalog_identity') IS NOT NULL";

/// Inspects the catalog without changing it; `None` if the database has none.
pub(super) async fn inspect(settings: &PgSettings) -> Result<Option<Inspection>, OpenError> {
    let options: PgConnectOptions = settings.url.parse().map_err(OpenError::Url)?;
    let mut connection = connect(&options).await?;
    let reading = async {
        if !query_scalar(HAS_CATALOG).fetch_one(&mut connection).await? {
            return Ok(None);
        }
        let applied: Vec<i64> = query_scalar(APPLIED).fetch_all(&mut connection).await?;
        Ok(Some((applied, query_as(IDENTITY).fetch_one(&mut connection).await?)))
    };
    let read = tokio::time::timeout(ACQUIRE_LIMIT, reading).await;
    let read = read.unwrap_or(Err(sqlx::Error::PoolTimedOut)).map_err(OpenError::Read)?;
    let _ = tokio::time::timeout(ACQUIRE_LIMIT, connection.close()).await;
    let Some((applied, identity)) = read else { return Ok(None) };
    let pending = pending(&MIGRATOR, &applied).map_err(OpenError::Newer)?;
    Ok(Some(Inspection::new(pending, identity)))
}

/// Migrates on a separate connection, under sqlx's advisory lock, without the limits of other statements.
async fn migrate(options: &PgConnectOptions) -> Result<(), OpenError> {
    let mut connection = connect(options).await?;
    match tokio::time::timeout(MIGRATION_LIMIT, MIGRATOR.run_direct(None, &mut connection, false)).await {
        Ok(Ok(())) => {}
        Ok(Err(MigrateError::VersionMissing(version))) => return Err(OpenError::Newer(version)),
        Ok(Err(error)) => return Err(OpenError::Migrate(error)),
        Err(_) => return Err(OpenError::Slow),
    }
    let _ = tokio::time::timeout(ACQUIRE_LIMIT, connection.close()).await;
    Ok(())
}

macro_rules! begin {
    ($mode:literal) => {
        concat!("BEGIN ", $mode, "; SELECT CAST(extract(epoch FROM catalog_now()) * 1000000 AS bigint)")
    };
}
const BEGIN: &str = begin!("ISOLATION LEVEL READ COMMITTED");
const BEGIN_SNAPSHOT: &str = begin!("ISOLATION LEVEL REPEATABLE READ, READ ONLY");
const NOW: &str = "SELECT catalog_now()";

#[async_trait]
impl SqlDatabase for PgDatabase {
    type Connection = PgSession;

    fn undecodable(&self) -> &UndecodableRows {
        &self.undecodable
    }

    async fn reader(&self) -> Result<PgSession, CatalogError> {
        Ok(PgSession::single(self.acquire().await?, Arc::clone(&self.undecodable), query_span()))
    }

    async fn writer(&self) -> Result<PgSession, CatalogError> {
        self.reader().await
    }

    async fn snapshot(&self) -> Result<(PgSession, Timestamp), CatalogError> {
        let undecodable = Arc::clone(&self.undecodable);
        PgSession::transaction(self.acquire().await?, BEGIN_SNAPSHOT, undecodable, query_span()).await
    }

    async fn begin(&self) -> Result<(PgSession, Timestamp), CatalogError> {
        let undecodable = Arc::clone(&self.undecodable);
        PgSession::transaction(self.acquire().await?, BEGIN, undecodable, transaction_span()).await
    }

    async fn now(&self) -> Result<Timestamp, CatalogError> {
        self.reader().await?.get(NOW, Vec::new()).await
    }

    fn clock(&self, read: Option<Timestamp>) -> Result<Timestamp, CatalogError> {
        read.ok_or_else(|| CatalogError::Backend("the statement did not read the clock".into()))
    }

    async fn free_bytes(&self) -> Result<Option<u64>, CatalogError> {
        Ok(None)
    }

    fn enqueued(&self) -> BoxStream<'static, Option<WorkKind>> {
        listen::enqueued(self.options.clone())
    }

    async fn close(&self) {
        self.pool.close().await;
    }
}
