//! `Idempotency-Key`: a request whose response was lost finds the session that it opened.

use axum::{
    body::Body,
    http::{Request, StatusCode},
};
use futures::future::join_all;
use imgsrv_testkit::{TestResponse, TestServer, digest};
use serde_json::{Value, json};
use std::collections::HashSet;

fn body(bytes: &[u8]) -> Value {
    json!({"expected_digest": digest(bytes), "expected_size_bytes": bytes.len()})
}

/// Opens an upload with these lines of `Idempotency-Key`.
async fn open(server: &TestServer, bearer: &str, keys: &[&str], body: &Value) -> TestResponse {
    let mut request = Request::builder()
        .method("POST")
        .uri("/v1/uploads")
        .header("authorization", format!("Bearer {bearer}"))
        .header("content-type", "application/json");
    for key in keys {
        request = request.header("idempotency-key", *key);
    }
    server.send(request.body(Body::from(body.to_string())).expect("a request")).await
}

fn id(response: &TestResponse) -> String {
    response.json()["id"].as_str().unwrap_or_else(|| panic!("no session: {response:?}")).to_owned()
}

async fn count(server: &TestServer) -> usize {
    let listed = server.write("GET", "/v1/uploads", None).await.json();
    listed["uploads"].as_array().expect("a list").len()
}

#[tokio::test]
async fn a_repeated_request_finds_its_session_in_its_present_state() {
    let server = TestServer::start().await;
    let first = open(&server, &server.writer, &["\"k-1\""], &body(b"one")).await;
    // The same key, bare.
    let again = open(&server, &server.writer, &["k-1"], &body(b"one")).await;
    assert_eq!((first.status, again.status), (StatusCode::CREATED, StatusCode::CREATED));
    assert_eq!((first.body.clone(), first.header("location")), (again.body.clone(), again.header("location")));
    let upload = id(&first);
    for state in ["uploading", "ready"] {
        if state == "uploading" {
            assert_eq!(server.put_part(&upload, 1, "one").await.status, StatusCode::OK);
        } else {
            assert_eq!(server.complete(&upload).await.status, StatusCode::OK);
            server.settle().await;
        }
        let again = open(&server, &server.writer, &["k-1"], &body(b"one")).await;
        assert_eq!((again.status, id(&again)), (StatusCode::CREATED, upload.clone()));
        assert_eq!(again.json()["state"], state);
    }
    // What was ready at once is answered like that again.
    for _ in 0..2 {
        let ready = open(&server, &server.writer, &["k-2"], &body(b"one")).await;
        assert_eq!((ready.status, ready.json()["state"].clone()), (StatusCode::OK, json!("ready")));
        assert_ne!(id(&ready), upload);
    }
}

#[tokio::test]
async fn an_aborted_session_is_found_as_well() {
    let server = TestServer::start().await;
    let upload = id(&open(&server, &server.writer, &["k"], &body(b"one")).await);
    server.write("POST", &format!("/v1/uploads/{upload}/abort"), None).await;
    let again = open(&server, &server.writer, &["k"], &body(b"one")).await;
    assert_eq!((again.status, id(&again)), (StatusCode::CREATED, upload));
    assert_eq!(again.json()["state"], "aborted");
}

#[tokio::test]
async fn a_key_belongs_to_one_request_of_one_principal() {
    let server = TestServer::start().await;
    let first = open(&server, &server.writer, &["k"], &body(b"one")).await;
    let mut hinted = body(b"one");
    hinted["filename_hint"] = json!("disk.qcow2");
    for other in [body(b"two"), body(b"three"), hinted] {
        let refused = open(&server, &server.writer, &["k"], &other).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(refused.problem(), "idempotency-key-reused");
    }
    let colleague = server.token_with("content-writer").await;
    let theirs = open(&server, &colleague, &["k"], &body(b"two")).await;
    assert_eq!(theirs.status, StatusCode::CREATED);
    assert_ne!(id(&theirs), id(&first));
    assert_eq!(count(&server).await, 1);
}

#[tokio::test]
async fn a_malformed_key_is_refused_and_opens_nothing() {
    let server = TestServer::start().await;
    let long = "k".repeat(256);
    for keys in [&[""][..], &["\"k"], &["a b"], &["a,b"], &["\"a\";p=1"], &[&long], &["k", "k"]] {
        let refused = open(&server, &server.writer, keys, &body(b"one")).await;
        assert_eq!(
            (refused.status, refused.problem().as_str()),
            (StatusCode::BAD_REQUEST, "invalid-request"),
            "{keys:?}"
        );
        assert_eq!(refused.json()["errors"][0]["field"], "Idempotency-Key");
    }
    assert_eq!(count(&server).await, 0);
}

#[tokio::test]
async fn requests_without_a_key_open_a_session_each() {
    let server = TestServer::start().await;
    let (first, second) = (server.open_upload(b"one").await, server.open_upload(b"one").await);
    assert_ne!(first, second);
    let listed = server.write("GET", &format!("/v1/uploads?expected_digest={}", digest(b"one")), None).await.json();
    assert_eq!(listed["uploads"].as_array().expect("a list").len(), 2);
}

#[tokio::test]
async fn concurrent_requests_with_one_key_open_one_session() {
    for server in [TestServer::start().await, TestServer::start_on_postgres().await] {
        let body = body(b"one");
        let answers = join_all((0..16).map(|_| open(&server, &server.writer, &["k"], &body))).await;
        assert!(answers.iter().all(|answer| answer.status == StatusCode::CREATED), "{answers:?}");
        assert_eq!(answers.iter().map(id).collect::<HashSet<_>>().len(), 1);
        assert_eq!(count(&server).await, 1);
        let audit = server.manage("GET", "/v1/audit?action=upload.created", None).await.json();
        assert_eq!(audit["entries"].as_array().map(Vec::len), Some(1), "{audit}");
    }
}
