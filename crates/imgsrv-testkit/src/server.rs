//! The real router over a SQLite file and a folder of blobs, with a manual clock.

use crate::{
    blobs::{BlobProbe, ProbedBlobs},
    clock::{ManualClock, TestIds},
};
use axum::{
    Router,
    body::Body,
    http::{HeaderMap, HeaderValue, Request, StatusCode, header},
    response::Response,
};
use http_body_util::BodyExt;
use imgsrv_app::{Adapters, Backoff, CollectionSettings, FormatCheck, Ran, ScrubSettings, Services, Settings};
use imgsrv_auth::{CelEngine, OidcVerifier};
use imgsrv_domain::{
    access::Visibility,
    lifecycle::Drain,
    node::Node,
    ports::Catalog,
    work::{WorkKind, WorkerId},
};
use imgsrv_http::{AppState, HttpSettings, router};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::{
    num::NonZeroU64,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

/// `sha256:` and the digest of `bytes`.
pub fn digest(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// A response with its whole body.
#[derive(Debug)]
pub struct TestResponse {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Vec<u8>,
}

impl TestResponse {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|_| panic!("not JSON: {:?}", String::from_utf8_lossy(&self.body)))
    }

    /// A header, or an empty string.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The code of the problem, which is the end of its URN.
    pub fn problem(&self) -> String {
        assert_eq!(self.header("content-type"), "application/problem+json", "{self:?}");
        let body = self.json();
        assert_eq!(body["status"], self.status.as_u16());
        body["type"].as_str().expect("a type").trim_start_matches("urn:imgsrv:problem:").to_owned()
    }
}

/// A server in this process. Its workers run when a test calls [`TestServer::settle`].
pub struct TestServer {
    /// Its clock.
    pub clock: Arc<ManualClock>,
    /// Its blob store.
    pub blobs: BlobProbe,
    /// Its use cases.
    pub services: Services,
    /// A token with `auth.manage`.
    pub manager: String,
    /// A token with `content.write`.
    pub writer: String,
    /// Stops workers, which release their leases.
    pub stop: CancellationToken,
    router: Router,
    settings: Settings,
    http: HttpSettings,
    dir: Arc<TempDir>,
}

impl TestServer {
    /// A fresh server with a manager and a writer.
    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// The same, with changed settings.
    pub async fn start_with(change: impl FnOnce(&mut Settings)) -> Self {
        Self::start_serving(|settings, _| change(settings)).await
    }

    /// The same, with changed settings of the API as well.
    pub async fn start_serving(change: impl FnOnce(&mut Settings, &mut HttpSettings)) -> Self {
        let (dir, clock) = (TempDir::new().expect("a scratch folder"), Arc::new(ManualClock::default()));
        let opened = imgsrv_catalog::sqlite::open(&dir.path().join("catalog.db"), clock.clone()).await;
        Self::start_on(Arc::new(opened.expect("a catalog")), dir, clock, change).await
    }

    /// A fresh server on a new PostgreSQL database, whose clock the test does not control.
    #[cfg(feature = "fresh")]
    pub async fn start_on_postgres() -> Self {
        let url = crate::services::Postgres::shared().await.database().await;
        Self::start_on_database(&url, 4, |_| {}).await
    }

    /// A server on the PostgreSQL database at `url`, with up to so many connections to it and with changed settings.
    #[cfg(feature = "fresh")]
    pub async fn start_on_database(url: &str, max_connections: u32, change: impl FnOnce(&mut Settings)) -> Self {
        Self::start_serving_database(url, max_connections, |settings, _| change(settings)).await
    }

    /// Nodes on a new PostgreSQL database, which have the tokens of the first and no limit on failed bearers. Their blob stores
    /// are not the same.
    #[cfg(feature = "fresh")]
    pub async fn start_nodes(count: usize) -> Vec<Self> {
        let url = crate::services::Postgres::shared().await.database().await;
        let mut nodes: Vec<Self> = Vec::new();
        for _ in 0..count {
            let mut node = Self::start_serving_database(&url, 4, |_, http| http.auth_failure_limit = None).await;
            if let Some(first) = nodes.first() {
                (node.manager, node.writer) = (first.manager.clone(), first.writer.clone());
            }
            nodes.push(node);
        }
        nodes
    }

