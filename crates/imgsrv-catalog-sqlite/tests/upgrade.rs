//! A catalog of an earlier schema goes on: what was published is not forgotten, what has failed gains the new step.

use imgsrv_domain::{
    ids::JobId,
    ports::{Catalog, CatalogQueries},
    publish::StepName,
};
use imgsrv_testkit::ManualClock;
use sqlx::{Connection, Executor, SqliteConnection, migrate::Migrator, sqlite::SqliteConnectOptions};
use std::{fs, path::Path, sync::Arc};
use uuid::Uuid;

/// A published version `1` with metadata for Incus, a version `2` whose publishing has failed, and a version `3` whose
/// server was killed while it published, as the third version of the schema has them.
const BEFORE: &str = "
    INSERT INTO images (id, name, created_at, updated_at, revision)
        VALUES (x'00000000000000000000000000000001', 'debian', 1, 1, 1);
    INSERT INTO versions (id, image_id, name, state, created_at, updated_at, revision) VALUES
        (x'00000000000000000000000000000002', x'00000000000000000000000000000001', '1', 'draft', 1, 1, 1),
        (x'00000000000000000000000000000003', x'00000000000000000000000000000001', '2', 'draft', 1, 1, 1),
        (x'00000000000000000000000000000007', x'00000000000000000000000000000001', '3', 'draft', 1, 1, 1);
    INSERT INTO artifacts (id, version_id, operating_system, architecture, variant, format, primary_blob_digest,
        primary_blob_size_bytes, primary_media_type, created_at)
        SELECT x'00000000000000000000000000000004', id, 'debian', 'amd64', 'default', 'qcow2',
        'sha256:0000000000000000000000000000000000000000000000000000000000000000', 0, 'a/b', 1
        FROM versions WHERE name = '1';
    INSERT INTO attachments (id, version_id, artifact_id, name, media_type, blob_digest, blob_size_bytes, created_at)
        SELECT x'00000000000000000000000000000005', version_id, id, 'incus.tar.xz', 'a/b', primary_blob_digest, 0, 1
        FROM artifacts;
    UPDATE versions SET state = 'publishing';
    UPDATE versions SET state = 'published', published_at = 2 WHERE name = '1';
    INSERT INTO publish_jobs (id, version_id, image_name, version_name, state, created_at, updated_at, finished_at,
        revision) VALUES (x'00000000000000000000000000000006', x'00000000000000000000000000000003', 'debian', '2',
        'failed', 1, 1, 1, 1);
    INSERT INTO publish_steps (job_id, sequence, name, state, reason, attempts) VALUES
        (x'00000000000000000000000000000006', 1, 'validate_catalog', 'failed', 'because', 1),
        (x'00000000000000000000000000000006', 2, 'finalize_publish', 'queued', NULL, 0);
    INSERT INTO publish_jobs (id, version_id, image_name, version_name, state, wanted_since, due_at, lease_attempts,
        lease_owner, created_at, updated_at, started_at, revision) VALUES (x'00000000000000000000000000000008',
        x'00000000000000000000000000000007', 'debian', '3', 'running', 1, 1, 1, 'gone', 1, 1, 1, 1);
    INSERT INTO publish_steps (job_id, sequence, name, state, reason, attempts) VALUES
        (x'00000000000000000000000000000008', 1, 'validate_catalog', 'succeeded', NULL, 1),
        (x'00000000000000000000000000000008', 2, 'finalize_publish', 'running', NULL, 1);
";

/// A file with the schema as the first `count` migrations make it.
async fn migrated(folder: &Path, count: usize) -> SqliteConnection {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../migrations/sqlite");
    let mut names: Vec<_> =
        fs::read_dir(source).expect("migrations").map(|entry| entry.expect("an entry").path()).collect();
    names.sort();
    let earlier = folder.join("migrations");
    fs::create_dir(&earlier).expect("a folder");
    for path in &names[..count] {
        fs::copy(path, earlier.join(path.file_name().expect("a name"))).expect("copied");
    }
    let options = SqliteConnectOptions::new().filename(folder.join("catalog.db")).create_if_missing(true);
    let mut connection = SqliteConnection::connect_with(&options).await.expect("a connection");
    Migrator::new(earlier).await.expect("migrations").run(&mut connection).await.expect("migrated");
    connection
}

#[tokio::test]
async fn what_was_published_waits_to_be_listed_and_what_failed_gains_the_new_step() {
    let folder = tempfile::tempdir().expect("a scratch folder");
    let mut before = migrated(folder.path(), 3).await;
    before.execute(BEFORE).await.expect("rows");
    before.close().await.expect("closed");
    let path = folder.path().join("catalog.db");
    let catalog = imgsrv_catalog_sqlite::open(&path, Arc::new(ManualClock::default())).await.expect("a catalog");

    let waiting = catalog.get_unlisted(None).await.expect("a read").expect("a version");
    assert_eq!(waiting.path(), "debian/1");
    let mut tx = catalog.begin().await.expect("a transaction");
    assert!(tx.is_unlisted(waiting.id).await.expect("a read"));
    tx.mark_listed(waiting.id).await.expect("marked");
    assert!(!tx.is_unlisted(waiting.id).await.expect("a read"));
    tx.commit().await.expect("committed");
    assert_eq!(catalog.get_unlisted(None).await.expect("a read"), None);

    let changes = catalog.get_stream_changes(None).await.expect("a read");
    assert_eq!(changes.images.iter().map(|image| image.name.as_str()).collect::<Vec<_>>(), ["debian"]);
    let steps = async |job: u128| {
        let report = catalog.get_job(JobId::new(Uuid::from_u128(job))).await.expect("a read").expect("the job");
        let steps: Vec<_> = report.job.steps.iter().map(|step| (step.name, step.state.name())).collect();
        assert_eq!(report.job.current_step().map(|step| step.name), Some(StepName::ValidateCatalog));
        steps
    };
    let expected = [
        (StepName::ValidateCatalog, "failed"),
        (StepName::IncusIndex, "queued"),
        (StepName::FinalizePublish, "queued"),
    ];
    assert_eq!(steps(6).await, expected);
    // Nobody had looked into its disks.
    let expected = expected.map(|(name, _)| (name, "queued"));
    assert_eq!(steps(8).await, expected);
}
