//! A server with a self-signed certificate, and a publisher that uses it over HTTPS.

use imgsrv_testkit::Process;
use reqwest::{Certificate, Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

/// The hexadecimal digits of the digest of `bytes`.
pub(crate) fn digest(bytes: &[u8]) -> String {
    imgsrv_testkit::digest(bytes).trim_start_matches("sha256:").to_owned()
}

/// An artifact of a version, with its attachments.
#[derive(Clone)]
pub(crate) struct Artifact<'a> {
    pub(crate) format: &'a str,
    pub(crate) architecture: &'a str,
    pub(crate) variant: &'a str,
    pub(crate) bytes: &'a [u8],
    pub(crate) attachments: Vec<(&'a str, &'a [u8])>,
    /// The request for generated metadata.
    pub(crate) properties: Option<Value>,
    /// The name of the image when absent.
    pub(crate) operating_system: Option<&'a str>,
}

impl<'a> Artifact<'a> {
    pub(crate) fn new(format: &'a str, bytes: &'a [u8]) -> Self {
        let (architecture, variant) = ("x86_64", "default");
        Self { format, architecture, variant, bytes, attachments: Vec::new(), properties: None, operating_system: None }
    }

    pub(crate) fn qcow2(bytes: &'a [u8]) -> Self {
        Self::new("qcow2", bytes)
    }

    pub(crate) fn with(mut self, name: &'a str, bytes: &'a [u8]) -> Self {
        self.attachments.push((name, bytes));
        self
    }

    /// With metadata that the server generates.
    pub(crate) fn described(self) -> Self {
        self.with_properties(&json!({}))
    }

    /// With metadata that the server generates with these properties.
    pub(crate) fn with_properties(self, properties: &Value) -> Self {
        Self { properties: Some(properties.clone()), ..self }
    }
}

/// A version to publish.
pub(crate) struct Release<'a> {
    pub(crate) image: &'a str,
    pub(crate) version: &'a str,
    pub(crate) artifacts: &'a [Artifact<'a>],
}

/// A running server, and a token of a publisher.
pub(crate) struct Publisher {
    process: Process,
    pub(crate) url: String,
    token: String,
    http: reqwest::Client,
    runtime: Runtime,
    data: TempDir,
}

impl Publisher {
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    pub(crate) fn start_with(more: &[&str]) -> Self {
        let data = TempDir::new().expect("a data folder");
        let arguments = [&["--tls-self-signed"], more].concat();
        let process = Process::start(env!("CARGO_BIN_EXE_imgsrv"), data.path(), &arguments);
        let authority = std::fs::read(data.path().join("tls/ca.crt")).expect("the authority");
        let authority = Certificate::from_pem(&authority).expect("a certificate");
        let http = reqwest::Client::builder().tls_certs_only([authority]).build().expect("a client");
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let url = process.url.replace("http://", "https://");
        let token = process.bootstrap.clone().expect("a bootstrap token");
        let mut publisher = Self { process, url, token, http, runtime, data };
        let body = json!({"kind": "service", "display_name": "ci"});
        let principal = format!("/v1/auth/principals/{}", text(&publisher.post("/v1/auth/principals", &body), "id"));
        for role in ["content-writer", "content-admin"] {
            publisher.send(Method::PUT, &format!("{principal}/roles/{role}"), &Value::Null);
        }
        let body = json!({"name": "ci", "expires_at": "2099-01-01T00:00:00Z"});
        publisher.token = text(&publisher.post(&format!("{principal}/api-tokens"), &body), "plaintext");
        publisher
    }

    /// The file with the server's authority.
    pub(crate) fn authority(&self) -> String {
        self.data.path().join("tls/ca.crt").display().to_string()
    }

    /// The command that the server prints for adding it to Incus.
    pub(crate) fn command_to_trust(&self) -> String {
        let before = "to add this server to Incus: ";
        let log = self.process.log_with(before);
        let command = log.lines().find_map(|line| line.split_once(before));
        command.expect("a command").1.to_owned()
    }

