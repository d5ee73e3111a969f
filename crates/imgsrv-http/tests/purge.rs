//! Purging versions: what is deleted and blocked, what is kept, and how requests for it are refused.

use axum::http::StatusCode;
use futures::TryStreamExt;
use imgsrv_app::{Caller, FileContent, Missing, NamesUnderAlias, RequestContext, SystemOperator, UseCaseError};
use imgsrv_domain::work::WorkKind;
use imgsrv_testkit::{TestResponse, TestServer, digest, qcow2};
use serde_json::{Value, json};
use std::time::Duration;

const VERSION: &str = "/v1/images/debian/versions/1";
const FILE: &str = "/images/debian/1/debian-1-amd64.qcow2";

/// A server with a content administrator.
struct Administered {
    server: TestServer,
    admin: String,
}

impl std::ops::Deref for Administered {
    type Target = TestServer;

    fn deref(&self) -> &TestServer {
        &self.server
    }
}

impl Administered {
    async fn start() -> Self {
        Self::on(TestServer::start().await).await
    }

    async fn on(server: TestServer) -> Self {
        let admin = server.token_with("content-admin").await;
        Self { server, admin }
    }

    async fn administer(&self, method: &str, path: &str, body: Option<Value>) -> TestResponse {
        self.call(Some(&self.admin), method, path, body).await
    }

    async fn remove(&self, version: &str, body: Value) -> TestResponse {
        self.administer("POST", &format!("/v1/images/debian/versions/{version}/remove"), Some(body)).await
    }

    /// Purges a version of `debian`; returns the response.
    async fn purge(&self, version: &str) -> Value {
        let purged = self.remove(version, json!({"purge": true, "reason": "contains a private key"})).await;
        assert_eq!(purged.status, StatusCode::OK, "{purged:?}");
        purged.json()
    }

    async fn open(&self, bytes: &[u8]) -> TestResponse {
        let new = json!({"expected_digest": digest(bytes), "expected_size_bytes": bytes.len()});
        self.write("POST", "/v1/uploads", Some(new)).await
    }

    /// The digests of what is stored.
    fn stored(&self) -> Vec<String> {
        let is_blob = |name: &String| name.contains("sha256");
        let files = self.stored_files().into_iter().filter(is_blob);
        files.filter_map(|name| Some(format!("sha256:{}", name.rsplit('/').next()?.get(..64)?))).collect()
    }
}

