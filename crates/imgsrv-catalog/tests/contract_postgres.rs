//! The catalog contract on PostgreSQL, and what only PostgreSQL can get wrong.

use imgsrv_catalog::postgres::{PgSettings, open as open_catalog};
use imgsrv_catalog::{POSTGRES_STATEMENTS, STATEMENTS};
use imgsrv_contract::{
    Opening,
    catalog::{Fresh, run},
};
use imgsrv_testkit::services::Postgres;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, SqlSafeStr};
use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// Dialect of PostgreSQL.
const FORBIDDEN: &[&str] = &[
    "TRUNCATE versions CASCADE",
    "TRUNCATE artifacts CASCADE",
    "TRUNCATE attachments CASCADE",
    "TRUNCATE version_files",
    "TRUNCATE aliases",
    "TRUNCATE version_lifecycles",
    "TRUNCATE image_refs",
    "TRUNCATE images CASCADE",
    "TRUNCATE blobs",
    "INSERT INTO versions (id, image_id, name, state, created_at, updated_at, revision)
        SELECT id, image_id, 'x', 'draft', created_at, updated_at, 1 FROM versions WHERE state = 'published'
        ON CONFLICT (id) DO UPDATE SET name = 'x'",
    "INSERT INTO versions (id, image_id, name, state, published_at, created_at, updated_at, revision)
        SELECT gen_random_uuid(), id, 'born', 'published', now(), now(), now(), 1 FROM images",
    "INSERT INTO artifacts SELECT id, version_id, operating_system, architecture, variant, format, primary_blob_digest, 1, primary_media_type, created_at FROM artifacts
        ON CONFLICT (id) DO UPDATE SET primary_blob_size_bytes = 1",
    "INSERT INTO blobs SELECT digest, size_bytes, storage_name, state, created_at FROM blobs ON CONFLICT (digest) DO UPDATE SET size_bytes = 1",
    "INSERT INTO aliases (id, image_id, name, version_id, created_at, updated_at, revision)
        SELECT gen_random_uuid(), image_id, 'soon', id, now(), now(), 1 FROM versions WHERE state = 'draft'",
    "INSERT INTO artifacts SELECT gen_random_uuid(), version_id, operating_system, 'other', variant, format, primary_blob_digest, primary_blob_size_bytes, primary_media_type, created_at FROM artifacts",
    "WITH gone AS (DELETE FROM artifacts RETURNING *) SELECT * FROM gone",
    "MERGE INTO versions v USING images i ON i.id = v.image_id AND v.state = 'published' WHEN MATCHED THEN DELETE",
    "UPDATE blobs SET storage_name = storage_name || 'x'",
    "CREATE TEMP TABLE versions (id uuid, state text); INSERT INTO versions SELECT id, 'draft' FROM public.versions;
        DELETE FROM public.version_files",
    "BEGIN ISOLATION LEVEL REPEATABLE READ; INSERT INTO blobs SELECT 'sha256:' || repeat('0', 64), size_bytes,
        storage_name || '0', state, created_at FROM blobs LIMIT 1;
        DELETE FROM blobs WHERE digest = 'sha256:' || repeat('0', 64)",
];

/// The contract's clock stands still but for the steps that a case makes; it starts on 2026-01-01.
async fn set_clock(url: &str, micros: u64) {
    let mut connection = PgConnection::connect(url).await.expect("a connection");
    let statement = format!(
        "CREATE OR REPLACE FUNCTION catalog_now() RETURNS timestamptz LANGUAGE sql STABLE AS
         $$ SELECT timestamptz '2026-01-01 00:00:00Z' + {micros} * interval '1 microsecond' $$"
    );
    connection.execute(AssertSqlSafe(statement)).await.expect("a clock");
    connection.close().await.expect("closed");
}

fn open() -> Opening<Fresh> {
    Box::pin(async {
        let url = Postgres::shared().await.database().await;
        let settings = PgSettings { url: url.clone(), max_connections: 5 };
        let catalog = open_catalog(&settings).await.expect("a catalog");
        set_clock(&url, 0).await;
        let mut connection = PgConnection::connect(&url).await.expect("a connection");
        for statements in STATEMENTS.iter().chain(POSTGRES_STATEMENTS) {
            for statement in *statements {
                let prepared = connection.prepare((*statement).into_sql_str()).await;
                prepared.unwrap_or_else(|error| panic!("{statement}: {error}"));
            }
        }
        let shell = url.clone();
        let sql = move |statement: &str| -> Opening<bool> {
            let (shell, statement) = (shell.clone(), statement.to_owned());
            Box::pin(async move {
                let mut connection = PgConnection::connect(&shell).await.expect("a connection");
                let refused = connection.execute(AssertSqlSafe(statement.clone())).await;
                connection.close().await.expect("closed");
                let Err(error) = refused else { return false };
                // By a trigger or a constraint, not because the statement makes no sense.
                let code = error
                    .as_database_error()
                    .and_then(sqlx::error::DatabaseError::code)
                    .unwrap_or_default()
                    .into_owned();
                assert!(code == "P0001" || code.starts_with("23"), "{statement}: {error}");
                true
            })
        };
        let micros = AtomicU64::new(0);
        let advance = move |by: Duration| {
            let by = u64::try_from(by.as_micros()).expect("a sane duration");
            let now = micros.fetch_add(by, Ordering::SeqCst) + by;
            let url = url.clone();
            // A case calls this from within its runtime.
            let setting = std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
                runtime.block_on(set_clock(&url, now));
            });
            setting.join().expect("the clock is set");
        };
        Fresh {
            catalog: std::sync::Arc::new(catalog),
            advance: Box::new(advance),
            sql: Box::new(sql),
            forbidden: FORBIDDEN,
            guard: Box::new(()),
        }
    })
}

fn main() {
    run(&[("postgres", open)])
}
