//! A server on a small disk, with a published version.

use crate::disk::Disk;
use imgsrv_testkit::{Process, digest, qcow2, writer_token};
use serde_json::{Value, json};
use std::{
    path::PathBuf,
    process::{Command, Output},
};
use tempfile::TempDir;

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_imgsrv");
/// The disk is smaller than what stays free by default.
pub(crate) const ARGUMENTS: [&str; 4] = ["--min-free-bytes", "0", "--lease-term", "2s"];

/// A server on a small disk, with version 1 of the image `debian`.
pub(crate) struct Site {
    pub(crate) server: Process,
    data: PathBuf,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    token: String,
    images: u32,
    files: TempDir,
}

impl Site {
    /// With an embedded catalog on the disk, beside the blobs.
    pub(crate) fn publish(disk: &Disk) -> Self {
        Self::publish_with(TempDir::new().expect("a scratch folder"), disk.path().to_owned(), &[], Vec::new())
    }

    /// With a catalog in the database at `url`, and blobs on the disk.
    pub(crate) fn publish_on_postgres(disk: &Disk, url: &str) -> Self {
        let files = TempDir::new().expect("a scratch folder");
        let storage = ["--storage-dir", disk.path().to_str().expect("a path")];
        let environment = vec![("IMGSRV_POSTGRES_URL".to_owned(), url.to_owned())];
        let data = files.path().join("data");
        Self::publish_with(files, data, &storage, environment)
    }

    fn publish_with(files: TempDir, data: PathBuf, arguments: &[&str], environment: Vec<(String, String)>) -> Self {
        let arguments = [&ARGUMENTS[..], arguments].concat();
        let server = Process::start_with(BINARY, &data, &arguments, &environment);
        let token = writer_token(&server.url, server.bootstrap.as_deref().expect("a bootstrap token"));
        let arguments = arguments.into_iter().map(str::to_owned).collect();
        let mut site = Self { server, data, arguments, environment, token, images: 0, files };
        site.publish_version(1);
        site
    }

    /// Starts the server again.
    pub(crate) fn start(&mut self) {
        let arguments: Vec<&str> = self.arguments.iter().map(String::as_str).collect();
        self.server = Process::start_with(BINARY, &self.data, &arguments, &self.environment);
    }

