//! A clock that is set back or forward postpones no work, and loses none.

use axum::{
    body::Body,
    http::{Request, StatusCode},
};
use headers::{Date, HeaderMapExt, LastModified};
use imgsrv_app::{Exposure, Ran, RequestContext};
use imgsrv_domain::{
    audit::{AuditAction, AuditFilter},
    page::PageRequest,
    ports::Clock,
    work::WorkKind,
};
use imgsrv_testkit::{TestResponse, TestServer, qcow2};
use serde_json::json;
use std::time::{Duration, SystemTime};

const DAY: Duration = Duration::from_hours(24);
/// Longer than any delay between two attempts.
const LATER: Duration = Duration::from_mins(2);

fn date(response: &TestResponse) -> SystemTime {
    response.headers.typed_get::<Date>().expect("a date").into()
}

fn last_modified(response: &TestResponse) -> SystemTime {
    response.headers.typed_get::<LastModified>().expect("a date").into()
}

#[tokio::test]
async fn date_follows_a_clock_that_is_set_back() {
    let server = TestServer::start().await;
    let bytes = qcow2(1);
    let artifact = server.published("debian", "1", &bytes).await;
    let path = format!("/v1/images/debian/versions/1/artifacts/{artifact}/download");
    let published = server.get(&path).await;
    server.clock.set_back(DAY);
    let earlier = server.get(&path).await;
    assert_eq!(date(&published), date(&earlier) + DAY);
    assert_eq!(date(&server.get("/v1/nothing").await), date(&earlier));
    // RFC 9110, section 8.8.2.1: never later than the response.
    assert_eq!(last_modified(&published), date(&published));
    assert_eq!(last_modified(&earlier), date(&earlier));
    let condition = async |response: &TestResponse| {
        let since = response.header("last-modified").to_owned();
        let request = Request::get(&path).header("if-modified-since", since);
        server.send(request.body(Body::empty()).expect("a request")).await
    };
    assert_eq!(condition(&published).await.status, 304);
    assert_eq!(condition(&earlier).await.body, bytes);
}

#[tokio::test]
async fn work_is_done_after_the_clock_was_set_back() {
    let server = TestServer::start().await;
    let (ingest, sweep) = (server.services.worker(WorkKind::Ingest), server.services.worker(WorkKind::Sweep));
    server.services.enqueue_recurring().await.expect("enqueued");
    assert_eq!(sweep.run_once().await.expect("swept"), Ran::Worked);
    let upload = server.open_upload(b"bytes").await;
    server.put_part(&upload, 1, b"bytes".to_vec()).await;
    server.complete(&upload).await;
    server.clock.set_back(DAY);
    assert_eq!(ingest.run_once().await.expect("ingested"), Ran::Worked);
    assert_eq!(server.upload_state(&upload).await, "ready");
    assert_eq!(sweep.run_once().await.expect("swept"), Ran::Worked);
}

#[tokio::test]
async fn failing_work_does_not_fail_permanently_because_the_clock_was_set_forward() {
    let server = TestServer::start().await;
    let upload = server.open_upload(b"bytes").await;
    server.put_part(&upload, 1, b"bytes".to_vec()).await;
    server.complete(&upload).await;
    let (folder, away) = (server.storage().join("cas"), server.storage().join("away"));
    std::fs::rename(&folder, &away).expect("moved away");
    std::fs::write(&folder, "").expect("no folder");
    let worker = server.services.worker(WorkKind::Ingest);
    for _ in 0..2 {
        worker.run_once().await.expect_err("the store fails");
        server.clock.advance(DAY);
    }
    std::fs::remove_file(&folder).expect("removed");
    std::fs::rename(&away, &folder).expect("moved back");
    assert_eq!(worker.run_once().await.expect("ingested"), Ran::Worked);
    assert_eq!(server.upload_state(&upload).await, "ready");
}

