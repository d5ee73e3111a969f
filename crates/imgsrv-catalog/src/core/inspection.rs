//! What a database contains, found without changing it.

use imgsrv_domain::ports::CatalogIdentity;
use sqlx::migrate::Migrator;
use uuid::Uuid;

/// Finds the migrations that were applied. It fails if the database has no table of them.
pub(crate) const APPLIED: &str = "SELECT version FROM _sqlx_migrations WHERE success ORDER BY version";
pub(crate) const IDENTITY: &str = "SELECT id, store FROM catalog_identity";

/// A catalog, as it was found without changing it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inspection {
    /// How many migrations a server would apply.
    pub pending: usize,
    /// Its identity, and the blob store that it is bound to.
    pub identity: CatalogIdentity,
}

impl Inspection {
    pub(crate) fn new(pending: usize, (catalog, store): (Uuid, Option<Uuid>)) -> Self {
        Self { pending, identity: CatalogIdentity { catalog, store } }
    }
}

/// How many migrations are not applied; the error is one that this program does not know.
pub(crate) fn pending(migrator: &Migrator, applied: &[i64]) -> Result<usize, i64> {
    match applied.iter().find(|version| !migrator.version_exists(**version)) {
        Some(unknown) => Err(*unknown),
        None => Ok(migrator.iter().filter(|migration| !applied.contains(&migration.version)).count()),
    }
}
