//! Importing records through the changes that the catalog permits, so that its guarantees hold for what is imported.

use crate::{
    backup::{
        json::{Fields, required},
        kinds, lifecycles,
    },
    core::{Connection, SqlTx, values},
};
use async_trait::async_trait;
use imgsrv_domain::{
    audit::{Actor, AuditAction, AuditEntry, Event},
    ids::{ArtifactId, VersionId},
    ports::{AuditLog, CatalogError, CatalogTx, ImportError, ImportPass, RecordImport, WorkRepo},
    time::Timestamp,
    transition::Revision,
    work::{WorkKind, WorkName},
};
use serde_json::Value as Json;
use uuid::Uuid;

/// The passes of an import. Artifacts are accepted only of a draft, results of publish steps only of a version that is
/// publishing, and a lifecycle only of a published version.
pub(crate) const PASSES: &[ImportPass] = &[
    pass("principals", 1),
    pass("roles", 1),
    pass("tokens", 1),
    pass("identities", 1),
    pass("link-key", 1),
    pass("rules", 1),
    pass("grants", 1),
    pass("images", 1),
    pass("image-bindings", 1),
    pass("link-generations", 1),
    pass("versions", 1),
    pass("artifacts", 1),
    pass("attachments", 1),
    pass("citations", 1),
    pass("files", 1),
    pass("products", 1),
    pass("versions", 2),
    pass("inspections", 1),
    pass("package-lists", 1),
    pass("warnings", 1),
    pass("stream-rows", 1),
    pass("versions", 3),
    pass("stream-rows", 2),
    pass("fingerprints", 1),
    pass("lifecycles", 1),
    pass("aliases", 1),
    pass("deleted-aliases", 1),
    pass("image-changes", 1),
    pass("retention", 1),
    pass("fetches", 1),
    pass("fetch-recording", 1),
    pass("blocked-digests", 1),
    pass("blob-senders", 1),
    pass("uploads", 1),
    pass("jobs", 1),
    pass("steps", 1),
    pass("intakes", 1),
    pass("audit-horizon", 1),
    pass("audit", 1),
];

const fn pass(kind: &'static str, number: u8) -> ImportPass {
    ImportPass { kind, number }
}

const FREEZE: &str = "UPDATE versions SET state = 'publishing' WHERE id = $1";
const PUBLISH: &str = "UPDATE versions SET state = 'published', published_at = $2 WHERE id = $1";
const LIST: &str = "UPDATE incus_rows SET catalog_revision = $2 WHERE artifact_id = $1";
const RETAIN_AUDIT: &str = "UPDATE audit_horizon SET retained_since = $1";
const START_GRACE: &str = "UPDATE blobs SET unreferenced_since = $1 WHERE NOT EXISTS
    (SELECT 1 FROM blob_references r WHERE r.digest = blobs.digest AND r.kind <> 'upload')";
const UNFINISHED_JOBS: &str = "SELECT id FROM publish_jobs WHERE state IN ('queued', 'running') ORDER BY id";
const SET_REVISION: &str = "UPDATE catalog_revision SET revision = $1";
const FINISH: &str = "UPDATE catalog_import SET finished_at = $1";
pub(crate) const STATEMENTS: &[&str] = &[FREEZE, PUBLISH, LIST, RETAIN_AUDIT, UNFINISHED_JOBS, SET_REVISION, FINISH];
pub(crate) const NUMBER_AUDIT: &str =
    "SELECT setval(pg_get_serial_sequence('audit_log', 'id'), coalesce(max(id), 1), max(id) IS NOT NULL)
    FROM audit_log";
// It is one transaction, however long it takes.
const UNLIMITED: &[&str] = &[
    "SET LOCAL statement_timeout = 0",
    "SET LOCAL lock_timeout = 0",
    "SET LOCAL idle_in_transaction_session_timeout = '10min'",
];
/// Why intakes fail whose upload had not ended.
const INTERRUPTED: &str = "the upload was aborted";

/// The record of a line.
pub(crate) fn parse(line: &str) -> Result<Fields, ImportError> {
    serde_json::from_str(line).map_err(ImportError::invalid)
}

/// The import of all records in one transaction.
pub(crate) struct Import<C> {
    tx: Box<SqlTx<C>>,
}

impl<C: Connection + 'static> Import<C> {
    /// The import in a transaction that begins.
    pub(crate) async fn begin(mut tx: Box<SqlTx<C>>) -> Result<Self, CatalogError> {
        if C::LOCKS_ROWS {
            for statement in UNLIMITED {
                tx.execute(statement, values![]).await?;
            }
        }
        Ok(Self { tx })
    }

    async fn insert(&mut self, kind: &str, record: &Fields) -> Result<(), ImportError> {
        let (statements, values) = kinds::bind(kind, record).map_err(ImportError::Invalid)?;
        self.tx.execute(statements.insert(C::LOCKS_ROWS), values).await?;
        Ok(())
    }

    /// Stores the lifecycle of a version, which is active.
    async fn change_lifecycle(&mut self, kind: &str, record: &Fields) -> Result<(), ImportError> {
        let version: VersionId = field(record, "version_id")?;
        let steps = lifecycles::steps(record).map_err(ImportError::Invalid)?;
        for _ in 0..steps.kept {
            self.tx.execute(lifecycles::KEEP, values![version]).await?;
        }
        for change in &steps.changes {
            let (statements, values) = kinds::bind(kind, change).map_err(ImportError::Invalid)?;
            self.tx.execute(statements.update.as_str(), values).await?;
        }
        Ok(())
    }
}

