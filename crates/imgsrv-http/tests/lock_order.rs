//! Concurrent writers on PostgreSQL: they lock rows in one order, so that no two wait for each other.

use axum::{body::Body, http::Request};
use base64::{Engine, engine::general_purpose::STANDARD};
use futures::future::join_all;
use imgsrv_app::{Ran, Settings};
use imgsrv_domain::work::WorkKind;
use imgsrv_testkit::{TestServer, digest, qcow2, services::Postgres};
use serde_json::{Value, json};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

const ROUNDS: usize = 12;

/// Sends a request of the writer, which may be refused but must not fail.
async fn send(server: &TestServer, method: &str, path: &str, body: Option<Value>) -> Value {
    let answer = server.write(method, path, body).await;
    assert!(!answer.status.is_server_error(), "{method} {path}: {answer:?}");
    serde_json::from_slice(&answer.body).unwrap_or(Value::Null)
}

fn artifact(bytes: &[u8], architecture: &str) -> Value {
    json!({"operating_system": "debian", "architecture": architecture, "format": "raw",
        "primary_blob_digest": digest(bytes), "primary_blob_size_bytes": bytes.len(), "primary_media_type": "a/b"})
}

/// Changes the metadata of an image.
async fn rename(server: &TestServer, image: &str) {
    for number in 0..30 {
        send(server, "PATCH", &format!("/v1/images/{image}"), Some(json!({"display_name": format!("{number}")}))).await;
    }
}

/// Moves, deletes and creates aliases.
async fn move_aliases(server: &TestServer, image: &str, aliases: [&str; 2]) {
    for number in 0..15 {
        for (at, alias) in aliases.iter().enumerate() {
            let path = format!("/v1/images/{image}/aliases/{alias}");
            let version = if (number + at).is_multiple_of(2) { "1" } else { "b" };
            send(server, "PUT", &path, Some(json!({"version": version}))).await;
            if number % 5 == 4 {
                send(server, "DELETE", &path, None).await;
            }
        }
    }
}