async fn what_is_purged_is_gone_and_blocked(server: &Administered) {
    let (secret, shared) = (qcow2(1), qcow2(2));
    let artifact = server.published("debian", "1", &secret).await;
    assert!(!artifact.is_empty());
    server.published("debian", "2", &shared).await;
    assert_eq!(server.get(FILE).await.body, secret);
    let purged = server.purge("1").await;
    assert_eq!((&purged["purged"], &purged["kept"]), (&json!([digest(&secret)]), &json!([])));
    assert_eq!(purged["lifecycle"]["state"], "tombstone");

    // From the response on, nothing is served or stored.
    for path in [FILE, VERSION, "/images/debian/1/SHA256SUMS"] {
        let gone = server.get(path).await;
        assert_eq!((gone.status, gone.problem()), (StatusCode::GONE, "version-removed".to_owned()), "{path}");
        assert_eq!(gone.json()["reason"], "contains a private key");
    }
    let by_digest = format!("/v1/blobs/{}", digest(&secret));
    assert_eq!(server.get(&by_digest).await.status, StatusCode::NOT_FOUND);
    assert_eq!(server.write("GET", &by_digest, None).await.status, StatusCode::NOT_FOUND, "not even for writers");
    assert_eq!(server.stored(), [digest(&shared)]);
    assert_eq!(server.purge("1").await, purged, "a repeated request changes nothing");
    assert_eq!(server.remove("1", json!({})).await.json()["lifecycle"]["state"], "tombstone");
    let restored = server.administer("POST", &format!("{VERSION}/restore"), Some(json!({}))).await;
    assert_eq!(restored.problem(), "lifecycle-state");

    // Uploads, intakes and drafts of the digest.
    let refused = server.open(&secret).await;
    assert_eq!((refused.status, refused.problem()), (StatusCode::PRECONDITION_FAILED, "digest-blocked".to_owned()));
    assert_eq!(refused.json()["reason"], "contains a private key");
    let intake = json!({"image": "debian", "version": "3", "operating_system": "debian", "architecture": "amd64",
        "format": "qcow2", "size_bytes": secret.len(), "expected_digest": digest(&secret)});
    let refused = server.write("POST", "/api/images", Some(intake)).await;
    assert_eq!((refused.status, refused.problem()), (StatusCode::PRECONDITION_FAILED, "digest-blocked".to_owned()));
    server.write("POST", "/v1/images/debian/versions", Some(json!({"version": "4"}))).await;
    let artifact = json!({"operating_system": "debian", "architecture": "amd64", "format": "qcow2",
        "primary_blob_digest": digest(&secret), "primary_blob_size_bytes": secret.len(), "primary_media_type": "a/b"});
    let added = server.write("POST", "/v1/images/debian/versions/4/artifacts", Some(artifact)).await;
    assert_eq!(added.status, StatusCode::CREATED, "a draft may cite any digest");
    let refused = server.write("POST", "/v1/images/debian/versions/4/publish", None).await;
    assert_eq!((refused.status, refused.problem()), (StatusCode::PRECONDITION_FAILED, "digest-blocked".to_owned()));

    // Until the digest is unblocked.
    let blocked = server.administer("GET", "/v1/system/blocked-digests", None).await.json();
    let entry = &blocked["blocked_digests"][0];
    assert_eq!(
        (&entry["digest"], &entry["image_name"], &entry["version"]),
        (&json!(digest(&secret)), &json!("debian"), &json!("1"))
    );
    let block = format!("/v1/system/blocked-digests/{}", digest(&secret));
    for (bearer, status) in [(None, 401), (Some(&*server.writer), 403), (Some(&*server.manager), 403)] {
        assert_eq!(server.call(bearer, "DELETE", &block, None).await.status.as_u16(), status);
        assert_eq!(server.call(bearer, "GET", "/v1/system/blocked-digests", None).await.status.as_u16(), status);
    }
    assert_eq!(server.administer("DELETE", &block, None).await.status, StatusCode::NO_CONTENT);
    assert_eq!(server.administer("DELETE", &block, None).await.status, StatusCode::NOT_FOUND);
    server.blob(&secret).await;
    assert!(server.write("POST", "/v1/images/debian/versions/4/publish", None).await.status.is_success());
    server.settle().await;
    assert_eq!(server.get("/images/debian/4/debian-4-amd64.qcow2").await.body, secret);
    assert_eq!(server.get(FILE).await.status, StatusCode::GONE, "the tombstone stays one");
    for (action, subject) in [
        ("version.purged", "debian/1".to_owned()),
        ("digest.blocked", digest(&secret)),
        ("digest.unblocked", digest(&secret)),
    ] {
        let audit = server.manage("GET", &format!("/v1/audit?action={action}"), None).await.json();
        assert_eq!(audit["entries"].as_array().map(Vec::len), Some(1), "{audit}");
        assert_eq!(audit["entries"][0]["subject"], subject);
    }
}

#[tokio::test]
async fn what_is_purged_is_gone_and_blocked_on_sqlite() {
    what_is_purged_is_gone_and_blocked(&Administered::start().await).await;
}

#[tokio::test]
async fn what_is_purged_is_gone_and_blocked_on_postgres() {
    what_is_purged_is_gone_and_blocked(&Administered::on(TestServer::start_on_postgres().await).await).await;
}

#[tokio::test]
async fn content_that_something_else_needs_is_kept_and_named() {
    let server = Administered::start().await;
    let bytes = qcow2(1);
    for version in ["1", "2"] {
        server.published("debian", version, &bytes).await;
    }
    let purged = server.purge("1").await;
    let by = json!([{"kind": "artifact", "image_name": "debian", "version": "2", "version_state": "published",
        "lifecycle_state": "active"}]);
    assert_eq!((&purged["purged"], &purged["kept"]), (&json!([]), &json!([{"digest": digest(&bytes), "by": by}])));
    assert_eq!(server.get(FILE).await.status, StatusCode::GONE);
    assert_eq!(server.get("/images/debian/2/debian-2-amd64.qcow2").await.body, bytes);
    assert_eq!(server.purge("2").await["purged"], json!([digest(&bytes)]), "the last one deletes it");
    assert!(server.stored().is_empty());
}

