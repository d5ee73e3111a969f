//! `Last-Modified` under an alias: by the date alone, clients download a file again after every move, and only then.

use axum::{
    body::Body,
    http::{Request, StatusCode},
};
use imgsrv_testkit::{TestResponse, TestServer, qcow2};
use serde_json::json;
use std::time::Duration;

const FILE: &str = "/images/debian/latest/debian-amd64.qcow2";
const SUMS: &str = "/images/debian/latest/SHA256SUMS";

/// Gets `path` unless it was not modified since `date`, as `wget -N` does.
async fn get_newer(server: &TestServer, path: &str, date: &str) -> TestResponse {
    let request = Request::get(path).header("if-modified-since", date);
    server.send(request.body(Body::empty()).expect("a request")).await
}

async fn point(server: &TestServer, version: &str) {
    let body = json!({"version": version});
    let set = server.write("PUT", "/v1/images/debian/aliases/latest", Some(body)).await;
    assert_eq!(set.status, StatusCode::OK, "{set:?}");
}

async fn delete(server: &TestServer) {
    let deleted = server.write("DELETE", "/v1/images/debian/aliases/latest", None).await;
    assert_eq!(deleted.status, StatusCode::NO_CONTENT);
}

fn seconds(response: &TestResponse) -> u64 {
    use headers::{HeaderMapExt, LastModified};
    let modified = response.headers.typed_get::<LastModified>().expect("a date");
    let since = std::time::SystemTime::from(modified).duration_since(std::time::UNIX_EPOCH);
    since.expect("after 1970").as_secs()
}

/// Two published versions, the second a day after the first.
async fn start() -> TestServer {
    let server = TestServer::start().await;
    server.published("debian", "1", &qcow2(1)).await;
    server.clock.advance(Duration::from_hours(24));
    server.published("debian", "2", &qcow2(2)).await;
    server
}

async fn every_move_is_seen_by_date(server: &TestServer, pause: Duration) {
    point(server, "1").await;
    server.clock.advance(pause);
    let mut known = [server.get(FILE).await, server.get(SUMS).await];
    for (deleted, version, bytes) in [
        (false, "2", qcow2(2)),
        // Back to the older version, whose publication is earlier.
        (false, "1", qcow2(1)),
        (true, "2", qcow2(2)),
        (true, "2", qcow2(2)),
        (true, "1", qcow2(1)),
    ] {
        if deleted {
            delete(server).await;
        }
        point(server, version).await;
        server.clock.advance(pause);
        let moved = [
            get_newer(server, FILE, known[0].header("last-modified")).await,
            get_newer(server, SUMS, known[1].header("last-modified")).await,
        ];
        assert_eq!((moved[0].status, &moved[0].body), (StatusCode::OK, &bytes), "{version}");
        assert_eq!(moved[1].status, StatusCode::OK, "{version}");
        for (moved, known) in moved.iter().zip(&known) {
            assert!(seconds(moved) >= seconds(known), "{moved:?} after {known:?}");
        }
        known = moved;
    }
}

#[tokio::test]
async fn every_move_of_an_alias_is_seen_by_date() {
    every_move_is_seen_by_date(&start().await, Duration::from_secs(2)).await;
}

#[tokio::test]
async fn moves_within_a_second_are_seen_by_date() {
    every_move_is_seen_by_date(&start().await, Duration::from_millis(1)).await;
}

#[tokio::test]
async fn moves_after_the_clock_was_set_back_are_seen_by_date() {
    let server = start().await;
    every_move_is_seen_by_date(&server, Duration::from_secs(2)).await;
    let before = server.get(FILE).await;
    server.clock.set_back(Duration::from_mins(1));
    point(&server, "2").await;
    server.clock.advance(Duration::from_mins(2));
    let moved = get_newer(&server, FILE, before.header("last-modified")).await;
    assert_eq!((moved.status, &moved.body), (StatusCode::OK, &qcow2(2)));
    assert!(seconds(&moved) > seconds(&before));
}

#[tokio::test]
async fn a_copy_that_is_current_by_date_is_not_sent_again() {
    let server = start().await;
    server.clock.advance(Duration::from_secs(5));
    point(&server, "1").await;
    // Another request for the same version is not a move.
    server.clock.advance(Duration::from_secs(5));
    point(&server, "1").await;
    for path in [FILE, SUMS, "/images/debian/latest/versioned/SHA256SUMS"] {
        let known = server.get(path).await;
        // When the alias was created, not when the version was published.
        assert_eq!(seconds(&known), 1_767_225_600 + 24 * 3600 + 5);
        let current = get_newer(&server, path, known.header("last-modified")).await;
        assert_eq!((current.status, current.body.len()), (StatusCode::NOT_MODIFIED, 0), "{path}");
        assert_eq!(current.header("cache-control"), "no-cache");
    }
    let own = server.get("/images/debian/1/debian-1-amd64.qcow2").await;
    assert_eq!(seconds(&own), 1_767_225_600);
}
