//! Every row of a catalog, to show that a request has changed nothing.

use sqlx::{
    AssertSqlSafe, ConnectOptions, Row, postgres::PgConnectOptions, query_scalar, sqlite::SqliteConnectOptions,
};
use std::collections::BTreeMap;

/// The rows of every table as texts, in ascending order.
pub type Rows = BTreeMap<String, Vec<String>>;

const SQLITE_TABLES: &str =
    "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'";
const POSTGRES_TABLES: &str = "SELECT tablename::text FROM pg_tables WHERE schemaname = current_schema()";

/// All rows of the catalog at `location`: the path of a SQLite file, or a PostgreSQL URL.
pub async fn rows(location: &str) -> Rows {
    if location.starts_with("postgres") { of_postgres(location).await } else { of_sqlite(location).await }
}

async fn of_sqlite(file: &str) -> Rows {
    let options = SqliteConnectOptions::new().filename(file).read_only(true);
    let mut connection = options.connect().await.expect("a connection");
    let tables: Vec<String> = query_scalar(SQLITE_TABLES).fetch_all(&mut connection).await.expect("tables");
    let mut rows = Rows::new();
    for table in tables {
        let columns =
            sqlx::query(AssertSqlSafe(format!("PRAGMA table_info({table})"))).fetch_all(&mut connection).await;
        let columns = columns.expect("columns").into_iter();
        let columns: Vec<String> =
            columns.map(|column| format!("quote({})", column.get::<String, _>("name"))).collect();
        let select = format!("SELECT {} FROM {table} ORDER BY 1", columns.join(" || ',' || "));
        let texts = query_scalar(AssertSqlSafe(select)).fetch_all(&mut connection).await.expect("rows");
        rows.insert(table, texts);
    }
    rows
}

async fn of_postgres(url: &str) -> Rows {
    let options: PgConnectOptions = url.parse().expect("a PostgreSQL URL");
    let mut connection = options.connect().await.expect("a connection");
    let tables: Vec<String> = query_scalar(POSTGRES_TABLES).fetch_all(&mut connection).await.expect("tables");
    let mut rows = Rows::new();
    for table in tables {
        let select = AssertSqlSafe(format!("SELECT t::text FROM {table} t ORDER BY 1"));
        rows.insert(table, query_scalar(select).fetch_all(&mut connection).await.expect("rows"));
    }
    rows
}