    /// Runs a command with the writer's token.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(BINARY);
        command.args(arguments).current_dir(self.files.path());
        command.env("IMGSRV_URL", &self.server.url).env("IMGSRV_TOKEN", &self.token);
        command.output().expect("it runs")
    }

    fn publish_version(&mut self, version: u64) {
        std::fs::write(self.files.path().join("disk.qcow2"), qcow2(version)).expect("a file");
        let published = self.run(&["publish", "debian", &version.to_string(), "disk.qcow2", "--arch", "amd64"]);
        assert!(published.status.success(), "{published:?}\n{}", self.server.log());
    }

    fn send(&self, method: &str, path: &str, body: Vec<u8>) -> ureq::http::Response<ureq::Body> {
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.server.url))
            .header("authorization", format!("Bearer {}", self.token))
            .header("content-type", "application/json");
        agent.run(request.body(body).expect("a request")).expect("a response")
    }

    fn get(&self, path: &str) -> Vec<u8> {
        let mut response = self.send("GET", path, Vec::new());
        assert_eq!(response.status(), 200, "{path}\n{}", self.server.log());
        response.body_mut().read_to_vec().expect("a body")
    }

    /// The status of a write, and the kind of its problem.
    fn write(&self, method: &str, path: &str, body: Vec<u8>) -> (u16, String) {
        let mut response = self.send(method, path, body);
        let body: Value = response.body_mut().read_json().unwrap_or_default();
        let problem = body["type"].as_str().unwrap_or_default().trim_start_matches("urn:imgsrv:problem:").to_owned();
        (response.status().as_u16(), problem)
    }

    /// Creates another image; returns the status.
    pub(crate) fn create_image(&mut self) -> u16 {
        self.images += 1;
        self.create_named_image(&format!("image-{}", self.images)).0
    }

    /// Creates an image of that name; returns the status, and the kind of the problem.
    pub(crate) fn create_named_image(&self, name: &str) -> (u16, String) {
        self.write("POST", "/v1/images", json!({"name": name}).to_string().into())
    }

    /// Opens an upload and sends its part.
    pub(crate) fn send_part(&self) -> (u16, String) {
        self.send_part_of(qcow2(99))
    }

    /// Opens an upload of `bytes` and sends them.
    pub(crate) fn send_part_of(&self, bytes: Vec<u8>) -> (u16, String) {
        let body = json!({"expected_digest": digest(&bytes), "expected_size_bytes": bytes.len()});
        let mut opened = self.send("POST", "/v1/uploads", body.to_string().into());
        let opened: Value = opened.body_mut().read_json().expect("JSON");
        let upload = opened["id"].as_str().expect("an id");
        self.write("PUT", &format!("/v1/uploads/{upload}/parts/1"), bytes)
    }

    /// Limits the size of the files that the server may write.
    pub(crate) fn limit_file_size(&self, bytes: &str) {
        let (pid, limit) = (self.server.id().to_string(), format!("--fsize={bytes}:"));
        let done =
            Command::new("prlimit").args(["--pid", &pid, &limit]).output().expect("prlimit, of util-linux, runs");
        assert!(done.status.success(), "{done:?}");
    }

    /// The status of `/readyz`.
    pub(crate) fn readiness(&self) -> u16 {
        self.send("GET", "/readyz", Vec::new()).status().as_u16()
    }

    /// Asserts that all reads work.
    pub(crate) fn serves_reads(&self) {
        let images = String::from_utf8(self.get("/v1/images")).expect("text");
        assert!(images.contains("debian"), "{images}");
        let manifest: Value = serde_json::from_slice(&self.get("/v1/images/debian/versions/1")).expect("JSON");
        assert_eq!(manifest["version"]["state"], "published", "{manifest}");
        let disk = qcow2(1);
        assert_eq!(self.get(&format!("/v1/blobs/{}", digest(&disk))), disk);
        let sums = String::from_utf8(self.get("/images/debian/1/SHA256SUMS")).expect("text");
        assert!(sums.contains(digest(&disk).trim_start_matches("sha256:")), "{sums}");
        assert!(String::from_utf8_lossy(&self.get("/streams/v1/index.json")).contains("images.json"));
        self.get("/streams/v1/images.json");
    }

    /// Asserts what `/readyz` and the metrics say.
    pub(crate) fn says(&self, reason: Option<&str>) {
        let ready = self.send("GET", "/readyz", Vec::new());
        assert_eq!(ready.status(), 204);
        let header = ready.headers().get("imgsrv-degraded").map(|value| value.to_str().expect("text"));
        assert_eq!(header, reason, "{}", self.server.log());
        let mut metrics = ureq::get(&self.server.metrics).call().expect("a response");
        let metrics = metrics.body_mut().read_to_string().expect("text");
        for each in ["storage-full", "storage-read-only"] {
            let line = format!("imgsrv_degraded{{reason=\"{each}\"}} {}", u8::from(reason == Some(each)));
            assert!(metrics.contains(&line), "{line} is not in\n{metrics}");
        }
    }

    /// Asserts that reads work and writes are refused for `reason`, never with 500.
    pub(crate) fn serves_reads_alone(&mut self, reason: &str, status: u16) {
        self.serves_reads();
        self.says(Some(reason));
        for (method, path, body) in [
            ("POST", "/v1/images", json!({"name": "refused"})),
            ("PATCH", "/v1/images/debian", json!({"display_name": "Debian"})),
            ("POST", "/v1/uploads", json!({"expected_digest": digest(b"x"), "expected_size_bytes": 1})),
            ("DELETE", "/v1/images/debian/aliases/none", Value::Null),
        ] {
            let (found, problem) =
                self.write(method, path, if body.is_null() { Vec::new() } else { body.to_string().into() });
            // A running server may have space left in the catalog's log.
            let is_accepted = status == 507 && matches!(found, 200 | 201 | 404);
            assert!(is_accepted || (found, &*problem) == (status, reason), "{method} {path}: {found} {problem}");
        }
    }

    /// Asserts that the server accepts writes again, and that background work is done.
    pub(crate) fn recovers(&mut self) {
        self.server.log_with("storage accepts writes again");
        assert_eq!(self.create_image(), 201, "{}", self.server.log());
        self.images += 1;
        self.publish_version(u64::from(self.images) + 1);
        self.serves_reads();
        self.says(None);
    }
}
