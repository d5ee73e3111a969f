//! Both catalogs have the same schema, as far as their databases can have one: tables, columns, keys, indexes and
//! guarding triggers.

use imgsrv_catalog::postgres::PgSettings;
use imgsrv_testkit::{ManualClock, services::Postgres};
use sqlx::{
    AssertSqlSafe, Connection, FromRow, PgConnection, SqliteConnection, postgres::PgRow, sqlite::SqliteConnectOptions,
};
use std::{collections::BTreeSet, sync::Arc};

/// Triggers of SQLite alone: there, an insert that replaces must be refused before it deletes.
const ONLY_SQLITE: &[&str] = &["audit_log_insert", "image_refs_insert"];
/// Triggers of PostgreSQL alone: TRUNCATE, wake-ups of other nodes, and locks.
fn only_postgres(trigger: &str) -> bool {
    ["_truncate", "_notify", "_notify_insert", "_notify_update", "_lock_blob"].iter().any(|end| trigger.ends_with(end))
}

/// The kind of a column in either database.
fn kind(declared: &str) -> &'static str {
    match declared {
        "BLOB" | "uuid" | "bytea" => "bytes",
        "INTEGER" | "bigint" | "boolean" | "timestamp with time zone" => "number",
        "TEXT" | "text" | "jsonb" => "text",
        other => panic!("a column of type {other}"),
    }
}

type Lines = BTreeSet<String>;

async fn of_sqlite() -> Lines {
    let dir = tempfile::tempdir().expect("a scratch folder");
    let path = dir.path().join("catalog.db");
    let catalog = imgsrv_catalog::sqlite::open(&path, Arc::new(ManualClock::default())).await.expect("a catalog");
    let mut shell =
        SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(&path)).await.expect("a shell");
    let mut lines = Lines::new();
    let tables: Vec<(String,)> = rows(
        &mut shell,
        "SELECT name FROM pragma_table_list WHERE type = 'table'
        AND schema = 'main' AND name NOT LIKE 'sqlite_%' AND name NOT LIKE '\\_sqlx%' ESCAPE '\\'",
    )
    .await;
    for (table,) in tables {
        let columns: Vec<(String, String, i64, i64)> =
            rows(&mut shell, &format!("SELECT name, type, \"notnull\", pk FROM pragma_table_xinfo('{table}')")).await;
        for (name, declared, not_null, _) in &columns {
            let nullable = if *not_null == 0 { " or nothing" } else { "" };
            // A generated column's type comes with the words that say so.
            let declared = declared.split(' ').next().unwrap_or_default();
            lines.insert(format!("{table}: column {name} is {}{nullable}", kind(declared)));
        }
        let mut key: Vec<_> = columns.iter().filter(|column| column.3 > 0).collect();
        key.sort_by_key(|column| column.3);
        let key: Vec<_> = key.into_iter().map(|column| column.0.as_str()).collect();
        lines.insert(format!("{table}: primary key ({})", key.join(",")));
        let indexes: Vec<(String, i64, String, i64)> =
            rows(&mut shell, &format!("SELECT name, \"unique\", origin, partial FROM pragma_index_list('{table}')"))
                .await;
        for (index, unique, origin, partial) in indexes {
            let columns: Vec<(String,)> = rows(
                &mut shell,
                &format!("SELECT coalesce(name, 'expression') FROM pragma_index_info('{index}') ORDER BY seqno"),
            )
            .await;
            let columns: Vec<String> = columns.into_iter().map(|(name,)| name).collect();
            match origin.as_str() {
                "u" => drop(lines.insert(format!("{table}: unique ({})", columns.join(",")))),
                "c" => drop(lines.insert(index_line(&table, &index, unique != 0, partial != 0, &columns.join(",")))),
                _ => {}
            }
        }
        let keys: Vec<(i64, String, String, String)> = rows(
            &mut shell,
            &format!(
                "SELECT id, \"table\", group_concat(\"from\"), group_concat(\"to\") FROM
                (SELECT * FROM pragma_foreign_key_list('{table}') ORDER BY id, seq) GROUP BY id, \"table\""
            ),
        )
        .await;
        for (_, to, from_columns, to_columns) in keys {
            lines.insert(format!("{table}: ({from_columns}) refers to {to} ({to_columns})"));
        }
    }
    let triggers: Vec<(String, String)> =
        rows(&mut shell, "SELECT tbl_name, name FROM sqlite_schema WHERE type = 'trigger'").await;
    for (table, trigger) in triggers.into_iter().filter(|(_, trigger)| !ONLY_SQLITE.contains(&trigger.as_str())) {
        lines.insert(format!("{table}: trigger {trigger}"));
    }
    catalog.close().await;
    lines
}

