//! Uploads: in order, out of order, replaced, interrupted, too large, concurrent.

use axum::{
    body::{Body, Bytes},
    http::{Request, StatusCode},
};
use imgsrv_app::Ran;
use imgsrv_domain::work::{WorkKind, WorkerId};
use imgsrv_testkit::{TestResponse, TestServer, digest, qcow2};
use serde_json::{Value, json};
use std::{convert::Infallible, time::Duration};

/// Sends `parts` in the given order and expects the upload to become ready.
async fn ready_when_sent(parts: &[(u32, &[u8])]) -> TestServer {
    let server = TestServer::start().await;
    let mut sorted = parts.to_vec();
    sorted.sort_by_key(|(number, _)| *number);
    let whole: Vec<u8> = sorted.iter().flat_map(|(_, bytes)| bytes.to_vec()).collect();
    let upload = server.open_upload(&whole).await;
    for (number, bytes) in parts {
        assert_eq!(server.put_part(&upload, *number, bytes.to_vec()).await.status, StatusCode::OK);
    }
    assert_eq!(server.complete(&upload).await.status, StatusCode::OK);
    server.settle().await;
    assert_eq!(server.upload_state(&upload).await, "ready");
    let blob = server.write("GET", &format!("/v1/blobs/{}", digest(&whole)), None).await;
    assert_eq!(blob.body, whole);
    assert_eq!(server.stored_files().len(), 1, "only the blob is left: {:?}", server.stored_files());
    server
}

#[tokio::test]
async fn parts_may_come_in_order_out_of_order_and_with_gaps() {
    ready_when_sent(&[(1, b"only")]).await;
    ready_when_sent(&[(1, b"one"), (2, b"two"), (3, b"three")]).await;
    ready_when_sent(&[(3, b"three"), (1, b"one"), (2, b"two")]).await;
    ready_when_sent(&[(2, b"two"), (1, b"one"), (3, b"")]).await;
    ready_when_sent(&[(7, b"seven"), (9_999, b"last"), (10_000, b"!")]).await;
    ready_when_sent(&[(1, b"")]).await;
}

#[tokio::test]
async fn an_empty_blob_needs_no_part() {
    let server = TestServer::start().await;
    let upload = server.open_upload(b"").await;
    assert_eq!(server.complete(&upload).await.status, StatusCode::OK);
    server.settle().await;
    assert_eq!(server.upload_state(&upload).await, "ready");
    assert_eq!(server.write("GET", &format!("/v1/blobs/{}", digest(b"")), None).await.header("content-length"), "0");
}

#[tokio::test]
async fn a_part_that_is_sent_again_replaces_the_earlier_one() {
    let server = TestServer::start().await;
    let upload = server.open_upload(b"onetwothree").await;
    for (number, bytes) in [(1, "1n3"), (2, "tw0"), (3, "three"), (2, "two"), (1, "one")] {
        assert_eq!(server.put_part(&upload, number, bytes).await.status, StatusCode::OK);
    }
    assert_eq!(server.complete(&upload).await.status, StatusCode::OK);
    server.settle().await;
    assert_eq!(server.upload_state(&upload).await, "ready");
    assert_eq!(server.write("GET", &format!("/v1/blobs/{}", digest(b"onetwothree")), None).await.body, b"onetwothree");
}

/// A body whose connection breaks after `sent`.
fn broken(sent: &'static [u8]) -> Body {
    let frames = [Ok(Bytes::from_static(sent)), Err(std::io::Error::other("the connection broke"))];
    Body::from_stream(futures::stream::iter(frames))
}

