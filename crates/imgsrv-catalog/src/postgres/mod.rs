//! The catalog of many nodes: PostgreSQL 13 or newer.
//!
//! Transactions run at READ COMMITTED and lock the rows that they read to change. Every wait has a limit, on the server
//! (for a node that stops in the middle of a transaction) and here (for a server that does not respond).

mod error;
mod listen;
mod pool;
mod session;

pub use pool::{OpenError, PgDatabase, PgSettings, PoolStatus};

use crate::core::{Inspection, SqlCatalog};

/// The catalog in a PostgreSQL database.
pub type PgCatalog = SqlCatalog<PgDatabase>;

/// Opens the catalog at `settings.url` and migrates its schema; of several nodes that start at once, one does. The
/// database must exist.
pub async fn open(settings: &PgSettings) -> Result<PgCatalog, OpenError> {
    PgDatabase::open(settings).await.map(|database| SqlCatalog { database })
}

/// Inspects the catalog at `settings.url` without changing it; `None` if the database has none.
pub async fn inspect(settings: &PgSettings) -> Result<Option<Inspection>, OpenError> {
    pool::inspect(settings).await
}

impl PgCatalog {
    /// The state of the connection pool.
    pub fn pool_status(&self) -> PoolStatus {
        self.database.pool_status()
    }
}
