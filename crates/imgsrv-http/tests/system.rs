//! Who sees the state of the server, and what is seen of its nodes.

use axum::http::StatusCode;
use imgsrv_domain::{
    node::{Node, SeenNode},
    work::WorkerId,
};
use imgsrv_testkit::{TestServer, digest};
use serde_json::json;
use std::time::Duration;

fn node(name: &str) -> Node {
    let worker = WorkerId::new(format!("{name}-1"));
    Node { worker, name: name.to_owned(), version: "0.1.0".to_owned(), workers: vec!["ingest".to_owned()] }
}

#[tokio::test]
async fn auditors_read_the_audit_log_and_the_state_of_the_server_and_change_nothing() {
    let server = TestServer::start().await;
    let (auditor, operator) = (server.token_with("auditor").await, server.token_with("operator").await);
    server.published("debian", "12", b"bytes").await;
    let blob = format!("/v1/system/blobs/{}", digest(b"bytes"));
    for (method, path, by_auditor, by_operator, by_manager) in [
        ("GET", "/v1/audit", 200, 403, 200),
        ("GET", "/v1/system/nodes", 200, 200, 403),
        ("GET", &*blob, 200, 200, 403),
        ("POST", "/v1/system/gc", 403, 202, 403),
        ("GET", "/v1/auth/principals", 403, 403, 200),
        ("POST", "/v1/images", 403, 403, 403),
    ] {
        let body = (method == "POST").then(|| if path == "/v1/images" { json!({"name": "a"}) } else { json!({}) });
        for (who, token, expected) in [
            ("auditor", &auditor, by_auditor),
            ("operator", &operator, by_operator),
            ("manager", &server.manager, by_manager),
        ] {
            let answer = server.call(Some(token), method, path, body.clone()).await;
            assert_eq!(answer.status.as_u16(), expected, "{who}: {method} {path}");
        }
        assert_eq!(server.call(None, method, path, body.clone()).await.status, StatusCode::UNAUTHORIZED, "{path}");
        assert_eq!(
            server.write(method, path, body).await.status.as_u16(),
            if path == "/v1/images" { 201 } else { 403 }
        );
    }
    let whoami = server.call(Some(&auditor), "GET", "/v1/auth/whoami", None).await.json();
    assert_eq!(whoami["actions"], json!(["audit.read", "system.read"]));
}

#[tokio::test]
async fn the_audit_log_names_principals() {
    let server = TestServer::start().await;
    server.published("debian", "12", b"bytes").await;
    let audited = server.manage("GET", "/v1/audit?action=image.created", None).await.json();
    let actor = &audited["entries"][0]["actor"];
    assert_eq!((&actor["kind"], &actor["name"]), (&json!("principal"), &json!("content-writer")), "{audited}");
    assert!(actor["id"].is_string(), "{audited}");
}

#[tokio::test]
async fn nodes_are_listed_until_a_day_after_they_are_gone() {
    let server = TestServer::start().await;
    let auditor = server.token_with("auditor").await;
    let list =
        async |query: &str| server.call(Some(&auditor), "GET", &format!("/v1/system/nodes{query}"), None).await.json();
    assert_eq!(list("").await, json!({"nodes": []}));
    for name in ["b", "a"] {
        server.services.nodes().touch(&node(name)).await.expect("recorded");
    }
    let first = list("?limit=1").await;
    let expected = json!({
        "id": "a-1", "name": "a", "version": "0.1.0", "state": "live", "workers": ["ingest"],
        "started_at": first["nodes"][0]["last_seen_at"], "last_seen_at": first["nodes"][0]["started_at"],
    });
    assert_eq!(first["nodes"], json!([expected]));
    let second = list(&format!("?limit=1&cursor={}", first["next_cursor"].as_str().expect("a cursor"))).await;
    assert_eq!((&second["nodes"][0]["name"], second.get("next_cursor")), (&json!("b"), None));
    server.clock.advance(SeenNode::GONE_AFTER);
    server.services.nodes().touch(&node("b")).await.expect("recorded");
    let states = list("").await;
    assert_eq!((&states["nodes"][0]["state"], &states["nodes"][1]["state"]), (&json!("gone"), &json!("live")));
    server.clock.advance(Duration::from_hours(24));
    server.services.nodes().touch(&node("b")).await.expect("recorded");
    assert_eq!(list("").await["nodes"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn a_node_announces_itself_until_it_stops() {
    let server = TestServer::start().await;
    let auditor = server.token_with("auditor").await;
    let count = async || {
        let nodes = server.call(Some(&auditor), "GET", "/v1/system/nodes", None).await.json();
        nodes["nodes"].as_array().map(Vec::len)
    };
    let (nodes, node) = (server.services.nodes(), node("a"));
    let announcing = tokio::spawn(async move { nodes.announce(&node).await });
    while count().await != Some(1) {
        tokio::task::yield_now().await;
    }
    server.stop.cancel();
    announcing.await.expect("it ends");
    assert_eq!(count().await, Some(0));
}
