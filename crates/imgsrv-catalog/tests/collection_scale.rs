//! What a collection costs when very many blobs are unreferenced. Alone in its process, because it records statements.
//!
//! `IMGSRV_TEST_SCALE=1000000` runs it at full scale, and checks the time of every statement.
#![expect(clippy::print_stdout, reason = "measurements, shown with --nocapture")]

use imgsrv_catalog::postgres::PgSettings;
use imgsrv_domain::{ports::Catalog, time::Timestamp};
use imgsrv_testkit::{ManualClock, Scale, Statements, services::Postgres};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, SqliteConnection, sqlite::SqliteConnectOptions};
use std::{sync::Arc, time::Duration};

const BATCH: u16 = 50;
/// Batches that are collected.
const BATCHES: usize = 40;

/// Unreferenced blobs in random order of their digests; the triggers of each row would count them one by one.
const SQLITE: &str = "WITH RECURSIVE numbers (number, hex) AS (SELECT 1, lower(hex(randomblob(32)))
        UNION ALL SELECT number + 1, lower(hex(randomblob(32))) FROM numbers WHERE number < {})
    INSERT INTO blobs (digest, size_bytes, storage_name, state, created_at, unreferenced_since)
    SELECT 'sha256:' || hex, 1000, 'sha256/' || substr(hex, 1, 2) || '/' || substr(hex, 3, 2) || '/' || hex ||
        '-0198c0de-0000-7000-8000-' || printf('%012x', number), 'trusted', 1, number FROM numbers";
const POSTGRES: &str = "SET session_replication_role = replica;
    INSERT INTO blobs (digest, size_bytes, storage_name, state, created_at, unreferenced_since)
    SELECT 'sha256:' || hex, 1000, 'sha256/' || left(hex, 2) || '/' || substr(hex, 3, 2) || '/' || hex ||
        '-0198c0de-0000-7000-8000-' || lpad(to_hex(number), 12, '0'), 'trusted', to_timestamp(0),
        to_timestamp(number / 1e6)
    FROM (SELECT number, encode(sha256(number::text::bytea), 'hex') AS hex FROM generate_series(1, {}) AS n (number)) AS blobs;
    RESET session_replication_role;
    ANALYZE blobs";

/// Collects some batches, with everything that a collection and a dry run do in the catalog.
async fn collect(catalog: &dyn Catalog, statements: &Statements, scale: Scale, what: &str) {
    let before = Timestamp::from_micros(i64::MAX / 2);
    statements.take();
    let counted = catalog.count_collectable(before, 2_000).await.expect("counted");
    assert_eq!((counted.blobs, counted.is_complete), (scale.records.min(2_000) as u64, scale.records < 2_000));
    scale.check(&format!("{what}: dry run"), &statements.take_timed());
    let mut deleted = 0;
    for _ in 0..BATCHES {
        let mut tx = catalog.begin().await.expect("a transaction");
        let batch = tx.collect_blobs(before, BATCH).await.expect("collected");
        deleted += batch.deleted.len();
        tx.commit().await.expect("committed");
        let mut tx = catalog.begin().await.expect("a transaction");
        for orphan in tx.list_orphaned_blobs(None, BATCH).await.expect("listed") {
            assert!(tx.delete_orphaned_blob(&orphan.name).await.expect("deleted"));
        }
        tx.commit().await.expect("committed");
    }
    assert_eq!(deleted, BATCHES * usize::from(BATCH));
    let spent = statements.take_timed();
    let finding: Vec<(String, Duration)> =
        spent.iter().filter(|(sql, _)| sql.contains("unreferenced_since <=")).cloned().collect();
    assert_eq!(finding.len(), BATCHES);
    scale.check(&format!("{what}: finding {BATCH}"), &finding);
    scale.check(&format!("{what}: collecting {deleted}"), &spent);
    let statistics = catalog.statistics().await.expect("statistics");
    println!("{what}: {} bytes are unreferenced", statistics.unreferenced_bytes);
    scale.check(&format!("{what}: statistics"), &statements.take_timed());
}

#[tokio::test]
async fn a_collection_costs_the_same_however_many_blobs_are_unreferenced() {
    let (statements, scale) = (Statements::record(), Scale::or(5_000));
    let sized = |sql: &str| AssertSqlSafe(sql.replace("{}", &scale.records.to_string()));

    let dir = tempfile::tempdir().expect("a scratch folder");
    let path = dir.path().join("catalog.db");
    let catalog = imgsrv_catalog::sqlite::open(&path, Arc::new(ManualClock::default())).await.expect("a catalog");
    let options = SqliteConnectOptions::new().filename(&path);
    let mut connection = SqliteConnection::connect_with(&options).await.expect("a connection");
    connection.execute(sized(SQLITE)).await.expect("blobs");
    collect(&catalog, &statements, scale, "SQLite").await;

    let url = Postgres::shared().await.database().await;
    let settings = PgSettings { url: url.clone(), max_connections: 4 };
    let catalog = imgsrv_catalog::postgres::open(&settings).await.expect("a catalog");
    let mut connection = PgConnection::connect(&url).await.expect("a connection");
    connection.execute(sized(POSTGRES)).await.expect("blobs");
    collect(&catalog, &statements, scale, "PostgreSQL").await;
}
