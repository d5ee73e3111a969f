//! Tokens that expire or are revoked.

use crate::fixture::{Fixture, finish, run};
use std::{
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    path::Path,
    process::Command,
    thread::JoinHandle,
};

#[test]
fn a_token_that_is_revoked_during_an_upload_is_replaced() {
    let fixture = Fixture::start();
    let digest = fixture.large_disk("disk.qcow2", 1, 192);
    let manager = fixture.server.bootstrap.clone().expect("a bootstrap token");
    // A second token of the same principal, since an upload session belongs to the principal that opened it.
    let second = second_token(&fixture, &manager);
    std::fs::write(fixture.path("token"), &fixture.token).expect("a file");
    let publish =
        ["publish", "debian", "1", "disk.qcow2", "--arch", "amd64", "--token-command", "cat token; echo >> runs"];
    let mut command = fixture.command(&publish);
    let running = command.env_remove("IMGSRV_TOKEN").spawn().expect("it runs");
    fixture.wait_for_parts(&digest, 1);
    std::fs::write(fixture.path("token"), &second).expect("a file");
    revoke(&fixture, &manager);
    let output = finish(running);
    assert_eq!(output.code, Some(0), "{output:?}");
    let runs = std::fs::read_to_string(fixture.path("runs")).expect("a file").lines().count();
    assert_eq!(runs, 2, "once at the start, once after the first was refused");
}

/// The principal of the writer's token.
fn writer(fixture: &Fixture) -> String {
    fixture.get("/v1/auth/whoami")["principal"]["id"].as_str().expect("an id").to_owned()
}

fn second_token(fixture: &Fixture, manager: &str) -> String {
    let url = format!("{}/v1/auth/principals/{}/api-tokens", fixture.server.url, writer(fixture));
    let issued = ureq::post(url)
        .header("authorization", format!("Bearer {manager}"))
        .send_json(serde_json::json!({"expires_at": "2099-01-01T00:00:00Z"}));
    let issued: serde_json::Value = issued.expect("issued").body_mut().read_json().expect("JSON");
    issued["plaintext"].as_str().expect("a token").to_owned()
}

/// Revokes the writer's first token.
fn revoke(fixture: &Fixture, manager: &str) {
    let id = fixture.get("/v1/auth/whoami")["authentication"]["api_token_id"].as_str().expect("an id").to_owned();
    let url = format!("{}/v1/auth/api-tokens/{id}", fixture.server.url);
    ureq::delete(url).header("authorization", format!("Bearer {manager}")).call().expect("revoked");
}

/// A token issuer like GitHub's that responds once: its URL, and the head of the request that it received.
fn github(token: String) -> (String, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    let request = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a request");
        let reader = BufReader::new(stream.try_clone().expect("a handle"));
        let head: Vec<String> = reader.lines().map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
        let body = serde_json::json!({"value": token}).to_string();
        let response = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
        stream.write_all(response.as_bytes()).expect("sent");
        head
    });
    (format!("http://{address}/token?api-version=2.0"), request)
}

#[test]
fn a_github_job_requests_a_token_for_this_server() {
    let fixture = Fixture::start();
    fixture.disk("disk.qcow2", 1);
    let (url, request) = github(fixture.token.clone());
    let mut publish = fixture.command(&["publish", "debian", "1", "disk.qcow2", "--arch", "amd64", "--oidc-github"]);
    publish.env_remove("IMGSRV_TOKEN");
    publish.env("ACTIONS_ID_TOKEN_REQUEST_URL", url);
    publish.env("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "of-the-job");
    let published = run(&mut publish);
    assert_eq!(published.code, Some(0), "{published:?}");
    let head = request.join().expect("a request");
    let audience: String = fixture.server.url.replace(':', "%3A").replace('/', "%2F");
    assert_eq!(head[0], format!("GET /token?api-version=2.0&audience={audience} HTTP/1.1"));
    assert!(head.iter().any(|line| line.eq_ignore_ascii_case("authorization: Bearer of-the-job")), "{head:?}");

    let mut elsewhere = fixture.command(&["publish", "debian", "1", "disk.qcow2", "--oidc-github"]);
    elsewhere.env_remove("ACTIONS_ID_TOKEN_REQUEST_URL").env_remove("ACTIONS_ID_TOKEN_REQUEST_TOKEN");
    assert_eq!(run(&mut elsewhere).code, Some(2));
}

#[test]
fn the_github_action_publishes_as_the_job() {
    let fixture = Fixture::start();
    fixture.disk("disk.qcow2", 1);
    fixture.disk("other one.qcow2", 2);
    let (url, request) = github(fixture.token.clone());
    let action = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/github-action/publish.sh");
    let binaries = Path::new(super::fixture::BINARY).parent().expect("a folder").display();
    let outputs = fixture.path("outputs");
    let run = Command::new("bash")
        .arg(action)
        .current_dir(fixture.dir.path())
        .env("PATH", format!("{binaries}:/usr/bin:/bin"))
        .env("SERVER", &fixture.server.url)
        .envs([
            ("IMAGE", "debian"),
            ("VERSION", "1"),
            ("ALIASES", "latest\n\nstable\n"),
            ("ARGUMENTS", "--incus\n--os\ndebian"),
        ])
        .env("FILES", "disk.qcow2,arch=amd64\nother one.qcow2,arch=arm64\n")
        .env("AUDIENCE", "urn:imgsrv:acme")
        .env("GITHUB_OUTPUT", &outputs)
        .env("ACTIONS_ID_TOKEN_REQUEST_URL", url)
        .env("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "of-the-job")
        .output()
        .expect("bash runs");
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    assert!(request.join().expect("a request")[0].contains("audience=urn%3Aimgsrv%3Aacme"));
    let outputs = std::fs::read_to_string(outputs).expect("outputs");
    let json = outputs.trim().strip_prefix("json=").expect("an output");
    let published: serde_json::Value = serde_json::from_str(json).expect("JSON");
    assert_eq!(published["version"]["state"], "published");
    assert_eq!(fixture.get("/v1/images/debian/aliases/stable")["version"], "1");
}
