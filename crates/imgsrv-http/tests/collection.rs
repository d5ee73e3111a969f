//! Garbage collection over HTTP: what it deletes, what it keeps, and how clients learn that a digest was collected.

use axum::{
    body::Body,
    http::{Request, StatusCode},
};
use imgsrv_app::{CollectionSettings, Ran};
use imgsrv_domain::work::WorkKind;
use imgsrv_testkit::{TestServer, digest, qcow2, services::Postgres};
use serde_json::{Value, json};
use std::time::Duration;

const DAY: Duration = Duration::from_hours(24);
const VERSION: &str = "/v1/images/debian/versions/1";

/// A server and a token of an operator. The first manager's token expires before anything is collected.
struct Operated {
    server: TestServer,
    operator: String,
}

impl std::ops::Deref for Operated {
    type Target = TestServer;

    fn deref(&self) -> &TestServer {
        &self.server
    }
}

impl Operated {
    async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    async fn start_with(change: impl FnOnce(&mut CollectionSettings)) -> Self {
        let server = TestServer::start_with(|settings| change(&mut settings.collection)).await;
        let operator = server.token_with("operator").await;
        Self { server, operator }
    }

    /// Sends a request of the operator.
    async fn operate(&self, method: &str, path: &str, body: Option<Value>) -> (StatusCode, Value) {
        let answer = self.call(Some(&self.operator), method, path, body).await;
        (answer.status, answer.json())
    }

    async fn explain(&self, digest: &str) -> Value {
        let (status, blob) = self.operate("GET", &format!("/v1/system/blobs/{digest}"), None).await;
        assert_eq!(status, StatusCode::OK, "{blob}");
        blob
    }

    /// The number of stored blobs, and how many of them a dry run would delete.
    async fn dry_run(&self) -> (usize, i64) {
        let (status, collection) = self.operate("POST", "/v1/system/gc", Some(json!({"dry_run": true}))).await;
        assert_eq!((status, &collection["dry_run"]), (StatusCode::OK, &json!(true)), "{collection}");
        (self.stored_files().len(), collection["blobs"].as_i64().expect("a number"))
    }

    /// Collects garbage on demand.
    async fn collect(&self) {
        let (status, collection) = self.operate("POST", "/v1/system/gc", Some(json!({}))).await;
        assert_eq!((status, &collection["dry_run"]), (StatusCode::ACCEPTED, &json!(false)), "{collection}");
        assert_eq!(self.services.worker(WorkKind::Collect).run_once().await.expect("collected"), Ran::Worked);
    }
}

#[tokio::test]
async fn a_blob_is_kept_while_referenced_and_for_the_grace_after_that() {
    let server = Operated::start().await;
    let (kept, dropped, manager) = (qcow2(1), qcow2(2), server.token_with("auth-manager").await);
    server.published("debian", "0", &kept).await;
    server.draft("debian", "1", &dropped).await;
    let blob = server.explain(&digest(&dropped)).await;
    let reference = json!({"kind": "artifact", "image_name": "debian", "version": "1", "version_state": "draft"});
    assert_eq!((&blob["references"], blob.get("collectable_at")), (&json!([reference]), None));
    server.clock.advance(30 * DAY);
    server.collect().await;
    assert_eq!(server.dry_run().await, (2, 0));

    server.write("DELETE", VERSION, None).await;
    let blob = server.explain(&digest(&dropped)).await;
    assert_eq!(blob["references"], json!([]));
    assert!(blob["collectable_at"].as_str() > blob["unreferenced_since"].as_str(), "{blob}");
    server.sql("INSERT INTO export_pins (id, expires_at) VALUES (randomblob(16), 4102444800000000)").await;
    let pinned = server.explain(&digest(&dropped)).await;
    assert_eq!(pinned["collectable_at"], "2100-01-01T00:00:00Z", "an export keeps it");
    server.sql("DELETE FROM export_pins").await;
    server.clock.advance(6 * DAY);
    server.collect().await;
    assert_eq!(server.dry_run().await, (2, 0));
    server.clock.advance(DAY);
    assert_eq!(server.dry_run().await, (2, 1));
    server.collect().await;
    assert_eq!(server.dry_run().await, (1, 0));
    let (status, _) = server.operate("GET", &format!("/v1/system/blobs/{}", digest(&dropped)), None).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let served = server.get(&format!("/v1/blobs/{}", digest(&kept))).await;
    assert_eq!((served.status, served.body), (StatusCode::OK, kept));
    let audited = server.call(Some(&manager), "GET", "/v1/audit?action=blob.collected", None).await.json();
    assert_eq!(audited["entries"][0]["subject"], digest(&dropped));
}

#[tokio::test]
async fn an_upload_of_a_stored_digest_starts_the_grace_again() {
    let server = Operated::start().await;
    let bytes = qcow2(1);
    server.blob(&bytes).await;
    server.clock.advance(6 * DAY);
    assert_eq!(server.upload_state(&server.open_upload(&bytes).await).await, "ready");
    server.clock.advance(6 * DAY);
    server.collect().await;
    assert_eq!(server.dry_run().await, (1, 0));
    server.clock.advance(DAY);
    server.collect().await;
    assert_eq!(server.dry_run().await, (0, 0));
}

