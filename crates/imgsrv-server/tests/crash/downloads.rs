//! Downloads under way while their version is removed, its drain ends and its bytes are collected: each one ends well or
//! breaks visibly, and none has wrong bytes.

use crate::{
    collection::{bucket, stored_files},
    victim::{Victim, text},
};
use futures::future::join_all;
use imgsrv_testkit::{
    digest, qcow2,
    services::{Postgres, S3},
};
use reqwest::{Client, Method, Response, StatusCode, Version};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

const FILE: &str = "/images/debian/1/debian-1-amd64.qcow2";
const VERSION: &str = "/v1/images/debian/versions/1";
/// More than the buffers of a connection on the loopback interface take.
const SIZE: usize = 48 << 20;
const RANGE: (usize, usize) = (5_000_001, SIZE - 3);
const DEADLINE: Duration = Duration::from_mins(1);
/// Drained versions become tombstones, and their bytes are collected, soon after their drain.
const EAGER: [&str; 4] = ["--gc-interval", "100ms", "--gc-grace", "0"];

fn content() -> Vec<u8> {
    let mut bytes = qcow2(7);
    let more = (SIZE - bytes.len()) / 8;
    bytes.extend((0..more as u64).flat_map(|word| word.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes()));
    bytes.resize(SIZE, 1);
    bytes
}

/// A server with a published version, a token that may retire it, and its database.
struct Scene {
    victim: Victim,
    database: String,
    admin: String,
    bytes: Vec<u8>,
}

impl Scene {
    async fn start(mut environment: Vec<(String, String)>) -> Self {
        let database = Postgres::shared().await.database().await;
        environment.push(("IMGSRV_POSTGRES_URL".to_owned(), database.clone()));
        let mut victim = Victim::start_on(environment, &EAGER).await;
        let writer = victim.token.clone();
        victim.token = victim.process.bootstrap.clone().expect("a bootstrap token");
        let principal = json!({"kind": "service", "display_name": "admin"});
        let principal = victim.call(Method::POST, "/v1/auth/principals", principal).await;
        let principal = format!("/v1/auth/principals/{}", text(&principal, "id"));
        victim.call(Method::PUT, &format!("{principal}/roles/content-admin"), Value::Null).await;
        let token = json!({"expires_at": "2099-01-01T00:00:00Z"});
        let issued = victim.call(Method::POST, &format!("{principal}/api-tokens"), token).await;
        victim.token = writer;
        let scene = Self { victim, database, admin: text(&issued, "plaintext").to_owned(), bytes: content() };
        scene.publish().await;
        scene
    }

    async fn publish(&self) {
        let (victim, bytes) = (&self.victim, &self.bytes);
        // Nothing is collected while a draft refers to it.
        victim.call(Method::POST, "/v1/images", json!({"name": "debian"})).await;
        victim.call(Method::POST, "/v1/images/debian/versions", json!({"version": "1"})).await;
        let artifact = json!({"operating_system": "debian", "architecture": "amd64", "format": "qcow2",
            "primary_blob_digest": digest(bytes), "primary_blob_size_bytes": bytes.len(),
            "primary_media_type": "application/x-qemu-disk"});
        victim.call(Method::POST, &format!("{VERSION}/artifacts"), artifact).await;
        let new = json!({"expected_digest": digest(bytes), "expected_size_bytes": bytes.len()});
        let upload = text(&victim.call(Method::POST, "/v1/uploads", new).await, "id").to_owned();
        let part = victim.put_part(&upload, 1, bytes.clone()).await.expect("a part");
        let listed = json!({"parts": [{"number": 1, "etag": part["etag"], "size_bytes": bytes.len()}]});
        victim.call(Method::POST, &format!("/v1/uploads/{upload}/complete"), listed).await;
        victim.reaches(&format!("/v1/uploads/{upload}"), "ready").await;
        let job = victim.call(Method::POST, &format!("{VERSION}/publish"), Value::Null).await;
        victim.reaches(&format!("/v1/publish-jobs/{}", text(&job, "job_id")), "succeeded").await;
    }

    /// Removes the version, and lets its drain end.
    async fn remove(&self) {
        let url = format!("{}{VERSION}/remove", self.victim.process.url);
        let body = json!({"drain": "2h"});
        let removed = self.victim.http.post(url).bearer_auth(&self.admin).json(&body).send().await.expect("a response");
        assert_eq!(removed.status(), StatusCode::OK);
        let later = "CREATE OR REPLACE FUNCTION catalog_now() RETURNS timestamptz LANGUAGE sql STABLE AS
            $$ SELECT now() + interval '3 hours' $$";
        Postgres::sql(&self.database, later).await;
    }

    async fn get(&self, http: &Client, path: &str, range: Option<(usize, usize)>) -> reqwest::Result<Response> {
        let request = http.get(format!("{}{path}", self.victim.process.url));
        let request = match range {
            Some((from, to)) => request.header("range", format!("bytes={from}-{to}")),
            None => request,
        };
        request.send().await
    }

    fn expected(&self, range: Option<(usize, usize)>) -> &[u8] {
        range.map_or(&self.bytes[..], |(from, to)| &self.bytes[from..=to])
    }

