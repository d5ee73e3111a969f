//! The tracing span of a request.

use axum::{body::Body, http::Request};
use imgsrv_testkit::{TestServer, qcow2};
use serde_json::{Value, json};
use std::{
    io::{self, Write},
    sync::{Arc, Mutex, PoisonError},
};
use tokio::sync::Mutex as AsyncMutex;
use tracing::Level;

/// Held by the one test that has a subscriber: while subscribers come and go, `tracing` may skip events of others.
static SUBSCRIBER: AsyncMutex<()> = AsyncMutex::const_new(());

/// The log that tests read, one JSON object per line.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn events(&self) -> Vec<Value> {
        let log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let lines = log.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        lines.map(|line| serde_json::from_slice(line).expect("JSON")).collect()
    }

    /// The only event with `message`.
    fn event(&self, message: &str) -> Value {
        let mut events = self.events().into_iter().filter(|event| event["fields"]["message"] == message);
        let event = events.next().expect("an event");
        assert!(events.next().is_none(), "{event}");
        event
    }

    /// The names of the spans of the events with `message`, outermost first.
    fn spans(&self, message: &str) -> Vec<Vec<String>> {
        let events = self.events().into_iter().filter(|event| event["fields"]["message"] == message);
        let name = |span: &Value| span["name"].as_str().expect("a name").to_owned();
        events.map(|event| event["spans"].as_array().into_iter().flatten().map(name).collect()).collect()
    }
}

#[tokio::test]
async fn a_request_is_followed_to_the_statements_that_it_costs() {
    let _only = SUBSCRIBER.lock().await;
    let server = TestServer::start().await;
    server.published("debian", "1", &qcow2(1)).await;
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().json().with_max_level(Level::DEBUG).with_writer(move || writer.clone());
    let guard = tracing::subscriber::set_default(subscriber.finish());
    let manifest = server.get("/v1/images/debian/versions/1").await;
    drop(guard);

    assert!(manifest.status.is_success(), "{manifest:?}");
    let statements = log.spans("statement executed");
    assert_eq!(statements, [["request", "version.manifest", "catalog.query"]; 2]);
}

#[tokio::test]
async fn handlers_run_in_the_span_of_their_request() {
    let _only = SUBSCRIBER.lock().await;
    let server = TestServer::start().await;
    std::fs::remove_dir_all(server.storage()).expect("removed");
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().json().with_max_level(Level::DEBUG).with_writer(move || writer.clone());
    let guard = tracing::subscriber::set_default(subscriber.finish());
    let request = Request::builder().uri("/readyz?x=y").header("x-request-id", "ci-run-42");
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
