//! The catalog contract on SQLite, and what only SQLite can get wrong.

use imgsrv_catalog::{SQLITE_STATEMENTS, STATEMENTS};
use imgsrv_contract::{
    Opening,
    catalog::{Fresh, run},
};
use imgsrv_testkit::ManualClock;
use sqlx::{AssertSqlSafe, Connection, Executor, SqlSafeStr, SqliteConnection, sqlite::SqliteConnectOptions};
use std::sync::Arc;

/// Dialect of SQLite: `OR REPLACE` deletes conflicting rows without firing delete triggers, and a shell on the
/// file has foreign keys switched off.
const FORBIDDEN: &[&str] = &[
    "UPDATE OR REPLACE images SET has_published = NULL WHERE name = 'debian'",
    "UPDATE OR REPLACE versions SET rowid = (SELECT rowid FROM versions WHERE state = 'published') WHERE state = 'draft'",
    "INSERT OR REPLACE INTO blobs (rowid, digest, size_bytes, storage_name, state, created_at)
        SELECT rowid, 'sha256:x', 1, 'x', 'trusted', 1 FROM blobs",
    "INSERT OR REPLACE INTO versions SELECT id, image_id, 'x', 'draft', NULL, created_at, updated_at, 1 FROM versions WHERE state = 'published'",
    "INSERT OR REPLACE INTO versions (id, image_id, name, state, created_at, updated_at, revision)
        SELECT randomblob(16), image_id, name, 'draft', created_at, updated_at, 1 FROM versions WHERE state = 'published'",
    "INSERT INTO versions (id, image_id, name, state, published_at, created_at, updated_at, revision)
        SELECT randomblob(16), id, 'born', 'published', 1, 1, 1, 1 FROM images",
    "INSERT OR REPLACE INTO artifacts SELECT id, version_id, 'x', architecture, variant, format, primary_blob_digest, primary_blob_size_bytes, primary_media_type, created_at FROM artifacts",
    "INSERT OR REPLACE INTO artifacts SELECT randomblob(16), version_id, operating_system, architecture, variant, format, primary_blob_digest, 1, primary_media_type, created_at FROM artifacts",
    "INSERT OR REPLACE INTO artifacts SELECT id, (SELECT id FROM versions WHERE state = 'draft'), operating_system, architecture, variant, format, primary_blob_digest, 1, primary_media_type, created_at FROM artifacts",
    "INSERT OR REPLACE INTO attachments SELECT id, version_id, artifact_id, name, 'x/y', blob_digest, blob_size_bytes, created_at FROM attachments",
    "INSERT OR REPLACE INTO attachments SELECT randomblob(16), version_id, artifact_id, name, 'x/y', blob_digest, blob_size_bytes, created_at FROM attachments",
    "INSERT OR REPLACE INTO version_files SELECT version_id, name, artifact_id, NULL FROM version_files",
    "INSERT OR REPLACE INTO blobs SELECT digest, 1, 'x', 'trusted', created_at FROM blobs",
    "INSERT OR REPLACE INTO blobs SELECT 'sha256:x', 1, storage_name, 'trusted', created_at FROM blobs",
    "INSERT OR REPLACE INTO images SELECT id, 'x', NULL, NULL, 0, 1, 1, 1 FROM images WHERE name = 'debian'",
    "INSERT OR REPLACE INTO images SELECT randomblob(16), name, NULL, NULL, 0, 1, 1, 1 FROM images WHERE name = 'debian'",
    "INSERT OR REPLACE INTO aliases (id, image_id, name, version_id, created_at, updated_at, revision)
        SELECT randomblob(16), image_id, 'latest', id, 1, 1, 1 FROM versions WHERE state = 'draft'",
    "UPDATE OR REPLACE versions SET id = (SELECT id FROM versions WHERE state = 'published') WHERE state = 'draft'",
    "UPDATE OR REPLACE versions SET name = '1' WHERE state = 'draft'",
    "INSERT OR REPLACE INTO version_lifecycles (version_id, image_id, published_at, changed_at)
        SELECT version_id, image_id, published_at, changed_at FROM version_lifecycles",
    "UPDATE OR REPLACE blobs SET storage_name = (SELECT max(storage_name) FROM blobs)",
    "UPDATE OR REPLACE images SET name = 'debian' WHERE name = 'other'",
    "INSERT INTO artifacts SELECT id, version_id, operating_system, architecture, variant, format, primary_blob_digest, 1, primary_media_type, created_at FROM artifacts WHERE true
        ON CONFLICT (id) DO UPDATE SET primary_blob_size_bytes = 1",
    "INSERT INTO blobs SELECT digest, size_bytes, storage_name, state, created_at, unreferenced_since FROM blobs WHERE true ON CONFLICT (digest) DO UPDATE SET size_bytes = 1",
];

fn open() -> Opening<Fresh> {
    Box::pin(async {
        let dir = tempfile::tempdir().expect("a scratch folder");
        let path = dir.path().join("catalog.db");
        let clock = Arc::new(ManualClock::default());
        let catalog = imgsrv_catalog::sqlite::open(&path, clock.clone()).await.expect("a catalog");
        let shell = SqliteConnectOptions::new().filename(&path).foreign_keys(false);
        let mut connection = SqliteConnection::connect_with(&shell).await.expect("a connection");
        for statements in STATEMENTS.iter().chain(SQLITE_STATEMENTS) {
            for statement in *statements {
                let prepared = connection.prepare((*statement).into_sql_str()).await;
                prepared.unwrap_or_else(|error| panic!("{statement}: {error}"));
            }
        }
        let sql = move |statement: &str| -> Opening<bool> {
            let (shell, statement) = (shell.clone(), statement.to_owned());
            Box::pin(async move {
                let mut connection = SqliteConnection::connect_with(&shell).await.expect("a connection");
                let refused = connection.execute(AssertSqlSafe(statement)).await;
                connection.close().await.expect("closed");
                refused.is_err()
            })
        };
        Fresh {
            catalog: Arc::new(catalog),
            advance: Box::new(move |by| clock.advance(by)),
            sql: Box::new(sql),
            forbidden: FORBIDDEN,
            guard: Box::new(dir),
        }
    })
}

fn main() {
    run(&[("sqlite", open)])
}