    /// The routes that were requested without TLS, according to the metrics.
    pub(crate) fn plaintext_routes(&self) -> Vec<String> {
        let mut response = ureq::get(&self.process.metrics).call().expect("metrics");
        let metrics = response.body_mut().read_to_string().expect("text");
        let is_count = |line: &&str| line.starts_with("http_server_request_duration_seconds_count");
        let plaintext = metrics.lines().filter(is_count).filter(|line| line.contains("url_scheme=\"http\""));
        let route = |line: &str| Some(line.split_once("http_route=\"")?.1.split_once('"')?.0.to_owned());
        let mut routes: Vec<String> = plaintext.filter_map(route).collect();
        routes.sort();
        routes.dedup();
        routes
    }

    fn send(&self, method: Method, path: &str, body: &Value) -> Value {
        self.runtime.block_on(async {
            let request = self.http.request(method.clone(), format!("{}{path}", self.url)).bearer_auth(&self.token);
            let request = if body.is_null() { request } else { request.json(body) };
            let response = request.send().await.expect("a response");
            let status = response.status();
            let body = response.bytes().await.expect("a body");
            let exists = status == StatusCode::CONFLICT && path == "/v1/images";
            assert!(status.is_success() || exists, "{method} {path}: {status} {}", String::from_utf8_lossy(&body));
            serde_json::from_slice(&body).unwrap_or(Value::Null)
        })
    }

