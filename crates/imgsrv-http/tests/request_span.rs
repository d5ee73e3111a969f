//! The tracing span of a request.

use axum::{body::Body, http::Request};
use imgsrv_testkit::TestServer;
use serde_json::{Value, json};
use std::{
    io::{self, Write},
    sync::{Arc, Mutex, PoisonError},
};

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
    /// The only event with `message`.
    fn event(&self, message: &str) -> Value {
        let log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let lines = log.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let events = lines.map(|line| serde_json::from_slice::<Value>(line).expect("JSON"));
        let mut events = events.filter(|event| event["fields"]["message"] == message);
        let event = events.next().expect("an event");
        assert!(events.next().is_none(), "{event}");
        event
    }
}

#[tokio::test]
async fn handlers_run_in_the_span_of_their_request() {
    let server = TestServer::start().await;
    std::fs::remove_dir_all(server.storage()).expect("removed");
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().json().with_writer(move || writer.clone()).finish();
    let guard = tracing::subscriber::set_default(subscriber);
    let request = Request::builder().uri("/readyz?x=y").header("x-request-id", "ci-run-42");
    server.send(request.body(Body::empty()).expect("a request")).await;
    drop(guard);

    let event = log.event("readiness check failed");
    let span = &event["spans"][0];
    assert_eq!((&span["name"], &span["request.id"]), (&json!("request"), &json!("ci-run-42")));
    assert_eq!((&span["http.method"], &span["http.route"]), (&json!("GET"), &json!("/readyz")));

    let access = log.event("request");
    assert_eq!(access.get("spans"), None, "the access log has its own fields");
    assert_eq!((&access["fields"]["request.id"], &access["fields"]["http.status"]), (&json!("ci-run-42"), &json!(503)));
}
