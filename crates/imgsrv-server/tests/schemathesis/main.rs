//! The OpenAPI document against the real binary: schemathesis generates valid and invalid requests for every operation,
//! and checks every response. Its settings are in `schemathesis.toml`.

use imgsrv_testkit::{
    Process, digest, qcow2,
    services::{openapi_validator, schemathesis},
};
use serde_json::{Value, json};
use std::{
    path::{Path, PathBuf},
    process::Command,
};
use tempfile::TempDir;

const BINARY: &str = env!("CARGO_BIN_EXE_imgsrv");
/// Generated requests, at least.
const MIN_CASES: u64 = 2000;

fn document() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../openapi/v1.yaml")
}

fn here(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/schemathesis").join(file)
}

/// Runs a command and waits until it ends; returns whether it succeeded, and what it wrote.
fn run(command: &mut Command) -> (bool, String) {
    let output = command.output().expect("it runs");
    let written = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    (output.status.success(), written.concat())
}

/// A server with published content, and a caller with every role.
struct Setup {
    process: Process,
    dir: TempDir,
    /// What the settings and the hooks of schemathesis refer to.
    variables: Vec<(&'static str, String)>,
}

impl Setup {
    fn start() -> Self {
        let dir = TempDir::new().expect("a scratch folder");
        // With a limit, an absurd size is refused as such, and not for lack of space.
        let process = Process::start(BINARY, &dir.path().join("data"), &["--max-upload-bytes", "1GiB"]);
        let mut setup = Self { process, dir, variables: Vec::new() };
        let caller = setup.call("GET", "/v1/auth/whoami", None);
        let id = |value: &Value| value.as_str().expect("an id").to_owned();
        let principal = id(&caller["principal"]["id"]);
        setup.call("PUT", &format!("/v1/auth/principals/{principal}/roles/content-writer"), None);
        let [artifact, attachment, job, digest] = setup.publish();
        let intake = json!({
            "image": "ubuntu", "version": "1", "operating_system": "ubuntu", "architecture": "amd64", "size_bytes": 9,
        });
        let intake = setup.call("POST", "/api/images", Some(&intake));
        let rule = json!({
            "id": "ci", "display_name": "CI", "issuer_url": "https://issuer.example", "audience": "imgsrv",
            "forwarded_claims": ["repository"], "condition": "claims.repository == 'acme/images'",
        });
        setup.call("POST", "/v1/auth/oidc-provisioning-rules", Some(&rule));
        let hex = digest.trim_start_matches("sha256:");
        let token = setup.token();
        setup.variables = vec![
            ("IMGSRV_HOOKS", here("hooks.py").display().to_string()),
            ("IMGSRV_TOKEN", token),
            ("IMGSRV_PRINCIPAL_ID", principal),
            ("IMGSRV_TOKEN_ID", id(&caller["authentication"]["api_token_id"])),
            ("IMGSRV_ARTIFACT_ID", artifact),
            ("IMGSRV_ATTACHMENT_ID", attachment),
            ("IMGSRV_INTAKE_ID", id(&intake["upload_session_id"])),
            ("IMGSRV_JOB_ID", job),
            ("IMGSRV_SHARD", hex[..2].to_owned()),
            ("IMGSRV_HEX", hex.to_owned()),
        ];
        setup
    }

    /// The settings with the variables replaced, which schemathesis itself does only for some of them.
    fn settings(&self) -> PathBuf {
        let mut settings = std::fs::read_to_string(here("schemathesis.toml")).expect("the settings");
        for (name, value) in &self.variables {
            settings = settings.replace(&format!("${{{name}}}"), value);
        }
        let path = self.dir.path().join("schemathesis.toml");
        std::fs::write(&path, settings).expect("a file");
        path
    }

    fn token(&self) -> String {
        self.process.bootstrap.clone().expect("a bootstrap token")
    }

