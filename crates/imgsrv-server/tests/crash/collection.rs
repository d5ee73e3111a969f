//! Uploads, drafts, publishes and downloads of the same few digests, against a collector that runs without a pause and
//! crashes at each of its points. In the end, every published version has its bytes, and nothing else is stored.

use crate::victim::{Victim, text};
use futures::future::{join, join_all};
use imgsrv_testkit::{
    digest, qcow2,
    services::{Postgres, S3},
};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::sync::RwLock;

const POINTS: [&str; 4] = ["gc.committing", "gc.recorded", "gc.removed", "gc.forgotten"];
const PUBLISHERS: u64 = 4;
const DIGESTS: u64 = 3;
const VERSIONS: u64 = 4;
const UNCEASING: [&str; 4] = ["--gc-interval", "1ms", "--gc-grace", "0"];
const DEADLINE: Duration = Duration::from_mins(4);
const VERSIONS_URL: &str = "/v1/images/debian/versions";

struct Race {
    victim: RwLock<Victim>,
    /// The bytes of published versions, by the URL of their download.
    published: Mutex<BTreeMap<String, Vec<u8>>>,
    is_over: AtomicBool,
    /// Whether the server has crashed in this round.
    has_crashed: AtomicBool,
    until: Instant,
}

impl Race {
    /// Sends a request until the server responds; it may be crashing.
    async fn send(&self, method: Method, path: &str, body: Option<Value>) -> (StatusCode, Value) {
        loop {
            if let Ok(answer) = self.victim.read().await.send(method.clone(), path, body.clone()).await
                && !answer.0.is_server_error()
            {
                return answer;
            }
            self.pause().await;
        }
    }

    async fn pause(&self) {
        assert!(Instant::now() < self.until, "the race takes too long");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }

    /// Uploads `bytes`, from the beginning whenever something goes wrong.
    async fn upload(&self, bytes: &[u8]) {
        let new = json!({"expected_digest": digest(bytes), "expected_size_bytes": bytes.len()});
        loop {
            let (status, opened) = self.send(Method::POST, "/v1/uploads", Some(new.clone())).await;
            assert!(status.is_success(), "{opened}");
            if opened["state"] == "ready" {
                return;
            }
            let upload = text(&opened, "id").to_owned();
            let Some(part) = self.part(&upload, bytes).await else { continue };
            let listed = json!({"number": 1, "etag": part["etag"], "size_bytes": bytes.len()});
            self.send(Method::POST, &format!("/v1/uploads/{upload}/complete"), Some(json!({"parts": [listed]}))).await;
            loop {
                let (status, session) = self.send(Method::GET, &format!("/v1/uploads/{upload}"), None).await;
                assert_eq!(status, StatusCode::OK, "{session}");
                match text(&session, "state") {
                    "ready" => return,
                    "completed" | "ingesting" => self.pause().await,
                    _ => break,
                }
            }
        }
    }

    async fn part(&self, upload: &str, bytes: &[u8]) -> Option<Value> {
        let victim = self.victim.read().await;
        let url = format!("{}/v1/uploads/{upload}/parts/1", victim.process.url);
        let sent = victim.http.put(url).bearer_auth(&victim.token).body(bytes.to_vec()).send().await.ok()?;
        let is_stored = sent.status() == StatusCode::OK;
        sent.json().await.ok().filter(|_| is_stored)
    }

    /// Uploads, drafts, and either publishes or deletes the draft, again and again.
    async fn publish(&self, round: u64, publisher: u64) {
        for number in 0..VERSIONS {
            let seed = round * DIGESTS + (publisher + number) % DIGESTS;
            let bytes = qcow2(seed);
            let version = format!("{round}.{publisher}.{number}");
            let url = format!("{VERSIONS_URL}/{version}");
            self.send(Method::POST, VERSIONS_URL, Some(json!({"version": version}))).await;
            let artifact = json!({
                "operating_system": "debian", "architecture": "amd64", "format": "qcow2",
                "primary_blob_digest": digest(&bytes), "primary_blob_size_bytes": bytes.len(),
                "primary_media_type": "application/x-qemu-disk",
            });
            self.upload(&bytes).await;
            self.send(Method::POST, &format!("{url}/artifacts"), Some(artifact)).await;
            // The first digest of a round is never published.
            if seed.is_multiple_of(DIGESTS) || number.is_multiple_of(2) {
                let (status, answer) = self.send(Method::DELETE, &url, None).await;
                assert!(matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_FOUND), "{answer}");
                continue;
            }
            loop {
                let (status, answer) = self.send(Method::POST, &format!("{url}/publish"), None).await;
                if status.is_success() {
                    break;
                }
                // It says that the blob is missing.
                assert_eq!(status, StatusCode::PRECONDITION_FAILED, "{answer}");
                assert!(answer["detail"].as_str().is_some_and(|detail| detail.contains(&digest(&bytes))), "{answer}");
                self.upload(&bytes).await;
            }
            self.is_published(&url, &version, bytes).await;
        }
    }

    async fn is_published(&self, url: &str, version: &str, bytes: Vec<u8>) {
        loop {
            let (_, found) = self.send(Method::GET, url, None).await;
            if found["version"]["state"] == "published" {
                break;
            }
            self.pause().await;
        }
        let file = format!("/images/debian/{version}/debian-{version}-amd64.qcow2");
        self.published.lock().expect("not poisoned").insert(file, bytes);
    }

    /// Downloads published versions for as long as the race lasts.
    async fn download(&self) {
        while !self.is_over.load(Ordering::SeqCst) {
            let published = self.published.lock().expect("not poisoned").clone();
            for (path, bytes) in published {
                let (http, url) = {
                    let victim = self.victim.read().await;
                    (victim.http.clone(), format!("{}{path}", victim.process.url))
                };
                let Ok(answer) = http.get(url).send().await else { continue };
                let status = answer.status();
                // A body may end early when the server crashes, but it is never wrong.
                let Ok(body) = answer.bytes().await else { continue };
                assert!(status.is_server_error() || (status == StatusCode::OK && body == bytes), "{path}: {status}");
            }
            self.pause().await;
        }
    }

    /// Restarts the server when it has crashed.
    async fn revive(&self) {
        while !self.is_over.load(Ordering::SeqCst) {
            let has_ended = self.victim.write().await.process.has_ended();
            if has_ended {
                self.has_crashed.store(true, Ordering::SeqCst);
                self.victim.write().await.restart();
            }
            // Rarely: no request is in flight meanwhile.
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    }

    async fn round(&self, round: u64, point: &str) {
        self.is_over.store(false, Ordering::SeqCst);
        self.has_crashed.store(false, Ordering::SeqCst);
        // The first collection of an earlier round's garbage passes the point.
        let armed = self.victim.write().await.restart_with(&format!("{point}=1*off->return"));
        if armed.is_err() {
            self.victim.write().await.restart();
        }
        let publishing = async {
            join_all((0..PUBLISHERS).map(|publisher| self.publish(round, publisher))).await;
            // More garbage, until the collector has passed the point: the first digest of a round is never published.
            while armed.is_ok() && !self.has_crashed.load(Ordering::SeqCst) {
                self.upload(&qcow2(round * DIGESTS)).await;
                self.pause().await;
            }
            self.is_over.store(true, Ordering::SeqCst);
        };
        join(publishing, join(self.download(), self.revive())).await;
    }
}