fn index_line(table: &str, name: &str, unique: bool, partial: bool, columns: &str) -> String {
    let unique = if unique { "unique " } else { "" };
    let partial = if partial { " of some rows" } else { "" };
    format!("{table}: {unique}index {name} ({columns}){partial}")
}

async fn rows<T>(shell: &mut SqliteConnection, sql: &str) -> Vec<T>
where
    T: for<'r> FromRow<'r, sqlx::sqlite::SqliteRow> + Send + Unpin,
{
    let sql = AssertSqlSafe(sql.to_owned());
    sqlx::query_as(sql).fetch_all(shell).await.expect("rows")
}

async fn of_postgres() -> Lines {
    let url = Postgres::shared().await.database().await;
    let settings = PgSettings { url: url.clone(), max_connections: 2 };
    let catalog = imgsrv_catalog::postgres::open(&settings).await.expect("a catalog");
    let mut shell = PgConnection::connect(&url).await.expect("a shell");
    let mut lines = Lines::new();
    let columns: Vec<(String, String, String, String)> = pg_rows(
        &mut shell,
        "SELECT table_name::text, column_name::text, data_type::text, is_nullable::text FROM information_schema.columns
        JOIN information_schema.tables USING (table_schema, table_name)
        WHERE table_schema = 'public' AND table_type = 'BASE TABLE' AND table_name NOT LIKE '\\_sqlx%'",
    )
    .await;
    for (table, name, declared, nullable) in columns {
        let nullable = if nullable == "YES" { " or nothing" } else { "" };
        lines.insert(format!("{table}: column {name} is {}{nullable}", kind(&declared)));
    }
    let indexes: Vec<(String, String, bool, bool, bool, bool, String)> = pg_rows(
        &mut shell,
        "SELECT t.relname::text, i.relname::text, x.indisprimary, x.indisunique, x.indpred IS NOT NULL,
            EXISTS (SELECT 1 FROM pg_constraint c WHERE c.conindid = i.oid AND c.contype IN ('u', 'p')),
            (SELECT string_agg(coalesce(a.attname, 'expression'), ',' ORDER BY k.at)
                FROM unnest(x.indkey) WITH ORDINALITY k (number, at)
                LEFT JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = k.number)
        FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_class t ON t.oid = x.indrelid
        WHERE t.relnamespace = 'public'::regnamespace AND t.relname NOT LIKE '\\_sqlx%'",
    )
    .await;
    for (table, index, primary, unique, partial, constraint, columns) in indexes {
        lines.insert(match (primary, constraint) {
            (true, _) => format!("{table}: primary key ({columns})"),
            (false, true) => format!("{table}: unique ({columns})"),
            (false, false) => index_line(&table, &index, unique, partial, &columns),
        });
    }
    let keys: Vec<(String, String, String, String)> = pg_rows(
        &mut shell,
        "SELECT f.relname::text, t.relname::text,
            (SELECT string_agg(a.attname, ',' ORDER BY k.at) FROM unnest(c.conkey) WITH ORDINALITY k (number, at)
                JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.number),
            (SELECT string_agg(a.attname, ',' ORDER BY k.at) FROM unnest(c.confkey) WITH ORDINALITY k (number, at)
                JOIN pg_attribute a ON a.attrelid = c.confrelid AND a.attnum = k.number)
        FROM pg_constraint c JOIN pg_class f ON f.oid = c.conrelid JOIN pg_class t ON t.oid = c.confrelid
        WHERE c.contype = 'f'",
    )
    .await;
    for (table, to, from_columns, to_columns) in keys {
        lines.insert(format!("{table}: ({from_columns}) refers to {to} ({to_columns})"));
    }
    let triggers: Vec<(String, String)> = pg_rows(
        &mut shell,
        "SELECT c.relname::text, t.tgname::text FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
        WHERE NOT t.tgisinternal",
    )
    .await;
    for (table, trigger) in triggers.into_iter().filter(|(_, trigger)| !only_postgres(trigger)) {
        lines.insert(format!("{table}: trigger {trigger}"));
    }
    catalog.close().await;
    lines
}

async fn pg_rows<T>(shell: &mut PgConnection, sql: &'static str) -> Vec<T>
where
    T: for<'r> FromRow<'r, PgRow> + Send + Unpin,
{
    sqlx::query_as(sql).fetch_all(shell).await.expect("rows")
}

#[tokio::test]
async fn both_catalogs_have_one_schema() {
    let (sqlite, postgres) = (of_sqlite().await, of_postgres().await);
    assert!(sqlite.len() > 100, "only {} things were found", sqlite.len());
    let only: Vec<_> = sqlite.difference(&postgres).map(|line| format!("only in SQLite: {line}")).collect();
    let other: Vec<_> = postgres.difference(&sqlite).map(|line| format!("only in PostgreSQL: {line}")).collect();
    assert!(only.is_empty() && other.is_empty(), "{}", [only, other].concat().join("\n"));
}