#[tokio::test]
async fn an_interrupted_body_does_not_change_the_earlier_part() {
    let server = TestServer::start().await;
    let upload = server.open_upload(b"onetwo").await;
    assert_eq!(server.put_part(&upload, 1, "one").await.status, StatusCode::OK);
    for number in [1, 2] {
        let cut = server.put_part(&upload, number, broken(b"x")).await;
        assert_eq!((cut.status, cut.problem().as_str()), (StatusCode::BAD_REQUEST, "body-incomplete"));
    }
    // The interrupted part left nothing in the file that contiguous parts share: the next part is appended to it.
    assert_eq!(server.put_part(&upload, 2, "two").await.status, StatusCode::OK);
    assert_eq!(server.stored_files().len(), 1, "{:?}", server.stored_files());
    assert_eq!(server.complete(&upload).await.status, StatusCode::OK);
    server.settle().await;
    assert_eq!(server.upload_state(&upload).await, "ready");
}

#[tokio::test]
async fn a_stalled_body_times_out() {
    let server = TestServer::start().await;
    let upload = server.open_upload(b"one").await;
    let stalled = futures::stream::pending::<Result<Bytes, Infallible>>();
    let response = server.put_part(&upload, 1, Body::from_stream(stalled)).await;
    assert_eq!((response.status, response.problem().as_str()), (StatusCode::REQUEST_TIMEOUT, "request-timeout"));
    assert!(server.stored_files().is_empty());
}

#[tokio::test]
async fn bytes_of_another_digest_fail_the_session_and_are_removed() {
    let server = TestServer::start().await;
    let upload = server.open_upload(b"one").await;
    server.put_part(&upload, 1, "two").await;
    assert_eq!(server.complete(&upload).await.status, StatusCode::OK);
    server.settle().await;
    let session = server.write("GET", &format!("/v1/uploads/{upload}"), None).await.json();
    assert_eq!(session["state"], "failed");
    assert!(session["failure_reason"].as_str().expect("a reason").contains(&digest(b"two")));
    assert!(server.stored_files().is_empty());
    let blob = server.write("GET", &format!("/v1/blobs/{}", digest(b"one")), None).await;
    assert_eq!(blob.status, StatusCode::NOT_FOUND);
    assert_eq!(server.complete(&upload).await.problem(), "upload-state");
}