    #[cfg(feature = "fresh")]
    async fn start_serving_database(
        url: &str,
        max_connections: u32,
        change: impl FnOnce(&mut Settings, &mut HttpSettings),
    ) -> Self {
        let settings = imgsrv_catalog::postgres::PgSettings { url: url.to_owned(), max_connections };
        let catalog = imgsrv_catalog::postgres::open(&settings).await.expect("a catalog");
        let (dir, clock) = (TempDir::new().expect("a scratch folder"), Arc::new(ManualClock::default()));
        Self::start_on(Arc::new(catalog), dir, clock, change).await
    }

    async fn start_on(
        catalog: Arc<dyn Catalog>,
        dir: TempDir,
        clock: Arc<ManualClock>,
        change: impl FnOnce(&mut Settings, &mut HttpSettings),
    ) -> Self {
        let mut settings = Settings {
            default_visibility: Visibility::Public,
            upload_ttl: Duration::from_hours(24),
            max_upload_bytes: None,
            max_open_uploads: None,
            max_open_uploads_per_principal: None,
            max_staged_bytes: None,
            max_staged_bytes_per_principal: None,
            min_free_bytes: None,
            lease_term: Duration::from_secs(30),
            work_attempts: 5,
            sweep_interval: Duration::from_mins(1),
            collection: CollectionSettings::default(),
            streams_newest: None,
            scrub: ScrubSettings { rate: NonZeroU64::new(1 << 30), ..ScrubSettings::default() },
            removal_drain: Drain::new(Duration::from_hours(24)).expect("long enough"),
            hold_cooldown: Duration::from_hours(24),
            default_retention: None,
            retention_interval: Duration::from_hours(1),
            backoff: Backoff::new(Duration::from_secs(5), Duration::from_mins(1)),
            format_check: FormatCheck::Warn,
            worker: WorkerId::new("test-worker".to_owned()),
        };
        let mut http = HttpSettings {
            auth_failure_limit: Some(50),
            body_timeout: Duration::from_millis(200),
            min_body_rate: 0,
            readiness_age: Duration::ZERO,
            ..HttpSettings::default()
        };
        change(&mut settings, &mut http);
        let blobs = BlobProbe::default();
        let adapters = Adapters {
            catalog,
            blobs: Arc::new(ProbedBlobs::open(&dir.path().join("storage"), blobs.clone())),
            clock: clock.clone(),
            ids: Arc::new(TestIds),
            verifier: Arc::new(OidcVerifier::new(true)),
            conditions: Arc::new(CelEngine::start().expect("a thread")),
        };
        let stop = CancellationToken::new();
        let services = Services::new(adapters, settings.clone(), stop.clone());
        // Only the first node on a catalog issues one.
        let manager = services.bootstrap().ensure().await.expect("a bootstrap token").unwrap_or_default();
        let router = router(&AppState::new(services.clone(), http.clone()));
        let (writer, dir) = (String::new(), Arc::new(dir));
        let mut server = Self { clock, blobs, services, manager, writer, stop, router, settings, http, dir };
        if !server.manager.is_empty() {
            server.writer = server.token_with("content-writer").await;
        }
        server
    }

    /// Another node on the same catalog and blob store, which is recorded as running.
    pub async fn other_node(&self) -> Self {
        let worker = WorkerId::new("other-node".to_owned());
        let settings = Settings { worker: worker.clone(), ..self.settings.clone() };
        let services = Services::new(self.services.adapters().clone(), settings.clone(), self.stop.clone());
        let (name, version) = ("other".to_owned(), "test".to_owned());
        let node = Node { worker, name, version, workers: Vec::new() };
        services.nodes().touch(&node).await.expect("the node is recorded");
        Self {
            clock: Arc::clone(&self.clock),
            blobs: self.blobs.clone(),
            router: router(&AppState::new(services.clone(), self.http.clone())),
            services,
            manager: self.manager.clone(),
            writer: self.writer.clone(),
            stop: self.stop.clone(),
            settings,
            http: self.http.clone(),
            dir: Arc::clone(&self.dir),
        }
    }

