//! `Idempotency-Key`: a request whose response was lost finds the session or the intake that it opened.

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

fn intake(bytes: &[u8]) -> Value {
    json!({
        "image": "debian", "version": "12", "operating_system": "debian", "architecture": "amd64", "format": "raw",
        "size_bytes": bytes.len(), "aliases": ["latest"],
    })
}

/// Opens an upload with these lines of `Idempotency-Key`.
async fn open(server: &TestServer, bearer: &str, keys: &[&str], body: &Value) -> TestResponse {
    post(server, "/v1/uploads", bearer, keys, body).await
}

/// Creates an intake with this `Idempotency-Key`.
async fn create_intake(server: &TestServer, bearer: &str, key: &str, body: &Value) -> TestResponse {
    post(server, "/api/images", bearer, &[key], body).await
}

async fn post(server: &TestServer, path: &str, bearer: &str, keys: &[&str], body: &Value) -> TestResponse {
    let mut request = Request::builder()
        .method("POST")
        .uri(path)
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

#[tokio::test]
async fn a_repeated_request_finds_its_intake_in_every_state() {
    let server = TestServer::start().await;
    let first = create_intake(&server, &server.writer, "k", &intake(b"one")).await;
    assert_eq!(first.status, StatusCode::CREATED, "{first:?}");
    let upload = first.json()["upload_session_id"].as_str().expect("an id").to_owned();
    for state in ["created", "published"] {
        if state == "published" {
            let mut request = Request::builder().method("PATCH").uri(format!("/api/uploads/tus/{upload}"));
            for (name, value) in [
                ("authorization", format!("Bearer {}", server.writer).as_str()),
                ("tus-resumable", "1.0.0"),
                ("upload-offset", "0"),
                ("content-type", "application/offset+octet-stream"),
            ] {
                request = request.header(name, value);
            }
            let sent = server.send(request.body(Body::from("one")).expect("a request")).await;
            assert_eq!(sent.status, StatusCode::NO_CONTENT, "{sent:?}");
            server.settle().await;
        }
        // The published version has the name by now, and its aliases exist.
        let again = create_intake(&server, &server.writer, "\"k\"", &intake(b"one")).await;
        assert_eq!((again.status, &again.body), (StatusCode::CREATED, &first.body), "{state}");
        assert_eq!(again.header("location"), first.header("location"));
        let status = server.write("GET", &format!("/api/uploads/{upload}"), None).await.json();
        assert_eq!(status["state"], state);
    }
}

#[tokio::test]
async fn a_key_of_an_intake_belongs_to_one_request_of_one_principal() {
    let server = TestServer::start().await;
    assert_eq!(create_intake(&server, &server.writer, "k", &intake(b"one")).await.status, StatusCode::CREATED);
    let (mut declared, mut aliased, mut typed) = (intake(b"one"), intake(b"one"), intake(b"one"));
    declared["expected_digest"] = json!(digest(b"one"));
    aliased["aliases"] = json!(["stable"]);
    typed["media_type"] = json!("application/other");
    for other in [intake(b"longer"), declared, aliased, typed] {
        let refused = create_intake(&server, &server.writer, "k", &other).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{other}");
        assert_eq!(refused.problem(), "idempotency-key-reused");
    }
    // Both ways of opening an upload share the keys of a principal.
    assert_eq!(open(&server, &server.writer, &["k"], &body(b"one")).await.problem(), "idempotency-key-reused");
    assert_eq!(open(&server, &server.writer, &["u"], &body(b"one")).await.status, StatusCode::CREATED);
    let refused = create_intake(&server, &server.writer, "u", &intake(b"one")).await;
    assert_eq!(refused.problem(), "idempotency-key-reused");
    let colleague = server.token_with("content-writer").await;
    assert_eq!(create_intake(&server, &colleague, "k", &intake(b"longer")).await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn concurrent_requests_with_one_key_create_one_intake() {
    for server in [TestServer::start().await, TestServer::start_on_postgres().await] {
        let body = intake(b"one");
        let answers = join_all((0..16).map(|_| create_intake(&server, &server.writer, "k", &body))).await;
        assert!(answers.iter().all(|answer| answer.status == StatusCode::CREATED), "{answers:?}");
        assert_eq!(answers.iter().map(|answer| answer.body.clone()).collect::<HashSet<_>>().len(), 1);
        let audit = server.manage("GET", "/v1/audit?action=upload.created", None).await.json();
        assert_eq!(audit["entries"].as_array().map(Vec::len), Some(1), "{audit}");
    }
}