#[tokio::test]
async fn more_bytes_than_declared_are_refused_with_and_without_a_content_length() {
    let server = TestServer::start().await;
    let upload = server.open_upload(b"onetwo").await;
    assert_eq!(server.put_part(&upload, 1, "onet").await.status, StatusCode::OK);
    let declared = Request::builder()
        .method("PUT")
        .uri(format!("/v1/uploads/{upload}/parts/2"))
        .header("authorization", format!("Bearer {}", server.writer))
        .header("content-length", "3");
    let response = server.send(declared.body(Body::from("wo!")).expect("a request")).await;
    assert_eq!((response.status, response.problem().as_str()), (StatusCode::PAYLOAD_TOO_LARGE, "upload-too-large"));
    let frames = futures::stream::iter(["wo", "!"].map(|text| Ok::<_, Infallible>(Bytes::from(text))));
    let response = server.put_part(&upload, 2, Body::from_stream(frames)).await;
    assert_eq!((response.status, response.problem().as_str()), (StatusCode::PAYLOAD_TOO_LARGE, "upload-too-large"));
    // The first part can still be replaced by one of the declared size.
    assert_eq!(server.put_part(&upload, 1, "onetwo").await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_content_digest_is_checked() {
    let server = TestServer::start().await;
    let upload = server.open_upload(b"one").await;
    let put = async |header: (&str, &str)| {
        let request = Request::builder()
            .method("PUT")
            .uri(format!("/v1/uploads/{upload}/parts/1"))
            .header("authorization", format!("Bearer {}", server.writer))
            .header(header.0, header.1);
        server.send(request.body(Body::from("one")).expect("a request")).await
    };
    let wrong = "sha-256=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:";
    assert_eq!(put(("content-digest", wrong)).await.problem(), "digest-mismatch");
    assert!(server.stored_files().is_empty());
    assert_eq!(put(("content-digest", "sha-256=nonsense")).await.problem(), "invalid-request");
    assert_eq!(put(("content-encoding", "gzip")).await.problem(), "content-encoding");
    let right = "md5=:AA==:, sha-256=:dpLDrTVAu4A8Ags67mbNiIcSMjTqDG5xQ8Ct1z/0Me0=:";
    assert_eq!(put(("content-digest", right)).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_part_list_must_match_the_received_parts() {
    let server = TestServer::start().await;
    let upload = server.open_upload(b"onetwo").await;
    server.put_part(&upload, 1, "one").await;
    server.put_part(&upload, 2, "two").await;
    let listed = server.write("GET", &format!("/v1/uploads/{upload}/parts"), None).await.json();
    let etag = |at: usize| listed["parts"][at]["etag"].clone();
    let part = |number: i64, etag: Value, size: i64| json!({"number": number, "etag": etag, "size_bytes": size});
    for (parts, code) in [
        (json!([]), "part-list-mismatch"),
        (json!([part(1, etag(0), 3)]), "part-list-mismatch"),
        (json!([part(2, etag(1), 3), part(1, etag(0), 3)]), "part-list-mismatch"),
        (json!([part(1, etag(0), 3), part(1, etag(0), 3)]), "part-list-mismatch"),
        (json!([part(1, etag(1), 3), part(2, etag(1), 3)]), "part-list-mismatch"),
        (json!([part(1, etag(0), 2), part(2, etag(1), 4)]), "part-list-mismatch"),
        (json!([part(1, etag(0), 3), part(3, etag(1), 3)]), "part-list-mismatch"),
        (json!([part(0, etag(0), 3)]), "invalid-request"),
        (json!([part(1, json!("x"), -3)]), "invalid-request"),
    ] {
        let response =
            server.write("POST", &format!("/v1/uploads/{upload}/complete"), Some(json!({"parts": parts}))).await;
        assert_eq!((response.status, response.problem().as_str()), (StatusCode::BAD_REQUEST, code), "{parts}");
    }
    assert_eq!(server.complete(&upload).await.json()["state"], "completed");
}

#[tokio::test]
async fn concurrent_completions_cause_one_ingest_and_may_be_repeated() {
    let server = TestServer::start().await;
    let upload = server.open_upload(b"one").await;
    server.put_part(&upload, 1, "one").await;
    let responses = tokio::join!(server.complete(&upload), server.complete(&upload), server.complete(&upload));
    for response in [responses.0, responses.1, responses.2] {
        assert_eq!((response.status, &response.json()["state"]), (StatusCode::OK, &json!("completed")));
    }
    server.settle().await;
    let again = server.write("POST", &format!("/v1/uploads/{upload}/complete"), Some(json!({"parts": []}))).await;
    assert_eq!((again.status, &again.json()["state"]), (StatusCode::OK, &json!("ready")));
    let late = server.put_part(&upload, 1, "one").await;
    assert_eq!((late.status, late.problem().as_str()), (StatusCode::PRECONDITION_FAILED, "upload-state"));
    assert_eq!(server.write("POST", &format!("/v1/uploads/{upload}/abort"), None).await.problem(), "upload-state");
}

#[tokio::test]
async fn two_sessions_for_one_digest_both_become_ready_and_store_one_blob() {
    let server = TestServer::start().await;
    let bytes = qcow2(1);
    let uploads = [server.open_upload(&bytes).await, server.open_upload(&bytes).await];
    for upload in &uploads {
        server.put_part(upload, 1, bytes.clone()).await;
        server.complete(upload).await;
    }
    server.settle().await;
    for upload in &uploads {
        assert_eq!(server.upload_state(upload).await, "ready");
    }
    assert_eq!(server.stored_files().len(), 1);
    let third = json!({"expected_digest": digest(&bytes), "expected_size_bytes": bytes.len()});
    let third = server.write("POST", "/v1/uploads", Some(third)).await;
    assert_eq!((third.status, &third.json()["state"]), (StatusCode::OK, &json!("ready")));
    let other = json!({"expected_digest": digest(&bytes), "expected_size_bytes": 1});
    let other = server.write("POST", "/v1/uploads", Some(other)).await;
    assert_eq!((other.status, other.problem().as_str()), (StatusCode::CONFLICT, "digest-size-conflict"));
}

#[tokio::test]
async fn an_aborted_session_frees_its_bytes_and_accepts_no_part() {
    let server = TestServer::start().await;
    let upload = server.open_upload(b"onetwo").await;
    server.put_part(&upload, 1, "one").await;
    for _ in 0..2 {
        let aborted = server.write("POST", &format!("/v1/uploads/{upload}/abort"), None).await;
        assert_eq!((aborted.status, &aborted.json()["state"]), (StatusCode::OK, &json!("aborted")));
    }
    server.settle().await;
    assert!(server.stored_files().is_empty());
    assert_eq!(server.put_part(&upload, 2, "two").await.problem(), "upload-state");
    assert_eq!(server.complete(&upload).await.problem(), "upload-state");
}

#[tokio::test]
async fn a_session_expires_a_while_after_its_last_part() {
    let server = TestServer::start().await;
    let upload = server.open_upload(b"onetwo").await;
    server.clock.advance(Duration::from_hours(23));
    assert_eq!(server.put_part(&upload, 1, "one").await.status, StatusCode::OK);
    server.clock.advance(Duration::from_hours(23));
    server.settle().await;
    assert_eq!(server.upload_state(&upload).await, "uploading");
    server.clock.advance(Duration::from_hours(1));
    assert_eq!(server.put_part(&upload, 2, "two").await.problem(), "upload-expired");
    server.settle().await;
    assert_eq!(server.upload_state(&upload).await, "aborted");
    assert!(server.stored_files().is_empty());
}

#[tokio::test]
async fn missing_staged_bytes_fail_the_session_at_once() {
    let server = TestServer::start().await;
    let upload = server.open_upload(b"one").await;
    server.put_part(&upload, 1, "one").await;
    server.complete(&upload).await;
    std::fs::remove_dir_all(server.storage().join("staging").join(&upload)).expect("removed");
    server.settle().await;
    let session = server.write("GET", &format!("/v1/uploads/{upload}"), None).await.json();
    assert_eq!(session["state"], "failed");
    assert!(session["failure_reason"].as_str().expect("a reason").contains("upload it again"));
}

#[tokio::test]
async fn an_ingest_is_retried_once_an_unavailable_store_is_back() {
    let server = TestServer::start().await;
    let upload = server.open_upload(b"onetwo").await;
    // Out of order, so that the ingest has to read the parts.
    server.put_part(&upload, 2, "two").await;
    server.put_part(&upload, 1, "one").await;
    server.complete(&upload).await;
    let away = server.storage().with_extension("away");
    std::fs::rename(server.storage(), &away).expect("unmounted");
    assert!(server.services.worker(WorkKind::Ingest).run_once().await.is_err());
    assert_eq!(server.upload_state(&upload).await, "completed");
    std::fs::rename(&away, server.storage()).expect("mounted");
    let looked = server.services.worker(WorkKind::Ingest).run_once().await;
    assert_eq!(looked.expect("looked"), Ran::Idle, "it is not due yet");
    server.clock.advance(Duration::from_mins(1));
    server.settle().await;
    assert_eq!(server.upload_state(&upload).await, "ready");
}

#[tokio::test]
async fn a_stopping_worker_releases_its_ingest_at_once() {
    let server = TestServer::start().await;
    let upload = server.open_upload(b"one").await;
    server.put_part(&upload, 1, "one").await;
    server.complete(&upload).await;
    server.stop.cancel();
    server.services.worker(WorkKind::Ingest).run_once().await.expect("released");
    assert_eq!(server.upload_state(&upload).await, "completed");
}

#[tokio::test]
async fn an_expired_lease_of_an_ingest_is_reclaimed() {
    let server = TestServer::start().await;
    let upload = server.open_upload(b"one").await;
    server.put_part(&upload, 1, "one").await;
    server.complete(&upload).await;
    // Another process acquires the lease and crashes.
    let (dead, term) = (WorkerId::new("dead".to_owned()), Duration::from_secs(30));
    let catalog = &server.services.adapters().catalog;
    let leased = catalog.acquire_work(WorkKind::Ingest, None, &dead, term, term).await.expect("found");
    assert!(leased.is_some());
    server.settle().await;
    assert_eq!(server.upload_state(&upload).await, "completed");
    server.clock.advance(Duration::from_secs(30));
    server.settle().await;
    assert_eq!(server.upload_state(&upload).await, "ready");
}

#[tokio::test]
async fn staged_files_of_unknown_sessions_are_removed() {
    let server = TestServer::start().await;
    let stray = server.storage().join("staging/0198c0de-0000-7000-8000-000000000000");
    std::fs::create_dir(&stray).expect("made");
    std::fs::write(stray.join("part"), b"left by a crash").expect("written");
    let upload = server.open_upload(b"onetwo").await;
    server.put_part(&upload, 1, "one").await;
    server.settle().await;
    assert!(!stray.exists());
    assert_eq!(server.stored_files().len(), 1, "what is still wanted stays");
}

#[tokio::test]
async fn an_upload_over_the_size_limit_is_refused_at_creation() {
    let server = TestServer::start_with(|settings| settings.max_upload_bytes = Some(10)).await;
    let body = json!({"expected_digest": digest(b""), "expected_size_bytes": 11});
    let response = server.write("POST", "/v1/uploads", Some(body)).await;
    assert_eq!((response.status, response.problem().as_str()), (StatusCode::PAYLOAD_TOO_LARGE, "upload-too-large"));
}

#[tokio::test]
async fn parts_are_listed_in_pages_for_resuming() {
    let server = TestServer::start().await;
    let upload = server.open_upload(b"abc").await;
    for (number, bytes) in [(1, "a"), (2, "b"), (3, "c")] {
        server.put_part(&upload, number, bytes).await;
    }
    let first = server.write("GET", &format!("/v1/uploads/{upload}/parts?limit=2"), None).await.json();
    let numbers = |body: &Value| -> Vec<i64> {
        body["parts"]
            .as_array()
            .expect("parts")
            .iter()
            .map(|part| part["part_number"].as_i64().expect("a number"))
            .collect()
    };
    assert_eq!(numbers(&first), [1, 2]);
    let cursor = first["next_cursor"].as_str().expect("a cursor");
    let second = server.write("GET", &format!("/v1/uploads/{upload}/parts?limit=2&cursor={cursor}"), None).await.json();
    assert_eq!((numbers(&second), second.get("next_cursor")), (vec![3], None));
}

#[tokio::test]
async fn the_number_of_open_uploads_is_limited() {
    let server = TestServer::start_with(|settings| settings.max_open_uploads = Some(2)).await;
    let open = async |byte: u8| {
        let body = json!({"expected_digest": digest(&[byte]), "expected_size_bytes": 1});
        server.write("POST", "/v1/uploads", Some(body)).await
    };
    let first = open(1).await.json()["id"].as_str().expect("an id").to_owned();
    assert_eq!(open(2).await.status, StatusCode::CREATED);
    let refused = open(3).await;
    assert_eq!((refused.status, refused.problem().as_str()), (StatusCode::TOO_MANY_REQUESTS, "too-many-uploads"));
    assert_eq!(refused.header("retry-after"), "30");
    // Open sessions count; sessions that are ingested or ready do not.
    assert_eq!(server.put_part(&first, 1, vec![1]).await.status, StatusCode::OK);
    assert_eq!(open(3).await.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(server.complete(&first).await.status, StatusCode::OK);
    assert_eq!(open(3).await.status, StatusCode::CREATED);
    server.settle().await;
    assert_eq!(open(1).await.status, StatusCode::OK);
    assert_eq!(open(4).await.status, StatusCode::TOO_MANY_REQUESTS);
}

#[tokio::test]
async fn the_number_of_concurrently_received_parts_is_limited() {
    let server = TestServer::start_serving(|_, http| {
        http.max_receiving_parts = 1;
        http.body_timeout = std::time::Duration::from_mins(1);
    })
    .await;
    let upload = server.open_upload(b"ab").await;
    let (mut sender, body) = futures::channel::mpsc::channel::<Result<Vec<u8>, std::convert::Infallible>>(1);
    sender.try_send(Ok(b"a".to_vec())).expect("room");
    let mut receiving = Box::pin(server.put_part(&upload, 1, Body::from_stream(body)));
    until_staged(&server, &mut receiving).await;
    let refused = server.put_part(&upload, 2, b"b".to_vec()).await;
    assert_eq!((refused.status, refused.problem().as_str()), (StatusCode::TOO_MANY_REQUESTS, "too-many-uploads"));
    drop(sender);
    let received = receiving.await;
    assert_eq!(received.status, StatusCode::OK, "{received:?}");
    assert_eq!(server.put_part(&upload, 2, b"b".to_vec()).await.status, StatusCode::OK);
}

/// Polls `request` until the server has staged something, and drops it then.
async fn drop_when_staged(server: &TestServer, request: impl Future<Output = TestResponse>) {
    until_staged(server, &mut Box::pin(request)).await;
}

/// Polls `request` until the server has staged something.
async fn until_staged(server: &TestServer, request: &mut (impl Future<Output = TestResponse> + Unpin)) {
    while server.stored_files().is_empty() {
        assert!(futures::poll!(&mut *request).is_pending());
        tokio::task::yield_now().await;
    }
}

/// Yields until `is_done`.
async fn until(what: &str, mut is_done: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !is_done().await {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), waiting).await.unwrap_or_else(|_| panic!("{what}"));
}

#[tokio::test]
async fn the_part_of_a_dropped_request_is_undone_when_its_body_is_cut() {
    let server = TestServer::start().await;
    let upload = server.open_upload(b"onetwo").await;
    let (mut sender, body) = futures::channel::mpsc::channel::<Result<Vec<u8>, std::io::Error>>(2);
    sender.try_send(Ok(b"on".to_vec())).expect("the channel is empty");
    drop_when_staged(&server, server.put_part(&upload, 1, Body::from_stream(body))).await;
    sender.try_send(Err(std::io::Error::other("the connection broke"))).expect("the body is still read");
    until("nothing is staged", async || server.stored_files().is_empty()).await;
    // The attempt has ended: the next one is appended to the frontier again.
    for (number, bytes) in [(1, "one"), (2, "two")] {
        assert_eq!(server.put_part(&upload, number, bytes).await.status, StatusCode::OK);
    }
    assert_eq!(server.stored_files().len(), 1, "{:?}", server.stored_files());
    assert_eq!(server.complete(&upload).await.status, StatusCode::OK);
    server.settle().await;
    assert_eq!(server.upload_state(&upload).await, "ready");
}

#[tokio::test]
async fn the_part_of_a_dropped_request_is_recorded_when_its_body_is_complete() {
    let server = TestServer::start().await;
    let upload = server.open_upload(b"one").await;
    let (mut sender, body) = futures::channel::mpsc::channel::<Result<Vec<u8>, Infallible>>(2);
    sender.try_send(Ok(b"on".to_vec())).expect("the channel is empty");
    drop_when_staged(&server, server.put_part(&upload, 1, Body::from_stream(body))).await;
    sender.try_send(Ok(b"e".to_vec())).expect("the body is still read");
    drop(sender);
    let parts = format!("/v1/uploads/{upload}/parts");
    until("the part is recorded", async || server.write("GET", &parts, None).await.json()["parts"] != json!([])).await;
    assert_eq!(server.complete(&upload).await.status, StatusCode::OK);
    server.settle().await;
    assert_eq!(server.upload_state(&upload).await, "ready");
}