    fn send(&self, method: &str, path: &str, media_type: &str, body: impl ureq::AsSendBody) -> Value {
        let request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.process.url))
            .header("authorization", format!("Bearer {}", self.token()))
            .header("content-type", media_type);
        let response = ureq::run(request.body(body).expect("a request"));
        let mut response = response.unwrap_or_else(|error| panic!("{method} {path}: {error}"));
        response.body_mut().read_json().unwrap_or_default()
    }

    fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Value {
        self.send(method, path, "application/json", body.map(Value::to_string).unwrap_or_default())
    }

    /// Publishes `debian/1` with an artifact that has an attachment, as `latest`; returns their ids, that of the
    /// publish job, and the digest.
    fn publish(&self) -> [String; 4] {
        let bytes = qcow2(1);
        let (digest, size) = (digest(&bytes), bytes.len());
        let upload =
            self.call("POST", "/v1/uploads", Some(&json!({"expected_digest": digest, "expected_size_bytes": size})));
        let upload = format!("/v1/uploads/{}", upload["id"].as_str().expect("an id"));
        let part = self.send("PUT", &format!("{upload}/parts/1"), "application/octet-stream", &bytes[..]);
        let parts = json!({"parts": [{"number": 1, "etag": part["etag"], "size_bytes": size}]});
        self.call("POST", &format!("{upload}/complete"), Some(&parts));
        self.call("POST", "/v1/images", Some(&json!({"name": "debian"})));
        self.call("POST", "/v1/images/debian/versions", Some(&json!({"version": "1"})));
        let version = "/v1/images/debian/versions/1";
        let artifact = json!({
            "operating_system": "debian", "architecture": "amd64", "format": "qcow2", "primary_blob_digest": digest,
            "primary_blob_size_bytes": size, "primary_media_type": "application/x-qemu-disk",
        });
        let artifact = self.call("POST", &format!("{version}/artifacts"), Some(&artifact));
        let artifact = artifact["id"].as_str().expect("an id").to_owned();
        let attachment = json!({
            "name": "copy", "media_type": "application/octet-stream", "blob_digest": digest, "blob_size_bytes": size,
        });
        let path = format!("{version}/artifacts/{artifact}/attachments");
        let attachment = self.call("POST", &path, Some(&attachment))["id"].as_str().expect("an id").to_owned();
        let job = self.call("POST", &format!("{version}/publish"), None)["job_id"].as_str().expect("an id").to_owned();
        self.process.log_with("action=version.published");
        self.call("PUT", "/v1/images/debian/aliases/latest", Some(&json!({"version": "1"})));
        [artifact, attachment, job, digest]
    }
}

#[test]
fn the_document_is_valid_openapi() {
    let (is_valid, output) = run(openapi_validator().arg(document()));
    assert!(is_valid, "{output}");
}

#[test]
fn the_server_answers_as_documented() {
    let setup = Setup::start();
    let report = setup.dir.path().join("report.json");
    let mut command = schemathesis();
    command.arg("--config-file").arg(setup.settings()).arg("run").arg(document());
    command.args(["--url", &setup.process.url, "--checks", "all", "--max-examples", "20", "--seed", "1"]);
    // One worker: the interpreter runs one thread at a time, and the order of requests is the same in each run.
    command.args(["--workers", "1", "--continue-on-failure", "--generation-database", "none", "--no-color"]);
    command.args(["--report", "json", "--report-json-path"]).arg(&report).envs(setup.variables.clone());
    let (is_clean, output) = run(command.current_dir(setup.dir.path()));
    let report = std::fs::read_to_string(&report).unwrap_or_else(|error| panic!("no report: {error}\n{output}"));
    let report: Value = serde_json::from_str(&report).expect("JSON");
    let cases = &report["test_cases"];
    assert!(is_clean, "{output}");
    assert_eq!((&cases["unique_failures"], &cases["errored"]), (&json!(0), &json!(0)), "{output}");
    assert!(cases["generated"].as_u64() >= Some(MIN_CASES), "{cases}");
    for phase in ["coverage", "fuzzing", "stateful"] {
        assert_eq!(report["phases"][phase]["status"], "success", "{phase}: {}", report["phases"]);
    }
    // The caller still has its roles: the requests were not all refused.
    let caller = setup.call("GET", "/v1/auth/whoami", None);
    assert_eq!(caller["actions"].as_array().map(Vec::len), Some(4), "{caller}");
}
