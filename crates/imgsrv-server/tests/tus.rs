//! Third-party tus clients against the real binary: interrupted uploads, and a server that is killed during one.

use imgsrv_testkit::{
    Process, digest, qcow2,
    services::{TlsFront, free_port, tus_js_client, tuspy},
    writer_token,
};
use serde_json::{Value, json};
use std::{
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};
use tempfile::TempDir;

const BINARY: &str = env!("CARGO_BIN_EXE_imgsrv");
const MIB: usize = 1 << 20;
const SIZE: usize = 48 * MIB;

/// A server and a qcow2 of 48 MiB.
struct Setup {
    process: Process,
    /// The URL at which clients create uploads.
    endpoint: String,
    token: String,
    file: PathBuf,
    digest: String,
    dir: TempDir,
}

impl Setup {
    fn start(arguments: &[&str]) -> Self {
        let dir = TempDir::new().expect("a scratch folder");
        let process = Process::start(BINARY, &dir.path().join("data"), arguments);
        let token = writer_token(&process.url, process.bootstrap.as_deref().expect("a bootstrap token"));
        let mut bytes = qcow2(6);
        // Bytes after the last cluster are ignored in a qcow2.
        bytes.extend((bytes.len()..SIZE).map(|at| (at / 4096 + at).to_le_bytes()[0]));
        let file = dir.path().join("disk.qcow2");
        std::fs::write(&file, &bytes).expect("a file");
        let endpoint = format!("{}/api/uploads/tus/", process.url);
        Self { process, endpoint, token, file, digest: digest(&bytes), dir }
    }

    /// A server below a path of an nginx, which removes the path or keeps it.
    fn start_below_a_path(is_kept: bool) -> (Self, TlsFront) {
        let port = free_port();
        let base = format!("https://localhost:{port}/images-server");
        let setup = Self::start(&["--public-url", &base]);
        let upstream = format!("{}{}", setup.process.url, if is_kept { "" } else { "/" });
        let front = TlsFront::below(port, "/images-server/", &upstream);
        (Self { endpoint: format!("{base}/api/uploads/tus"), ..setup }, front)
    }

    fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Value {
        let request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.process.url))
            .header("authorization", format!("Bearer {}", self.token))
            .header("content-type", "application/json");
        let response = ureq::run(request.body(body.map(Value::to_string).unwrap_or_default()).expect("a request"));
        let mut response = response.unwrap_or_else(|error| panic!("{method} {path}: {error}"));
        response.body_mut().read_json().expect("JSON")
    }

    /// An intake for the file as `version`.
    fn intake(&self, version: &str) -> String {
        let wanted = json!({
            "image": "debian", "version": version, "operating_system": "linux", "architecture": "amd64",
            "size_bytes": SIZE, "aliases": ["latest"],
        });
        self.call("POST", "/api/images", Some(&wanted))["upload_session_id"].as_str().expect("an id").to_owned()
    }

    /// The job of a client, which is its argument.
    fn job(&self, id: &str, more: &Value) -> Value {
        let storage = self.dir.path().join(format!("{id}.json"));
        let mut job = json!({
            "endpoint": self.endpoint, "token": self.token, "id": id,
            "file": self.file, "storage": storage, "chunk": 4 * MIB, "checksum": false,
        });
        let object = job.as_object_mut().expect("an object");
        object.extend(more.as_object().expect("an object").clone());
        job
    }

    fn status(&self, id: &str) -> Value {
        self.call("GET", &format!("/api/uploads/{id}"), None)
    }

    /// Waits until the intake has published its version, and checks the result.
    fn check_published(&self, id: &str, version: &str) {
        let until = Instant::now() + Duration::from_mins(1);
        loop {
            let status = self.status(id);
            match status["state"].as_str() {
                Some("published") => break,
                Some("ingesting" | "publishing") => assert!(Instant::now() < until, "{status}"),
                _ => panic!("{status}"),
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let manifest = self.call("GET", "/v1/images/debian/refs/latest", None);
        assert_eq!(manifest["version"]["version"], version);
        assert_eq!(manifest["artifacts"][0]["artifact"]["primary_blob_digest"], self.digest);
        assert_eq!(manifest["artifacts"][0]["artifact"]["inspection"]["detected_format"], "qcow2");
    }
}

/// Runs a client and waits until it ends.
fn run(mut client: Command, job: &Value) -> String {
    let Output { status, stdout, stderr } = client.arg(job.to_string()).output().expect("the client runs");
    let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{stdout}{stderr}");
    stdout.into_owned()
}

/// A client is stopped half-way and restarted, with the server killed in between; then the server is killed during an
/// upload.
fn interrupted_and_resumed(client: fn() -> Command) {
    let mut setup = Setup::start(&[]);
    let stopped = setup.intake("1");
    run(client(), &setup.job(&stopped, &json!({"stop_at": 16 * MIB})));
    let acknowledged = setup.status(&stopped)["offset"].as_u64().expect("an offset");
    assert!((8 * MIB as u64..SIZE as u64).contains(&acknowledged), "{acknowledged} bytes were acknowledged");
    setup.process.restart();
    assert!(
        setup.status(&stopped)["offset"].as_u64().expect("an offset") >= acknowledged,
        "acknowledged bytes are lost"
    );
    let output = run(client(), &setup.job(&stopped, &json!({})));
    assert!(!output.contains("starts at 0") && !output.contains("anew"), "{output}");
    setup.check_published(&stopped, "1");

    let killed = setup.intake("2");
    let job = setup.job(&killed, &json!({"chunk": MIB}));
    let mut running = client().arg(job.to_string()).stdout(Stdio::null()).spawn().expect("the client runs");
    let until = Instant::now() + Duration::from_mins(1);
    while setup.status(&killed)["offset"].as_u64() < Some(8 * MIB as u64) {
        assert!(Instant::now() < until, "no bytes arrive");
    }
    setup.process.restart();
    assert!(running.wait().expect("it ends").success(), "the client resumed");
    setup.check_published(&killed, "2");
}

#[test]
fn tuspy_is_interrupted_and_resumes() {
    interrupted_and_resumed(tuspy);
}

#[test]
fn tus_js_client_is_interrupted_and_resumes() {
    interrupted_and_resumed(tus_js_client);
}

#[test]
fn tuspy_sends_checksums_and_tus_js_client_sends_bytes_with_the_creation() {
    let setup = Setup::start(&[]);
    let verified = setup.intake("1");
    run(tuspy(), &setup.job(&verified, &json!({"checksum": true})));
    setup.check_published(&verified, "1");
    let at_once = setup.intake("2");
    run(tus_js_client(), &setup.job(&at_once, &json!({"with_creation": true, "chunk": null})));
    setup.check_published(&at_once, "2");
}

#[test]
fn clients_upload_below_a_path_of_a_proxy() {
    for is_kept in [false, true] {
        let (mut setup, front) = Setup::start_below_a_path(is_kept);
        let authority = front.authority();
        setup.endpoint += if is_kept { "/" } else { "" };
        for (client, version) in [(tuspy as fn() -> Command, "1"), (tus_js_client, "2")] {
            let id = setup.intake(version);
            let client = || {
                let mut client = client();
                client.env("REQUESTS_CA_BUNDLE", &authority).env("NODE_EXTRA_CA_CERTS", &authority);
                client
            };
            // The second run finds the upload by its stored `Location`.
            run(client(), &setup.job(&id, &json!({"stop_at": 16 * MIB})));
            let output = run(client(), &setup.job(&id, &json!({})));
            assert!(!output.contains("starts at 0") && !output.contains("anew"), "{output}");
            setup.check_published(&id, version);
        }
    }
}

#[test]
fn curl_uploads_in_three_requests() {
    let setup = Setup::start(&[]);
    let id = setup.intake("1");
    let tus = format!("{}/api/uploads/tus/{id}", setup.process.url);
    let curl = |arguments: &[&str]| {
        let bearer = format!("Authorization: Bearer {}", setup.token);
        let common = ["-sSf", "-D", "-", "-o", "/dev/null", "-H", &bearer, "-H", "Tus-Resumable: 1.0.0"];
        let output = Command::new("curl").args(common).args(arguments).arg(&tus).output().expect("curl runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).to_lowercase()
    };
    let half = setup.dir.path().join("half");
    let rest = setup.dir.path().join("rest");
    split(&setup.file, &half, &rest);
    let typed = "Content-Type: application/offset+octet-stream";
    let (first, second) = (format!("@{}", half.display()), format!("@{}", rest.display()));
    curl(&["-X", "PATCH", "-H", typed, "-H", "Upload-Offset: 0", "--data-binary", &first]);
    assert!(curl(&["-I"]).contains(&format!("upload-offset: {}\r\n", SIZE / 2)));
    let offset = format!("Upload-Offset: {}", SIZE / 2);
    curl(&["-X", "PATCH", "-H", typed, "-H", &offset, "--data-binary", &second]);
    setup.check_published(&id, "1");
}

fn split(file: &Path, half: &Path, rest: &Path) {
    let bytes = std::fs::read(file).expect("the file");
    std::fs::write(half, &bytes[..SIZE / 2]).expect("a half");
    std::fs::write(rest, &bytes[SIZE / 2..]).expect("the rest");
}
