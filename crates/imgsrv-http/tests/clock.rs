//! A clock that is set back or forward postpones no work, and loses none.

use axum::{body::Body, http::Request};
use headers::{Date, HeaderMapExt, LastModified};
use imgsrv_app::{Exposure, Ran, RequestContext};
use imgsrv_domain::{
    audit::{AuditAction, AuditFilter},
    page::PageRequest,
    ports::Clock,
    work::WorkKind,
};
use imgsrv_testkit::{TestResponse, TestServer, qcow2};
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