/// The digests of what is stored: names end in `<digest>-<upload>`.
fn digests(names: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut digests: Vec<_> = names
        .into_iter()
        .filter_map(|name| {
            name.split_once("sha256/").map(|(_, rest)| rest.rsplit('/').next().unwrap_or_default()[..64].to_owned())
        })
        .collect();
    digests.sort();
    digests
}

/// The paths of all files below a folder.
pub(crate) fn stored_files(folder: &Path) -> Vec<String> {
    let (mut folders, mut files) = (vec![folder.to_owned()], Vec::new());
    while let Some(folder) = folders.pop() {
        // It may be removed meanwhile.
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() { folders.push(path) } else { files.push(path.display().to_string()) }
        }
    }
    files
}

/// The environment of a server that stores its blobs in the bucket `name`.
pub(crate) fn bucket(s3: &S3, name: &str) -> Vec<(String, String)> {
    let environment = [
        ("ENDPOINT", &*s3.endpoint),
        ("BUCKET", name),
        ("ACCESS_KEY_ID", &*s3.access_key_id),
        ("SECRET_ACCESS_KEY", &*s3.secret_access_key),
        ("REGION", &*s3.region),
        ("PATH_STYLE", "true"),
    ];
    environment.map(|(name, value)| (format!("IMGSRV_S3_{name}"), value.to_owned())).to_vec()
}

async fn race(victim: Victim, stored: impl AsyncFn(&Victim) -> Vec<String>) {
    victim.call(Method::POST, "/v1/images", json!({"name": "debian"})).await;
    let race = Race {
        victim: RwLock::new(victim),
        published: Mutex::default(),
        is_over: AtomicBool::default(),
        has_crashed: AtomicBool::default(),
        until: Instant::now() + DEADLINE,
    };
    for (round, point) in (0..).zip(POINTS) {
        race.round(round, point).await;
    }
    race.victim.write().await.restart();
    // Uploads whose parts were interrupted are open, and keep their digests.
    let (_, open) = race.send(Method::GET, "/v1/uploads", None).await;
    for upload in open["uploads"].as_array().expect("uploads") {
        race.send(Method::POST, &format!("/v1/uploads/{}/abort", text(upload, "id")), None).await;
    }
    let published = race.published.lock().expect("not poisoned").clone();
    let guard = race.victim.read().await;
    let victim: &Victim = &guard;
    let mut expected: Vec<String> =
        published.values().map(|bytes| digest(bytes).trim_start_matches("sha256:").to_owned()).collect();
    expected.sort();
    expected.dedup();
    assert!(expected.len() >= POINTS.len(), "{expected:?}");
    while digests(stored(victim).await) != expected {
        assert!(
            Instant::now() < race.until,
            "{:#?} is stored, not {expected:#?}\n{}",
            stored(victim).await,
            victim.process.log()
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for (path, bytes) in published {
        assert_eq!(victim.read(&path).await, bytes, "{path}");
    }
    assert_eq!(digests(stored(victim).await), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unceasing_collector_that_crashes_deletes_only_garbage_on_sqlite_and_files() {
    let victim = Victim::start_on(Vec::new(), &UNCEASING).await;
    race(victim, async |victim| stored_files(&victim.folder().join("storage/cas"))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unceasing_collector_that_crashes_deletes_only_garbage_on_postgres_and_a_bucket() {
    let (url, s3) = (Postgres::shared().await.database().await, S3::shared().await);
    let name = s3.bucket().await;
    let mut environment = bucket(s3, &name);
    environment.push(("IMGSRV_POSTGRES_URL".to_owned(), url.clone()));
    let victim = Victim::start_on(environment, &UNCEASING).await;
    race(victim, async |_| s3.keys(&name).await).await;
    assert_eq!(Postgres::deadlocks(&url).await, 0);
}
