//! Clients that are too slow, or open too many connections.

use crate::support::{Server, TIMEOUT, big_image, read_to_end};
use imgsrv_testkit::writer_token;
use std::{
    io::{Read, Write},
    time::Instant,
};

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

#[test]
fn a_download_that_is_not_read_is_disconnected() {
    let server = Server::start(&["--send-timeout", "300ms"]);
    let path = big_image(&server);
    let head = format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n");
    let deadline = Instant::now() + TIMEOUT;
    let mut stream = server.connect();
    stream.write_all(head.as_bytes()).expect("sent");
    let mut status = [0; 12];
    stream.read_exact(&mut status).expect("a status");
    assert_eq!(&status, b"HTTP/1.1 200");
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
