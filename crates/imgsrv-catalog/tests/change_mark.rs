//! The mark of the state of a SQLite catalog.

use imgsrv_catalog::sqlite;
use imgsrv_domain::{
    audit::{Actor, AuditAction, AuditEntry, Event},
    ports::{Catalog, CatalogTx, StreamQueries, Unwritable},
};
use imgsrv_testkit::ManualClock;
use sqlx::{Connection, Executor, SqliteConnection, sqlite::SqliteConnectOptions};
use std::sync::Arc;

async fn change(catalog: &dyn Catalog) -> Box<dyn CatalogTx> {
    let mut tx = catalog.begin().await.expect("a transaction");
    let entry = AuditEntry { at: tx.now(), actor: Actor::Operator, event: Event::new(AuditAction::ImageCreated, "a") };
    tx.append_audit(&entry).await.expect("a row");
    tx
}

#[tokio::test]
async fn the_mark_changes_with_each_commit_of_any_connection_and_with_nothing_else() {
    let dir = tempfile::tempdir().expect("a scratch folder");
    let path = dir.path().join("catalog.db");
    let catalog = sqlite::open(&path, Arc::new(ManualClock::default())).await.expect("a catalog");
    let shell = SqliteConnectOptions::new().filename(&path);
    let mut shell = SqliteConnection::connect_with(&shell).await.expect("a connection");
    let mark = || catalog.change_mark().expect("a mark");
    let mut seen = vec![mark()];
    for _ in 0..3 {
        let before = mark();
        catalog.catalog_revision().await.expect("a revision");
        drop(change(&catalog).await);
        let tx = change(&catalog).await;
        assert_eq!(mark(), before, "nothing was committed");
        tx.commit().await.expect("committed");
        assert!(!seen.contains(&mark()), "a commit");
        seen.push(mark());
        shell.execute("UPDATE catalog_revision SET revision = revision + 1").await.expect("another process writes");
        assert!(!seen.contains(&mark()), "a commit of another connection");
        seen.push(mark());
        shell.execute("PRAGMA wal_checkpoint(TRUNCATE)").await.expect("a checkpoint");
    }
}

#[tokio::test]
async fn a_catalog_without_a_writer_has_no_mark() {
    let dir = tempfile::tempdir().expect("a scratch folder");
    let (path, clock) = (dir.path().join("catalog.db"), Arc::new(ManualClock::default()));
    sqlite::open(&path, clock.clone()).await.expect("a catalog").close().await;
    let catalog = sqlite::open_read_only(&path, clock, Unwritable::ReadOnly).await.expect("a catalog");
    assert_eq!(catalog.change_mark(), None);
    catalog.accept_writes().await.expect("it can be written");
    assert!(catalog.change_mark().is_some());
}