    /// The folder of the blob store.
    pub fn storage(&self) -> PathBuf {
        self.dir.path().join("storage")
    }

    /// The file of the catalog.
    pub fn catalog_file(&self) -> PathBuf {
        self.dir.path().join("catalog.db")
    }

    /// A token of a new principal with `role`.
    pub async fn token_with(&self, role: &str) -> String {
        let body = json!({"kind": "service", "display_name": role});
        let principal = self.manage("POST", "/v1/auth/principals", Some(body)).await.json();
        let url = format!("/v1/auth/principals/{}", principal["id"].as_str().expect("an id"));
        assert_eq!(self.manage("PUT", &format!("{url}/roles/{role}"), None).await.status, StatusCode::NO_CONTENT);
        let body = json!({"name": "test", "expires_at": "2099-01-01T00:00:00Z"});
        let issued = self.manage("POST", &format!("{url}/api-tokens"), Some(body)).await.json();
        issued["plaintext"].as_str().expect("a token").to_owned()
    }

    /// Sends a request, with a `Host` if it has none.
    pub async fn send(&self, mut request: Request<Body>) -> TestResponse {
        request.headers_mut().entry(header::HOST).or_insert(HeaderValue::from_static("images.test"));
        self.send_as_it_is(request).await
    }

    /// Sends a request without adding anything.
    pub async fn send_as_it_is(&self, request: Request<Body>) -> TestResponse {
        let (parts, body) = self.respond(request).await.into_parts();
        let body = body.collect().await.expect("a whole body").to_bytes().to_vec();
        TestResponse { status: parts.status, headers: parts.headers, body }
    }

    /// Sends a request without adding anything; the body of the response is not received yet.
    pub async fn respond(&self, request: Request<Body>) -> Response {
        self.router.clone().oneshot(request).await.expect("a response")
    }

    /// Sends a request with a JSON body and a bearer token.
    pub async fn call(&self, bearer: Option<&str>, method: &str, path: &str, body: Option<Value>) -> TestResponse {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(bearer) = bearer {
            request = request.header("authorization", format!("Bearer {bearer}"));
        }
        if body.is_some() {
            request = request.header("content-type", "application/json");
        }
        let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
        self.send(request.body(body).expect("a request")).await
    }

    /// Sends an anonymous GET request.
    pub async fn get(&self, path: &str) -> TestResponse {
        self.call(None, "GET", path, None).await
    }

    /// Sends a request as the manager.
    pub async fn manage(&self, method: &str, path: &str, body: Option<Value>) -> TestResponse {
        self.call(Some(&self.manager), method, path, body).await
    }

    /// Sends a request as the writer.
    pub async fn write(&self, method: &str, path: &str, body: Option<Value>) -> TestResponse {
        self.call(Some(&self.writer), method, path, body).await
    }

    /// Opens an upload session for `bytes` and returns its id.
    pub async fn open_upload(&self, bytes: &[u8]) -> String {
        let body = json!({"expected_digest": digest(bytes), "expected_size_bytes": bytes.len()});
        let response = self.write("POST", "/v1/uploads", Some(body)).await;
        assert!(response.status.is_success(), "{response:?}");
        response.json()["id"].as_str().expect("an id").to_owned()
    }

    /// Sends a part.
    pub async fn put_part(&self, upload: &str, number: u32, bytes: impl Into<Body>) -> TestResponse {
        let request = Request::builder()
            .method("PUT")
            .uri(format!("/v1/uploads/{upload}/parts/{number}"))
            .header("authorization", format!("Bearer {}", self.writer));
        self.send(request.body(bytes.into()).expect("a request")).await
    }

    /// Completes an upload with all parts that the server lists.
    pub async fn complete(&self, upload: &str) -> TestResponse {
        let listed = self.write("GET", &format!("/v1/uploads/{upload}/parts"), None).await.json();
        let part = |part: &Value| json!({"number": part["part_number"], "etag": part["etag"], "size_bytes": part["size_bytes"]});
        let parts: Vec<Value> = listed["parts"].as_array().expect("parts").iter().map(part).collect();
        self.write("POST", &format!("/v1/uploads/{upload}/complete"), Some(json!({"parts": parts}))).await
    }

