//! The server binary as operators run it.

use imgsrv_testkit::{Disposable, Process};
use reqwest::{Client, StatusCode};
use std::{
    io::{Read, Write},
    net::TcpStream,
    os::unix::fs::PermissionsExt,
    process::{Command, Output},
    time::Duration,
};
use tempfile::TempDir;

const BINARY: &str = env!("CARGO_BIN_EXE_imgsrv");

fn imgsrv(arguments: &[&str]) -> Output {
    Command::new(BINARY).args(arguments).output().expect("the binary runs")
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn the_version_is_printed() {
    let output = imgsrv(&["--version"]);
    assert!(output.status.success());
    assert_eq!(String::from_utf8_lossy(&output.stdout), format!("imgsrv {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn an_invalid_value_is_refused_before_anything_is_opened() {
    let dir = TempDir::new().expect("a scratch folder");
    let data = dir.path().join("data");
    let output = imgsrv(&["serve", "--data-dir", data.to_str().expect("a path"), "--lease-term", "1"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("--lease-term"), "{}", stderr(&output));
    assert!(!data.exists());
}

#[test]
fn a_second_server_on_the_same_folder_refuses_to_start() {
    let dir = TempDir::new().expect("a scratch folder");
    let _first = Process::start(BINARY, dir.path(), &[]);
    let path = dir.path().to_str().expect("a path");
    let second = imgsrv(&["--data-dir", path, "--listen", "127.0.0.1:0"]);
    assert_eq!(second.status.code(), Some(1));
    assert!(stderr(&second).contains("another imgsrv server is using"), "{}", stderr(&second));
    let other = TempDir::new().expect("a scratch folder");
    let storage = dir.path().join("storage");
    let arguments =
        ["--data-dir", other.path().to_str().expect("a path"), "--storage-dir", storage.to_str().expect("a path")];
    let third = imgsrv(&arguments);
    assert!(stderr(&third).contains("another imgsrv server is using"), "{}", stderr(&third));
}

#[test]
fn blobs_may_be_stored_in_the_data_folder_itself() {
    let dir = TempDir::new().expect("a scratch folder");
    let path = dir.path().to_str().expect("a path");
    let _first = Process::start(BINARY, dir.path(), &["--storage-dir", path]);
    let second = imgsrv(&["--data-dir", path, "--storage-dir", path]);
    assert!(stderr(&second).contains("another imgsrv server is using"), "{}", stderr(&second));
}

#[test]
fn an_address_in_use_is_reported() {
    let dir = TempDir::new().expect("a scratch folder");
    let first = Process::start(BINARY, dir.path(), &[]);
    let address = first.url.trim_start_matches("http://");
    let other = TempDir::new().expect("a scratch folder");
    let second = imgsrv(&["--data-dir", other.path().to_str().expect("a path"), "--listen", address]);
    assert!(stderr(&second).contains(&format!("cannot listen on {address}")), "{}", stderr(&second));
}

#[tokio::test]
async fn a_bootstrap_token_can_be_minted_again() {
    let dir = TempDir::new().expect("a scratch folder");
    let server = Process::start(BINARY, dir.path(), &[]);
    let first = server.bootstrap.clone().expect("a token");
    let mode = std::fs::metadata(dir.path().join("bootstrap-token")).expect("the file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    // Also while the server runs.
    let output = imgsrv(&["admin", "bootstrap", "--data-dir", dir.path().to_str().expect("a path")]);
    let line = String::from_utf8_lossy(&output.stdout).into_owned();
    let second = line.strip_prefix("imgsrv bootstrap token (one-time): ").expect("the line").trim().to_owned();
    for token in [first, second] {
        let response = Client::new().get(format!("{}/v1/auth/roles", server.url)).bearer_auth(token).send().await;
        assert_eq!(response.expect("a response").status(), StatusCode::OK);
    }
}

#[test]
fn without_arguments_help_is_printed_unless_settings_are_present() {
    let bare = |settings: &[(&str, &str)]| {
        let mut command = Command::new(BINARY);
        command.env_clear().envs(settings.iter().copied()).stdin(std::process::Stdio::null());
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        command
    };
    // A client's variables are no settings of a server.
    for settings in [&[][..], &[("IMGSRV_URL", "http://127.0.0.1:1"), ("IMGSRV_TOKEN", "x")]] {
        let help = bare(settings).output().expect("it runs");
        let text = String::from_utf8_lossy(&help.stdout).into_owned();
        assert!(help.status.success() && help.stderr.is_empty(), "{help:?}");
        for part in ["Usage: imgsrv <COMMAND>", "serve", "init", "publish", "admin", "Examples:"] {
            assert!(text.contains(part), "no {part:?} in {text}");
        }
    }
    // In a container that only sets variables, the server runs.
    let dir = TempDir::new().expect("a scratch folder");
    let data = dir.path().to_str().expect("a path");
    let settings = [("IMGSRV_DATA_DIR", data), ("IMGSRV_LISTEN", "127.0.0.1:0"), ("IMGSRV_METRICS_LISTEN", "")];
    let mut server = bare(&settings).spawn().expect("it runs");
    let mut log = std::io::BufRead::lines(std::io::BufReader::new(server.stderr.take().expect("standard error")));
    assert!(log.by_ref().map_while(Result::ok).any(|line| line.contains("server started")), "it does not serve");
    Command::new("kill").args(["-TERM", &server.id().to_string()]).status().expect("kill runs");
    assert_eq!(server.wait().expect("it ends").code(), Some(0));
}

#[test]
fn only_the_bootstrap_line_goes_to_standard_output() {
    let dir = TempDir::new().expect("a scratch folder");
    let mut child = Command::new(BINARY)
        .args(["--data-dir", dir.path().to_str().expect("a path"), "--listen", "127.0.0.1:0", "--log-format", "json"])
        .args(["--metrics-listen", ""])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let mut logs = std::io::BufRead::lines(std::io::BufReader::new(child.stderr.take().expect("standard error")));
    let mut messages = Vec::new();
    for line in logs.by_ref() {
        let line: serde_json::Value = serde_json::from_str(&line.expect("a line")).expect("a JSON line");
        messages.push(line["message"].as_str().expect("a message").to_owned());
        if messages.last().is_some_and(|message| message == "server started") {
            break;
        }
    }
    assert_eq!(messages, ["principal created", "role granted", "token issued", "server started"]);
    Command::new("kill").args(["-TERM", &child.id().to_string()]).status().expect("kill runs");
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
    let mut stdout = String::new();
    child.stdout.take().expect("standard output").read_to_string(&mut stdout).expect("text");
    let token = stdout.strip_prefix("imgsrv bootstrap token (one-time): ").expect("the line").trim_end();
    assert!(token.starts_with("imgsrv_at_") && !token.contains('\n'), "{stdout}");
    let mut rest = String::new();
    logs.for_each(|line| rest += &line.expect("a line"));
    assert!(!rest.contains(token), "the token is in the log");
}

#[tokio::test]
async fn a_graceful_stop_finishes_requests_in_flight() {
    let dir = TempDir::new().expect("a scratch folder");
    let mut server = Process::start(BINARY, dir.path(), &[]);
    let token = server.bootstrap.clone().expect("a token");
    let mut stream = TcpStream::connect(server.url.trim_start_matches("http://")).expect("connected");
    let body = r#"{"kind": "user", "display_name": "late"}"#;
    let (first, rest) = body.split_at(10);
    let head = format!(
        "POST /v1/auth/principals HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\nexpect: 100-continue\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).expect("sent");
    // The server asks for the body: the request is in flight.
    let mut interim = [0; 25];
    stream.read_exact(&mut interim).expect("100 Continue");
    stream.write_all(first.as_bytes()).expect("sent");
    let stopping = std::thread::spawn(move || server.terminate());
    // It stops listening at once, and waits for the body.
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("set");
    stream.write_all(rest.as_bytes()).expect("sent");
    let mut whole = String::new();
    stream.read_to_string(&mut whole).expect("a response");
    assert!(whole.starts_with("HTTP/1.1 201"), "{whole}");
    assert_eq!(stopping.join().expect("stopped"), Some(0));
}

#[test]
fn invalid_http_gets_a_plain_400_or_431() {
    let dir = TempDir::new().expect("a scratch folder");
    let server = Process::start(BINARY, dir.path(), &[]);
    for (request, status) in [
        ("GET /v1/images/a<b HTTP/1.1\r\nhost: x\r\n\r\n".to_owned(), "HTTP/1.1 400"),
        ("GET / HTTP/1.1\r\nbad header\r\n\r\n".to_owned(), "HTTP/1.1 400"),
        (format!("GET / HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(600)), "HTTP/1.1 431"),
        // More than hyper buffers and reads at once: a head of 400 to 800 KB may be parsed whole.
        (format!("GET / HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "y".repeat(1_000_000)), "HTTP/1.1 431"),
    ] {
        let mut stream = TcpStream::connect(server.url.trim_start_matches("http://")).expect("connected");
        // A good request before it on the same connection.
        stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").expect("sent");
        let mut first = [0; 12];
        stream.read_exact(&mut first).expect("an answer");
        assert_eq!(&first, b"HTTP/1.1 204");
        let _ = stream.write_all(request.as_bytes());
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        let rest = String::from_utf8_lossy(&rest).into_owned();
        let shown = &request[..request.len().min(60)];
        let answer = rest.split("\r\n\r\n").skip(1).collect::<Vec<_>>().join("\r\n\r\n");
        assert!(answer.starts_with(status) && answer.ends_with("\r\n\r\n"), "{shown}: {rest}");
    }
}

#[test]
fn a_disposable_server_accepts_its_tokens_and_stops_when_dropped() {
    let server = Disposable::of(BINARY);
    let roles = ureq::get(format!("{}/v1/auth/roles", server.url));
    let bearer = |token: &str| format!("Bearer {token}");
    assert!(roles.header("authorization", bearer(&server.manager)).call().is_ok());
    let drafts = ureq::get(format!("{}/v1/images?include_unpublished=true", server.url));
    assert!(drafts.header("authorization", bearer(&server.writer)).call().is_ok());
    let url = server.url.clone();
    drop(server);
    assert!(ureq::get(format!("{url}/healthz")).call().is_err(), "it is stopped");
}

#[tokio::test]
async fn operators_list_and_revoke_without_a_token() {
    let dir = TempDir::new().expect("a scratch folder");
    let path = dir.path().to_str().expect("a path");
    let server = Process::start(BINARY, dir.path(), &[]);
    let manager = server.bootstrap.clone().expect("a token");
    let writer = imgsrv_testkit::writer_token(&server.url, &manager);
    let status = async |token: &str| {
        let response = Client::new().get(format!("{}/v1/auth/whoami", server.url)).bearer_auth(token).send().await;
        response.expect("a response").status()
    };
    assert_eq!(status(&writer).await, StatusCode::OK);
    let list = |format: &[&str]| {
        let output = imgsrv(&[&["admin", "tokens", "list", "--data-dir", path], format].concat());
        assert!(output.status.success(), "{}", stderr(&output));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let text = list(&[]);
    let key = &writer[..22];
    assert!(text.contains("\"bootstrap\": auth-manager") && text.contains("\"test\": content-writer"), "{text}");
    assert!(text.contains(key) && !text.contains(&writer[23..]), "{text}");
    let listed: serde_json::Value = serde_json::from_str(&list(&["--json"])).expect("JSON");
    let principals = listed["principals"].as_array().expect("principals");
    let of = |name: &str| principals.iter().find(|found| found["display_name"] == name).expect("a principal");
    assert_eq!(of("test")["api_tokens"][0]["key"], key);

    // A token that is given instead of its id does not appear in the log.
    let misplaced = Client::new().delete(format!("{}/v1/auth/api-tokens/{writer}", server.url)).bearer_auth(&manager);
    assert_eq!(misplaced.send().await.expect("a response").status(), StatusCode::BAD_REQUEST);
    let log = server.log_with(key);
    assert!(!log.contains(&writer[23..]), "{log}");
    let output = imgsrv(&["admin", "tokens", "revoke", &writer, "--data-dir", path]);
    assert!(output.status.success() && !stderr(&output).contains(&writer[23..]), "{}", stderr(&output));
    assert_eq!(status(&writer).await, StatusCode::UNAUTHORIZED);
    assert!(list(&[]).contains("revoked 20"));
    let bootstrap = of("bootstrap")["id"].as_str().expect("an id");
    let other = of("test")["id"].as_str().expect("an id");
    let deactivated = imgsrv(&["admin", "tokens", "revoke", "--principal", other, "--data-dir", path]);
    assert!(deactivated.status.success(), "{}", stderr(&deactivated));
    assert!(list(&[]).contains(", deactivated 20"));
    for arguments in [
        &["admin", "tokens", "revoke", "--data-dir", path][..],
        &["admin", "tokens", "revoke", "nonsense", "--data-dir", path],
    ] {
        assert_eq!(imgsrv(arguments).status.code(), Some(2));
    }
    let unknown = imgsrv(&["admin", "tokens", "revoke", "imgsrv_at_aaaaaaaaaaaa", "--data-dir", path]);
    assert!(
        unknown.status.code() == Some(4)
            && stderr(&unknown).contains("no API token begins with imgsrv_at_aaaaaaaaaaaa"),
        "{}",
        stderr(&unknown)
    );
    // Operators may deactivate even the last manager, since they can mint a bootstrap token.
    let deactivated = imgsrv(&["admin", "tokens", "revoke", "--principal", bootstrap, "--data-dir", path]);
    assert!(deactivated.status.success(), "{}", stderr(&deactivated));
    assert!(stderr(&deactivated).contains("principal.deactivated"), "no log line: {}", stderr(&deactivated));
    assert_eq!(status(&manager).await, StatusCode::FORBIDDEN);
    let output = imgsrv(&["admin", "bootstrap", "--data-dir", path]);
    let line = String::from_utf8_lossy(&output.stdout).into_owned();
    let manager = line.trim().rsplit(' ').next().expect("a token").to_owned();
    // The audit log has it as an action of an operator.
    let log = Client::new().get(format!("{}/v1/audit?actor_kind=operator", server.url)).bearer_auth(&manager);
    let log = log.send().await.expect("a response").text().await.expect("a body");
    assert!(log.contains("token.revoked") && log.contains("principal.deactivated"), "{log}");
}