    /// Its port.
    pub(crate) fn port(&self) -> u16 {
        self.url.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).expect("a port")
    }

    /// The publisher's token.
    pub(crate) fn token(&self) -> &str {
        &self.token
    }

    /// What the server has logged.
    pub(crate) fn log(&self) -> String {
        self.process.log_with("")
    }

    /// A token of a new principal that may only read.
    pub(crate) fn reader(&self) -> String {
        let manager = self.process.bootstrap.clone().expect("a bootstrap token");
        let send = |method: Method, path: &str, body: Value| {
            self.runtime.block_on(async {
                let request = self.http.request(method, format!("{}{path}", self.url)).bearer_auth(&manager);
                let request = if body.is_null() { request } else { request.json(&body) };
                let response = request.send().await.expect("a response");
                assert!(response.status().is_success(), "{path}: {}", response.status());
                serde_json::from_slice(&response.bytes().await.expect("a body")).unwrap_or(Value::Null)
            })
        };
        let host = json!({"kind": "service", "display_name": "host"});
        let host = format!("/v1/auth/principals/{}", text(&send(Method::POST, "/v1/auth/principals", host), "id"));
        send(Method::PUT, &format!("{host}/roles/content-reader"), Value::Null);
        let body = json!({"expires_at": "2099-01-01T00:00:00Z"});
        text(&send(Method::POST, &format!("{host}/api-tokens"), body), "plaintext")
    }

    /// The status of an anonymous GET over TLS.
    pub(crate) fn status(&self, path: &str) -> u16 {
        let response = self.runtime.block_on(self.http.get(format!("{}{path}", self.url)).send());
        response.expect("a response").status().as_u16()
    }

    /// The HTML that a browser gets.
    pub(crate) fn page(&self, path: &str) -> String {
        self.runtime.block_on(async {
            let response = self.http.get(format!("{}{path}", self.url)).header("accept", "text/html").send().await;
            response.expect("a response").text().await.expect("a page")
        })
    }

    /// The same in plaintext.
    pub(crate) fn status_in_clear(&self, path: &str) -> u16 {
        let url = format!("{}{path}", self.url.replace("https://", "http://"));
        self.runtime.block_on(self.http.get(url).send()).expect("a response").status().as_u16()
    }

    /// Makes an image private.
    pub(crate) fn make_private(&self, image: &str) {
        self.send(Method::PATCH, &format!("/v1/images/{image}"), &json!({"visibility": "private"}));
    }

    /// Revokes the links to the files of an image.
    pub(crate) fn revoke_links(&self, image: &str) {
        self.post(&format!("/v1/images/{image}/links/revoke"), &Value::Null);
    }

    fn post(&self, path: &str, body: &Value) -> Value {
        self.send(Method::POST, path, body)
    }

    /// Uploads bytes and waits until the blob is trusted.
    fn upload(&self, bytes: &[u8]) -> Value {
        let claim = json!({"expected_digest": imgsrv_testkit::digest(bytes), "expected_size_bytes": bytes.len()});
        let session = self.post("/v1/uploads", &claim);
        let url = format!("/v1/uploads/{}", text(&session, "id"));
        if session["state"] != "ready" {
            let part = self.runtime.block_on(async {
                let put = self.http.put(format!("{}{url}/parts/1", self.url)).bearer_auth(&self.token);
                let response = put.body(bytes.to_vec()).send().await.expect("a response");
                serde_json::from_slice::<Value>(&response.bytes().await.expect("a body")).expect("a part")
            });
            let listed = json!({"parts": [{"number": 1, "etag": part["etag"], "size_bytes": part["size_bytes"]}]});
            self.post(&format!("{url}/complete"), &listed);
            self.wait(&url, "ready");
        }
        json!({"digest": claim["expected_digest"], "size": bytes.len()})
    }

    fn wait(&self, url: &str, state: &str) -> Value {
        for _ in 0..600 {
            let found = self.send(Method::GET, url, &Value::Null);
            assert_ne!(found["state"], "failed", "{found}");
            if found["state"] == state {
                return found;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        panic!("{url} is not {state}");
    }

    /// Creates a complete draft.
    pub(crate) fn draft(&self, release: &Release<'_>) {
        let Release { image, version, artifacts } = release;
        self.post("/v1/images", &json!({"name": image}));
        self.post(&format!("/v1/images/{image}/versions"), &json!({"version": version}));
        for artifact in *artifacts {
            let blob = self.upload(artifact.bytes);
            let url = format!("/v1/images/{image}/versions/{version}/artifacts");
            let added = self.post(
                &url,
                &json!({
                    "operating_system": artifact.operating_system.unwrap_or(image), "architecture": artifact.architecture, "variant": artifact.variant,
                    "format": artifact.format, "primary_blob_digest": blob["digest"],
                    "primary_blob_size_bytes": blob["size"], "primary_media_type": "application/octet-stream",
                }),
            );
            let url = format!("{url}/{}", text(&added, "id"));
            for (name, bytes) in &artifact.attachments {
                let blob = self.upload(bytes);
                let body = json!({"name": name, "media_type": "application/x-xz", "blob_digest": blob["digest"],
                    "blob_size_bytes": blob["size"]});
                self.post(&format!("{url}/attachments"), &body);
            }
            if let Some(properties) = &artifact.properties {
                self.post(&format!("{url}/incus-metadata"), properties);
            }
        }
    }

    /// Publishes a version without a warning.
    pub(crate) fn publish(&self, release: &Release<'_>) {
        self.draft(release);
        let url = format!("/v1/images/{}/versions/{}/publish", release.image, release.version);
        let job = text(&self.post(&url, &Value::Null), "job_id");
        let done = self.wait(&format!("/v1/publish-jobs/{job}"), "succeeded");
        assert_eq!(done["warnings"], Value::Null, "{done}");
    }

    /// Changes the lifecycle of a version.
    pub(crate) fn retire(&self, image: &str, version: &str, action: &str, body: &Value) {
        self.post(&format!("/v1/images/{image}/versions/{version}/{action}"), body);
    }

    pub(crate) fn alias(&self, image: &str, alias: &str, version: &str) {
        let url = format!("/v1/images/{image}/aliases/{alias}");
        self.send(Method::PUT, &url, &json!({"version": version}));
    }
}

fn text(value: &Value, field: &str) -> String {
    value[field].as_str().unwrap_or_else(|| panic!("no {field} in {value}")).to_owned()
}
