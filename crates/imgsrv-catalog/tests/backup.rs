//! A backup has every table and column of the catalog, or it is listed why not.

use imgsrv_catalog::{BACKED_UP, NOT_BACKED_UP};
use imgsrv_testkit::ManualClock;
use sqlx::{AssertSqlSafe, Connection, SqliteConnection, query_scalar, sqlite::SqliteConnectOptions};
use std::{collections::BTreeSet, sync::Arc};

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
