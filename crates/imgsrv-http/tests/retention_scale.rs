//! What deciding about many versions costs, and that a preview writes nothing. Alone in its process, because it records
//! statements and measures memory.
//!
//! `IMGSRV_TEST_SCALE=100000` runs it at full scale, and checks the time of every statement.
#![expect(clippy::print_stdout, reason = "measurements, shown with --nocapture")]

use axum::http::StatusCode;
use imgsrv_testkit::{Scale, Statements, TestServer, peak_memory, qcow2, services::Postgres};
use serde_json::{Value, json};

const URL: &str = "/v1/images/debian/retention";
/// What a version of an image may cost in memory while its retention is decided and shown, beside what is shared.
const BYTES_PER_VERSION: u64 = 2048;
const SHARED_BYTES: u64 = 32 << 20;

/// Versions `ci-1` and so on, published a second apart.
const SQLITE: &str = "WITH RECURSIVE numbers (number) AS (SELECT 1 UNION ALL SELECT number + 1 FROM numbers WHERE number < {})
    INSERT INTO versions (id, image_id, name, state, created_at, updated_at, revision)
    SELECT randomblob(16), (SELECT id FROM images), 'ci-' || number, 'draft', number * 1000000, number * 1000000, 1 FROM numbers";
const POSTGRES: &str = "INSERT INTO versions (id, image_id, name, state, created_at, updated_at, revision)
    SELECT gen_random_uuid(), (SELECT id FROM images), 'ci-' || number, 'draft', to_timestamp(number), to_timestamp(number), 1
    FROM generate_series({}) AS numbers (number)";
/// Versions that are added to PostgreSQL in a transaction: each row changes the same counters, and what a transaction has
/// changed often takes ever longer to find.
const AT_ONCE: usize = 2_000;
const PUBLISH: [&str; 2] = [
    "UPDATE versions SET state = 'publishing' WHERE state = 'draft'",
    "UPDATE versions SET state = 'published', published_at = created_at WHERE state = 'publishing'",
];

/// A catalog, and how hand-written SQL runs on it.
struct Catalog {
    server: TestServer,
    url: Option<String>,
}

impl Catalog {
    async fn sqlite() -> Self {
        Self { server: TestServer::start().await, url: None }
    }

    async fn postgres() -> Self {
        let url = Postgres::shared().await.database().await;
        Self { server: TestServer::start_on_database(&url, 4, |_| {}).await, url: Some(url) }
    }

    async fn sql(&self, statement: &str) {
        match &self.url {
            Some(url) => Postgres::sql(url, statement).await,
            None => self.server.sql(statement).await,
        }
    }
}

async fn many_versions(statements: &Statements, scale: Scale, what: &str, catalog: &Catalog) {
    let (server, count) = (&catalog.server, scale.records);
    server.published("debian", "1", &qcow2(1)).await;
    let inserts: Vec<String> = if catalog.url.is_some() {
        let parts = (1..=count).step_by(AT_ONCE).map(|first| format!("{first}, {}", count.min(first + AT_ONCE - 1)));
        parts.map(|part| POSTGRES.replace("{}", &part)).collect()
    } else {
        vec![SQLITE.replace("{}", &count.to_string())]
    };
    for insert in &inserts {
        for statement in [insert.as_str(), PUBLISH[0], PUBLISH[1]] {
            catalog.sql(statement).await;
        }
    }
    let admin = server.token_with("content-admin").await;
    let removed = count / 50 + 1;
    let policy = json!({"keep": {"newest": count + 1 - removed, "daily": 7, "monthly": 12},
        "action": "remove", "enabled": false});
    let set = server.call(Some(&admin), "PUT", URL, Some(policy)).await;
    assert_eq!(set.status, StatusCode::OK, "{set:?}");

    // The first request reads what the later ones find in a cache.
    server.call(Some(&admin), "GET", URL, None).await;
    statements.take();
    peak_memory();
    let before = peak_memory();
    let preview = server.call(Some(&admin), "GET", &format!("{URL}/preview"), None).await;
    let used = peak_memory().saturating_sub(before);
    let spent = statements.take_timed();
    scale.check(&format!("{what}: preview"), &spent);
    println!("{what}: preview: {} bytes of JSON, {used} bytes of memory", preview.body.len());
    assert!(used < SHARED_BYTES + BYTES_PER_VERSION * count as u64, "{used} bytes for {count} versions");
    assert!(spent.len() <= count / 500 + 4, "{spent:#?}");
    assert!(spent.iter().all(|(statement, _)| statement.starts_with("SELECT")), "{spent:#?}");
    let preview = preview.json();
    let decisions = preview["decisions"].as_array().expect("decisions");
    assert_eq!(decisions.len(), count + 1);
    assert_eq!(decisions.iter().filter(|decision| decision["action"] == "remove").count(), removed);

    let body = json!({"revision": preview["revision"]});
    peak_memory();
    let before = peak_memory();
    let applied = server.call(Some(&admin), "POST", &format!("{URL}/apply"), Some(body)).await.json();
    let used = peak_memory().saturating_sub(before);
    let spent = statements.take_timed();
    scale.check(&format!("{what}: apply"), &spent);
    println!("{what}: apply of {removed}: {used} bytes of memory");
    assert!(used < SHARED_BYTES + BYTES_PER_VERSION * count as u64, "{used} bytes for {count} versions");
    assert_eq!(applied["done"].as_array().map(Vec::len), Some(removed), "{}", applied["remaining"]);
    assert_eq!(applied["remaining"], 0);
    assert_eq!(applied["done"][0]["version"], "ci-1", "the oldest first");
    let listed: Value = server.get("/v1/images/debian/versions?lifecycle=removed").await.json();
    assert_eq!(
        listed["versions"][0]["lifecycle"]["reason"],
        "the retention policy of the image does not keep this version"
    );
}

#[tokio::test]
async fn many_versions_are_decided_with_few_reads_and_in_bounded_memory() {
    let (statements, scale) = (Statements::record(), Scale::or(5_000));
    many_versions(&statements, scale, "SQLite", &Catalog::sqlite().await).await;
    many_versions(&statements, scale, "PostgreSQL", &Catalog::postgres().await).await;
}