#[tokio::test]
async fn a_collected_digest_is_uploaded_again_and_not_published_without_that() {
    let server = Operated::start().await;
    let bytes = qcow2(1);
    let keyed = async || {
        let body = json!({"expected_digest": digest(&bytes), "expected_size_bytes": bytes.len()});
        let request = Request::builder()
            .method("POST")
            .uri("/v1/uploads")
            .header("authorization", format!("Bearer {}", server.writer))
            .header("content-type", "application/json")
            .header("idempotency-key", "job-1");
        server.send(request.body(Body::from(body.to_string())).expect("a request")).await.json()
    };
    server.blob(&bytes).await;
    let ready = keyed().await;
    assert_eq!((&ready["state"], &keyed().await["id"]), (&json!("ready"), &ready["id"]));
    server.clock.advance(7 * DAY);
    server.collect().await;

    let again = keyed().await;
    assert_eq!(again["state"], "created");
    assert_ne!(again["id"], ready["id"]);
    server.write("POST", "/v1/images", Some(json!({"name": "debian"}))).await;
    server.write("POST", "/v1/images/debian/versions", Some(json!({"version": "1"}))).await;
    let artifact = json!({
        "operating_system": "debian", "architecture": "amd64", "format": "qcow2", "primary_blob_digest": digest(&bytes),
        "primary_blob_size_bytes": bytes.len(), "primary_media_type": "application/x-qemu-disk",
    });
    assert!(server.write("POST", &format!("{VERSION}/artifacts"), Some(artifact)).await.status.is_success());
    let refused = server.write("POST", &format!("{VERSION}/publish"), None).await;
    assert_eq!(refused.problem(), "version-not-publishable");
    assert!(refused.json()["detail"].as_str().expect("a detail").contains(&digest(&bytes)));
    server.blob(&bytes).await;
    assert!(server.write("POST", &format!("{VERSION}/publish"), None).await.status.is_success());
    server.settle().await;
    assert_eq!(server.get(VERSION).await.status, StatusCode::OK);
}

#[tokio::test]
async fn history_goes_after_its_retention_and_takes_forgotten_drafts_with_it() {
    let server = Operated::start_with(|collection| collection.drafts = Some(60 * DAY)).await;
    let bytes = qcow2(1);
    server.draft("debian", "1", &bytes).await;
    let upload = server.open_upload(&bytes).await;
    server.clock.advance(29 * DAY);
    server.collect().await;
    assert_eq!(server.upload_state(&upload).await, "ready");
    server.clock.advance(2 * DAY);
    server.collect().await;
    assert_eq!(server.write("GET", &format!("/v1/uploads/{upload}"), None).await.status, StatusCode::NOT_FOUND);
    assert_eq!(server.write("GET", VERSION, None).await.status, StatusCode::OK);
    server.clock.advance(30 * DAY);
    server.collect().await;
    assert_eq!(server.write("GET", VERSION, None).await.status, StatusCode::NOT_FOUND);
    server.clock.advance(7 * DAY);
    server.collect().await;
    assert_eq!(server.dry_run().await, (0, 0));
}

#[tokio::test]
async fn only_operators_collect_and_ask() {
    let server = Operated::start().await;
    let blob = format!("/v1/system/blobs/{}", server.blob(&qcow2(1)).await);
    for (method, path, body) in [("POST", "/v1/system/gc", Some(json!({}))), ("GET", &*blob, None)] {
        assert_eq!(server.call(None, method, path, body.clone()).await.status, StatusCode::UNAUTHORIZED);
        assert_eq!(server.write(method, path, body.clone()).await.status, StatusCode::FORBIDDEN);
        assert_eq!(server.manage(method, path, body).await.status, StatusCode::FORBIDDEN);
    }
    let (status, problem) = server.operate("POST", "/v1/system/gc", Some(json!({"dryrun": true}))).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{problem}");
}

#[tokio::test]
async fn without_an_interval_collections_run_on_demand_alone() {
    let server = Operated::start_with(|collection| collection.interval = None).await;
    server.services.enqueue_recurring().await.expect("recurring work is enqueued");
    let worker = server.services.worker(WorkKind::Collect);
    assert_eq!(worker.run_once().await.expect("looked"), Ran::Idle);
    server.collect().await;
    server.clock.advance(30 * DAY);
    assert_eq!(worker.run_once().await.expect("looked"), Ran::Idle);
}

#[tokio::test]
async fn a_collection_ends_although_open_uploads_keep_many_blobs_without_grace() {
    let url = Postgres::shared().await.database().await;
    let server = TestServer::start_on_database(&url, 4, |settings| settings.collection.grace = Duration::ZERO).await;
    let mut kept = 0;
    let keeping = async {
        // More than a batch of a collection. Each is collected as soon as it is stored, unless another upload keeps it.
        while kept < 60 {
            let bytes = format!("blob {kept}").into_bytes();
            server.open_upload(&bytes).await;
            server.blob(&bytes).await;
            kept += 1;
        }
        server.settle().await;
    };
    let ended = tokio::time::timeout(Duration::from_mins(1), keeping).await;
    assert!(ended.is_ok(), "a collection of {kept} blobs does not end");
    assert_eq!(server.stored_files().iter().filter(|file| file.starts_with("cas/")).count(), 60);
}
