//! The access log, and traces.

use crate::BINARY;
use imgsrv_testkit::Process;
use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::mpsc::{Receiver, channel},
};
use tempfile::TempDir;

fn status(url: &str, token: Option<&str>) -> u16 {
    let agent = ureq::Agent::new_with_config(ureq::Agent::config_builder().http_status_as_error(false).build());
    let request = agent.get(url);
    let request =
        if let Some(token) = token { request.header("authorization", format!("Bearer {token}")) } else { request };
    let mut response = request.call().expect("a response");
    let _ = response.body_mut().read_to_vec();
    response.status().as_u16()
}

#[test]
fn the_access_log_has_one_line_a_request_without_paths_queries_and_secrets() {
    let dir = TempDir::new().expect("a scratch folder");
    let mut server = Process::start(BINARY, dir.path(), &["--access-log"]);
    let token = server.bootstrap.clone().expect("a token");
    assert_eq!(status(&format!("{}/v1/auth/roles?limit=2", server.url), Some(&token)), 200);
    assert_eq!(status(&format!("{}/v1/images/secretive?q={token}", server.url), None), 404);
    assert_eq!(server.terminate(), Some(0));
    let log = server.log_with("server stopped");
    let served: Vec<&str> = log.lines().filter(|line| line.contains("request served")).collect();
    let of = |route: &str| {
        let route = format!("http.route=\"{route}\"");
        *served.iter().find(|line| line.contains(&route)).unwrap_or_else(|| panic!("{route}: {log}"))
    };
    let roles = of("/v1/auth/roles");
    for field in
        ["GET", "http.status=200", "principal.name=\"bootstrap\"", "principal.id=", "request.id=", "duration_ms="]
    {
        assert!(roles.contains(field), "no {field} in {roles}");
    }
    assert!(!roles.contains("bytes=0 "), "{roles}");
    let missing = of("/v1/images/{name}");
    assert!(missing.contains("http.status=404") && !missing.contains("principal."), "{missing}");
    for line in &served {
        assert!(!line.contains("secretive") && !line.contains("limit=2") && !line.contains(&token[..20]), "{line}");
    }
}

#[test]
fn healthy_requests_have_no_line_by_default() {
    let dir = TempDir::new().expect("a scratch folder");
    let mut server = Process::start(BINARY, dir.path(), &[]);
    assert_eq!(status(&format!("{}/v1/images", server.url), None), 200);
    assert_eq!(server.terminate(), Some(0));
    assert!(!server.log_with("server stopped").contains("request served"));
}

/// A collector of traces: the paths of requests, and their bodies.
fn collector() -> (String, Receiver<(String, Vec<u8>)>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let (sender, received) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, sender) = (stream.expect("a connection"), sender.clone());
            std::thread::spawn(move || {
                while let Some(request) = receive(&mut stream) {
                    let _ = sender.send(request);
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
                }
            });
        }
    });
    (url, received)
}

fn receive(stream: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).to_lowercase();
    let length =
        head.lines().find_map(|line| line.strip_prefix("content-length: ")).and_then(|length| length.parse().ok());
    let mut body = vec![0; length?];
    stream.read_exact(&mut body).ok()?;
    Some((head.split(' ').nth(1)?.to_owned(), body))
}

#[test]
fn traces_of_use_cases_and_adapters_are_sent_to_a_collector() {
    let (url, received) = collector();
    let dir = TempDir::new().expect("a scratch folder");
    let mut server = Process::start(BINARY, dir.path(), &["--otlp-endpoint", &url, "--node-name", "traced-node"]);
    let token = server.bootstrap.clone().expect("a token");
    assert_eq!(status(&format!("{}/v1/auth/principals", server.url), Some(&token)), 200);
    // The rest is sent when the server stops.
    assert_eq!(server.terminate(), Some(0));
    let requests: Vec<(String, Vec<u8>)> = received.try_iter().collect();
    assert!(!requests.is_empty() && requests.iter().all(|(path, _)| path == "/v1/traces"), "{}", server.log());
    let text: String = requests.iter().map(|(_, body)| String::from_utf8_lossy(body).into_owned()).collect();
    for span in ["imgsrv", "traced-node", "request", "principal.list", "catalog.query", "catalog.transaction"] {
        assert!(text.contains(span), "no {span}");
    }
    assert!(!text.contains(&token[10..]), "a token is in a trace");
}

#[test]
fn an_unavailable_collector_disturbs_nothing() {
    let dir = TempDir::new().expect("a scratch folder");
    let environment = [("OTEL_BSP_SCHEDULE_DELAY".to_owned(), "50".to_owned())];
    let arguments = ["--otlp-endpoint", "http://127.0.0.1:1"];
    let mut server = Process::start_with(BINARY, dir.path(), &arguments, &environment);
    assert_eq!(status(&format!("{}/v1/images", server.url), None), 200);
    server.log_with("traces could not be sent");
    assert_eq!(status(&format!("{}/v1/images", server.url), None), 200);
    assert_eq!(server.terminate(), Some(0));
}