fn field<T: crate::core::Stored>(record: &Fields, name: &str) -> Result<T, ImportError>
where
    T::Raw: super::json::JsonColumn,
{
    required(record, name).map_err(ImportError::Invalid)
}

fn state(record: &Fields) -> &str {
    record.get("state").and_then(Json::as_str).unwrap_or_default()
}

fn set(record: &mut Fields, values: &[(&str, Json)]) {
    for (name, value) in values {
        record.insert((*name).to_owned(), value.clone());
    }
}

/// What changed the record that is imported now.
fn changed(record: &mut Fields, now: Timestamp) -> Result<(), ImportError> {
    let revision: i64 = field(record, "revision")?;
    set(record, &[("updated_at", now.micros().into()), ("revision", revision.saturating_add(1).into())]);
    Ok(())
}

/// Aborts the upload if it had not ended, because its staged bytes are not in the backup.
fn abort(upload: &mut Fields, now: Timestamp) -> Result<(), ImportError> {
    if !matches!(state(upload), "created" | "uploading" | "completed" | "ingesting") {
        return Ok(());
    }
    if upload.get("digest_computed").and_then(Json::as_bool).unwrap_or_default() {
        // It was not declared, and an aborted upload has no computed digest.
        set(upload, &[("expected_digest", "".into())]);
    }
    set(upload, &[("state", "aborted".into()), ("digest_computed", false.into()), ("attempts", 0.into())]);
    changed(upload, now)
}

#[async_trait]
impl<C: Connection + 'static> RecordImport for Import<C> {
    async fn import(&mut self, pass: ImportPass, line: &str) -> Result<(), ImportError> {
        let mut record = parse(line)?;
        let now = self.tx.time();
        match (pass.kind, pass.number) {
            ("versions", 1) => set(&mut record, &[("state", "draft".into()), ("published_at", Json::Null)]),
            ("versions", 2) => {
                if state(&record) != "draft" {
                    self.tx.execute(FREEZE, values![field::<VersionId>(&record, "id")?]).await?;
                }
                return Ok(());
            }
            ("versions", _) => {
                if state(&record) == "published" {
                    let published_at: Timestamp = field(&record, "published_at")?;
                    let id: VersionId = field(&record, "id")?;
                    self.tx.execute(PUBLISH, values![id, published_at]).await?;
                }
                return Ok(());
            }
            ("stream-rows", 1) => set(&mut record, &[("catalog_revision", Json::Null)]),
            ("stream-rows", _) => {
                if record.get("catalog_revision").is_some_and(|revision| !revision.is_null()) {
                    let listed: Revision = field(&record, "catalog_revision")?;
                    let id: ArtifactId = field(&record, "artifact_id")?;
                    self.tx.execute(LIST, values![id, listed]).await?;
                }
                return Ok(());
            }
            ("lifecycles", _) => return self.change_lifecycle(pass.kind, &record).await,
            ("audit-horizon", _) => {
                let since: Timestamp = field(&record, "retained_since")?;
                self.tx.execute(RETAIN_AUDIT, values![since]).await?;
                return Ok(());
            }
            // What is not used is deleted after a while, which starts now.
            ("fingerprints", _) => set(&mut record, &[("updated_at", now.micros().into())]),
            ("uploads", _) => abort(&mut record, now)?,
            ("intakes", _) if state(&record) == "receiving" => {
                set(&mut record, &[("state", "failed".into()), ("reason", INTERRUPTED.into())]);
                changed(&mut record, now)?;
            }
            _ => {}
        }
        self.insert(pass.kind, &record).await
    }

    async fn finish(mut self: Box<Self>, revision: Revision) -> Result<(), CatalogError> {
        let now = self.tx.time();
        if C::LOCKS_ROWS {
            self.tx.list::<i64>(NUMBER_AUDIT, values![]).await?;
        }
        self.tx.execute(START_GRACE, values![now]).await?;
        let unfinished: Vec<Uuid> = self.tx.list(UNFINISHED_JOBS, values![]).await?;
        for job in unfinished {
            self.tx.enqueue_work(WorkName { kind: WorkKind::Publish, subject: job }).await?;
        }
        self.tx.execute(SET_REVISION, values![revision]).await?;
        let event = Event::new(AuditAction::CatalogImported, "catalog").with(format!("revision {}", revision.get()));
        self.tx.append_audit(&AuditEntry { at: now, actor: Actor::Operator, event }).await?;
        self.tx.execute(FINISH, values![now]).await?;
        self.tx.commit().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backup::kinds::NAMES;

    #[test]
    fn every_kind_of_records_in_a_backup_is_imported() {
        let is_imported = |name: &str| PASSES.iter().any(|pass| pass.kind == name);
        let others: Vec<_> = NAMES.iter().copied().filter(|name| !is_imported(name)).collect();
        assert_eq!(others, ["blobs"], "blobs are imported with their bytes");
    }
}
