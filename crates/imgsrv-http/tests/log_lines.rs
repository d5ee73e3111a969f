//! Log lines and tracing spans of requests and of work.

use axum::{body::Body, http::Request};
use imgsrv_app::{Backoff, Ran, Schedule, WorkObserver};
use imgsrv_domain::{breaker::Breaker, time::Timestamp, work::WorkKind};
use imgsrv_testkit::{Log, TestServer, qcow2};
use serde_json::json;
use std::{sync::Arc, time::Duration};
use tokio::sync::Mutex as AsyncMutex;
use tracing::Level;

/// Does something when a worker fails.
struct OnFailure<F>(F);

impl<F: Fn() + Send + Sync> WorkObserver for OnFailure<F> {
    fn ran(&self, _: WorkKind, _: Ran, _: Timestamp) {}

    fn failed(&self, _: WorkKind, _: u32, _: bool, _: Timestamp) {
        self.0();
    }
}

/// Held by the one test that has a subscriber: while subscribers come and go, `tracing` may skip events of others.
static SUBSCRIBER: AsyncMutex<()> = AsyncMutex::const_new(());

#[tokio::test]
async fn a_request_is_followed_to_the_statements_that_it_costs() {
    let _only = SUBSCRIBER.lock().await;
    let server = TestServer::start().await;
    server.published("debian", "1", &qcow2(1)).await;
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().json().with_max_level(Level::DEBUG).with_writer(log.writer());
    let guard = tracing::subscriber::set_default(subscriber.finish());
    let manifest = server.get("/v1/images/debian/versions/1").await;
    drop(guard);

    assert!(manifest.status.is_success(), "{manifest:?}");
    let statements = log.spans("statement executed");
    assert_eq!(statements, [["request", "version.manifest", "catalog.query"]; 3]);
}

#[tokio::test]
async fn handlers_run_in_the_span_of_their_request() {
    let _only = SUBSCRIBER.lock().await;
    let server = TestServer::start().await;
    std::fs::remove_dir_all(server.storage()).expect("removed");
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().json().with_max_level(Level::DEBUG).with_writer(log.writer());
    let guard = tracing::subscriber::set_default(subscriber.finish());
    let request = Request::builder().uri("//readyz?x=y").header("x-request-id", "ci-run-42");
    server.send(request.body(Body::empty()).expect("a request")).await;
    drop(guard);

    let event = log.event("readiness check failed");
    let span = &event["spans"][0];
    assert_eq!((&span["name"], &span["request.id"]), (&json!("request"), &json!("ci-run-42")));
    assert_eq!((&span["http.method"], &span["http.route"]), (&json!("GET"), &json!("/readyz")));

    let access = log.event("request completed");
    assert_eq!((&access["level"], access.get("spans")), (&json!("DEBUG"), None), "{access}");
    assert_eq!((&access["fields"]["request.id"], &access["fields"]["http.status"]), (&json!("ci-run-42"), &json!(503)));
}

#[tokio::test]
async fn a_failed_attempt_is_logged_with_its_item_and_the_whole_cause_at_every_level() {
    let _only = SUBSCRIBER.lock().await;
    let server = TestServer::start().await;
    let upload = server.open_upload(b"bytes").await;
    server.put_part(&upload, 1, b"bytes".to_vec()).await;
    server.complete(&upload).await;
    std::fs::remove_dir_all(server.storage().join("cas")).expect("removed");
    std::fs::write(server.storage().join("cas"), "").expect("no folder");
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().json().with_max_level(Level::WARN).with_writer(log.writer()).finish();
    let guard = tracing::subscriber::set_default(subscriber);
    server.services.worker(WorkKind::Ingest).run_once().await.expect_err("the store fails");
    drop(guard);

    let event = log.event("attempt failed");
    let span = &event["spans"][0];
    assert_eq!((&span["kind"], &span["subject"], &span["attempt"]), (&json!("ingest"), &json!(upload), &json!(1)));
    let cause = event["fields"]["error"].as_str().expect("an error");
    assert!(cause.starts_with("blob store: ") && cause.contains("os error"), "{cause}");
}

#[tokio::test]
async fn a_queue_that_cannot_be_read_is_logged_with_its_kind_and_cause() {
    let _only = SUBSCRIBER.lock().await;
    let server = TestServer::start().await;
    server.sql("UPDATE principals SET display_name = 'x'; DROP TABLE work_items").await;
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().json().with_max_level(Level::WARN).with_writer(log.writer()).finish();
    let guard = tracing::subscriber::set_default(subscriber);
    let backoff = Backoff::new(Duration::from_hours(1), Duration::from_hours(1));
    let breaker = Breaker::new(10, Duration::from_hours(1));
    let schedule = Schedule { slots: 1, poll: Duration::from_hours(1), backoff, breaker };
    let stop = server.stop.clone();
    let worker = server.services.worker(WorkKind::Clear);
    worker.run(schedule, Arc::new(OnFailure(move || stop.cancel()))).await;
    drop(guard);

    let event = log.event("work queue could not be read");
    assert_eq!(event["fields"]["work.kind"], "clear");
    let cause = event["fields"]["error"].as_str().expect("an error");
    assert!(cause.contains("no such table: work_items"), "{cause}");
}