#[tokio::test]
async fn work_that_has_failed_for_the_limit_fails_permanently() {
    let server = TestServer::start().await;
    let upload = server.open_upload(b"bytes").await;
    server.put_part(&upload, 1, b"bytes".to_vec()).await;
    server.complete(&upload).await;
    std::fs::rename(server.storage().join("cas"), server.storage().join("away")).expect("moved away");
    std::fs::write(server.storage().join("cas"), "").expect("no folder");
    let worker = server.services.worker(WorkKind::Ingest);
    let began = server.clock.now();
    while server.upload_state(&upload).await != "failed" {
        worker.run_once().await.expect_err("the store fails");
        server.clock.advance(LATER);
    }
    let took = server.clock.now().since(began);
    assert!((DAY..DAY + 2 * LATER).contains(&took), "{took:?}");
}

#[tokio::test]
async fn the_use_of_a_token_is_recorded_after_the_clock_was_set_back() {
    let server = TestServer::start().await;
    let token = server.token_with("content-writer").await;
    let last_used = async || {
        server.call(Some(&token), "GET", "/v1/images", None).await;
        server.services.auth().flush_usage().await.expect("stored");
        let me = server.call(Some(&token), "GET", "/v1/auth/whoami", None).await.json();
        let principal = me["principal"]["id"].as_str().expect("an id").to_owned();
        let listed = server.manage("GET", &format!("/v1/auth/principals/{principal}/api-tokens"), None).await.json();
        listed["api_tokens"][0]["last_used_at"].as_str().expect("used").to_owned()
    };
    let first = last_used().await;
    server.clock.set_back(DAY);
    let second = last_used().await;
    assert!(second < first, "{second} after {first}");
}

#[tokio::test]
async fn an_exposed_token_is_recorded_after_the_clock_was_set_back() {
    let server = TestServer::start().await;
    for _ in 0..2 {
        let context = RequestContext::default();
        server.services.auth().note_exposed(&server.writer, Exposure::InClear, &context).await.expect("recorded");
        server.clock.set_back(DAY);
    }
    let filter = AuditFilter { action: Some(AuditAction::TokenExposed), ..AuditFilter::default() };
    let rows = server.services.adapters().catalog.list_audit(&filter, &PageRequest::FIRST).await.expect("rows");
    assert_eq!(rows.items.len(), 2);
}

#[tokio::test]
async fn a_token_is_valid_until_its_time_by_the_current_clock() {
    let server = TestServer::start().await;
    let manager = server.token_with("auth-manager").await;
    let me = server.write("GET", "/v1/auth/whoami", None).await.json();
    let path = format!("/v1/auth/principals/{}/api-tokens", me["principal"]["id"].as_str().expect("an id"));
    let issue = async |life: Duration| {
        let end = server.clock.now().micros() + i64::try_from(life.as_micros()).expect("a time");
        let end = jiff::Timestamp::from_microsecond(end).expect("a time").to_string();
        let body = json!({"name": "clock", "expires_at": end});
        let issued = server.call(Some(&manager), "POST", &path, Some(body)).await.json();
        issued["plaintext"].as_str().unwrap_or_else(|| panic!("{issued}")).to_owned()
    };
    let use_it = async |token: &str| server.call(Some(token), "GET", "/v1/auth/whoami", None).await.status;
    let (short, long) = (issue(DAY / 2).await, issue(DAY + DAY / 2).await);
    server.clock.advance(DAY);
    assert_eq!((use_it(&short).await, use_it(&long).await), (StatusCode::UNAUTHORIZED, StatusCode::OK));
    server.clock.set_back(DAY);
    assert_eq!((use_it(&short).await, use_it(&long).await), (StatusCode::OK, StatusCode::OK));
    // One that was issued while the clock was ahead is not refused because it begins later.
    server.clock.advance(DAY);
    let later = issue(DAY / 24).await;
    server.clock.set_back(DAY);
    assert_eq!(use_it(&later).await, StatusCode::OK);
}

