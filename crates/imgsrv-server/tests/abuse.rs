//! Clients that hold on to more than is theirs.

use imgsrv_testkit::{Process, writer_token};
use serde_json::{Value, json};
use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};
use tempfile::TempDir;

const BINARY: &str = env!("CARGO_BIN_EXE_imgsrv");
/// What no test waits for.
const PATIENCE: Duration = Duration::from_secs(20);

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
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream
    }

    /// Sends bytes and reads whatever comes until the server closes the connection.
    fn until_closed(&self, sent: &[u8]) -> String {
        let mut stream = self.connect();
        stream.write_all(sent).expect("sent");
        read_to_end(&mut stream)
    }

    fn works(&self) -> bool {
        ureq::get(format!("{}/healthz", self.process.url)).call().is_ok()
    }
}

/// What comes until the end; that must be the server's, not a timeout's.
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
fn whoever_sends_no_whole_request_is_let_go() {
    let server = Server::start(&["--header-timeout", "300ms", "--idle-timeout", "300ms"]);
    for sent in [
        &b""[..],
        b"G",
        b"GET /healthz HTTP/1.1\r\nhost: x\r\nx-slow: ",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        // SETTINGS, and a HEADERS frame of which the rest never comes.
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\0\x20\x01\x04\0\0\0\x01",
    ] {
        server.until_closed(sent);
    }
    // A client that has had its answer is let go later.
    let answered = server.until_closed(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n");
    assert!(answered.starts_with("HTTP/1.1 204"), "{answered}");
    assert!(server.works());
}

#[test]
fn a_body_that_does_not_come_is_408() {
    let server = Server::start(&["--body-timeout", "300ms"]);
    let manager = server.process.bootstrap.as_deref().expect("a token");
    let token = writer_token(&server.process.url, manager);
    let head = format!(
        "POST /v1/images HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer {token}\r\n\
         content-type: application/json\r\ncontent-length: 100\r\n\r\n{{\"name\""
    );
    let answer = server.until_closed(head.as_bytes());
    assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("request-timeout"), "{answer}");
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
        let answer = ureq::run(request.expect("a request")).expect("an answer");
        serde_json::from_str(&answer.into_body().read_to_string().expect("a body")).expect("JSON")
    };
    let json =
        |method: &str, path: &str, body: Value| send(method, path, "application/json", body.to_string().as_bytes());
    let opened = json("POST", "/v1/uploads", json!({"expected_digest": digest, "expected_size_bytes": bytes.len()}));
    let upload = format!("/v1/uploads/{}", opened["id"].as_str().expect("an id"));
    let part = send("PUT", &format!("{upload}/parts/1"), "application/octet-stream", &bytes);
    let part = json!({"number": 1, "etag": part["etag"], "size_bytes": bytes.len()});
    json("POST", &format!("{upload}/complete"), json!({"parts": [part]}));
    let deadline = Instant::now() + PATIENCE;
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
fn whoever_takes_nothing_of_a_download_is_let_go() {
    let server = Server::start(&["--send-timeout", "300ms"]);
    let path = big_image(&server);
    let head = format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n");
    let deadline = Instant::now() + PATIENCE;
    let mut stream = loop {
        let mut stream = server.connect();
        stream.write_all(head.as_bytes()).expect("sent");
        let mut status = [0; 12];
        stream.read_exact(&mut status).expect("a status");
        if &status == b"HTTP/1.1 200" {
            break stream;
        }
        assert!(Instant::now() < deadline, "it is not published");
    };
    let under_way = || {
        let text = ureq::get(&server.process.metrics).call().expect("metrics").into_body().read_to_string();
        text.expect("text").contains("http_server_active_requests{http_request_method=\"GET\"} 1")
    };
    while under_way() {
        assert!(Instant::now() < deadline, "the request is still under way");
    }
    // What lay in the buffers comes, and then the end.
    let got = read_to_end(&mut stream).len();
    assert!(got < 64 << 20, "{got}");
    assert!(server.works());
}

#[test]
fn one_address_does_not_take_every_connection() {
    let server = Server::start(&["--max-connections-per-address", "4", "--header-timeout", "1m"]);
    let held: Vec<_> = (0..4)
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
    drop(held);
    let deadline = Instant::now() + PATIENCE;
    while !server.works() {
        assert!(Instant::now() < deadline, "places are not given back");
    }
    // Proxies bring many clients.
    let proxied = Server::start(&["--max-connections-per-address", "1", "--trusted-proxies", "127.0.0.1"]);
    let _held = proxied.connect();
    assert!(proxied.works());
}
