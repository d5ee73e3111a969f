//! Clients that try to exhaust the server's resources.

use imgsrv_testkit::{Process, writer_token};
use serde_json::{Value, json};
use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};
use tempfile::TempDir;

const BINARY: &str = env!("CARGO_BIN_EXE_imgsrv");
/// Timeout of everything that the server is expected to do.
const TIMEOUT: Duration = Duration::from_secs(20);

struct Server {
    process: Process,
    _dir: TempDir,
}

impl Server {
    fn start(arguments: &[&str]) -> Self {
        let dir = TempDir::new().expect("a scratch folder");
        Self { process: Process::start(BINARY, dir.path(), arguments), _dir: dir }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.process.url.trim_start_matches("http://")).expect("a connection");
        stream.set_read_timeout(Some(TIMEOUT)).expect("a timeout");
        stream
    }

    /// Sends bytes and reads until the server closes the connection.
    fn read_until_closed(&self, sent: &[u8]) -> String {
        let mut stream = self.connect();
        stream.write_all(sent).expect("sent");
        read_to_end(&mut stream)
    }

    fn works(&self) -> bool {
        ureq::get(format!("{}/healthz", self.process.url)).call().is_ok()
    }
}

/// Reads to the end, which must be the server's and not a timeout.
fn read_to_end(stream: &mut TcpStream) -> String {
    let mut read = Vec::new();
    match stream.read_to_end(&mut read) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        Err(error) => panic!("the connection was not closed: {error}"),
    }
    String::from_utf8_lossy(&read).into_owned()
}

#[test]
fn incomplete_requests_are_disconnected() {
    let server = Server::start(&["--header-timeout", "300ms", "--idle-timeout", "300ms"]);
    for sent in [
        &b""[..],
        b"G",
        b"GET /healthz HTTP/1.1\r\nhost: x\r\nx-slow: ",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        // SETTINGS, and an incomplete HEADERS frame.
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\0\x20\x01\x04\0\0\0\x01",
    ] {
        server.read_until_closed(sent);
    }
    // A client without a further request is disconnected later.
    let response = server.read_until_closed(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n");
    assert!(response.starts_with("HTTP/1.1 204"), "{response}");
    assert!(server.works());
}

#[test]
fn a_missing_body_is_408() {
    let server = Server::start(&["--body-timeout", "300ms"]);
    let manager = server.process.bootstrap.as_deref().expect("a token");
    let token = writer_token(&server.process.url, manager);
    let head = format!(
        "POST /v1/images HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer {token}\r\n\
         content-type: application/json\r\ncontent-length: 100\r\n\r\n{{\"name\""
    );
    let response = server.read_until_closed(head.as_bytes());
    assert!(response.starts_with("HTTP/1.1 408") && response.contains("request-timeout"), "{response}");
}

/// Uploads and publishes 64 MiB; returns its path.
fn big_image(server: &Server) -> String {
    let manager = server.process.bootstrap.as_deref().expect("a token");
    let token = writer_token(&server.process.url, manager);
    let bytes = vec![7; 64 << 20];
    let digest = imgsrv_testkit::digest(&bytes);
    let send = |method: &str, path: &str, kind: &str, body: &[u8]| -> Value {
        let request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("{}{path}", server.process.url))
            .header("authorization", format!("Bearer {token}"))
            .header("content-type", kind)
            .body(body);
        let response = ureq::run(request.expect("a request")).expect("a response");
        serde_json::from_str(&response.into_body().read_to_string().expect("a body")).expect("JSON")
    };
    let json =
        |method: &str, path: &str, body: Value| send(method, path, "application/json", body.to_string().as_bytes());
    let opened = json("POST", "/v1/uploads", json!({"expected_digest": digest, "expected_size_bytes": bytes.len()}));
    let upload = format!("/v1/uploads/{}", opened["id"].as_str().expect("an id"));
    let part = send("PUT", &format!("{upload}/parts/1"), "application/octet-stream", &bytes);
    let part = json!({"number": 1, "etag": part["etag"], "size_bytes": bytes.len()});
    json("POST", &format!("{upload}/complete"), json!({"parts": [part]}));
    let deadline = Instant::now() + TIMEOUT;
    while send("GET", &upload, "application/json", b"")["state"] != "ready" {
        assert!(Instant::now() < deadline, "it does not become ready");
    }
    json("POST", "/v1/images", json!({"name": "big"}));
    json("POST", "/v1/images/big/versions", json!({"version": "1"}));
    let artifact = json!({
        "operating_system": "debian", "architecture": "amd64", "format": "raw", "primary_blob_digest": digest,
        "primary_blob_size_bytes": bytes.len(), "primary_media_type": "application/octet-stream",
    });
    json("POST", "/v1/images/big/versions/1/artifacts", artifact);
    json("POST", "/v1/images/big/versions/1/publish", json!({}));
    format!("/v1/blobs/{digest}")
}

#[test]
fn a_download_that_is_not_read_is_disconnected() {
    let server = Server::start(&["--send-timeout", "300ms"]);
    let path = big_image(&server);
    let head = format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n");
    let deadline = Instant::now() + TIMEOUT;
    let mut stream = loop {
        let mut stream = server.connect();
        stream.write_all(head.as_bytes()).expect("sent");
        let mut status = [0; 12];
        stream.read_exact(&mut status).expect("a status");
        if &status == b"HTTP/1.1 200" {
            break stream;
        }
        assert!(Instant::now() < deadline, "the version is not published");
    };
    let in_flight = || {
        let text = ureq::get(&server.process.metrics).call().expect("metrics").into_body().read_to_string();
        text.expect("text").contains("http_server_active_requests{http_request_method=\"GET\"} 1")
    };
    while in_flight() {
        assert!(Instant::now() < deadline, "the request is still in flight");
    }
    // The buffered bytes arrive before the end.
    let received = read_to_end(&mut stream).len();
    assert!(received < 64 << 20, "{received}");
    assert!(server.works());
}

#[test]
fn connections_of_one_address_are_limited() {
    let server = Server::start(&["--max-connections-per-address", "4", "--header-timeout", "1m"]);
    let open: Vec<_> = (0..4)
        .map(|_| {
            let mut stream = server.connect();
            stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").expect("sent");
            let mut status = [0; 12];
            stream.read_exact(&mut status).expect("a status");
            stream
        })
        .collect();
    let mut fifth = server.connect();
    assert_eq!(fifth.read(&mut [0; 1]).unwrap_or(0), 0);
    drop(open);
    let deadline = Instant::now() + TIMEOUT;
    while !server.works() {
        assert!(Instant::now() < deadline, "closed connections still count");
    }
    // Trusted proxies have no limit.
    let proxied = Server::start(&["--max-connections-per-address", "1", "--trusted-proxies", "127.0.0.1"]);
    let _open = proxied.connect();
    assert!(proxied.works());
}
