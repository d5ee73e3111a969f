//! Intakes and tus, on the real router, SQLite file and blob store.

use axum::{
    body::{Body, Bytes},
    http::{Request, StatusCode},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use futures::{StreamExt, stream};
use imgsrv_app::Ran;
use imgsrv_domain::{ids::UploadId, intake::IntakeState, work::WorkKind};
use imgsrv_testkit::{TestResponse, TestServer, digest};
use serde_json::{Value, json};
use sha2::Digest as _;

const TUS: &str = "/api/uploads/tus/";

fn wanted(size: usize) -> Value {
    json!({
        "image": "debian", "version": "12.5.0", "operating_system": "debian", "architecture": "amd64",
        "format": "raw", "size_bytes": size, "aliases": ["latest", "stable"],
    })
}

/// Creates an intake, and returns its id.
async fn open(server: &TestServer, wanted: Value) -> String {
    let response = server.write("POST", "/api/images", Some(wanted)).await;
    assert_eq!(response.status, StatusCode::CREATED, "{response:?}");
    response.json()["upload_session_id"].as_str().expect("an id").to_owned()
}

fn metadata(id: &str) -> String {
    format!("upload_session_id {}", STANDARD.encode(id))
}

/// Sends a tus request of the writer.
async fn tus(
    server: &TestServer,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Body>,
) -> TestResponse {
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header("authorization", format!("Bearer {}", server.writer))
        .header("tus-resumable", "1.0.0");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = server.send(request.body(body.into()).expect("a request")).await;
    assert_eq!(response.header("tus-resumable"), "1.0.0");
    response
}

async fn patch(server: &TestServer, id: &str, offset: usize, body: impl Into<Body>) -> TestResponse {
    let offset = offset.to_string();
    let headers = [("content-type", "application/offset+octet-stream"), ("upload-offset", offset.as_str())];
    tus(server, "PATCH", &format!("{TUS}{id}"), &headers, body).await
}

/// A body that stalls after `bytes`, until the guard is dropped.
fn stalled(bytes: &'static [u8]) -> (Body, impl Drop) {
    let (sender, body) = futures::channel::mpsc::unbounded::<Result<Bytes, std::io::Error>>();
    sender.unbounded_send(Ok(Bytes::from_static(bytes))).expect("it is open");
    (Body::from_stream(body), Open(sender))
}

/// Keeps a body from ending.
struct Open(
    #[expect(dead_code, reason = "held open")] futures::channel::mpsc::UnboundedSender<Result<Bytes, std::io::Error>>,
);

impl Drop for Open {
    fn drop(&mut self) {}
}

/// Waits until bytes of an upload are staged.
async fn receiving(server: &TestServer) {
    while !server.stored_files().iter().any(|file| file.starts_with("staging")) {
        tokio::task::yield_now().await;
    }
}

async fn offset(server: &TestServer, id: &str) -> String {
    let response = tus(server, "HEAD", &format!("{TUS}{id}"), &[], Body::empty()).await;
    assert_eq!(response.status, StatusCode::OK, "{response:?}");
    response.header("upload-offset").to_owned()
}

async fn status(server: &TestServer, id: &str) -> Value {
    server.write("GET", &format!("/api/uploads/{id}"), None).await.json()
}

/// A body whose connection breaks after `bytes`.
fn broken(bytes: &'static [u8]) -> Body {
    let cut = Err(std::io::Error::other("the connection broke"));
    Body::from_stream(stream::iter([Ok(Bytes::from_static(bytes)), cut]).boxed())
}

#[tokio::test]
async fn a_version_is_published_and_aliased_once_its_last_byte_is_received() {
    let server = TestServer::start().await;
    let bytes = b"a disk in two pieces";
    let made = server.write("POST", "/api/images", Some(wanted(bytes.len()))).await;
    let id = made.json()["upload_session_id"].as_str().expect("an id").to_owned();
    assert_eq!(made.json()["tus"], json!({"creation_url": TUS, "upload_metadata": metadata(&id)}));
    assert_eq!(status(&server, &id).await, json!({"id": id, "state": "created", "offset": 0, "size_bytes": 20}));

    let length = bytes.len().to_string();
    let headers = [("upload-length", length.as_str()), ("upload-metadata", &metadata(&id))];
    let created = tus(&server, "POST", TUS, &headers, Body::empty()).await;
    assert_eq!((created.status, created.header("location")), (StatusCode::CREATED, &*format!("{TUS}{id}")));
    assert_eq!(created.header("upload-expires"), "Fri, 02 Jan 2026 00:00:00 GMT");
    let first = patch(&server, &id, 0, &bytes[..7]).await;
    assert_eq!((first.status, first.header("upload-offset")), (StatusCode::NO_CONTENT, "7"));
    assert_eq!(status(&server, &id).await["state"], "uploading");
    assert_eq!(offset(&server, &id).await, "7");
    let last = patch(&server, &id, 7, &bytes[7..]).await;
    assert_eq!((last.status, last.header("upload-offset")), (StatusCode::NO_CONTENT, "20"));
    assert_eq!(status(&server, &id).await["state"], "ingesting");
    server.settle().await;

    let done = status(&server, &id).await;
    assert_eq!((&done["state"], &done["offset"]), (&json!("published"), &json!(20)));
    let version = server.get(done["version_url"].as_str().expect("a URL")).await.json();
    assert_eq!(version["artifacts"][0]["artifact"]["primary_blob_digest"], digest(bytes));
    let job = server.write("GET", done["job_url"].as_str().expect("a URL"), None).await.json();
    assert_eq!(job["state"], "succeeded");
    for alias in ["latest", "stable"] {
        assert_eq!(server.get(&format!("/v1/images/debian/aliases/{alias}")).await.json()["version"], "12.5.0");
    }
    let hex = digest(bytes).split_off(7);
    let blob = server.get(&format!("/cas/sha256/{}/{hex}", &hex[..2])).await;
    assert_eq!((blob.status, &*blob.body), (StatusCode::OK, bytes.as_slice()));
    assert_eq!(server.get(&format!("/cas/sha256/00/{hex}")).await.status, StatusCode::NOT_FOUND);
    assert_eq!(offset(&server, &id).await, "20", "a client that missed the response finds it done");
}

#[tokio::test]
async fn bytes_received_before_the_connection_breaks_count() {
    let server = TestServer::start().await;
    let id = open(&server, wanted(10)).await;
    assert_eq!(patch(&server, &id, 0, broken(b"0123")).await.problem(), "body-incomplete");
    assert_eq!(offset(&server, &id).await, "4");
    assert_eq!(patch(&server, &id, 0, "0123456789").await.problem(), "upload-offset");
    assert_eq!(patch(&server, &id, 4, "456789").await.status, StatusCode::NO_CONTENT);
    server.settle().await;
    assert_eq!(status(&server, &id).await["state"], "published");
    let blob = server.get(&format!("/v1/blobs/{}", digest(b"0123456789"))).await;
    assert_eq!(blob.body, b"0123456789");
}

#[tokio::test]
async fn a_newer_request_ends_a_stalled_one() {
    let server = TestServer::start_serving(|_, http| http.body_timeout = std::time::Duration::from_mins(1)).await;
    let id = open(&server, wanted(8)).await;
    let (body, open) = stalled(b"ab");
    let stalled = patch(&server, &id, 0, body);
    let newer = async {
        receiving(&server).await;
        patch(&server, &id, 0, "abcdefgh").await
    };
    let (stalled, newer) = tokio::join!(stalled, newer);
    assert_eq!(stalled.problem(), "body-incomplete");
    // If the bytes of the stalled request were recorded first, the client reads the offset and continues from there.
    if newer.status != StatusCode::NO_CONTENT {
        assert_eq!(newer.problem(), "upload-offset");
        assert_eq!(offset(&server, &id).await, "2");
        assert_eq!(patch(&server, &id, 2, "cdefgh").await.status, StatusCode::NO_CONTENT);
    }
    drop(open);
    server.settle().await;
    assert_eq!(status(&server, &id).await["state"], "published");
}

#[tokio::test]
async fn bytes_with_an_unverified_checksum_do_not_count_when_a_newer_request_ends_theirs() {
    let server = TestServer::start_serving(|_, http| http.body_timeout = std::time::Duration::from_mins(1)).await;
    let id = open(&server, wanted(8)).await;
    let (body, _open) = stalled(b"XX");
    let checksum = format!("sha1 {}", STANDARD.encode(sha1::Sha1::digest(b"abcd")));
    let headers = [
        ("content-type", "application/offset+octet-stream"),
        ("upload-offset", "0"),
        ("upload-checksum", checksum.as_str()),
    ];
    let path = format!("{TUS}{id}");
    let unverified = tus(&server, "PATCH", &path, &headers, body);
    let newer = async {
        receiving(&server).await;
        patch(&server, &id, 0, "abcdefgh").await
    };
    let (unverified, newer) = tokio::join!(unverified, newer);
    assert_eq!(unverified.problem(), "body-incomplete");
    assert_eq!(newer.status, StatusCode::NO_CONTENT);
    server.settle().await;
    let published = server.get(&format!("/v1/blobs/{}", digest(b"abcdefgh"))).await;
    assert_eq!(published.body, b"abcdefgh");
}

#[tokio::test]
async fn requests_end_when_the_process_stops_and_their_received_bytes_count() {
    let server = TestServer::start_serving(|_, http| http.body_timeout = std::time::Duration::from_mins(1)).await;
    let id = open(&server, wanted(8)).await;
    let (body, _open) = stalled(b"ab");
    let running = patch(&server, &id, 0, body);
    let stopping = async {
        receiving(&server).await;
        server.services.end_appends();
    };
    let (ended, ()) = tokio::join!(running, stopping);
    assert_eq!(ended.problem(), "body-incomplete");
    let received = offset(&server, &id).await;
    assert!(received == "2" || received == "0", "{received}");
    let rest = &b"abcdefgh"[received.parse().expect("a number")..];
    assert_eq!(patch(&server, &id, received.parse().expect("a number"), rest).await.status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn a_checksum_is_verified_before_its_bytes_count() {
    let server = TestServer::start().await;
    let id = open(&server, wanted(6)).await;
    let path = format!("{TUS}{id}");
    let send = async |at: &str, checksum: &str, body: Body| {
        let headers =
            [("content-type", "application/offset+octet-stream"), ("upload-offset", at), ("upload-checksum", checksum)];
        tus(&server, "PATCH", &path, &headers, body).await
    };
    let sha1 = format!("sha1 {}", STANDARD.encode(sha1::Sha1::digest(b"abc")));
    let sha256 = format!("sha256 {}", STANDARD.encode(sha2::Sha256::digest(b"def")));
    let wrong = send("0", &sha1, "abX".into()).await;
    assert_eq!((wrong.status.as_u16(), wrong.problem()), (460, "checksum-mismatch".to_owned()));
    assert_eq!(send("0", &sha1, broken(b"ab")).await.problem(), "body-incomplete");
    assert_eq!(send("0", &sha1, Body::empty()).await.problem(), "checksum-mismatch");
    assert_eq!(offset(&server, &id).await, "0");
    assert_eq!(send("0", "md5 AAAA", "abc".into()).await.problem(), "invalid-request");
    assert_eq!(send("0", &sha1, "abc".into()).await.header("upload-offset"), "3");
    assert_eq!(send("3", &sha256, "def".into()).await.header("upload-offset"), "6");
    server.settle().await;
    assert_eq!(status(&server, &id).await["state"], "published");
}

#[tokio::test]
async fn the_creation_may_carry_the_first_bytes_and_an_empty_version_needs_none() {
    let server = TestServer::start().await;
    let id = open(&server, wanted(4)).await;
    let metadata_of = metadata(&id);
    let headers = [
        ("upload-length", "4"),
        ("upload-metadata", metadata_of.as_str()),
        ("content-type", "application/offset+octet-stream"),
    ];
    let created = tus(&server, "POST", TUS, &headers, "ab").await;
    assert_eq!((created.status, created.header("upload-offset")), (StatusCode::CREATED, "2"));
    let again = tus(&server, "POST", TUS, &headers, "ab").await;
    assert_eq!((again.status, again.header("upload-offset")), (StatusCode::CREATED, "2"), "nothing twice");
    assert_eq!(patch(&server, &id, 2, "cd").await.status, StatusCode::NO_CONTENT);

    let mut empty = wanted(0);
    empty["version"] = json!("empty");
    empty["aliases"] = json!([]);
    let id = open(&server, empty).await;
    let headers = [("upload-length", "0"), ("upload-metadata", &metadata(&id))];
    assert_eq!(tus(&server, "POST", TUS, &headers, Body::empty()).await.status, StatusCode::CREATED);
    server.settle().await;
    assert_eq!(status(&server, &id).await["state"], "published");
}

#[tokio::test]
async fn a_terminated_or_expired_upload_is_gone() {
    let server = TestServer::start().await;
    let (aborted, expired) = (open(&server, wanted(4)).await, open(&server, wanted(4)).await);
    patch(&server, &aborted, 0, "ab").await;
    let path = format!("{TUS}{aborted}");
    assert_eq!(tus(&server, "DELETE", &path, &[], Body::empty()).await.status, StatusCode::NO_CONTENT);
    assert_eq!(status(&server, &aborted).await["state"], "aborted");
    assert_eq!(tus(&server, "HEAD", &path, &[], Body::empty()).await.status, StatusCode::NOT_FOUND);
    assert_eq!(patch(&server, &aborted, 2, "cd").await.status, StatusCode::NOT_FOUND);
    let named = metadata(&aborted);
    let again = tus(&server, "POST", TUS, &[("upload-length", "4"), ("upload-metadata", &named)], Body::empty()).await;
    assert_eq!(again.status, StatusCode::NOT_FOUND);
    server.clock.advance(std::time::Duration::from_hours(25));
    assert_eq!(status(&server, &expired).await["state"], "aborted", "also before it is swept up");
    server.settle().await;
    assert_eq!(status(&server, &expired).await["state"], "aborted");
    assert_eq!(
        tus(&server, "HEAD", &format!("{TUS}{expired}"), &[], Body::empty()).await.status,
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn invalid_requests_get_a_problem_and_change_nothing() {
    let server = TestServer::start_with(|settings| settings.max_upload_bytes = Some(1000)).await;
    let mut large = wanted(1001);
    assert_eq!(server.write("POST", "/api/images", Some(large.clone())).await.problem(), "upload-too-large");
    large["size_bytes"] = json!(-1);
    large["aliases"] = json!(["a b"]);
    assert_eq!(server.write("POST", "/api/images", Some(large)).await.json()["errors"][1]["field"], "aliases[0]");
    let id = open(&server, wanted(4)).await;
    let (path, named) = (format!("{TUS}{id}"), metadata(&id));

    let options = server.call(None, "OPTIONS", TUS, None).await;
    assert_eq!((options.status, options.header("tus-max-size")), (StatusCode::NO_CONTENT, "1000"));
    assert_eq!(options.header("tus-extension"), "creation,creation-with-upload,termination,checksum,expiration");
    assert_eq!(options.header("tus-checksum-algorithm"), "sha1,sha256");

    assert_eq!(server.call(None, "OPTIONS", &path, None).await.status, StatusCode::NO_CONTENT);
    assert_eq!(server.call(None, "OPTIONS", &format!("{TUS}x"), None).await.problem(), "invalid-request");

    let post = async |length: &str, named: &str| {
        tus(&server, "POST", TUS, &[("upload-length", length), ("upload-metadata", named)], Body::empty()).await
    };
    assert_eq!(post("5", &named).await.problem(), "invalid-request", "another length");
    assert_eq!(post("4", "filename eA==").await.problem(), "invalid-request", "no intake");
    assert_eq!(post("4", &metadata("0198c0de-0000-7000-8000-000000000000")).await.problem(), "not-found");
    assert_eq!(patch(&server, &id, 0, "12345").await.problem(), "upload-too-large");
    assert_eq!(patch(&server, &id, 2, "34").await.problem(), "upload-offset");
    let typed = [("content-type", "text/plain"), ("upload-offset", "0")];
    assert_eq!(tus(&server, "PATCH", &path, &typed, "12").await.problem(), "unsupported-media-type");
    assert_eq!(server.write("PUT", &path, None).await.problem(), "method-not-allowed");
    let unversioned = server.write("HEAD", &path, None).await;
    assert_eq!((unversioned.status, unversioned.header("tus-version")), (StatusCode::PRECONDITION_FAILED, "1.0.0"));
    assert_eq!(offset(&server, &id).await, "0");

    let overridden = [
        ("content-type", "application/offset+octet-stream"),
        ("upload-offset", "0"),
        ("x-http-method-override", "PATCH"),
    ];
    assert_eq!(tus(&server, "POST", &path, &overridden, "1234").await.header("upload-offset"), "4");
}

#[tokio::test]
async fn an_intake_is_visible_to_its_creator_only_and_is_not_a_multipart_upload() {
    let server = TestServer::start().await;
    let id = open(&server, wanted(4)).await;
    let other = server.token_with("content-writer").await;
    let status = |token: Option<String>| {
        let (server, path) = (&server, format!("/api/uploads/{id}"));
        async move { server.call(token.as_deref(), "GET", &path, None).await.status }
    };
    assert_eq!(status(None).await, StatusCode::UNAUTHORIZED);
    assert_eq!(status(Some(server.manager.clone())).await, StatusCode::FORBIDDEN);
    assert_eq!(status(Some(other)).await, StatusCode::NOT_FOUND);
    assert_eq!(server.put_part(&id, 1, "abcd").await.status, StatusCode::NOT_FOUND);
    assert_eq!(server.write("GET", &format!("/v1/uploads/{id}"), None).await.status, StatusCode::NOT_FOUND);
    assert_eq!(server.write("POST", &format!("/v1/uploads/{id}/abort"), None).await.status, StatusCode::NOT_FOUND);
    assert_eq!(server.write("GET", "/v1/uploads", None).await.json()["uploads"], json!([]));
}

#[tokio::test]
async fn taken_names_are_refused_and_names_taken_later_fail_the_intake() {
    let server = TestServer::start().await;
    let (first, second) = (open(&server, wanted(4)).await, open(&server, wanted(4)).await);
    patch(&server, &first, 0, "abcd").await;
    server.settle().await;
    patch(&server, &second, 0, "efgh").await;
    server.settle().await;
    let failed = status(&server, &second).await;
    assert_eq!(failed["state"], "failed");
    assert_eq!(failed["failure_reason"], "debian already has a version named 12.5.0");
    let taken = server.write("POST", "/api/images", Some(wanted(4))).await;
    assert_eq!(taken.problem(), "name-taken");
    assert_eq!(taken.json()["existing"]["url"], "/v1/images/debian/versions/12.5.0");
    let mut aliased = wanted(4);
    aliased["version"] = json!("latest");
    aliased["aliases"] = json!([]);
    assert_eq!(server.write("POST", "/api/images", Some(aliased)).await.problem(), "name-taken");

    // A version takes the name of an alias after the intake was created.
    let mut third = wanted(4);
    third["version"] = json!("13");
    third["aliases"] = json!(["next", "latest"]);
    let third = open(&server, third).await;
    server.write("POST", "/v1/images/debian/versions", Some(json!({"version": "next"}))).await;
    patch(&server, &third, 0, "ijkl").await;
    server.settle().await;
    let missed = status(&server, &third).await;
    assert_eq!(missed["state"], "failed");
    assert!(
        missed["failure_reason"]
            .as_str()
            .expect("a reason")
            .ends_with("versions have the names of these aliases: next")
    );
    assert_eq!(server.get("/v1/images/debian/aliases/latest").await.json()["version"], "13");
}

#[tokio::test]
async fn a_declared_digest_is_enforced() {
    let server = TestServer::start().await;
    let mut declared = wanted(4);
    declared["expected_digest"] = json!(digest(b"abcd"));
    let (right, wrong) = (open(&server, declared.clone()).await, open(&server, declared.clone()).await);
    patch(&server, &wrong, 0, "abcX").await;
    server.settle().await;
    let failed = status(&server, &wrong).await;
    assert_eq!((&failed["state"], failed.get("job_url")), (&json!("failed"), None));
    patch(&server, &right, 0, "abcd").await;
    server.settle().await;
    assert_eq!(status(&server, &right).await["state"], "published");
    declared["version"] = json!("2");
    declared["size_bytes"] = json!(5);
    assert_eq!(server.write("POST", "/api/images", Some(declared)).await.problem(), "digest-size-conflict");
}

/// The state of an intake as it is stored, not as it is derived from its upload and job.
async fn stored(server: &TestServer, id: &str) -> IntakeState {
    let id = UploadId::new(id.parse().expect("an id"));
    let found = server.services.adapters().catalog.get_intake(id).await.expect("it is read");
    found.expect("an intake").state.clone()
}

fn has_failed(state: &IntakeState, why: &str) -> bool {
    matches!(state, IntakeState::Failed { reason, .. } if reason.contains(why))
}

async fn run(server: &TestServer, kind: WorkKind) {
    assert_eq!(server.services.worker(kind).run_once().await.expect("work"), Ran::Worked);
}

#[tokio::test]
async fn the_end_of_an_upload_ends_its_intake_at_once() {
    let server = TestServer::start().await;
    let aborted = open(&server, wanted(4)).await;
    let path = format!("{TUS}{aborted}");
    assert_eq!(tus(&server, "DELETE", &path, &[], Body::empty()).await.status, StatusCode::NO_CONTENT);
    assert!(has_failed(&stored(&server, &aborted).await, "aborted"));

    let mut declared = wanted(4);
    declared["expected_digest"] = json!(digest(b"abcd"));
    let rejected = open(&server, declared).await;
    patch(&server, &rejected, 0, "abcX").await;
    run(&server, WorkKind::Ingest).await;
    assert!(has_failed(&stored(&server, &rejected).await, "has the digest"));

    // Only what noticed the expiry is needed to end the intake.
    let expired = open(&server, wanted(4)).await;
    server.clock.advance(std::time::Duration::from_hours(25));
    server.services.enqueue_recurring().await.expect("enqueued");
    run(&server, WorkKind::Sweep).await;
    assert!(has_failed(&stored(&server, &expired).await, "aborted"));

    let unreadable = open(&server, wanted(4)).await;
    patch(&server, &unreadable, 0, "efgh").await;
    server.sql("UPDATE upload_sessions SET filename_hint = 'a' || char(7) WHERE state = 'completed'").await;
    assert!(server.services.worker(WorkKind::Ingest).run_once().await.is_err());
    assert!(has_failed(&stored(&server, &unreadable).await, "cannot be decoded"));
}

#[tokio::test]
async fn the_end_of_a_job_ends_its_intake_at_once() {
    let server = TestServer::start().await;
    let id = open(&server, wanted(4)).await;
    patch(&server, &id, 0, "abcd").await;
    run(&server, WorkKind::Ingest).await;
    // Publishing starts with the end of the upload, and fails because its blob is damaged.
    let damaged = digest(b"abcd").parse().expect("a digest");
    let mut tx = server.services.adapters().catalog.begin().await.expect("a transaction");
    let blob = tx.get_blob(&damaged).await.expect("read").expect("a blob");
    assert!(tx.quarantine_blob(&damaged, &blob.name).await.expect("quarantined"));
    tx.commit().await.expect("committed");
    run(&server, WorkKind::Publish).await;
    let failed = status(&server, &id).await;
    assert_eq!(failed["state"], "failed");
    assert!(failed["failure_reason"].as_str().expect("a reason").contains(&digest(b"abcd")), "{failed}");
    assert!(matches!(stored(&server, &id).await, IntakeState::Publishing(_)), "the job may be retried");

    let job = failed["job_url"].as_str().expect("a URL").to_owned();
    assert_eq!(server.write("POST", &format!("{job}/abandon"), None).await.status, StatusCode::OK);
    assert!(has_failed(&stored(&server, &id).await, "abandoned"));
    assert_eq!(status(&server, &id).await["state"], "failed");
}
