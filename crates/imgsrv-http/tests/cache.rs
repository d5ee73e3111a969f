//! The cache of published versions: it is never staler than the API promises.

use axum::http::StatusCode;
use imgsrv_app::{Caller, RequestContext};
use imgsrv_domain::{manifest::Manifest, names::ImageName};
use imgsrv_testkit::{TestResponse, TestServer, digest, qcow2};
use serde_json::{Value, json};
use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

const VERSION: &str = "/v1/images/debian/versions/1";

async fn display_name(server: &TestServer, path: &str) -> Value {
    let answer = server.get(path).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    answer.json()["image"]["display_name"].clone()
}

async fn rename(server: &TestServer, name: &str) {
    let renamed = server.write("PATCH", "/v1/images/debian", Some(json!({"display_name": name}))).await;
    assert_eq!(renamed.status, StatusCode::OK, "{renamed:?}");
}

async fn set_alias(server: &TestServer, version: &str) -> TestResponse {
    server.write("PUT", "/v1/images/debian/aliases/latest", Some(json!({"version": version}))).await
}

#[tokio::test]
async fn changes_of_this_node_are_seen_at_once() {
    let server = TestServer::start().await;
    server.published("debian", "1", &qcow2(1)).await;
    set_alias(&server, "1").await;
    for name in ["One", "Two", "Three"] {
        rename(&server, name).await;
        for path in [VERSION, VERSION, "/v1/images/debian/refs/1", "/v1/images/debian/refs/latest"] {
            assert_eq!(display_name(&server, path).await, name, "{path}");
        }
    }
    server.published("debian", "2", &qcow2(2)).await;
    for version in ["2", "1", "2"] {
        assert_eq!(set_alias(&server, version).await.status, StatusCode::OK);
        let manifest = server.get("/v1/images/debian/refs/latest").await.json();
        assert_eq!(manifest["version"]["version"], version);
        let files = server.get("/images/debian/latest/").await.json();
        assert_eq!(files["version"], version);
    }
    assert_eq!(server.write("DELETE", "/v1/images/debian/aliases/latest", None).await.status, StatusCode::NO_CONTENT);
    assert_eq!(server.get("/v1/images/debian/refs/latest").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_draft_is_never_cached() {
    let server = TestServer::start().await;
    let artifact = server.draft("debian", "1", &qcow2(1)).await;
    assert_eq!(server.write("GET", VERSION, None).await.json()["artifacts"][0]["artifact_id"], artifact);
    assert_eq!(server.get(VERSION).await.status, StatusCode::NOT_FOUND);
    let path = format!("{VERSION}/artifacts/{artifact}");
    assert_eq!(server.write("DELETE", &path, None).await.status, StatusCode::NO_CONTENT);
    assert_eq!(server.write("GET", VERSION, None).await.json()["artifacts"], json!([]));
    assert_eq!(server.write("DELETE", VERSION, None).await.status, StatusCode::NO_CONTENT);
    server.published("debian", "1", &qcow2(2)).await;
    let expected = digest(&qcow2(2));
    for manifest in [server.write("GET", VERSION, None).await.json(), server.get(VERSION).await.json()] {
        assert_eq!(manifest["artifacts"][0]["artifact"]["primary_blob_digest"], expected);
    }
}

/// A draft that is deleted between two reads would seem to have lost its artifacts.
#[tokio::test(flavor = "multi_thread")]
async fn a_draft_and_its_artifacts_are_read_in_one_snapshot() {
    let server = Arc::new(TestServer::start().await);
    server.draft("debian", "1", &qcow2(1)).await;
    let body = json!({
        "operating_system": "debian", "architecture": "amd64", "format": "qcow2",
        "primary_blob_digest": digest(&qcow2(1)), "primary_blob_size_bytes": qcow2(1).len(),
        "primary_media_type": "application/x-qemu-disk",
    });
    let is_over = Arc::new(AtomicBool::new(false));
    let read = |server: Arc<TestServer>, is_over: Arc<AtomicBool>| async move {
        let (mut complete, mut drafts) = (HashSet::new(), 0);
        while !is_over.load(Ordering::SeqCst) {
            let manifest = server.write("GET", VERSION, None).await.json();
            let Some(id) = manifest["version"]["id"].as_str() else { continue };
            match manifest["artifacts"].as_array().expect("artifacts").len() {
                0 => assert!(!complete.contains(id), "{id} has lost its artifact"),
                _ => drafts += usize::from(complete.insert(id.to_owned())),
            }
        }
        drafts
    };
    let readers: Vec<_> = (0..3).map(|_| tokio::spawn(read(Arc::clone(&server), Arc::clone(&is_over)))).collect();
    for _ in 0..300 {
        assert_eq!(server.write("DELETE", VERSION, None).await.status, StatusCode::NO_CONTENT);
        server.write("POST", "/v1/images/debian/versions", Some(json!({"version": "1"}))).await;
        let added = server.write("POST", &format!("{VERSION}/artifacts"), Some(body.clone())).await;
        assert_eq!(added.status, StatusCode::CREATED, "{added:?}");
    }
    is_over.store(true, Ordering::SeqCst);
    for reader in readers {
        assert!(reader.await.expect("consistent reads") > 0);
    }
}

#[tokio::test]
async fn another_node_sees_aliases_at_once_and_versions_within_a_second() {
    let server = TestServer::start().await;
    server.published("debian", "1", &qcow2(1)).await;
    server.published("debian", "2", &qcow2(2)).await;
    set_alias(&server, "1").await;
    let other = server.other_node().await.services;
    let image: ImageName = "debian".parse().expect("a name");
    let (version, alias) = ("1".parse().expect("a name"), "latest".parse().expect("a name"));
    let anonymous = Caller::anonymous(RequestContext::default());
    for name in ["One", "Two"] {
        rename(&server, name).await;
        let resolved = other.versions().resolve(&anonymous, &image, &alias).await.expect("a manifest");
        let shown = |manifest: &Manifest| manifest.image.display_name.as_ref().map(ToString::to_string);
        assert_eq!(shown(&resolved).as_deref(), Some(name));
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(1)).await;
        tokio::time::resume();
        let manifest = other.versions().manifest(&anonymous, &image, &version).await.expect("a manifest");
        assert_eq!(shown(&manifest).as_deref(), Some(name));
    }
    for version in ["2", "1"] {
        set_alias(&server, version).await;
        let resolved = other.versions().resolve(&anonymous, &image, &alias).await.expect("a manifest");
        assert_eq!(resolved.version.name.as_str(), version);
    }
}

#[tokio::test]
async fn unchanged_manifests_are_shared() {
    let server = TestServer::start().await;
    server.published("debian", "1", &qcow2(1)).await;
    let image: ImageName = "debian".parse().expect("a name");
    let reference = "1".parse().expect("a name");
    let (versions, anonymous) = (server.services.versions(), Caller::anonymous(RequestContext::default()));
    let first = versions.resolve(&anonymous, &image, &reference).await.expect("a manifest");
    let second = versions.resolve(&anonymous, &image, &reference).await.expect("a manifest");
    assert!(Arc::ptr_eq(&first, &second));
}

#[tokio::test]
async fn an_image_that_is_made_private_is_hidden_on_every_node_from_the_response_on() {
    for server in [TestServer::start().await, TestServer::start_on_postgres().await] {
        server.published("debian", "1", &qcow2(1)).await;
        let admin = server.token_with("content-admin").await;
        let set = async |visibility: &str| {
            let (body, started) = (json!({"visibility": visibility}), std::time::Instant::now());
            let changed = server.call(Some(&admin), "PATCH", "/v1/images/debian", Some(body)).await;
            assert_eq!(changed.status, StatusCode::OK, "{changed:?}");
            started.elapsed()
        };
        // Without another node, it is known at once.
        set("private").await;
        set("public").await;
        let other = server.other_node().await.services;
        let (image, version): (ImageName, _) = ("debian".parse().expect("a name"), "1".parse().expect("a name"));
        let anonymous = Caller::anonymous(RequestContext::default());
        let is_shown = async || other.versions().manifest(&anonymous, &image, &version).await.is_ok();
        assert!(is_shown().await, "it is kept in memory from now on");
        let waited = set("private").await;
        assert!(!is_shown().await, "the other node still shows it");
        assert!(waited >= Duration::from_secs(1), "{waited:?}");
    }
}
