//! Tokens that are good for a while only.

use crate::stage::{Stage, told};
use std::{
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    path::Path,
    process::Command,
    thread::JoinHandle,
};

#[test]
fn a_token_that_is_refused_in_the_middle_of_an_upload_is_fetched_anew() {
    let stage = Stage::set();
    let digest = stage.large_disk("disk.qcow2", 1, 192);
    let manager = stage.server.bootstrap.clone().expect("a bootstrap token");
    // Two tokens of one principal: sessions are resumed by whoever opened them.
    let second = second_token(&stage, &manager);
    std::fs::write(stage.path("token"), &stage.token).expect("a file");
    let publish =
        ["publish", "debian", "1", "disk.qcow2", "--arch", "amd64", "--token-command", "cat token; echo >> runs"];
    let mut command = stage.command(&publish);
    let running = command.env_remove("IMGSRV_TOKEN").spawn().expect("it runs");
    stage.has_parts(&digest, 1);
    std::fs::write(stage.path("token"), &second).expect("a file");
    revoke(&stage, &manager);
    let told = told(running);
    assert_eq!(told.code, Some(0), "{told:?}");
    let runs = std::fs::read_to_string(stage.path("runs")).expect("a file").lines().count();
    assert_eq!(runs, 2, "once in the beginning, once when the first was refused");
}

/// The principal of the writer's token.
fn writer(stage: &Stage) -> String {
    stage.get("/v1/auth/whoami")["principal"]["id"].as_str().expect("an id").to_owned()
}

fn second_token(stage: &Stage, manager: &str) -> String {
    let url = format!("{}/v1/auth/principals/{}/api-tokens", stage.server.url, writer(stage));
    let issued = ureq::post(url)
        .header("authorization", format!("Bearer {manager}"))
        .send_json(serde_json::json!({"expires_at": "2099-01-01T00:00:00Z"}));
    let issued: serde_json::Value = issued.expect("issued").body_mut().read_json().expect("JSON");
    issued["plaintext"].as_str().expect("a token").to_owned()
}

/// Revokes the writer's first token.
fn revoke(stage: &Stage, manager: &str) {
    let id = stage.get("/v1/auth/whoami")["authentication"]["api_token_id"].as_str().expect("an id").to_owned();
    let url = format!("{}/v1/auth/api-tokens/{id}", stage.server.url);
    ureq::delete(url).header("authorization", format!("Bearer {manager}")).call().expect("revoked");
}

/// What gives tokens to jobs, as GitHub does, once: where it is, and the head of the request that it was sent.
fn github(token: String) -> (String, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    let asked = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a request");
        let reader = BufReader::new(stream.try_clone().expect("a handle"));
        let head: Vec<String> = reader.lines().map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
        let body = serde_json::json!({"value": token}).to_string();
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
        stream.write_all(answer.as_bytes()).expect("an answer");
        head
    });
    (format!("http://{address}/token?api-version=2.0"), asked)
}

#[test]
fn a_job_of_github_asks_for_its_token_for_this_server() {
    let stage = Stage::set();
    stage.disk("disk.qcow2", 1);
    let (url, asked) = github(stage.token.clone());
    let mut publish = stage.command(&["publish", "debian", "1", "disk.qcow2", "--arch", "amd64", "--oidc-github"]);
    publish.env_remove("IMGSRV_TOKEN");
    publish.env("ACTIONS_ID_TOKEN_REQUEST_URL", url);
    publish.env("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "of-the-job");
    let published = told(publish.spawn().expect("it runs"));
    assert_eq!(published.code, Some(0), "{published:?}");
    let head = asked.join().expect("it was asked");
    let audience: String = stage.server.url.replace(':', "%3A").replace('/', "%2F");
    assert_eq!(head[0], format!("GET /token?api-version=2.0&audience={audience} HTTP/1.1"));
    assert!(head.iter().any(|line| line.eq_ignore_ascii_case("authorization: Bearer of-the-job")), "{head:?}");

    let mut elsewhere = stage.command(&["publish", "debian", "1", "disk.qcow2", "--oidc-github"]);
    elsewhere.env_remove("ACTIONS_ID_TOKEN_REQUEST_URL").env_remove("ACTIONS_ID_TOKEN_REQUEST_TOKEN");
    assert_eq!(told(elsewhere.spawn().expect("it runs")).code, Some(2));
}

#[test]
fn the_action_publishes_as_the_job() {
    let stage = Stage::set();
    stage.disk("disk.qcow2", 1);
    stage.disk("other one.qcow2", 2);
    let (url, asked) = github(stage.token.clone());
    let action = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/github-action/publish.sh");
    let binaries = Path::new(super::stage::BINARY).parent().expect("a folder").display();
    let outputs = stage.path("outputs");
    let run = Command::new("bash")
        .arg(action)
        .current_dir(stage.dir.path())
        .env("PATH", format!("{binaries}:/usr/bin:/bin"))
        .env("SERVER", &stage.server.url)
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
    assert!(asked.join().expect("it was asked")[0].contains("audience=urn%3Aimgsrv%3Aacme"));
    let outputs = std::fs::read_to_string(outputs).expect("outputs");
    let json = outputs.trim().strip_prefix("json=").expect("an output");
    let published: serde_json::Value = serde_json::from_str(json).expect("JSON");
    assert_eq!(published["version"]["state"], "published");
    assert_eq!(stage.get("/v1/images/debian/aliases/stable")["version"], "1");
}