    /// Downloads again and again until the version is gone, as clients do that do not know of it.
    async fn download(&self, http: &Client, range: Option<(usize, usize)>, seen: &Mutex<BTreeMap<u16, usize>>) {
        let began = Instant::now();
        loop {
            for path in [FILE.to_owned(), format!("/v1/blobs/{}", digest(&self.bytes))] {
                let response = self.get(http, &path, range).await.expect("a response");
                let status = response.status();
                if status.is_success() {
                    // A body may break, but it is never wrong.
                    let Ok(body) = response.bytes().await else { continue };
                    assert!(body == self.expected(range), "{path} {range:?}: wrong bytes");
                }
                *seen.lock().expect("not poisoned").entry(status.as_u16()).or_default() += 1;
                if status == StatusCode::NOT_FOUND {
                    return;
                }
                assert!(
                    status.is_success() || status == StatusCode::GONE,
                    "{path}: {status}\n{}",
                    self.victim.process.log()
                );
            }
            assert!(began.elapsed() < DEADLINE, "the version is still there\n{}", self.victim.process.log());
        }
    }
}

/// A client of HTTP/1.1 and one of HTTP/2, neither of which shares connections with other downloads.
fn clients() -> [(Version, Client); 2] {
    let client = |builder: reqwest::ClientBuilder| builder.pool_max_idle_per_host(0).build().expect("a client");
    [
        (Version::HTTP_11, client(Client::builder().http1_only())),
        (Version::HTTP_2, client(Client::builder().http2_prior_knowledge())),
    ]
}

/// The bytes that arrive before the download ends or breaks, and whether it ended well.
async fn rest(mut response: Response, mut bytes: Vec<u8>) -> (Vec<u8>, bool) {
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
            Ok(None) => return (bytes, true),
            Err(_) => return (bytes, false),
        }
    }
}

/// Begins downloads, and reads the rest of them once `retire` has made the version go and its bytes are no longer among
/// those that are `stored`. Returns how many ended well, and how many broke.
async fn retired_meanwhile(
    scene: &Scene,
    retire: impl AsyncFn(),
    stored: impl AsyncFn() -> Vec<String>,
) -> (usize, usize) {
    let mut under_way = Vec::new();
    for (version, http) in clients() {
        for range in [None, Some(RANGE)] {
            let mut response = scene.get(&http, FILE, range).await.expect("a response");
            assert_eq!((response.version(), response.status().is_success()), (version, true));
            let first = response.chunk().await.expect("a chunk").expect("a chunk").to_vec();
            under_way.push((version, range, response, first));
        }
    }
    let (is_collected, seen) = (AtomicBool::new(false), Mutex::default());
    let (clients, hex) = (clients(), digest(&scene.bytes).trim_start_matches("sha256:").to_owned());
    let looping =
        clients.iter().flat_map(|(_, http)| [None, Some((0, 99_999))].map(|range| scene.download(http, range, &seen)));
    let removing = async {
        retire().await;
        let began = Instant::now();
        while stored().await.iter().any(|name| name.contains(&hex)) {
            assert!(began.elapsed() < DEADLINE, "not collected\n{}", scene.victim.process.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        is_collected.store(true, Ordering::SeqCst);
    };
    futures::join!(removing, join_all(looping));
    assert!(is_collected.load(Ordering::SeqCst));

    let (mut ended, mut broken) = (0, 0);
    for (version, range, response, first) in under_way {
        assert!(first.len() < SIZE / 2, "most bytes are read after the collection");
        let (bytes, is_whole) = rest(response, first).await;
        let expected = scene.expected(range);
        assert!(bytes == expected[..bytes.len().min(expected.len())], "{version:?} {range:?}: wrong bytes");
        assert_eq!(is_whole, bytes.len() == expected.len(), "{version:?} {range:?}: {} bytes", bytes.len());
        if is_whole { ended += 1 } else { broken += 1 }
    }
    let seen: BTreeMap<u16, usize> = seen.into_inner().expect("not poisoned");
    assert!(seen.contains_key(&404), "{seen:?}");
    for (_, http) in &clients {
        assert_eq!(scene.get(http, FILE, None).await.expect("a response").status(), StatusCode::GONE);
    }
    let log = scene.victim.process.log();
    assert!(!log.contains("damaged blob found"), "collected bytes are no damage:\n{log}");
    (ended, broken)
}

#[tokio::test(flavor = "multi_thread")]
async fn downloads_from_a_folder_end_well_although_their_bytes_are_collected() {
    let scene = Scene::start(Vec::new()).await;
    let folder = scene.victim.folder().join("storage/cas");
    let (ended, broken) =
        retired_meanwhile(&scene, async || scene.remove().await, async || stored_files(&folder)).await;
    assert_eq!((ended, broken), (4, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn downloads_from_a_bucket_end_well_or_break_visibly_when_their_bytes_are_collected() {
    let s3 = S3::shared().await;
    let name = s3.bucket().await;
    let scene = Scene::start(bucket(s3, &name)).await;
    let (ended, broken) = retired_meanwhile(&scene, async || scene.remove().await, async || s3.keys(&name).await).await;
    assert_eq!(ended + broken, 4);
}
