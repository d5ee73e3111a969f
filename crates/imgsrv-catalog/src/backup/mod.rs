//! Backups of the catalog: pins, snapshots and imports.

mod import;
mod json;
mod kinds;
mod lifecycles;
mod snapshot;
mod statements;

use crate::{
    backup::{import::Import, json::required, snapshot::Snapshot},
    core::{Connection, Corrupt, Record, Row, SqlCatalog, SqlDatabase, SqlTx, values},
};
use async_trait::async_trait;
use imgsrv_domain::{
    audit::AuditAction,
    digest::{BlobClaim, Digest},
    ports::{
        BLOB_RECORDS, BackupBlob, BackupCatalog, CatalogError, CatalogSnapshot, CatalogTx, ImportError, ImportPass,
        ImportStart, RecordImport,
    },
    time::Timestamp,
};
use std::time::Duration;
use uuid::Uuid;

pub(crate) use kinds::TABLES;

/// What no backup has, and why.
pub(crate) const NOT_BACKED_UP: &[(&str, &str)] = &[
    ("catalog_identity", "its id and the revision are in the manifest; a catalog is bound to the store of its import"),
    ("catalog_revision", "in the manifest"),
    ("counters", "triggers count what is imported"),
    ("image_refs", "triggers derive it from versions and aliases"),
    ("image_trigrams", "triggers derive it from images"),
    ("images.has_published", "triggers derive it from lifecycles"),
    ("versions.listed_at", "generated"),
    ("version_lifecycles.image_id", "triggers derive it from the version"),
    ("version_lifecycles.published_at", "triggers derive it from the version"),
    ("aliases.version_state", "always `published`"),
    ("blobs.state", "an import verifies the bytes, or quarantines the blob"),
    ("blobs.unreferenced_since", "grace periods start with the import"),
    ("blobs.verified_at", "an import hashes the bytes"),
    ("blobs.looked_at", "of quarantined blobs"),
    ("block_checksums", "an import computes them from the bytes"),
    ("nodes", "of running servers"),
    ("orphaned_blobs", "their bytes are not in the store of an import"),
    ("work_items", "enqueued by the import and by the server that starts"),
    ("upload_parts", "staged bytes are not backed up; open uploads are aborted"),
    ("upload_sessions.frontier_writer_attempt", "of open uploads"),
    ("upload_sessions.frontier_writer_number", "of open uploads"),
    ("upload_sessions.frontier_number", "of open uploads"),
    ("upload_sessions.hashed_bytes", "of open uploads"),
    ("upload_sessions.hashed_state", "of open uploads"),
    ("upload_sessions.hashed_blocks", "of open uploads"),
    ("export_pins", "of running exports"),
    ("catalog_import", "of this catalog"),
];

// A collection locks the row that a new pin locks.
const STOP_COLLECTIONS: &str = "SELECT id FROM catalog_identity FOR UPDATE";
const DELETE_EXPIRED: &str = "DELETE FROM export_pins WHERE expires_at <= $1";
const INSERT_PIN: &str = "INSERT INTO export_pins (id, expires_at) VALUES ($1, $2)";
const RENEW_PIN: &str = "UPDATE export_pins SET expires_at = $2 WHERE id = $1 AND expires_at > $3";
const DELETE_PIN: &str = "DELETE FROM export_pins WHERE id = $1";
const GET_IMPORT: &str = "SELECT id, backup, store, finished_at FROM catalog_import";
const INSERT_IMPORT: &str = "INSERT INTO catalog_import (id, backup, store) VALUES (1, $1, $2)";
const SET_IDENTITY: &str = "UPDATE catalog_identity SET id = $1";
const IS_EMPTY: &str = "SELECT NOT EXISTS (SELECT 1 FROM principals) AND NOT EXISTS (SELECT 1 FROM images)
    AND NOT EXISTS (SELECT 1 FROM blobs) AND NOT EXISTS (SELECT 1 FROM upload_sessions)
    AND NOT EXISTS (SELECT 1 FROM audit_log)
    AND NOT EXISTS (SELECT 1 FROM catalog_identity WHERE store IS NOT NULL) AS is_empty";
const LAST_ACTION: &str = "SELECT action FROM audit_log ORDER BY id DESC LIMIT 1";
pub(crate) const STATEMENTS: &[&str] = &[
    DELETE_EXPIRED,
    INSERT_PIN,
    RENEW_PIN,
    DELETE_PIN,
    GET_IMPORT,
    INSERT_IMPORT,
    SET_IDENTITY,
    IS_EMPTY,
    LAST_ACTION,
    snapshot::STATEMENTS[0],
    import::STATEMENTS[0],
    import::STATEMENTS[1],
    import::STATEMENTS[2],
    import::STATEMENTS[3],
    import::STATEMENTS[4],
    import::STATEMENTS[5],
    import::STATEMENTS[6],
    lifecycles::KEEP,
];
pub(crate) const POSTGRES: &[&str] = &[STOP_COLLECTIONS, import::NUMBER_AUDIT];