#[tokio::test]
async fn a_draining_version_and_a_tombstone_are_purged_too() {
    let server = Administered::start().await;
    let (draining, ended) = (qcow2(1), qcow2(2));
    server.published("debian", "1", &draining).await;
    server.published("debian", "2", &ended).await;
    for (version, drain) in [("1", "48h"), ("2", "2h")] {
        assert_eq!(server.remove(version, json!({"drain": drain})).await.status, StatusCode::OK);
    }
    server.clock.advance(Duration::from_hours(3));
    server.settle().await;
    assert_eq!(server.get(FILE).await.status, StatusCode::OK, "it drains");
    assert_eq!(server.stored().len(), 2, "the content of the tombstone is in its grace period");
    assert_eq!(server.purge("1").await["purged"], json!([digest(&draining)]));
    assert_eq!(server.get(FILE).await.status, StatusCode::GONE);
    assert_eq!(server.purge("2").await["purged"], json!([digest(&ended)]));
    assert!(server.stored().is_empty());
}

#[tokio::test]
async fn a_purge_needs_a_reason_and_no_hold_and_moves_aliases() {
    let server = Administered::start().await;
    for version in ["1", "2"] {
        server.published("debian", version, &qcow2(1)).await;
    }
    server.write("PUT", "/v1/images/debian/aliases/latest", Some(json!({"version": "1"}))).await;
    let why = "contains a private key";
    for (body, code) in [
        (json!({"purge": true}), "invalid-request"),
        (json!({"purge": true, "reason": " "}), "invalid-request"),
        (json!({"purge": true, "reason": why, "drain": "48h"}), "invalid-request"),
        (json!({"purge": true, "reason": why}), "aliases-in-use"),
        (json!({"purge": true, "reason": why, "aliases": {"latest": "2"}, "replacement": "9"}), "replacement-unusable"),
    ] {
        assert_eq!(server.remove("1", body.clone()).await.problem(), code, "{body}");
    }
    let body = json!({"purge": true, "reason": why, "aliases": {"latest": "2", "2": "2"}});
    let taken = server.remove("1", body).await;
    assert_eq!((taken.status, taken.problem()), (StatusCode::CONFLICT, "name-taken".to_owned()));
    assert_eq!(taken.json()["existing"]["url"], "/v1/images/debian/versions/2", "the version that has the name");
    let hold = format!("{VERSION}/hold");
    server.administer("PUT", &hold, Some(json!({"reason": "evidence", "until": "2026-01-01T05:00:00Z"}))).await;
    let wanted = json!({"purge": true, "reason": why, "aliases": {"latest": "2"}, "replacement": "latest"});
    assert_eq!(server.remove("1", wanted.clone()).await.problem(), "version-held");
    assert_eq!(server.get(FILE).await.status, StatusCode::OK, "nothing has changed");
    server.clock.advance(Duration::from_hours(6));
    assert_eq!(server.remove("1", wanted).await.status, StatusCode::OK);
    let gone = server.get(FILE).await.json();
    assert_eq!(gone["replacement"]["name"], "latest", "it was resolved after the alias had moved");
    assert_eq!(server.get("/v1/images/debian/aliases/latest").await.json()["version"], "2");
}

#[tokio::test]
async fn an_upload_of_a_digest_that_becomes_blocked_fails() {
    let server = Administered::start().await;
    let bytes = qcow2(1);
    // Both were opened before there was a blob.
    let [receiving, completed] = [server.open(&bytes).await, server.open(&bytes).await].map(|opened| {
        assert_eq!(opened.json()["state"], "created", "{opened:?}");
        opened.json()["id"].as_str().expect("an id").to_owned()
    });
    for upload in [&receiving, &completed] {
        server.put_part(upload, 1, bytes.clone()).await;
    }
    server.published("debian", "1", &bytes).await;
    server.complete(&completed).await;
    server.purge("1").await;
    let session = server.write("GET", &format!("/v1/uploads/{receiving}"), None).await.json();
    assert_eq!(session["state"], "failed");
    assert!(session["failure_reason"].as_str().is_some_and(|why| why.starts_with("digest-blocked: ")), "{session}");
    server.settle().await;
    let session = server.write("GET", &format!("/v1/uploads/{completed}"), None).await.json();
    assert!(session["state"] == "failed" || session["state"] == "ready", "{session}");
    assert!(
        server.stored_files().iter().all(|file| !file.contains(&digest(&bytes)[7..])),
        "{:?}",
        server.stored_files()
    );
    assert_eq!(server.complete(&receiving).await.problem(), "upload-state");
}

