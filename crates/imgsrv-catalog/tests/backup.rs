//! A backup has every table and column of the catalog, or it is listed why not; and no blob is collected during an export.

use imgsrv_catalog::{BACKED_UP, NOT_BACKED_UP, postgres::PgSettings};
use imgsrv_domain::{
    digest::BlobClaim,
    ids::UploadId,
    ports::{BackupCatalog, BlobName, Catalog, CollectedBatch, TrustedBlob},
};
use imgsrv_testkit::{ManualClock, services::Postgres};
use sqlx::{AssertSqlSafe, Connection, SqliteConnection, query_scalar, sqlite::SqliteConnectOptions};
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use uuid::Uuid;

const TERM: Duration = Duration::from_mins(1);

/// Every column of a new catalog, as `table.column`.
async fn columns() -> BTreeSet<String> {
    let dir = tempfile::tempdir().expect("a scratch folder");
    let path = dir.path().join("catalog.db");
    imgsrv_catalog::sqlite::open(&path, Arc::new(ManualClock::default())).await.expect("a catalog").close().await;
    let options = SqliteConnectOptions::new().filename(&path);
    let mut shell = SqliteConnection::connect_with(&options).await.expect("a shell");
    let tables = "SELECT name FROM pragma_table_list WHERE type = 'table' AND schema = 'main'
        AND name NOT LIKE 'sqlite_%' AND name NOT LIKE '\\_sqlx%' ESCAPE '\\'";
    let tables: Vec<String> = query_scalar(tables).fetch_all(&mut shell).await.expect("tables");
    let mut all = BTreeSet::new();
    for table in tables {
        let columns = AssertSqlSafe(format!("SELECT name FROM pragma_table_xinfo('{table}')"));
        let columns: Vec<String> = query_scalar(columns).fetch_all(&mut shell).await.expect("columns");
        all.extend(columns.into_iter().map(|column| format!("{table}.{column}")));
    }
    all
}

#[tokio::test]
async fn every_column_is_backed_up_or_listed_with_the_reason() {
    let all = columns().await;
    assert!(all.len() > 200, "{all:?}");
    let backed_up: BTreeSet<String> = BACKED_UP
        .iter()
        .flat_map(|(table, columns)| columns.iter().map(move |column| format!("{table}.{column}")))
        .collect();
    let is_listed = |column: &String| {
        let table = column.split('.').next().unwrap_or_default();
        NOT_BACKED_UP.iter().any(|(listed, _)| listed == column || *listed == table)
    };
    let forgotten: Vec<_> = all.iter().filter(|column| !backed_up.contains(*column) && !is_listed(column)).collect();
    assert!(forgotten.is_empty(), "neither in a backup nor listed in NOT_BACKED_UP: {forgotten:#?}");
    let twice: Vec<_> = backed_up.iter().filter(|column| is_listed(column)).collect();
    assert!(twice.is_empty(), "in a backup, and listed: {twice:?}");
    let unknown: Vec<_> = backed_up.difference(&all).collect();
    assert!(unknown.is_empty(), "no such columns: {unknown:?}");
    let stale: Vec<_> = NOT_BACKED_UP
        .iter()
        .filter(|(listed, _)| !all.iter().any(|column| column == listed || column.starts_with(&format!("{listed}."))))
        .collect();
    assert!(stale.is_empty(), "listed, but no longer there: {stale:?}");
}

/// Stores a blob that nothing refers to.
async fn store(catalog: &impl Catalog, bytes: &[u8]) {
    let mut tx = catalog.begin().await.expect("a transaction");
    let claim = BlobClaim::of(bytes);
    let name = BlobName::of(&claim.digest, UploadId::new(Uuid::from_u128(bytes.len() as u128)));
    let created_at = tx.now();
    tx.insert_blob(&TrustedBlob { claim, name, created_at }).await.expect("stored");
    tx.commit().await.expect("committed");
}

/// Collects what is unreferenced now.
async fn collect(catalog: &impl Catalog) -> CollectedBatch {
    let mut tx = catalog.begin().await.expect("a transaction");
    let now = tx.now();
    let batch = tx.collect_blobs(now, 50).await.expect("a batch");
    tx.commit().await.expect("committed");
    batch
}

async fn pins_delay_collections(catalog: impl Catalog + BackupCatalog + 'static) {
    let (pin, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
    store(&catalog, b"one").await;
    catalog.acquire_pin(pin, TERM).await.expect("pinned");
    assert_eq!(collect(&catalog).await, CollectedBatch::default());
    assert!(catalog.renew_pin(pin, TERM).await.expect("an answer"));
    // Another export does not end the first one.
    catalog.acquire_pin(other, TERM).await.expect("pinned");
    catalog.release_pin(other).await.expect("released");
    assert_eq!(collect(&catalog).await, CollectedBatch::default());
    catalog.release_pin(pin).await.expect("released");
    assert!(!catalog.renew_pin(pin, TERM).await.expect("an answer"), "a released pin cannot be renewed");
    assert_eq!(collect(&catalog).await.deleted.len(), 1);

    // A pin that has expired is lost, even if no collection has run.
    store(&catalog, b"another").await;
    catalog.acquire_pin(pin, Duration::ZERO).await.expect("pinned");
    assert!(!catalog.renew_pin(pin, TERM).await.expect("an answer"));
    assert_eq!(collect(&catalog).await.deleted.len(), 1);

    // A new pin waits for the batch in progress.
    let catalog = Arc::new(catalog);
    let mut tx = catalog.begin().await.expect("a transaction");
    let now = tx.now();
    tx.collect_blobs(now, 50).await.expect("a batch");
    let pinning = Arc::clone(&catalog);
    let mut pinning = tokio::spawn(async move { pinning.acquire_pin(other, TERM).await });
    assert!(tokio::time::timeout(Duration::from_millis(200), &mut pinning).await.is_err(), "it does not wait");
    tx.commit().await.expect("committed");
    pinning.await.expect("it ends").expect("pinned");
}

#[tokio::test]
async fn pins_delay_collections_on_sqlite() {
    let dir = tempfile::tempdir().expect("a scratch folder");
    let opened = imgsrv_catalog::sqlite::open(&dir.path().join("catalog.db"), Arc::new(ManualClock::default())).await;
    pins_delay_collections(opened.expect("a catalog")).await;
}

#[tokio::test]
async fn pins_delay_collections_on_postgres() {
    let url = Postgres::shared().await.database().await;
    let opened = imgsrv_catalog::postgres::open(&PgSettings { url, max_connections: 4 }).await;
    pins_delay_collections(opened.expect("a catalog")).await;
}
