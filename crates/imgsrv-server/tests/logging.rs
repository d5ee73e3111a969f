//! What is logged by default: a line for each change and each problem, none for a healthy request.

use imgsrv_testkit::{Process, qcow2, writer_token};
use serde_json::Value;
use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};
use tempfile::TempDir;

const BINARY: &str = env!("CARGO_BIN_EXE_imgsrv");

/// The status of a GET request.
fn get(url: &str) -> u16 {
    let response = ureq::get(url).config().http_status_as_error(false).build().call();
    response.expect("a response").status().as_u16()
}

#[test]
fn every_change_has_a_line_and_no_healthy_request_has_one() {
    let dir = TempDir::new().expect("a scratch folder");
    let server = Process::start_with(BINARY, &dir.path().join("data"), &[], &[("RUST_LOG".to_owned(), String::new())]);
    let token = writer_token(&server.url, server.bootstrap.as_deref().expect("a bootstrap token"));
    std::fs::write(dir.path().join("disk.qcow2"), qcow2(1)).expect("a file");
    let publish = ["publish", "debian", "1", "disk.qcow2", "--arch", "amd64", "--alias", "latest"];
    let published = Command::new(BINARY)
        .args(publish)
        .current_dir(dir.path())
        .envs([("IMGSRV_URL", server.url.as_str()), ("IMGSRV_TOKEN", &token)])
        .env("XDG_CONFIG_HOME", dir.path())
        .output()
        .expect("the binary runs");
    assert!(published.status.success(), "{}", String::from_utf8_lossy(&published.stderr));
    let log = server.log_with("alias set");
    for (event, action) in [
        ("image created", "image.created"),
        ("version created", "version.created"),
        ("upload created", "upload.created"),
        ("upload completed", "upload.completed"),
        ("upload ready", "upload.ready"),
        ("blob trusted", "blob.trusted"),
        ("artifact added", "artifact.added"),
        ("version publish requested", "version.publish_requested"),
        ("version published", "version.published"),
        ("alias set", "alias.set"),
    ] {
        let lines = log.lines().filter(|line| line.contains(&format!("{event} action={action} "))).count();
        assert_eq!(lines, 1, "{event}: {log}");
    }

    for line in log.lines().filter(|line| line.contains("actor.kind=principal")) {
        assert_eq!(line.matches("request.id=").count(), 1, "each field is there once: {line}");
    }

    let before = server.log().lines().count();
    for path in ["/healthz", "/readyz", "/v1/images", "/streams/v1/index.json", "/images/debian/latest/"] {
        assert!(matches!(get(&format!("{}{path}", server.url)), 200 | 204), "{path}");
    }
    assert_eq!(get(&format!("{}/images/debian/latest/debian-x86_64.qcow2", server.url)), 200);
    assert_eq!((get(&format!("{}/missing", server.url)), get(&server.metrics)), (404, 200));
    for other in ["", "/", "/x", "/metrics/", "/healthz"] {
        let url = server.metrics.replace("/metrics", other);
        assert_eq!(get(&url), 404, "{url}");
    }
    server.signal("TERM");
    let log = server.log_with("server stopped");
    let added: Vec<_> = log.lines().skip(before).filter(|line| !line.contains("shutdown started")).collect();
    assert!(matches!(added.as_slice(), [stopped] if stopped.contains("server stopped")), "{added:?}");
}

#[test]
fn a_change_names_its_request_once_in_json() {
    let dir = TempDir::new().expect("a scratch folder");
    let mut server = Command::new(BINARY)
        .args(["serve", "--listen", "127.0.0.1:0", "--metrics-listen=", "--log-format", "json", "--data-dir"])
        .arg(dir.path())
        .env_remove("RUST_LOG")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let lines = BufReader::new(server.stderr.take().expect("standard error")).lines().map_while(Result::ok);
    let mut events = lines.map(|line| (serde_json::from_str::<Value>(&line).expect("JSON"), line));
    let started = events.find(|(event, _)| event["message"] == "server started").expect("it starts").0;
    let mut said = String::new();
    BufReader::new(server.stdout.take().expect("standard output")).read_line(&mut said).expect("a line");
    let url = format!("http://{}", started["address"].as_str().expect("an address"));
    writer_token(&url, said.trim().rsplit(' ').next().expect("a token"));
    let (event, line) = events.find(|(event, _)| event["message"] == "role granted").expect("a change");
    assert!(event["spans"][0]["request.id"].is_string(), "{line}");
    assert_eq!(line.matches("\"request.id\":").count(), 1, "{line}");
    server.kill().expect("killed");
    server.wait().expect("it ends");
}
