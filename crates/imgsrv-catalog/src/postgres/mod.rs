//! The catalog of many nodes: PostgreSQL 13 or newer.
//!
//! Transactions run at READ COMMITTED and lock what they read to change. Every wait has a deadline, on the server
//! (a node that is stopped in the middle of a transaction loses it) and here (a server that does not answer).

mod error;
mod listen;
mod pool;
mod session;

pub use pool::{OpenError, PgDatabase, PgSettings, PoolStatus};

use crate::SqlCatalog;
use sqlx::migrate::Migrator;

static MIGRATOR: Migrator = sqlx::migrate!("../../migrations/postgres");

/// The catalog in a PostgreSQL database.
pub type PgCatalog = SqlCatalog<PgDatabase>;

/// Opens the catalog at `settings.url` and brings its schema up to date; of several nodes that start at once, one does.
/// The database must exist.
pub async fn open(settings: &PgSettings) -> Result<PgCatalog, OpenError> {
    PgDatabase::open(settings).await.map(PgCatalog::new)
}