#[expect(private_bounds, reason = "the databases have public names of their own")]
impl<D: SqlDatabase> SqlCatalog<D> {
    async fn write(&self) -> Result<Box<SqlTx<D::Connection>>, CatalogError> {
        let (connection, now) = self.database.begin().await?;
        Ok(Box::new(SqlTx::new(connection, now)))
    }
}

#[async_trait]
impl<D: SqlDatabase> BackupCatalog for SqlCatalog<D> {
    fn record_kinds(&self) -> &'static [&'static str] {
        kinds::NAMES
    }

    fn import_passes(&self) -> &'static [ImportPass] {
        import::PASSES
    }

    async fn begin_snapshot(&self) -> Result<Box<dyn CatalogSnapshot>, CatalogError> {
        let (connection, now) = self.database.snapshot().await?;
        Ok(Box::new(Snapshot::open(connection, now).await?))
    }

    async fn acquire_pin(&self, pin: Uuid, term: Duration) -> Result<(), CatalogError> {
        let mut tx = self.write().await?;
        tx.lock(STOP_COLLECTIONS, values![]).await?;
        let now = tx.time();
        tx.execute(DELETE_EXPIRED, values![now]).await?;
        tx.execute(INSERT_PIN, values![pin, now.plus(term)]).await?;
        tx.commit().await
    }

    async fn renew_pin(&self, pin: Uuid, term: Duration) -> Result<bool, CatalogError> {
        let mut tx = self.write().await?;
        let now = tx.time();
        let renewed = tx.execute(RENEW_PIN, values![pin, now.plus(term), now]).await?;
        tx.commit().await?;
        Ok(renewed > 0)
    }

    async fn release_pin(&self, pin: Uuid) -> Result<(), CatalogError> {
        let mut tx = self.write().await?;
        tx.execute(DELETE_PIN, values![pin]).await?;
        tx.commit().await
    }

    fn blob_of(&self, line: &str) -> Result<BackupBlob, ImportError> {
        let fields = import::parse(line)?;
        let (blob, _) = (|| {
            let claim = BlobClaim { digest: required(&fields, "digest")?, size: required(&fields, "size_bytes")? };
            let (name, created_at) = (required(&fields, "storage_name")?, required(&fields, "created_at")?);
            // Refuses fields that are unknown.
            Ok::<_, String>((BackupBlob { claim, name, created_at }, kinds::bind(BLOB_RECORDS, &fields)?))
        })()
        .map_err(ImportError::Invalid)?;
        Ok(blob)
    }

    async fn start_import(&self, backup: &Digest, catalog: Uuid, store: Uuid) -> Result<ImportStart, CatalogError> {
        let mut tx = self.write().await?;
        let start = match tx.find::<Started>(GET_IMPORT, values![]).await? {
            Some(Started { backup: started, store, finished_at: None }) if started == *backup => {
                return Ok(ImportStart::Open { store });
            }
            Some(Started { finished_at: None, .. }) => return Ok(ImportStart::Other),
            Some(Started { backup: imported, .. }) => {
                let last: Option<AuditAction> = tx.find(LAST_ACTION, values![]).await?;
                let is_unchanged = imported == *backup && last == Some(AuditAction::CatalogImported);
                return Ok(if is_unchanged { ImportStart::Done } else { ImportStart::NotEmpty });
            }
            None if !tx.get::<bool>(IS_EMPTY, values![]).await? => return Ok(ImportStart::NotEmpty),
            None => ImportStart::Open { store },
        };
        tx.execute(INSERT_IMPORT, values![*backup, store]).await?;
        tx.execute(SET_IDENTITY, values![catalog]).await?;
        tx.commit().await?;
        Ok(start)
    }

    async fn is_import_unfinished(&self) -> Result<bool, CatalogError> {
        let started: Option<Started> = self.reader().await?.find(GET_IMPORT, values![]).await?;
        Ok(started.is_some_and(|import| import.finished_at.is_none()))
    }

    async fn begin_records(&self) -> Result<Box<dyn RecordImport>, CatalogError> {
        Ok(Box::new(Import::begin(self.write().await?).await?))
    }
}

/// An import that was started.
struct Started {
    backup: Digest,
    store: Uuid,
    finished_at: Option<Timestamp>,
}

impl Record for Started {
    const WHAT: &'static str = "import";

    fn read(row: &Row<'_>) -> Result<Self, Corrupt> {
        Ok(Self { backup: row.get("backup")?, store: row.get("store")?, finished_at: row.optional("finished_at")? })
    }
}
