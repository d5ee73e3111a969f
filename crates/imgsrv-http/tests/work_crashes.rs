//! Background work that crashes its worker: it is parked after some attempts, and delays nothing else. Crash points are
//! those of the whole process, so only tests with crash points run in this one.

use fail::FailScenario;
use imgsrv_app::{Ran, WorkError};
use imgsrv_domain::work::WorkKind;
use imgsrv_testkit::{TestServer, digest, qcow2};
use serde_json::json;
use std::{
    path::{Path, PathBuf},
    sync::{Mutex, mpsc},
    time::Duration,
};
use tokio::sync::mpsc as channel;

/// Longer than any delay between two attempts.
const LATER: Duration = Duration::from_mins(2);

#[tokio::test]
async fn a_job_that_crashes_its_worker_is_parked_after_the_limit_and_a_retry_runs_it() {
    let scenario = FailScenario::setup();
    let server = TestServer::start().await;
    server.draft("debian", "1", &qcow2(1)).await;
    let requested = server.write("POST", "/v1/images/debian/versions/1/publish", None).await.json();
    let id = requested["job_id"].as_str().expect("a job").to_owned();
    let job = async || server.write("GET", &format!("/v1/publish-jobs/{id}"), None).await.json();
    let parked = async || {
        let statistics = server.services.adapters().catalog.statistics().await.expect("statistics");
        statistics.parked.get("publish").copied()
    };
    fail::cfg("publish.started", "panic").expect("configured");
    let worker = server.services.worker(WorkKind::Publish);
    for attempt in 1..=5 {
        assert!(matches!(worker.run_once().await, Err(WorkError::Panic)), "attempt {attempt}");
        assert_eq!(worker.run_once().await.expect("looked"), Ran::Idle, "it is not due at once");
        let waiting = job().await;
        assert!(waiting["reason"].as_str().expect("a reason").contains("panicked"), "{waiting}");
        assert!(waiting["next_attempt_at"].as_str() > waiting["updated_at"].as_str(), "{waiting}");
        assert_eq!((&waiting["attempt_count"], waiting.get("parked")), (&json!(attempt), None));
        server.clock.advance(LATER);
    }
    assert_eq!(worker.run_once().await.expect("it is parked"), Ran::Worked);
    assert_eq!(parked().await, Some(1));
    let failed = job().await;
    assert_eq!((&failed["state"], &failed["parked"]), (&json!("failed"), &json!(true)));
    assert_eq!(failed.get("next_attempt_at"), None);
    let listed = server.write("GET", "/v1/publish-jobs?state=failed", None).await.json();
    assert_eq!(listed["jobs"], json!([failed]));
    assert!(failed["reason"].as_str().expect("a reason").contains("5 consecutive attempts"), "{failed}");

    fail::cfg("publish.started", "off").expect("configured");
    server.write("POST", &format!("/v1/publish-jobs/{id}/retry"), None).await;
    server.settle().await;
    let succeeded = job().await;
    assert_eq!((&succeeded["state"], succeeded.get("parked")), (&json!("succeeded"), None));
    assert_eq!((parked().await, succeeded.get("reason")), (None, None));
    scenario.teardown();
}

#[tokio::test]
async fn an_upload_that_crashes_its_worker_fails_after_the_limit_and_leaves_nothing() {
    let scenario = FailScenario::setup();
    let server = TestServer::start().await;
    let upload = server.open_upload(b"poison").await;
    server.put_part(&upload, 1, b"poison".to_vec()).await;
    server.complete(&upload).await;
    fail::cfg("ingest.started", "panic").expect("configured");
    let worker = server.services.worker(WorkKind::Ingest);
    for attempt in 1..=5 {
        assert!(matches!(worker.run_once().await, Err(WorkError::Panic)), "attempt {attempt}");
        server.clock.advance(LATER);
    }
    assert_eq!(worker.run_once().await.expect("it fails"), Ran::Worked);
    let failed = server.write("GET", &format!("/v1/uploads/{upload}"), None).await.json();
    assert_eq!(failed["state"], "failed");
    assert!(failed["failure_reason"].as_str().expect("a reason").contains("5 consecutive attempts"), "{failed}");
    server.settle().await;
    assert_eq!(server.stored_files(), [""; 0]);
    let statistics = server.services.adapters().catalog.statistics().await.expect("statistics");
    assert_eq!(statistics.parked.get("ingest"), None, "nothing can retry it");
    scenario.teardown();
}

#[tokio::test]
async fn work_waits_for_no_other_that_crashes() {
    let scenario = FailScenario::setup();
    let server = TestServer::start().await;
    let mut uploads = Vec::new();
    for bytes in [&b"poison"[..], b"healthy"] {
        let upload = server.open_upload(bytes).await;
        server.put_part(&upload, 1, bytes).await;
        server.complete(&upload).await;
        uploads.push(upload);
    }
    fail::cfg("ingest.started", "1*panic->off").expect("configured");
    let worker = server.services.worker(WorkKind::Ingest);
    assert!(matches!(worker.run_once().await, Err(WorkError::Panic)));
    assert_eq!(worker.run_once().await.expect("the other one"), Ran::Worked);
    assert_eq!(server.upload_state(&uploads[1]).await, "ready");
    server.clock.advance(LATER);
    assert_eq!(worker.run_once().await.expect("the first one again"), Ran::Worked);
    assert_eq!(server.upload_state(&uploads[0]).await, "ready");
    scenario.teardown();
}