#[tokio::test]
async fn an_upload_that_the_clock_expired_stays_expired_and_others_continue() {
    let server = TestServer::start().await;
    let sweep = server.services.worker(WorkKind::Sweep);
    server.services.enqueue_recurring().await.expect("enqueued");
    let upload = server.open_upload(b"bytes").await;
    server.put_part(&upload, 1, b"by".to_vec()).await;
    // A part that arrives while the clock is behind must not shorten the life of the upload.
    server.clock.set_back(DAY);
    sweep.run_once().await.expect("swept");
    assert_eq!(server.upload_state(&upload).await, "uploading");
    server.clock.advance(DAY + DAY / 2);
    sweep.run_once().await.expect("swept");
    assert_eq!(server.upload_state(&upload).await, "uploading");
    server.clock.advance(DAY);
    sweep.run_once().await.expect("swept");
    assert_eq!(server.upload_state(&upload).await, "aborted");
    server.clock.set_back(DAY);
    assert_eq!(server.upload_state(&upload).await, "aborted");
    server.blob(b"bytes").await;
}

#[tokio::test]
async fn garbage_is_never_collected_before_its_grace_and_always_after_it() {
    let server = TestServer::start().await;
    let collect = async || {
        server.services.enqueue_recurring().await.expect("enqueued");
        server.services.worker(WorkKind::Collect).run_once().await.expect("collected");
        server.stored_files().iter().filter(|file| file.starts_with("cas/")).count()
    };
    server.blob(b"stored before the clock was set back").await;
    server.clock.set_back(DAY);
    server.blob(b"stored after that").await;
    assert_eq!(collect().await, 2);
    server.clock.advance(6 * DAY + DAY / 2);
    assert_eq!(collect().await, 2, "less than 7 days after the second");
    server.clock.advance(DAY / 2);
    assert_eq!(collect().await, 1, "the first is a day younger by this clock");
    server.clock.advance(DAY);
    assert_eq!(collect().await, 0);
}

#[tokio::test]
async fn a_blob_that_was_verified_in_the_future_is_still_served_and_verified_again() {
    let server = TestServer::start().await;
    let digest = server.blob(b"verified tomorrow").await;
    server.clock.set_back(DAY);
    server.services.enqueue_recurring().await.expect("enqueued");
    server.services.worker(WorkKind::Scrub).run_once().await.expect("scrubbed");
    let path = format!("/v1/blobs/{digest}");
    assert_eq!(server.write("GET", &path, None).await.body, b"verified tomorrow");
    let verified = async || {
        let stored = server.services.adapters().catalog.get_stored_blob(&digest.parse().expect("a digest")).await;
        stored.expect("read").expect("a blob").verified_at
    };
    let before = verified().await;
    server.clock.advance(20 * DAY);
    server.services.enqueue_recurring().await.expect("enqueued");
    server.services.worker(WorkKind::Scrub).run_once().await.expect("scrubbed");
    assert!(verified().await > before);
}

#[tokio::test]
async fn aliases_and_entity_tags_do_not_depend_on_the_clock() {
    let server = TestServer::start().await;
    let [first, second] = [qcow2(1), qcow2(2)];
    server.published("debian", "1", &first).await;
    let alias = async |version: &str| {
        let set = server.write("PUT", "/v1/images/debian/aliases/latest", Some(json!({"version": version}))).await;
        assert!(set.status.is_success(), "{set:?}");
    };
    alias("1").await;
    let index = server.get("/streams/v1/images.json").await.header("etag").to_owned();
    let file = async || server.get("/images/debian/latest/debian-amd64.qcow2").await;
    let before = file().await;
    server.clock.advance(DAY);
    assert_eq!(server.get("/streams/v1/images.json").await.header("etag"), index);
    assert_eq!(file().await.header("etag"), before.header("etag"));
    // Set back by two days: what is published and moved now is older than what it replaces.
    server.clock.set_back(2 * DAY);
    server.published("debian", "2", &second).await;
    alias("2").await;
    assert_eq!(file().await.body, second);
    assert_eq!(server.get("/images/debian/1/debian-1-amd64.qcow2").await.body, first);
    let listed = server.get("/v1/images/debian/versions").await.json();
    assert_eq!(listed["versions"].as_array().expect("versions").len(), 2, "{listed}");
}
