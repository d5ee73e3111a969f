//! Parts that the store fails to receive, while others change their upload: the response says what has become of it.

use axum::{
    body::Body,
    http::{Request, StatusCode},
};
use futures::channel::mpsc::{Sender, channel};
use imgsrv_testkit::{TestResponse, TestServer};
use serde_json::json;
use std::{convert::Infallible, time::Duration};

/// A body that has sent `bytes` and ends when the sender is dropped.
fn open_body(bytes: &[u8]) -> (Sender<Result<Vec<u8>, Infallible>>, Body) {
    let (mut sender, body) = channel(1);
    sender.try_send(Ok(bytes.to_vec())).expect("the channel is empty");
    (sender, Body::from_stream(body))
}

/// Waits until bytes are staged.
async fn receiving(server: &TestServer) {
    let waiting = async {
        while server.stored_files().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), waiting).await.expect("bytes are staged");
}

async fn append(server: &TestServer, upload: &str, body: impl Into<Body>) -> TestResponse {
    let request = Request::builder()
        .method("PATCH")
        .uri(format!("/api/uploads/tus/{upload}"))
        .header("authorization", format!("Bearer {}", server.writer))
        .header("tus-resumable", "1.0.0")
        .header("upload-offset", "0")
        .header("content-type", "application/offset+octet-stream");
    server.send(request.body(body.into()).expect("a request")).await
}

#[tokio::test]
async fn a_failed_part_is_refused_if_it_was_superseded_or_its_upload_has_ended() {
    for (action, problem) in
        [("supersede", "part-superseded"), ("complete", "upload-state"), ("abort", "upload-state"), ("", "unavailable")]
    {
        let server = TestServer::start().await;
        let upload = server.open_upload(b"one").await;
        let (sender, body) = open_body(b"on");
        let late = server.put_part(&upload, 1, body);
        let meanwhile = async {
            receiving(&server).await;
            if matches!(action, "supersede" | "complete") {
                assert_eq!(server.put_part(&upload, 1, "one").await.status, StatusCode::OK);
            }
            match action {
                "complete" => assert_eq!(server.complete(&upload).await.status, StatusCode::OK),
                "abort" => drop(server.write("POST", &format!("/v1/uploads/{upload}/abort"), None).await),
                _ => {}
            }
            server.blobs.break_staging(true);
            drop(sender);
        };
        let (late, ()) = futures::join!(late, meanwhile);
        assert_eq!(late.problem(), problem, "{action}: {late:?}");
    }
}

#[tokio::test]
async fn failed_bytes_of_an_intake_are_refused_if_a_newer_attempt_has_begun() {
    let server = TestServer::start().await;
    let intake = json!({
        "image": "debian", "version": "12", "operating_system": "debian", "architecture": "amd64", "format": "raw",
        "size_bytes": 8,
    });
    let created = server.write("POST", "/api/images", Some(intake)).await.json();
    let upload = created["upload_session_id"].as_str().expect("an id");
    let (sender, body) = open_body(b"ab");
    let late = append(&server, upload, body);
    let meanwhile = async {
        receiving(&server).await;
        // As an append request does that another process has begun.
        server.sql("UPDATE upload_sessions SET attempts = attempts + 1").await;
        server.blobs.break_staging(true);
        drop(sender);
    };
    let (late, ()) = tokio::join!(late, meanwhile);
    assert_eq!((late.status, late.problem().as_str()), (StatusCode::CONFLICT, "upload-offset"), "{late:?}");
    let failed = append(&server, upload, "abcdefgh").await;
    assert_eq!((failed.status, failed.problem().as_str()), (StatusCode::SERVICE_UNAVAILABLE, "unavailable"));
    server.blobs.break_staging(false);
    assert_eq!(append(&server, upload, "abcdefgh").await.status, StatusCode::NO_CONTENT);
    server.settle().await;
    let status = server.write("GET", &format!("/api/uploads/{upload}"), None).await.json();
    assert_eq!(status["state"], "published");
}
