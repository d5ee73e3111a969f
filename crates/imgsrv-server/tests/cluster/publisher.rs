//! A publisher that sends each request to the next node, and retries it on another one when a connection breaks or a
//! service is down. It checks that nothing acknowledged is lost.

use crate::harness::Nodes;
use imgsrv_testkit::digest;
use reqwest::{Body, Client, Method, StatusCode};
use serde_json::{Value, json};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

/// Timeout of a request with its retries.
const TIMEOUT: Duration = Duration::from_mins(2);

#[derive(Clone)]
pub(crate) struct Publisher {
    nodes: Arc<Nodes>,
    http: Client,
    token: String,
    next: Arc<AtomicUsize>,
    /// Number of retries, by the status that caused them; 0 is a broken connection.
    pub(crate) retries: Arc<[AtomicUsize; 600]>,
}

/// A version whose publishing was acknowledged.
#[derive(Debug, Clone)]
pub(crate) struct Published {
    pub(crate) image: String,
    pub(crate) job: String,
    pub(crate) artifact: String,
    pub(crate) digest: String,
}

impl Publisher {
    pub(crate) fn new(nodes: Arc<Nodes>, token: String) -> Self {
        let http = Client::builder().timeout(Duration::from_secs(30)).build().expect("a client");
        let retries = Arc::new([const { AtomicUsize::new(0) }; 600]);
        Self { nodes, http, token, next: Arc::default(), retries }
    }

    fn url(&self, path: &str) -> Option<String> {
        let urls = self.nodes.urls();
        let next = self.next.fetch_add(1, Ordering::Relaxed);
        urls.get(next % urls.len().max(1)).map(|url| format!("{url}{path}"))
    }