/// Publishes a draft with artifacts of `bytes`; a job that fails is retried or abandoned.
async fn publish(server: &TestServer, image: &str, version: &str, bytes: &[u8]) {
    let path = format!("/v1/images/{image}/versions/{version}");
    send(server, "POST", &format!("/v1/images/{image}/versions"), Some(json!({"version": version}))).await;
    for architecture in ["amd64", "arm64", "riscv64"] {
        send(server, "POST", &format!("{path}/artifacts"), Some(artifact(bytes, architecture))).await;
    }
    for attempt in 0..40 {
        let requested = send(server, "POST", &format!("{path}/publish"), None).await;
        let Some(job) = requested["job_id"].as_str() else {
            // The blob is quarantined, or was collected.
            tokio::time::sleep(Duration::from_millis(5)).await;
            continue;
        };
        let job = format!("/v1/publish-jobs/{job}");
        let state = loop {
            let state = send(server, "GET", &job, None).await["state"].clone();
            if state == "succeeded" || state == "failed" {
                break state;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        };
        if state == "succeeded" {
            return;
        }
        let action = if attempt % 2 == 0 { "retry" } else { "abandon" };
        send(server, "POST", &format!("{job}/{action}"), None).await;
    }
}

/// Publishes by an intake that sets aliases.
async fn intake(server: &TestServer, image: &str, version: &str, aliases: [&str; 3], bytes: &[u8]) {
    let wanted = json!({"image": image, "version": version, "operating_system": "debian", "architecture": "amd64",
        "format": "raw", "size_bytes": bytes.len(), "aliases": aliases});
    let opened = send(server, "POST", "/api/images", Some(wanted)).await;
    // Its names may be taken.
    let Some(id) = opened["upload_session_id"].as_str() else { return };
    let request = Request::builder()
        .method("POST")
        .uri("/api/uploads/tus/")
        .header("authorization", format!("Bearer {}", server.writer))
        .header("tus-resumable", "1.0.0")
        .header("upload-length", bytes.len())
        .header("upload-metadata", format!("upload_session_id {}", STANDARD.encode(id)))
        .header("content-type", "application/offset+octet-stream");
    let sent = server.send(request.body(Body::from(bytes.to_vec())).expect("a request")).await;
    assert!(!sent.status.is_server_error(), "{sent:?}");
}

/// Quarantines the blob of `bytes`, and replaces it by another upload.
async fn replace(server: &TestServer, bytes: &[u8]) {
    let parsed = digest(bytes).parse().expect("a digest");
    for _ in 0..6 {
        let mut tx = server.services.adapters().catalog.begin().await.expect("a transaction");
        if let Some(blob) = tx.get_blob(&parsed).await.expect("read") {
            tx.quarantine_blob(&parsed, &blob.name).await.expect("quarantined");
            tx.commit().await.expect("committed");
        }
        let new = json!({"expected_digest": digest(bytes), "expected_size_bytes": bytes.len()});
        let opened = send(server, "POST", "/v1/uploads", Some(new)).await;
        let upload = opened["id"].as_str().expect("an id").to_owned();
        if opened["state"] == "ready" {
            continue;
        }
        server.put_part(&upload, 1, bytes.to_vec()).await;
        server.complete(&upload).await;
        let path = format!("/v1/uploads/{upload}");
        while !matches!(send(server, "GET", &path, None).await["state"].as_str(), Some("ready" | "failed")) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

/// Edits a draft that refers to the blob of `bytes`.
async fn edit(server: &TestServer, image: &str, version: &str, bytes: &[u8]) {
    let path = format!("/v1/images/{image}/versions/{version}");
    for _ in 0..10 {
        send(server, "POST", &format!("/v1/images/{image}/versions"), Some(json!({"version": version}))).await;
        for architecture in ["amd64", "arm64"] {
            send(server, "POST", &format!("{path}/artifacts"), Some(artifact(bytes, architecture))).await;
        }
        send(server, "DELETE", &path, None).await;
    }
}

/// Revokes or removes, and restores, two versions in turn, moving their aliases from each to the other.
async fn retire(server: &TestServer, admin: &str, image: &str, action: &str, aliases: [&str; 2]) {
    for number in 0..15 {
        let (from, to) = if number % 2 == 0 { ("1", "b") } else { ("b", "1") };
        let moves: Value = aliases.iter().map(|alias| ((*alias).to_owned(), Value::from(to))).collect();
        let path = format!("/v1/images/{image}/versions/{from}");
        for (action, body) in [(action, json!({"reason": "x", "aliases": moves})), ("restore", json!({}))] {
            let answer = server.call(Some(admin), "POST", &format!("{path}/{action}"), Some(body)).await;
            assert!(!answer.status.is_server_error(), "{action} {path}: {answer:?}");
        }
    }
}

/// Changes and applies a retention policy, which a worker applies as well.
async fn retain(server: &TestServer, admin: &str, image: &str) {
    let url = format!("/v1/images/{image}/retention");
    for number in 0..6 {
        let action = if number % 2 == 0 { "deprecate" } else { "remove" };
        let policy = json!({"keep": {"newest": 1 + number % 3}, "action": action, "enabled": number % 4 != 0});
        for (method, url, body) in [("PUT", url.clone(), Some(policy)), ("GET", format!("{url}/preview"), None)] {
            let answer = server.call(Some(admin), method, &url, body).await;
            assert_eq!(answer.status.as_u16(), 200, "{method} {url}: {answer:?}");
            let revision = answer.json()["revision"].clone();
            if !revision.is_null() {
                let body = Some(json!({"revision": revision}));
                let applied = server.call(Some(admin), "POST", &url.replace("preview", "apply"), body).await;
                assert!(!applied.status.is_server_error(), "{url}: {applied:?}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_writers_never_wait_for_each_other() {
    let url = Postgres::shared().await.database().await;
    let recurring = |settings: &mut Settings| {
        settings.collection.interval = Some(Duration::from_millis(1));
        settings.collection.grace = Duration::ZERO;
        settings.sweep_interval = Duration::from_millis(1);
        settings.retention_interval = Duration::from_millis(1);
    };
    let server = Arc::new(TestServer::start_on_database(&url, 32, recurring).await);
    server.services.enqueue_recurring().await.expect("recurring work is enqueued");
    let admin = server.token_with("content-admin").await;
    let is_over = Arc::new(AtomicBool::new(false));
    let mut workers = Vec::new();
    let kinds = [
        WorkKind::Ingest,
        WorkKind::Publish,
        WorkKind::Ingest,
        WorkKind::Publish,
        WorkKind::Clear,
        WorkKind::Collect,
        WorkKind::Tombstone,
        WorkKind::Retention,
    ];
    for kind in kinds {
        let (worker, is_over) = (server.services.worker(kind), Arc::clone(&is_over));
        workers.push(tokio::spawn(async move {
            while !is_over.load(Ordering::SeqCst) {
                if !matches!(worker.run_once().await, Ok(Ran::Worked)) {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
        }));
    }
    for round in 0..ROUNDS {
        let image = format!("i{round}");
        let shared = qcow2(u64::try_from(round).expect("a small number"));
        server.write("POST", "/v1/images", Some(json!({"name": image}))).await;
        let upload = server.open_upload(&shared).await;
        server.put_part(&upload, 1, shared.clone()).await;
        server.complete(&upload).await;
        let (server, image, shared) = (&*server, &*image, &*shared);
        futures::join!(
            rename(server, image),
            rename(server, image),
            move_aliases(server, image, ["latest", "stable"]),
            move_aliases(server, image, ["stable", "latest"]),
            retire(server, &admin, image, "revoke", ["latest", "stable"]),
            retire(server, &admin, image, "remove", ["next", "stable"]),
            retain(server, &admin, image),
            publish(server, image, "1", shared),
            publish(server, image, "b", shared),
            publish(server, image, "next", shared),
            intake(server, image, "c", ["latest", "stable", "next"], shared),
            intake(server, image, "d", ["stable", "b", "latest"], shared),
            intake(server, image, "draft", ["x", "latest", "stable"], shared),
            replace(server, shared),
            edit(server, image, "draft", shared),
        );
    }
    is_over.store(true, Ordering::SeqCst);
    join_all(workers).await;

    drop(server);
    assert_eq!(Postgres::deadlocks(&url).await, 0);
}