#[tokio::test]
async fn a_collection_that_crashes_at_any_point_is_completed_by_the_next_run() {
    let scenario = FailScenario::setup();
    let server = TestServer::start().await;
    let worker = server.services.worker(WorkKind::Collect);
    for (number, point) in ["gc.committing", "gc.recorded", "gc.removed", "gc.forgotten"].into_iter().enumerate() {
        server.blob(&qcow2(u64::try_from(number).expect("a small number"))).await;
        server.clock.advance(Duration::from_hours(8 * 24));
        fail::cfg(point, "panic").expect("configured");
        assert!(matches!(worker.run_once().await, Err(WorkError::Panic)), "{point}");
        fail::cfg(point, "off").expect("configured");
        server.clock.advance(LATER);
        assert_eq!(worker.run_once().await.expect(point), Ran::Worked);
        assert_eq!(server.stored_files(), Vec::<String>::new(), "{point}");
        let counts = server.services.collection_counts();
        assert_eq!(counts.freed_blobs, u64::try_from(number + 1).expect("a small number"), "{point}");
    }
    scenario.teardown();
}

/// Stops the workers of this process whenever they reach `point`, until the sender is dropped. The receiver gets a message
/// each time.
fn stop_at(point: &str) -> (mpsc::Sender<()>, channel::UnboundedReceiver<()>) {
    let (reach, reached) = channel::unbounded_channel();
    let (resume, resumed) = mpsc::channel::<()>();
    let resumed = Mutex::new(resumed);
    let stop = move || {
        // The test may no longer listen.
        let _ = reach.send(());
        let _ = tokio::task::block_in_place(|| resumed.lock().expect("not poisoned").recv());
    };
    fail::cfg_callback(point, stop).expect("configured");
    (resume, reached)
}

/// A server with a draft of `bytes` whose publication was requested, the URL of the job, and the file of the blob.
async fn requested(bytes: &[u8]) -> (TestServer, String, PathBuf) {
    let server = TestServer::start().await;
    let artifact = server.draft("debian", "1", bytes).await;
    let file = server.stored_files().into_iter().find(|file| file.starts_with("cas/")).expect("a blob");
    let file = server.storage().join(file);
    let metadata = format!("/v1/images/debian/versions/1/artifacts/{artifact}/incus-metadata");
    assert!(server.write("POST", &metadata, Some(json!({}))).await.status.is_success());
    let requested = server.write("POST", "/v1/images/debian/versions/1/publish", None).await.json();
    let job = format!("/v1/publish-jobs/{}", requested["job_id"].as_str().expect("a job"));
    (server, job, file)
}

/// Removes the file of a blob, so that reading it finds it damaged.
async fn quarantine(server: &TestServer, bytes: &[u8], file: &Path) {
    std::fs::remove_file(file).expect("removed");
    let damaged = server.write("GET", &format!("/v1/blobs/{}", digest(bytes)), None).await;
    assert_eq!(damaged.problem(), "blob-quarantined");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_reads_the_replacement_of_a_blob_that_was_quarantined_meanwhile() {
    let scenario = FailScenario::setup();
    let bytes = qcow2(1);
    let (server, job, file) = requested(&bytes).await;
    // The first step has read the names of the blobs.
    fail::cfg("publish.one_by_one", "return").expect("configured");
    let (resume, mut reached) = stop_at("publish.recorded");
    let worker = server.services.worker(WorkKind::Publish);
    let running = tokio::spawn(async move { worker.run_once().await });
    reached.recv().await.expect("the first step has ended");
    quarantine(&server, &bytes, &file).await;
    server.blob(&bytes).await;
    drop(resume);
    assert_eq!(running.await.expect("it ends").expect("it succeeds"), Ran::Worked);
    let job = server.write("GET", &job, None).await.json();
    assert_eq!(job["state"], "succeeded", "{job}");
    scenario.teardown();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_that_waits_for_the_catalog_lets_the_results_before_it_be_recorded() {
    let scenario = FailScenario::setup();
    let (server, job, _) = requested(&qcow2(1)).await;
    let (resume, mut reached) = stop_at("publish.computed");
    let worker = server.services.worker(WorkKind::Publish);
    let mut running = tokio::spawn(async move { worker.run_once().await });
    reached.recv().await.expect("the first step has computed its result");
    let writing = server.services.adapters().catalog.begin().await.expect("the only writer");
    drop(resume);
    let waited = tokio::time::timeout(Duration::from_millis(300), &mut running).await;
    assert!(waited.is_err(), "both the second step and the result of the first wait for the writer");
    drop(writing);
    assert_eq!(running.await.expect("it ends").expect("it succeeds"), Ran::Worked);
    let job = server.write("GET", &job, None).await.json();
    assert_eq!((&job["state"], &job["attempt_count"]), (&json!("succeeded"), &json!(1)), "{job}");
    scenario.teardown();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_was_not_trusted_when_its_job_read_it_is_not_published_uninspected() {
    let scenario = FailScenario::setup();
    // It has a backing file.
    let mut bytes = qcow2(1);
    bytes[15] = 16;
    let (server, job, file) = requested(&bytes).await;
    quarantine(&server, &bytes, &file).await;
    let (resume, mut reached) = stop_at("publish.computed");
    let worker = server.services.worker(WorkKind::Publish);
    let running = tokio::spawn(async move { worker.run_once().await });
    reached.recv().await.expect("the first step has computed its result");
    server.blob(&bytes).await;
    drop(resume);
    assert_eq!(running.await.expect("it ends").expect("it is recorded"), Ran::Worked);
    let job = server.write("GET", &job, None).await.json();
    assert_eq!((&job["state"], &job["failed_step"]), (&json!("failed"), &json!("validate_catalog")), "{job}");
    scenario.teardown();
}