#[tokio::test]
async fn bytes_that_the_store_cannot_delete_are_deleted_by_a_collection() {
    let server = Administered::start().await;
    let bytes = qcow2(1);
    server.published("debian", "1", &bytes).await;
    server.blobs.break_removals(true);
    let purged = server.purge("1").await;
    assert_eq!(purged["purged"], json!([digest(&bytes)]));
    assert_eq!(server.get(FILE).await.status, StatusCode::GONE, "it is not served");
    assert_eq!(server.stored().len(), 1);
    server.blobs.break_removals(false);
    server.services.worker(WorkKind::Collect).run_once().await.expect("collected");
    assert!(server.stored().is_empty());
}

#[tokio::test]
async fn versions_are_found_by_a_digest() {
    let server = Administered::start().await;
    let bytes = qcow2(1);
    for version in ["1", "2"] {
        server.published("debian", version, &bytes).await;
    }
    server.published("ubuntu", "1", &bytes).await;
    let url = format!("/v1/blobs/{}/versions", digest(&bytes));
    let found = async || {
        let page = server.administer("GET", &url, None).await.json();
        let versions = page["versions"].as_array().expect("versions").clone();
        let mut names: Vec<String> =
            versions.iter().map(|one| format!("{}:{}", one["image_name"], one["version"]).replace('"', "")).collect();
        names.sort();
        names
    };
    assert_eq!(found().await, ["debian:1", "debian:2", "ubuntu:1"]);
    server.purge("1").await;
    assert_eq!(found().await, ["debian:2", "ubuntu:1"]);
    assert_eq!(server.get(&url).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(server.write("GET", &url, None).await.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn only_operators_and_administrators_see_when_a_version_was_last_fetched() {
    let server = Administered::start().await;
    let operator = server.token_with("operator").await;
    server.services.enqueue_recurring().await.expect("fetches are recorded");
    for version in ["1", "2"] {
        server.published("debian", version, &qcow2(1)).await;
    }
    server.clock.advance(Duration::from_hours(48));
    assert_eq!(server.get(FILE).await.status, StatusCode::OK);
    server.services.retention().flush_fetches().await.expect("stored");
    let list = "/v1/images/debian/versions";
    for bearer in [&server.admin, &operator] {
        let versions = server.call(Some(bearer), "GET", list, None).await.json();
        let days: Vec<_> = versions["versions"].as_array().expect("versions").iter().collect();
        let day = |name: &str| {
            days.iter().find(|version| version["version"] == name).expect("listed")["last_fetched_on"].clone()
        };
        assert_eq!((day("1"), day("2")), (json!("2026-01-03"), json!("2026-01-01")), "{versions}");
    }
    for bearer in [None, Some(&*server.writer)] {
        let versions = server.call(bearer, "GET", list, None).await.json();
        assert_eq!(versions["versions"][0]["last_fetched_on"], Value::Null);
    }
}

#[tokio::test]
async fn a_writers_download_of_a_blob_that_is_collected_meanwhile_is_not_found() {
    let server = Administered::start().await;
    let bytes = qcow2(1);
    server.blob(&bytes).await;
    let caller = server.services.auth().authenticate(&server.writer, RequestContext::default()).await;
    let (caller, delivery) = (caller.expect("a writer"), server.services.delivery());
    let wanted = digest(&bytes).parse().expect("a digest");
    let found = delivery.blob(&caller, &wanted).await.expect("found");
    // The record and the bytes are deleted between the look-up and the opening.
    server.sql("DELETE FROM blobs").await;
    server.services.garbage().collect(&operator(&server).await).await.expect("enqueued");
    server.settle().await;
    assert!(server.stored().is_empty());
    let opened = delivery.open(&found, 0..1).await;
    assert!(matches!(opened, Err(UseCaseError::NotFound(Missing::Blob(missing))) if missing == wanted));
}

#[tokio::test]
async fn the_refusal_to_publish_says_when_the_content_was_collected() {
    let server = Administered::start().await;
    let bytes = qcow2(1);
    server.blob(&bytes).await;
    server.clock.advance(Duration::from_hours(8 * 24));
    server.settle().await;
    assert!(server.stored().is_empty());
    server.write("POST", "/v1/images", Some(json!({"name": "debian"}))).await;
    server.write("POST", "/v1/images/debian/versions", Some(json!({"version": "1"}))).await;
    let artifact = json!({"operating_system": "debian", "architecture": "amd64", "format": "qcow2",
        "primary_blob_digest": digest(&bytes), "primary_blob_size_bytes": bytes.len(), "primary_media_type": "a/b"});
    server.write("POST", &format!("{VERSION}/artifacts"), Some(artifact)).await;
    let refused = server.write("POST", &format!("{VERSION}/publish"), None).await;
    assert_eq!(refused.problem(), "version-not-publishable");
    let detail = refused.json()["detail"].as_str().expect("a detail").to_owned();
    assert!(detail.contains(&format!("the blob {} was deleted on 2026-01-09", digest(&bytes))), "{detail}");
}

#[tokio::test]
async fn an_explained_blob_shows_the_lifecycles_that_keep_and_free_it() {
    let server = Administered::start().await;
    let bytes = qcow2(1);
    for version in ["1", "2"] {
        server.published("debian", version, &bytes).await;
    }
    server.remove("1", json!({"drain": "2h"})).await;
    let operator = server.token_with("operator").await;
    let explain = async || {
        let path = format!("/v1/system/blobs/{}", digest(&bytes));
        server.call(Some(&operator), "GET", &path, None).await.json()
    };
    let states = |list: &Value| {
        let state = |one: &Value| format!("{} {}", one["version"], one["lifecycle_state"]).replace('"', "");
        list.as_array().into_iter().flatten().map(state).collect::<Vec<_>>()
    };
    let blob = explain().await;
    assert_eq!(states(&blob["references"]), ["1 removed", "2 active"]);
    assert_eq!(blob["references"][0]["available_until"], "2026-01-01T02:00:00Z");
    server.clock.advance(Duration::from_hours(2));
    server.settle().await;
    let blob = explain().await;
    assert_eq!(
        (states(&blob["references"]), states(&blob["tombstones"])),
        (vec!["2 active".to_owned()], vec!["1 tombstone".to_owned()])
    );
}

#[tokio::test]
async fn a_download_under_way_ends_well_or_breaks_when_its_version_is_purged() {
    let server = Administered::start().await;
    let mut bytes = qcow2(1);
    bytes.extend((0..4_194_304_u32).map(|at| (at / 4096).to_le_bytes()[0]));
    server.published("debian", "1", &bytes).await;
    let delivery = server.services.delivery();
    let (image, version, file) = ("debian".parse(), "1".parse(), "debian-1-amd64.qcow2".parse());
    let (image, version, file) = (image.expect("a name"), version.expect("a name"), file.expect("a name"));
    let found = delivery
        .named_file(&Caller::anonymous(RequestContext::default()), &image, &version, NamesUnderAlias::Versioned, &file)
        .await
        .expect("found");
    let FileContent::Stored(download) = found.content else { panic!("it is stored") };
    let size = u64::try_from(bytes.len()).expect("a small number");
    let mut stream = delivery.open(&download, 0..size).await.expect("opened");
    let mut received = stream.try_next().await.expect("a chunk").expect("a chunk").to_vec();
    server.purge("1").await;
    server.settle().await;
    assert!(server.stored().is_empty());
    let ended = loop {
        match stream.try_next().await {
            Ok(Some(chunk)) => received.extend_from_slice(&chunk),
            Ok(None) => break true,
            Err(_) => break false,
        }
    };
    assert!(bytes.starts_with(&received), "never wrong bytes");
    assert_eq!(ended, received.len() == bytes.len(), "a download that breaks is no complete one");
    let again = delivery.open(&download, 0..size).await;
    assert!(matches!(again, Err(UseCaseError::NotFound(_))), "and no further one begins");
}

async fn operator(server: &TestServer) -> SystemOperator {
    let token = server.token_with("operator").await;
    let caller = server.services.auth().authenticate(&token, RequestContext::default()).await.expect("an operator");
    caller.system_operator().expect("an operator")
}

#[tokio::test]
async fn content_that_is_uploaded_again_after_a_purge_is_not_purged_with_the_old_version() {
    let server = Administered::start().await;
    let bytes = b"uploaded again".to_vec();
    server.published("debian", "1", &bytes).await;
    assert_eq!(server.purge("1").await["purged"], json!([digest(&bytes)]));
    server.clock.advance(Duration::from_secs(1));
    let block = format!("/v1/system/blocked-digests/{}", digest(&bytes));
    assert_eq!(server.administer("DELETE", &block, None).await.status, StatusCode::NO_CONTENT);
    server.blob(&bytes).await;
    assert_eq!(server.purge("1").await["purged"], json!([]));
    assert_eq!(server.stored(), [digest(&bytes)]);
}
