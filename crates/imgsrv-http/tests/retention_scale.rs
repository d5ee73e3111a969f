//! What a preview of many versions costs, and that it writes nothing. Alone in its process, because it records statements.

use axum::http::StatusCode;
use imgsrv_testkit::{Statements, TestServer, qcow2};
use serde_json::json;

const URL: &str = "/v1/images/debian/retention";

#[tokio::test]
async fn ten_thousand_versions_are_decided_with_few_reads_and_no_write() {
    let (statements, server) = (Statements::record(), TestServer::start().await);
    server.published("debian", "1", &qcow2(1)).await;
    server
        .sql(
            "WITH RECURSIVE numbers (number) AS (SELECT 1 UNION ALL SELECT number + 1 FROM numbers WHERE number < 10000)
            INSERT INTO versions (id, image_id, name, state, created_at, updated_at, revision)
            SELECT randomblob(16), (SELECT id FROM images), 'ci-' || number, 'draft', number, number, 1 FROM numbers",
        )
        .await;
    server.sql("UPDATE versions SET state = 'publishing' WHERE state = 'draft'").await;
    server.sql("UPDATE versions SET state = 'published', published_at = created_at WHERE state = 'publishing'").await;
    let admin = server.token_with("content-admin").await;
    let policy = json!({"keep": {"newest": 9900}, "action": "remove", "enabled": false});
    let set = server.call(Some(&admin), "PUT", URL, Some(policy)).await;
    assert_eq!(set.status, StatusCode::OK, "{set:?}");

    statements.take();
    let preview = server.call(Some(&admin), "GET", &format!("{URL}/preview"), None).await.json();
    let spent = statements.take();
    assert_eq!(preview["decisions"].as_array().map(Vec::len), Some(10_001));
    assert!(spent.len() <= 6, "{spent:#?}");
    assert!(spent.iter().all(|statement| statement.starts_with("SELECT")), "{spent:#?}");

    let body = json!({"revision": preview["revision"]});
    let applied = server.call(Some(&admin), "POST", &format!("{URL}/apply"), Some(body)).await.json();
    assert_eq!(applied["done"].as_array().map(Vec::len), Some(101), "in two transactions: {applied}");
    assert_eq!(applied["remaining"], 0);
    assert_eq!(applied["done"][0]["version"], "ci-1", "the oldest first");
}
