//! Where purged digests are blocked, what keeps them, and what is said of that.

use crate::{FILE, administered::Administered};
use axum::http::StatusCode;
use imgsrv_testkit::{TestServer, digest, qcow2};
use serde_json::{Value, json};
use std::time::Duration;

/// What a purge with a role on some images does: it deletes, but nobody outside of these images notices.
async fn a_purge_blocks_only_where_its_caller_may_retire(server: &Administered) {
    let (secret, unrelated) = (qcow2(1), qcow2(2));
    server.published("team-a", "1", &secret).await;
    server.write("POST", "/v1/images", Some(json!({"name": "team-b"}))).await;
    let scoped = server.scoped("content-admin", "team-a").await;
    let outsider = server.scoped("content-writer", "team-b").await;
    let purge = json!({"purge": true, "reason": "contains a private key"});
    let purged = server.call(Some(&scoped), "POST", "/v1/images/team-a/versions/1/remove", Some(purge.clone())).await;
    assert_eq!(purged.status, StatusCode::OK, "{purged:?}");
    let purged = purged.json();
    assert_eq!((&purged["purged"], &purged["blocked_everywhere"]), (&json!([digest(&secret)]), &json!(false)));
    assert!(server.stored().is_empty());

    // In another image, the same content is uploaded and published; in this one, it is refused.
    server.published("team-b", "1", &secret).await;
    assert_eq!(server.get("/images/team-b/1/team-b-1-amd64.qcow2").await.body, secret);
    let refused = server.publish_draft("team-a", "2", &secret).await;
    assert_eq!((refused.status, refused.problem()), (StatusCode::PRECONDITION_FAILED, "digest-blocked".to_owned()));
    assert_eq!(refused.json()["reason"], "contains a private key");
    let intake = json!({"image": "team-a", "version": "3", "operating_system": "debian", "architecture": "amd64",
        "format": "qcow2", "size_bytes": secret.len(), "expected_digest": digest(&secret)});
    let refused = server.call(Some(&scoped), "POST", "/api/images", Some(intake)).await;
    assert_eq!(refused.problem(), "digest-blocked");
    let blocked = server.administer("GET", "/v1/system/blocked-digests", None).await.json();
    let entry = &blocked["blocked_digests"][0];
    assert_eq!((&entry["image_name"], &entry["everywhere"]), (&json!("team-a"), &json!(false)), "{blocked}");
    let repeated = server.call(Some(&scoped), "POST", "/v1/images/team-a/versions/1/remove", Some(purge.clone())).await;
    assert_eq!(repeated.json()["purged"], json!([digest(&secret)]));
    assert_eq!(server.get("/images/team-b/1/team-b-1-amd64.qcow2").await.body, secret, "that of others stays");

    // With the role on every image, it is blocked in every image. Only who may change the image learns why.
    let purged = server.administer("POST", "/v1/images/team-b/versions/1/remove", Some(purge)).await.json();
    assert_eq!(purged["blocked_everywhere"], true, "{purged}");
    let new = json!({"expected_digest": digest(&secret), "expected_size_bytes": secret.len()});
    let inside = server.call(Some(&outsider), "POST", "/v1/uploads", Some(new.clone())).await;
    assert_eq!(
        (inside.problem(), &inside.json()["reason"]),
        ("digest-blocked".to_owned(), &json!("contains a private key"))
    );
    let outside = server.call(Some(&scoped), "POST", "/v1/uploads", Some(new)).await;
    assert_eq!((outside.problem(), outside.json().get("reason")), ("digest-blocked".to_owned(), None));
    let text = outside.json().to_string();
    assert!(!text.contains("private key") && !text.contains("team-b"), "{text}");

    // What is empty says nothing, and everybody needs it.
    server.published("team-a", "4", b"").await;
    let remove = json!({"purge": true, "reason": "a mistake"});
    let purged = server.administer("POST", "/v1/images/team-a/versions/4/remove", Some(remove)).await.json();
    assert_eq!((&purged["purged"], &purged["kept"]), (&json!([]), &json!([])));
    server.published("team-b", "4", b"").await;
    assert_eq!(server.open(&unrelated).await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn a_purge_blocks_only_where_its_caller_may_retire_on_sqlite() {
    a_purge_blocks_only_where_its_caller_may_retire(&Administered::start().await).await;
}

#[tokio::test]
async fn a_purge_blocks_only_where_its_caller_may_retire_on_postgres() {
    let server = Administered::on(TestServer::start_on_postgres().await).await;
    a_purge_blocks_only_where_its_caller_may_retire(&server).await;
}

#[tokio::test]
async fn drafts_do_not_keep_what_is_purged_and_hidden_versions_that_are_published_are_not_named() {
    let server = Administered::start().await;
    let (secret, shared) = (qcow2(1), qcow2(2));
    server.published("debian", "1", &secret).await;
    server.published("debian", "2", &shared).await;
    server.write("POST", "/v1/images", Some(json!({"name": "ubuntu"}))).await;
    server.draft("ubuntu", "1", &secret).await;
    let purged = server.purge("1").await;
    assert_eq!((&purged["purged"], &purged["kept"]), (&json!([digest(&secret)]), &json!([])));
    assert_eq!(server.stored(), [digest(&shared)]);
    let refused = server.write("POST", "/v1/images/ubuntu/versions/1/publish", None).await;
    assert_eq!((refused.status, refused.problem()), (StatusCode::PRECONDITION_FAILED, "digest-blocked".to_owned()));

    // A job whose version cannot be seen keeps the content, and that it does is said.
    let freeze = server.publish_draft("ubuntu", "2", &shared).await;
    assert!(freeze.status.is_success(), "{freeze:?}");
    let scoped = server.scoped("content-admin", "debian").await;
    let body = json!({"purge": true, "reason": "contains a private key"});
    let purged = server.call(Some(&scoped), "POST", "/v1/images/debian/versions/2/remove", Some(body)).await.json();
    let kept = json!([{"digest": digest(&shared), "by": [{"kind": "artifact"}]}]);
    assert_eq!((&purged["purged"], &purged["kept"]), (&json!([]), &kept));
    server.settle().await;
    assert_eq!(server.get("/images/ubuntu/2/ubuntu-2-amd64.qcow2").await.body, shared);
}

#[tokio::test]
async fn a_repeated_removal_keeps_the_longer_drain() {
    let server = Administered::start().await;
    server.published("debian", "1", &qcow2(1)).await;
    let until = async |body: Value| {
        let removed = server.remove("1", body).await;
        assert_eq!(removed.status, StatusCode::OK, "{removed:?}");
        removed.json()["lifecycle"]["available_until"].as_str().expect("a time").to_owned()
    };
    assert_eq!(until(json!({"drain": "24h"})).await, "2026-01-02T00:00:00Z");
    server.clock.advance(Duration::from_hours(1));
    for shorter in [json!({}), json!({"drain": "2h"}), json!({"drain": "24h", "reason": "other words"})] {
        assert_eq!(until(shorter.clone()).await, "2026-01-02T00:00:00Z", "{shorter}");
    }
    for _ in 0..2 {
        assert_eq!(until(json!({"drain": "48h"})).await, "2026-01-03T00:00:00Z", "it counts from the removal");
    }
    server.clock.advance(Duration::from_hours(30));
    server.settle().await;
    assert_eq!(server.get(FILE).await.status, StatusCode::OK, "the longer drain counts");
    server.clock.advance(Duration::from_hours(20));
    server.settle().await;
    assert_eq!(server.get(FILE).await.status, StatusCode::GONE);
    assert_eq!(server.remove("1", json!({"drain": "96h"})).await.json()["lifecycle"]["state"], "tombstone");
}

#[tokio::test]
async fn an_explanation_says_that_content_was_purged_or_collected() {
    let server = Administered::start().await;
    let operator = server.token_with("operator").await;
    let (secret, garbage) = (qcow2(1), qcow2(2));
    server.published("debian", "1", &secret).await;
    server.blob(&garbage).await;
    server.purge("1").await;
    server.clock.advance(Duration::from_hours(8 * 24));
    server.settle().await;
    let explain = async |bytes: &[u8]| {
        let path = format!("/v1/system/blobs/{}", digest(bytes));
        let missing = server.call(Some(&operator), "GET", &path, None).await;
        assert_eq!((missing.status, missing.problem()), (StatusCode::NOT_FOUND, "not-found".to_owned()));
        missing.json()["detail"].as_str().expect("a detail").to_owned()
    };
    let purged = explain(&secret).await;
    assert!(
        purged.contains("purged with version 1 of debian on 2026-01-01, and is blocked in every image"),
        "{purged}"
    );
    let collected = explain(&garbage).await;
    assert!(collected.contains("collected on 2026-01-09"), "{collected}");
    let unknown = explain(b"unknown").await;
    assert!(unknown.ends_with("does not exist"), "{unknown}");
}
