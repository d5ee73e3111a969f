//! Background work that crashes, or whose records are damaged: it is parked, and delays nothing else.

use fail::FailScenario;
use imgsrv_app::{Ran, WorkError};
use imgsrv_domain::work::WorkKind;
use imgsrv_testkit::{TestServer, qcow2};
use std::time::Duration;

/// Longer than any delay between two attempts.
const LATER: Duration = Duration::from_mins(2);

/// Runs everything that is due, whatever comes of it, and again after each delay, `rounds` times.
async fn run(server: &TestServer, rounds: usize) {
    for _ in 0..rounds {
        for kind in [WorkKind::Ingest, WorkKind::Publish, WorkKind::Clear] {
            while !matches!(server.services.worker(kind).run_once().await, Ok(Ran::Idle)) {}
        }
        server.clock.advance(LATER);
    }
}

async fn parked(server: &TestServer, kind: &str) -> u64 {
    let statistics = server.services.adapters().catalog.statistics().await.expect("statistics");
    statistics.parked.get(kind).copied().unwrap_or(0)
}

/// Uploads `bytes` and completes the upload; its ingest is queued.
async fn completed(server: &TestServer, bytes: &'static [u8]) -> String {
    let upload = server.open_upload(bytes).await;
    server.put_part(&upload, 1, bytes).await;
    server.complete(&upload).await;
    upload
}

async fn request(server: &TestServer, version: &str, seed: u64) -> String {
    server.draft("debian", version, &qcow2(seed)).await;
    let path = format!("/v1/images/debian/versions/{version}/publish");
    let answer = server.write("POST", &path, None).await.json();
    answer["publish_job_id"].as_str().or(answer["job_id"].as_str()).unwrap_or_else(|| panic!("{answer}")).to_owned()
}

async fn job(server: &TestServer, id: &str) -> serde_json::Value {
    server.write("GET", &format!("/v1/publish-jobs/{id}"), None).await.json()
}

#[tokio::test]
async fn a_job_that_crashes_its_worker_is_parked_after_the_limit_and_a_retry_runs_it() {
    let scenario = FailScenario::setup();
    let server = TestServer::start().await;
    let id = request(&server, "1", 1).await;
    fail::cfg("publish.started", "panic").expect("configured");
    let worker = server.services.worker(WorkKind::Publish);
    for attempt in 1..=5 {
        assert!(matches!(worker.run_once().await, Err(WorkError::Panic)), "attempt {attempt}");
        assert_eq!(worker.run_once().await.expect("looked"), Ran::Idle, "it is not due at once");
        server.clock.advance(LATER);
    }
    assert_eq!(worker.run_once().await.expect("it is parked"), Ran::Worked);
    assert_eq!(parked(&server, "publish").await, 1);
    let failed = job(&server, &id).await;
    assert_eq!(failed["state"], "failed");
    assert!(failed["reason"].as_str().expect("a reason").contains("5 attempts in a row"), "{failed}");

    fail::cfg("publish.started", "off").expect("configured");
    server.write("POST", &format!("/v1/publish-jobs/{id}/retry"), None).await;
    server.settle().await;
    assert_eq!(job(&server, &id).await["state"], "succeeded");
    assert_eq!(parked(&server, "publish").await, 0);
    scenario.teardown();
}

#[tokio::test]
async fn work_waits_for_no_other_that_crashes() {
    let scenario = FailScenario::setup();
    let server = TestServer::start().await;
    fail::cfg("ingest.started", "1*panic->off").expect("configured");
    let (poison, healthy) = (completed(&server, b"poison").await, completed(&server, b"healthy").await);
    run(&server, 1).await;
    assert_eq!((server.upload_state(&poison).await, server.upload_state(&healthy).await).1, "ready");
    run(&server, 1).await;
    assert_eq!(server.upload_state(&poison).await, "ready");
    scenario.teardown();
}

#[tokio::test]
async fn an_upload_that_cannot_be_decoded_is_parked_and_delays_no_other() {
    for damage in [
        "filename_hint = 'a' || char(7)",
        "expected_digest = 'sha256:no'",
        "received_bytes = 1",
        "frontier_number = 9",
        "hashed_bytes = 3, hashed_state = x'00'",
        "kind = 'append'",
        "failure_reason = 'why'",
    ] {
        let server = TestServer::start().await;
        let poison = completed(&server, b"poison").await;
        server.sql(&format!("UPDATE upload_sessions SET {damage}")).await;
        let healthy = completed(&server, b"healthy").await;
        run(&server, 2).await;
        assert_eq!(server.upload_state(&healthy).await, "ready", "{damage}");
        assert_eq!(parked(&server, "ingest").await, 1, "{damage}");
        let failed = server.services.adapters().catalog.statistics().await.expect("statistics").uploads;
        assert_eq!(failed.get("failed"), Some(&1), "{damage}");
        let answer = server.write("GET", &format!("/v1/uploads/{poison}"), None).await;
        assert!(answer.status.is_server_error() || answer.json()["state"] == "failed", "{damage}: {answer:?}");
    }
}

#[tokio::test]
async fn a_job_that_cannot_be_decoded_is_parked_and_delays_no_other() {
    for damage in [
        "publish_jobs SET image_name = 'NO'",
        "publish_jobs SET version_name = ''",
        "publish_jobs SET started_at = NULL, finished_at = 7",
        "publish_steps SET name = 'no' WHERE sequence = 2",
        "publish_steps SET attempts = -1 WHERE sequence = 1",
        "publish_steps SET finished_at = 7 WHERE sequence = 3",
    ] {
        let server = TestServer::start().await;
        request(&server, "1", 1).await;
        server.sql(&format!("UPDATE {damage}")).await;
        let healthy = request(&server, "2", 2).await;
        run(&server, 2).await;
        assert_eq!(job(&server, &healthy).await["state"], "succeeded", "{damage}");
        assert_eq!(parked(&server, "publish").await, 1, "{damage}");
    }
}

#[tokio::test]
async fn an_item_that_cannot_be_decoded_is_parked_and_delays_no_other() {
    for damage in ["subject = x'00'", "attempt = -9", "failures = -9", "failing_since = 7, attempt = 99999999999"] {
        let server = TestServer::start().await;
        completed(&server, b"poison").await;
        server.sql(&format!("UPDATE work_items SET {damage} WHERE kind = 'ingest'")).await;
        let healthy = completed(&server, b"healthy").await;
        run(&server, 1).await;
        assert_eq!(server.upload_state(&healthy).await, "ready", "{damage}");
        assert_eq!(parked(&server, "ingest").await, 1, "{damage}");
    }
}

#[tokio::test]
async fn an_expired_upload_that_cannot_be_decoded_delays_no_other() {
    let server = TestServer::start().await;
    let poison = server.open_upload(b"poison").await;
    server.sql("UPDATE upload_sessions SET filename_hint = 'a' || char(7)").await;
    let healthy = server.open_upload(b"healthy").await;
    server.clock.advance(Duration::from_hours(25));
    server.services.enqueue_recurring().await.expect("enqueued");
    assert!(server.services.worker(WorkKind::Sweep).run_once().await.is_err(), "it reports {poison}");
    assert_eq!(server.upload_state(&healthy).await, "aborted");
}
