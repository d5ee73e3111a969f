//! Background work whose records are damaged: it is parked, and delays nothing else.

use imgsrv_app::Ran;
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

/// Requests the publishing of a draft; returns the id of the job, which is queued.
async fn request(server: &TestServer, version: &str) -> String {
    let path = format!("/v1/images/debian/versions/{version}/publish");
    let answer = server.write("POST", &path, None).await.json();
    answer["job_id"].as_str().expect("a job").to_owned()
}

async fn job(server: &TestServer, id: &str) -> serde_json::Value {
    server.write("GET", &format!("/v1/publish-jobs/{id}"), None).await.json()
}

#[tokio::test]
async fn an_upload_that_cannot_be_decoded_fails_and_delays_no_other() {
    for damage in [
        "filename_hint = 'a' || char(7)",
        "expected_digest = 'sha256:no'",
        "received_bytes = 1",
        "frontier_number = 9",
        "hashed_bytes = 3, hashed_state = x'00'",
        "failure_reason = 'why'",
    ] {
        let server = TestServer::start().await;
        let poison = completed(&server, b"poison").await;
        server.sql(&format!("UPDATE upload_sessions SET {damage}")).await;
        let healthy = completed(&server, b"healthy").await;
        run(&server, 2).await;
        assert_eq!(server.upload_state(&healthy).await, "ready", "{damage}");
        assert_eq!(parked(&server, "ingest").await, 0, "nothing retries the ingest of a failed upload: {damage}");
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
        server.draft("debian", "1", &qcow2(1)).await;
        server.draft("debian", "2", &qcow2(2)).await;
        request(&server, "1").await;
        server.sql(&format!("UPDATE {damage}")).await;
        let healthy = request(&server, "2").await;
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
async fn a_sweep_that_meets_undecodable_uploads_ends_and_recurs() {
    let server = TestServer::start().await;
    let poison = server.open_upload(b"poison").await;
    server.put_part(&poison, 1, b"poison".to_vec()).await;
    server.sql("UPDATE upload_sessions SET filename_hint = 'a' || char(7)").await;
    let healthy = server.open_upload(b"healthy").await;
    server.clock.advance(Duration::from_hours(25));
    server.services.enqueue_recurring().await.expect("enqueued");
    let sweep = server.services.worker(WorkKind::Sweep);
    for round in 1..=3 {
        assert_eq!(sweep.run_once().await.expect("swept"), Ran::Worked);
        assert_eq!(server.upload_state(&healthy).await, "aborted");
        // One that is expired, and one that has staged bytes.
        let rows = server.services.adapters().catalog.undecodable_rows();
        assert!(rows["upload_session"] >= 2 * round, "{rows:?}");
        server.clock.advance(Duration::from_mins(1));
    }
}