    /// Sends a request until the result is neither a broken connection nor 503.
    pub(crate) async fn send(&self, method: Method, path: &str, body: Sent<'_>) -> (StatusCode, Value) {
        let started = Instant::now();
        loop {
            let response = self.send_once(method.clone(), path, body).await;
            match response {
                Some((StatusCode::SERVICE_UNAVAILABLE, _)) | None => {}
                Some((status, body)) => {
                    assert_ne!(status, StatusCode::INTERNAL_SERVER_ERROR, "{method} {path}: {body}");
                    return (status, body);
                }
            }
            let status = response.map_or(0, |(status, _)| status.as_u16());
            self.retries[usize::from(status)].fetch_add(1, Ordering::Relaxed);
            assert!(started.elapsed() < TIMEOUT, "{method} {path} failed until the timeout: {status}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn send_once(&self, method: Method, path: &str, body: Sent<'_>) -> Option<(StatusCode, Value)> {
        let request = self.http.request(method, self.url(path)?).bearer_auth(&self.token);
        let request = match body {
            Sent::Nothing => request,
            Sent::Json(body) => request.json(body),
            Sent::Bytes(bytes) => request.body(Body::from(bytes.to_vec())),
        };
        let response = request.send().await.ok()?;
        let status = response.status();
        let body = response.bytes().await.ok()?;
        Some((status, serde_json::from_slice(&body).unwrap_or(Value::Null)))
    }

    async fn get(&self, path: &str) -> Value {
        let (status, body) = self.send(Method::GET, path, Sent::Nothing).await;
        assert_eq!(status, StatusCode::OK, "{path}: {body}");
        body
    }

    /// Creates something, which a request with a lost response may have created before.
    async fn create(&self, path: &str, body: &Value) -> Value {
        let (status, response) = self.send(Method::POST, path, Sent::Json(body)).await;
        assert!(status.is_success() || status == StatusCode::CONFLICT, "{path}: {status} {response}");
        response
    }

    /// Opens a session for `bytes`.
    pub(crate) async fn open(&self, bytes: &[u8]) -> String {
        let claim = json!({"expected_digest": digest(bytes), "expected_size_bytes": bytes.len()});
        text(&self.create("/v1/uploads", &claim).await, "id").to_owned()
    }

    /// Sends a part until it is acknowledged; returns its entry for the completion.
    pub(crate) async fn part(&self, upload: &str, number: usize, bytes: &[u8]) -> Value {
        let path = format!("/v1/uploads/{upload}/parts/{number}");
        let (status, part) = self.send(Method::PUT, &path, Sent::Bytes(bytes)).await;
        assert_eq!(status, StatusCode::OK, "{path}: {part}");
        json!({"number": number, "etag": part["etag"], "size_bytes": part["size_bytes"]})
    }

    /// Uploads `bytes` in parts of `size`, `at_once` concurrently, and waits until the blob is trusted. All acknowledged
    /// parts must be listed.
    pub(crate) async fn upload(&self, bytes: &[u8], size: usize, at_once: usize) -> String {
        let upload = self.open(bytes).await;
        let chunks: Vec<(usize, &[u8])> = (1..).zip(bytes.chunks(size)).collect();
        let mut acknowledged = Vec::new();
        for batch in chunks.chunks(at_once) {
            let sending = batch.iter().map(|(number, chunk)| self.part(&upload, *number, chunk));
            acknowledged.extend(futures_join(sending).await);
        }
        let listed = self.get(&format!("/v1/uploads/{upload}/parts")).await;
        let listed: Vec<Value> = listed["parts"]
            .as_array()
            .expect("parts")
            .iter()
            .map(|part| json!({"number": part["part_number"], "etag": part["etag"], "size_bytes": part["size_bytes"]}))
            .collect();
        assert_eq!(listed, acknowledged, "acknowledged parts of {upload}");
        let path = format!("/v1/uploads/{upload}/complete");
        let (status, session) = self.send(Method::POST, &path, Sent::Json(&json!({"parts": listed}))).await;
        assert_eq!(status, StatusCode::OK, "{session}");
        self.reaches(&format!("/v1/uploads/{upload}"), "ready").await;
        upload
    }

    /// Waits until the resource at `path` is in the state `wanted`; fails when it is `failed`.
    pub(crate) async fn reaches(&self, path: &str, wanted: &str) -> Value {
        let started = Instant::now();
        loop {
            let body = self.get(path).await;
            let state = text(&body, "state");
            if state == wanted {
                return body;
            }
            assert_ne!(state, "failed", "{path}: {body}");
            assert!(started.elapsed() < TIMEOUT, "{path}: {body}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Publishes `bytes`, a trusted blob, as version 1 of `image` with the alias `latest`.
    pub(crate) async fn publish(&self, image: &str, bytes: &[u8]) -> Published {
        let digest = digest(bytes);
        self.create("/v1/images", &json!({"name": image})).await;
        self.create(&format!("/v1/images/{image}/versions"), &json!({"version": "1"})).await;
        let version = format!("/v1/images/{image}/versions/1");
        let artifact = json!({
            "operating_system": "linux", "architecture": "amd64", "format": "raw", "primary_blob_digest": digest,
            "primary_blob_size_bytes": bytes.len(), "primary_media_type": "application/octet-stream",
        });
        self.create(&format!("{version}/artifacts"), &artifact).await;
        let (status, requested) = self.send(Method::POST, &format!("{version}/publish"), Sent::Nothing).await;
        assert!(status.is_success(), "{version}: {requested}");
        let job = text(&requested, "job_id").to_owned();
        self.reaches(&format!("/v1/publish-jobs/{job}"), "succeeded").await;
        let alias = format!("/v1/images/{image}/aliases/latest");
        let (status, response) = self.send(Method::PUT, &alias, Sent::Json(&json!({"version": "1"}))).await;
        assert_eq!(status, StatusCode::OK, "{response}");
        let listed = self.get(&format!("{version}/artifacts")).await;
        let artifacts = listed["artifacts"].as_array().expect("artifacts");
        assert_eq!(artifacts.len(), 1, "{listed}");
        let artifact = format!("{version}/artifacts/{}", text(&artifacts[0], "id"));
        Published { image: image.to_owned(), job, artifact, digest }
    }

    /// Checks a published version on every node: its bytes, its alias, and that publishing again returns the same job.
    pub(crate) async fn check(&self, published: &Published) {
        let Published { image, job, artifact, digest: expected } = published;
        for url in self.nodes.urls() {
            let read = self.http.get(format!("{url}{artifact}/download")).send().await.expect("a response");
            assert_eq!(read.status(), StatusCode::OK, "{url}{artifact}");
            let bytes = read.bytes().await.expect("a whole body");
            assert_eq!(&digest(&bytes), expected, "{url}{artifact}");
            let alias = self.http.get(format!("{url}/v1/images/{image}/refs/latest")).send().await.expect("a response");
            let manifest: Value = alias.json().await.expect("a manifest");
            assert_eq!(manifest["version"]["state"], "published", "{url} {image}");
            let publish = self.http.post(format!("{url}/v1/images/{image}/versions/1/publish"));
            let again: Value =
                publish.bearer_auth(&self.token).send().await.expect("a response").json().await.expect("a body");
            assert_eq!(text(&again, "job_id"), job, "{url} {image}");
        }
    }
}

/// The body of a request.
#[derive(Clone, Copy)]
pub(crate) enum Sent<'a> {
    Nothing,
    Json(&'a Value),
    Bytes(&'a [u8]),
}

pub(crate) async fn futures_join<T>(work: impl IntoIterator<Item = impl Future<Output = T>>) -> Vec<T> {
    futures::future::join_all(work).await
}

pub(crate) fn text<'a>(body: &'a Value, field: &str) -> &'a str {
    body[field].as_str().unwrap_or_else(|| panic!("no {field} in {body}"))
}

/// Bytes that are different on each call.
pub(crate) fn bytes(length: usize) -> Vec<u8> {
    static COUNT: AtomicU64 = AtomicU64::new(1);
    let mut word = COUNT.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        // Xorshift (Marsaglia, 2003): fast, and incompressible.
        word ^= word << 13;
        word ^= word >> 7;
        word ^= word << 17;
        bytes.extend(word.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}
