//! The statements of garbage collection, and of searches for what few artifacts have, use indexes on both databases, so that
//! their cost does not grow with the catalog.

use imgsrv_catalog::{POSTGRES_STATEMENTS, SQLITE_STATEMENTS, STATEMENTS, postgres::PgSettings};
use imgsrv_testkit::{ManualClock, services::Postgres};
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row, SqliteConnection, sqlite::SqliteConnectOptions};
use std::sync::Arc;

/// A condition of the statement that finds versions to make tombstones of. Its index is as small as the versions are few.
const DRAINED: &str = "state = 'removed' AND";

/// The statements among `lists` that find or change garbage, or look at few versions.
fn statements(lists: &[&[&[&'static str]]]) -> Vec<&'static str> {
    const OF: [&str; 10] = [
        DRAINED,
        "min(operating_system)",
        "image_trigrams",
        "incus_rows s",
        "unreferenced_since",
        "blob_references",
        "orphaned_blobs",
        "ORDER BY s.updated_at",
        "ORDER BY j.updated_at",
        "ORDER BY o.seen_at",
    ];
    let all = lists.iter().flat_map(|lists| lists.iter()).flat_map(|list| list.iter());
    let found: Vec<_> = all.filter(|sql| OF.iter().any(|text| sql.contains(text))).copied().collect();
    assert!(found.len() > 12, "{found:#?}");
    found
}

fn uses(plan: &[String], index: &str) -> bool {
    plan.iter().any(|step| step.contains(index))
}

#[tokio::test]
async fn bounded_statements_use_indexes_on_sqlite() {
    let dir = tempfile::tempdir().expect("a scratch folder");
    let path = dir.path().join("catalog.db");
    imgsrv_catalog::sqlite::open(&path, Arc::new(ManualClock::default())).await.expect("a catalog").close().await;
    let options = SqliteConnectOptions::new().filename(&path);
    let mut connection = SqliteConnection::connect_with(&options).await.expect("a connection");
    for sql in statements(&[STATEMENTS, SQLITE_STATEMENTS]) {
        let explained = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}"));
        let rows =
            sqlx::raw_sql(explained).fetch_all(&mut connection).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        let plan: Vec<String> = rows.iter().map(|row| row.get("detail")).collect();
        // Subqueries with these names are bounded by their limits; `p` are the patterns of the caller.
        let bounded = [
            "due",
            "r",
            "examined",
            "s",
            "m",
            "k",
            "few",
            "found",
            "one",
            "other",
            "offered",
            "newer",
            "p VIRTUAL TABLE INDEX 1:",
        ]
        .map(|name| format!("SCAN {name}"));
        let scans = |step: &String| step.starts_with("SCAN") && !bounded.contains(step);
        assert!(!plan.iter().any(scans), "{sql}\n{plan:#?}");
        assert!(!sql.contains(DRAINED) || uses(&plan, "version_lifecycles_draining"), "{sql}\n{plan:#?}");
    }
}

#[tokio::test]
async fn bounded_statements_use_indexes_on_postgres() {
    let url = Postgres::shared().await.database().await;
    let settings = PgSettings { url: url.clone(), max_connections: 1 };
    imgsrv_catalog::postgres::open(&settings).await.expect("a catalog").close().await;
    let mut connection = PgConnection::connect(&url).await.expect("a connection");
    // Only what no index can find is scanned then.
    let settings = "SET enable_seqscan = off; SET plan_cache_mode = force_generic_plan";
    sqlx::raw_sql(settings).execute(&mut connection).await.expect("set");
    for sql in statements(&[STATEMENTS, POSTGRES_STATEMENTS]) {
        let placeholders = (1..=13).filter(|number| sql.contains(&format!("${number}"))).count();
        let values = vec!["NULL"; placeholders].join(", ");
        let explained = format!("PREPARE planned AS {sql}; EXPLAIN EXECUTE planned({values}); DEALLOCATE planned");
        let rows = sqlx::raw_sql(AssertSqlSafe(explained)).fetch_all(&mut connection).await;
        let rows = rows.unwrap_or_else(|error| panic!("{sql}: {error}"));
        let plan: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        assert!(!plan.iter().any(|step| step.contains("Seq Scan")), "{sql}\n{plan:#?}");
        assert!(!sql.contains(DRAINED) || uses(&plan, "version_lifecycles_draining"), "{sql}\n{plan:#?}");
    }
}