    /// The state of an upload.
    pub async fn upload_state(&self, upload: &str) -> String {
        let session = self.write("GET", &format!("/v1/uploads/{upload}"), None).await.json();
        session["state"].as_str().expect("a state").to_owned()
    }

    /// Makes `bytes` a trusted blob and returns its digest.
    pub async fn blob(&self, bytes: &[u8]) -> String {
        let upload = self.open_upload(bytes).await;
        if self.upload_state(&upload).await != "ready" {
            assert_eq!(self.put_part(&upload, 1, bytes.to_vec()).await.status, StatusCode::OK);
            assert_eq!(self.complete(&upload).await.status, StatusCode::OK);
            self.settle().await;
            assert_eq!(self.upload_state(&upload).await, "ready");
        }
        digest(bytes)
    }

    /// Creates a draft with one artifact of `bytes`, and the trusted blob; returns the artifact's id.
    pub async fn draft(&self, image: &str, version: &str, bytes: &[u8]) -> String {
        let digest = self.blob(bytes).await;
        let created = self.write("POST", "/v1/images", Some(json!({"name": image}))).await;
        assert!(matches!(created.status, StatusCode::CREATED | StatusCode::CONFLICT));
        let url = format!("/v1/images/{image}/versions");
        assert_eq!(self.write("POST", &url, Some(json!({"version": version}))).await.status, StatusCode::CREATED);
        let body = artifact_body(&digest, bytes.len());
        let artifact = self.write("POST", &format!("{url}/{version}/artifacts"), Some(body)).await;
        assert_eq!(artifact.status, StatusCode::CREATED, "{artifact:?}");
        artifact.json()["id"].as_str().expect("an id").to_owned()
    }

    /// Creates and publishes a version with one artifact of `bytes`; returns the artifact's id.
    pub async fn published(&self, image: &str, version: &str, bytes: &[u8]) -> String {
        let artifact = self.draft(image, version, bytes).await;
        let response = self.write("POST", &format!("/v1/images/{image}/versions/{version}/publish"), None).await;
        assert_eq!(response.status, StatusCode::ACCEPTED, "{response:?}");
        self.settle().await;
        artifact
    }

    /// Runs all background work that is due.
    pub async fn settle(&self) {
        self.services.enqueue_recurring().await.expect("recurring work is enqueued");
        // An upload that the sweep ends is cleared as well.
        let ended = [WorkKind::Sweep, WorkKind::Clear, WorkKind::Tombstone, WorkKind::Retention, WorkKind::Collect];
        for kind in [WorkKind::Ingest, WorkKind::Publish].into_iter().chain(ended).chain([WorkKind::Scrub]) {
            let worker = self.services.worker(kind);
            while worker.run_once().await.expect("work") == Ran::Worked {}
        }
    }

    /// Runs hand-written SQL on the SQLite catalog, as an operator with a shell would.
    pub async fn sql(&self, statement: &str) {
        use sqlx::{AssertSqlSafe, ConnectOptions, Executor, sqlite::SqliteConnectOptions};
        let options = SqliteConnectOptions::new().filename(self.catalog_file()).foreign_keys(false);
        let mut connection = options.connect().await.expect("a connection");
        let done = connection.execute(AssertSqlSafe(statement.to_owned())).await.expect("it is executed");
        assert!(done.rows_affected() > 0, "{statement} changes nothing");
    }

    /// The paths of all staged files and blobs, relative to the blob store.
    pub fn stored_files(&self) -> Vec<String> {
        let mut files = Vec::new();
        for folder in ["staging", "cas"] {
            walk(&self.storage(), &self.storage().join(folder), &mut files);
        }
        files.sort();
        files
    }
}

/// The body of a qcow2 artifact for amd64.
fn artifact_body(digest: &str, size: usize) -> Value {
    json!({
        "operating_system": "debian", "architecture": "amd64", "format": "qcow2", "primary_blob_digest": digest,
        "primary_blob_size_bytes": size, "primary_media_type": "application/x-qemu-disk",
    })
}

fn walk(root: &Path, folder: &Path, files: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            walk(root, &path, files);
        } else {
            files.push(path.strip_prefix(root).expect("below the root").display().to_string());
        }
    }
}
