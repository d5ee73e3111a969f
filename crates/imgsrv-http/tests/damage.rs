//! Damage of stored blobs: no wrong byte is served, all of it is found, and the same content heals it.

use axum::{
    body::Body,
    http::{Request, StatusCode},
};
use http_body_util::BodyExt;
use imgsrv_domain::work::WorkKind;
use imgsrv_testkit::{TestServer, digest};
use serde_json::json;
use std::{
    fs::{self, Permissions},
    ops::Range,
    os::unix::fs::{FileExt, PermissionsExt},
    path::PathBuf,
    time::Duration,
};

const BLOCK: usize = 256 << 10;
const MIB: usize = 1 << 20;

/// Random numbers (xorshift64), the same for each seed.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).expect("it fits")
    }
}

/// Bytes without a pattern, different for each `seed`.
fn content(seed: u64, size: usize) -> Vec<u8> {
    let (mut random, mut bytes) = (Random::new(seed), vec![0; size]);
    for chunk in bytes.chunks_mut(8) {
        chunk.copy_from_slice(&random.next().to_le_bytes()[..chunk.len()]);
    }
    bytes
}

struct Blob {
    bytes: Vec<u8>,
    digest: String,
}

impl Blob {
    fn new(seed: u64, size: usize) -> Self {
        let bytes = content(seed, size);
        Self { digest: digest(&bytes), bytes }
    }

    /// The file that has its bytes.
    fn file(&self, server: &TestServer) -> PathBuf {
        let hex = self.digest.trim_start_matches("sha256:");
        let files = server.stored_files();
        let file = files.iter().find(|file| file.starts_with("cas/") && file.contains(hex)).expect("a stored file");
        let file = server.storage().join(file);
        fs::set_permissions(&file, Permissions::from_mode(0o644)).expect("writable");
        file
    }

    /// Changes one byte.
    fn flip(&self, server: &TestServer, at: usize) {
        let file = fs::File::options().write(true).open(self.file(server)).expect("a file");
        file.write_all_at(&[self.bytes[at] ^ 0x10], at as u64).expect("changed");
    }

    async fn head(&self, server: &TestServer) -> StatusCode {
        let path = format!("/v1/blobs/{}", self.digest);
        server.call(Some(&server.writer), "HEAD", &path, None).await.status
    }

    /// Requests a range of the bytes, or all of them. Returns the status, what was received of the body, and whether that is
    /// all of it.
    async fn get(&self, server: &TestServer, range: Option<Range<usize>>) -> (StatusCode, Vec<u8>, bool) {
        let mut request = Request::get(format!("/v1/blobs/{}", self.digest))
            .header("host", "images.test")
            .header("authorization", format!("Bearer {}", server.writer));
        if let Some(Range { start, end }) = &range {
            request = request.header("range", format!("bytes={start}-{}", end - 1));
        }
        let response = server.respond(request.body(Body::empty()).expect("a request")).await;
        let (status, mut body, mut received) = (response.status(), response.into_body(), Vec::new());
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else { return (status, received, false) };
            received.extend_from_slice(&frame.into_data().expect("data"));
        }
        (status, received, true)
    }

    /// Requests a range, or all bytes, of a blob that may be damaged, and checks that no wrong byte is received.
    async fn read_what_is_right(&self, server: &TestServer, range: Option<Range<usize>>) {
        let expected = &self.bytes[range.clone().unwrap_or(0..self.bytes.len())];
        let (status, received, is_complete) = self.get(server, range.clone()).await;
        if status.is_success() {
            assert!(expected.starts_with(&received), "wrong bytes of {range:?} of {}", self.bytes.len());
            assert_eq!(is_complete, received.len() == expected.len(), "a body that is too short is broken off");
        } else {
            assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{}", String::from_utf8_lossy(&received));
            assert!(String::from_utf8_lossy(&received).contains("blob-quarantined"), "{received:?}");
        }
    }
}

/// Runs the scrub until nothing is due.
async fn scrub(server: &TestServer) {
    server.services.enqueue_recurring().await.expect("enqueued");
    server.services.worker(WorkKind::Scrub).run_once().await.expect("scrubbed");
}

async fn quarantined(server: &TestServer) -> Vec<String> {
    let digests = server.services.adapters().catalog.quarantined_digests().await.expect("digests");
    digests.iter().map(ToString::to_string).collect()
}

#[tokio::test]
async fn a_flipped_byte_breaks_a_large_body_off_before_its_block() {
    let server = TestServer::start().await;
    let blob = Blob::new(1, 5 * BLOCK);
    server.blob(&blob.bytes).await;
    blob.flip(&server, 3 * BLOCK + 17);
    let (status, received, is_complete) = blob.get(&server, None).await;
    assert_eq!((status, is_complete), (StatusCode::OK, false));
    assert!(received == blob.bytes[..3 * BLOCK], "{} bytes", received.len());
    // It is quarantined now, in ranges that are right as well, and for HEAD.
    let (status, _, _) = blob.get(&server, Some(0..1)).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    let path = format!("/v1/blobs/{}", blob.digest);
    let head = server.call(Some(&server.writer), "HEAD", &path, None).await;
    assert_eq!((head.status, head.header("retry-after")), (StatusCode::SERVICE_UNAVAILABLE, ""));
    assert_eq!(quarantined(&server).await, std::slice::from_ref(&blob.digest));

    server.blob(&blob.bytes).await;
    assert_eq!(blob.get(&server, None).await, (StatusCode::OK, blob.bytes.clone(), true));
    assert_eq!(server.stored_files().len(), 1, "the damaged bytes are deleted");
    assert!(quarantined(&server).await.is_empty());
}

#[tokio::test]
async fn a_body_of_up_to_a_mebibyte_is_verified_before_its_head() {
    let server = TestServer::start().await;
    let blob = Blob::new(2, MIB + 1);
    server.blob(&blob.bytes).await;
    blob.flip(&server, MIB - 1);
    let (status, body, _) = blob.get(&server, Some(0..MIB)).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{}", String::from_utf8_lossy(&body));
}

#[tokio::test]
async fn all_that_is_requested_of_the_store_is_read() {
    let server = TestServer::start().await;
    let blob = Blob::new(3, 5 * BLOCK + 7);
    server.blob(&blob.bytes).await;
    // A request to a bucket that is not read to its end costs a connection.
    for range in [None, Some(BLOCK - 5..5 * BLOCK), Some(17..MIB), Some(5..6)] {
        let (status, received, _) = blob.get(&server, range.clone()).await;
        assert!(status.is_success() && received == blob.bytes[range.clone().unwrap_or(0..blob.bytes.len())]);
        assert_eq!(server.blobs.unread(), 0, "{range:?}");
    }
    blob.head(&server).await;
    assert_eq!(server.blobs.unread(), 0);
}

#[tokio::test]
async fn parts_in_any_order_are_verified_by_the_blocks_of_the_whole() {
    let server = TestServer::start().await;
    let blob = Blob::new(3, 3 * BLOCK + 99);
    let upload = server.open_upload(&blob.bytes).await;
    let parts: Vec<&[u8]> = blob.bytes.chunks(100_001).collect();
    for number in [3, 1, 8, 2, 4, 7, 5, 6_u32] {
        server.put_part(&upload, number, parts[number as usize - 1].to_vec()).await;
    }
    assert_eq!(server.complete(&upload).await.status, StatusCode::OK);
    server.settle().await;
    for at in [0, BLOCK - 1, BLOCK, 3 * BLOCK + 98] {
        assert_eq!(
            blob.get(&server, Some(at..at + 1)).await,
            (StatusCode::PARTIAL_CONTENT, vec![blob.bytes[at]], true)
        );
    }
    blob.flip(&server, 3 * BLOCK + 98);
    assert_eq!(blob.get(&server, Some(0..BLOCK)).await.0, StatusCode::PARTIAL_CONTENT);
    assert_eq!(blob.get(&server, Some(3 * BLOCK..3 * BLOCK + 1)).await.0, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn a_store_that_was_unavailable_leaves_no_blob_quarantined() {
    let server = TestServer::start().await;
    server.services.bind_blob_store().await.expect("bound");
    let blob = Blob::new(4, 1000);
    server.blob(&blob.bytes).await;
    for folder in ["cas", "cas/sha256", ""] {
        let folder = server.storage().join(folder);
        let away = server.storage().with_file_name("away");
        fs::rename(&folder, &away).expect("moved");
        assert_eq!(blob.head(&server).await, StatusCode::SERVICE_UNAVAILABLE);
        let (status, body, _) = blob.get(&server, None).await;
        let body = String::from_utf8_lossy(&body).into_owned();
        assert!(status == StatusCode::SERVICE_UNAVAILABLE && body.contains("problem:unavailable"), "{status} {body}");
        fs::rename(&away, &folder).expect("moved back");
        assert_eq!(blob.get(&server, None).await.0, StatusCode::OK);
    }
    // The file alone, which proves damage; it is checked again.
    let file = blob.file(&server);
    fs::rename(&file, file.with_extension("away")).expect("moved");
    assert_eq!(blob.head(&server).await, StatusCode::SERVICE_UNAVAILABLE, "it agrees with GET");
    assert_eq!(blob.get(&server, None).await.0, StatusCode::SERVICE_UNAVAILABLE);
    fs::rename(file.with_extension("away"), &file).expect("moved back");
    assert_eq!(blob.get(&server, None).await.0, StatusCode::SERVICE_UNAVAILABLE);
    scrub(&server).await;
    assert_eq!(blob.get(&server, None).await, (StatusCode::OK, blob.bytes.clone(), true));
}

#[tokio::test]
async fn a_quarantined_blob_is_checked_every_hour() {
    let server = TestServer::start().await;
    let blob = Blob::new(5, 1000);
    server.blob(&blob.bytes).await;
    let file = blob.file(&server);
    fs::rename(&file, file.with_extension("away")).expect("moved");
    assert_eq!(blob.get(&server, None).await.0, StatusCode::SERVICE_UNAVAILABLE);
    scrub(&server).await;
    fs::rename(file.with_extension("away"), &file).expect("moved back");
    scrub(&server).await;
    assert_eq!(blob.get(&server, None).await.0, StatusCode::SERVICE_UNAVAILABLE, "it was looked at just now");
    server.clock.advance(Duration::from_mins(61));
    scrub(&server).await;
    assert_eq!(blob.get(&server, None).await.0, StatusCode::OK);
}

#[tokio::test]
async fn a_version_with_a_quarantined_blob_reports_it_and_keeps_its_checksums() {
    let server = TestServer::start().await;
    let bytes = imgsrv_testkit::qcow2(7);
    server.published("debian", "1", &bytes).await;
    let blob = Blob { digest: digest(&bytes), bytes };
    blob.flip(&server, 5);
    assert_eq!(server.get("/images/debian/1/debian-1-amd64.qcow2").await.problem(), "blob-quarantined");
    let manifest = server.get("/v1/images/debian/versions/1").await.json();
    assert_eq!(manifest["artifacts"][0]["artifact"]["quarantined"], true, "{manifest}");
    let listed = server.get("/v1/images/debian/versions/1/artifacts").await.json();
    assert_eq!(listed["artifacts"][0]["quarantined"], true, "{listed}");
    let sums = server.get("/images/debian/1/SHA256SUMS").await;
    assert!(String::from_utf8_lossy(&sums.body).contains("debian-1-amd64.qcow2"), "{sums:?}");
    assert_eq!(server.get("/images/debian/1/debian-1-amd64.qcow2.sha256").await.status, StatusCode::OK);
    // A draft with it cannot be published.
    server.write("POST", "/v1/images/debian/versions", Some(json!({"version": "2"}))).await;
    let artifact = json!({
        "operating_system": "debian", "architecture": "amd64", "format": "qcow2", "primary_blob_digest": blob.digest,
        "primary_blob_size_bytes": blob.bytes.len(), "primary_media_type": "application/x-qemu-disk",
    });
    server.write("POST", "/v1/images/debian/versions/2/artifacts", Some(artifact)).await;
    let refused = server.write("POST", "/v1/images/debian/versions/2/publish", None).await;
    assert_eq!(refused.status, StatusCode::PRECONDITION_FAILED, "{refused:?}");
    server.blob(&blob.bytes).await;
    let manifest = server.get("/v1/images/debian/versions/1").await.json();
    assert_eq!(manifest["artifacts"][0]["artifact"].get("quarantined"), None, "{manifest}");
}

#[tokio::test]
async fn an_operator_verifies_a_blob_and_sees_the_storage() {
    let server = TestServer::start().await;
    let operator = server.token_with("operator").await;
    let blob = Blob::new(6, BLOCK + 1);
    server.blob(&blob.bytes).await;
    let path = format!("/v1/system/blobs/{}/verify", blob.digest);
    let verified = server.call(Some(&operator), "POST", &path, None).await;
    assert_eq!((verified.status, verified.json()["state"].as_str()), (StatusCode::OK, Some("trusted")));
    blob.flip(&server, BLOCK);
    assert_eq!(server.call(Some(&operator), "POST", &path, None).await.json()["state"], "quarantined");
    let storage = server.call(Some(&operator), "GET", "/v1/system/storage", None).await.json();
    assert_eq!(storage["blobs"]["quarantined"], 1, "{storage}");
    assert_eq!(storage["blobs"]["count"], 1, "{storage}");
    let listed = server.call(Some(&operator), "GET", "/v1/system/blobs?state=quarantined", None).await.json();
    assert_eq!((&listed["blobs"][0]["digest"], listed.get("next_cursor")), (&json!(blob.digest), None), "{listed}");
    assert_eq!(server.call(Some(&operator), "GET", "/v1/system/blobs", None).await.status, StatusCode::BAD_REQUEST);
    for path in ["/v1/system/storage", "/v1/system/blobs?state=quarantined"] {
        assert_eq!(server.write("GET", path, None).await.status, StatusCode::FORBIDDEN);
    }
    // The byte was right all along.
    let file = fs::File::options().write(true).open(blob.file(&server)).expect("a file");
    file.write_all_at(&[blob.bytes[BLOCK]], BLOCK as u64).expect("changed back");
    assert_eq!(server.call(Some(&operator), "POST", &path, None).await.json()["state"], "trusted");
    assert_eq!(blob.get(&server, None).await, (StatusCode::OK, blob.bytes.clone(), true));
}

/// How a stored file is damaged.
#[derive(Debug, Clone, Copy)]
enum Damage {
    Flip,
    Truncate,
    Extend,
    Delete,
}

#[tokio::test]
async fn a_thousand_damages_are_found_and_healed_and_no_wrong_byte_is_served() {
    const ROUNDS: u32 = 25;
    const SIZES: [usize; 20] = [
        1,
        2,
        255,
        4096,
        65_537,
        BLOCK - 1,
        BLOCK,
        BLOCK + 1,
        BLOCK + 4095,
        2 * BLOCK - 1,
        2 * BLOCK,
        2 * BLOCK + 1,
        3 * BLOCK,
        MIB - 1,
        MIB,
        MIB + 1,
        5 * BLOCK,
        5 * BLOCK + 7,
        6 * BLOCK - 1,
        7 * BLOCK + 1,
    ];
    let server = TestServer::start().await;
    let blobs: Vec<Blob> =
        (100..).zip(SIZES.into_iter().chain(SIZES)).map(|(seed, size)| Blob::new(seed, size)).collect();
    for blob in &blobs {
        server.blob(&blob.bytes).await;
    }
    let mut random = Random::new(7);
    let mut damages = 0;
    for round in 0..ROUNDS {
        for (at, blob) in blobs.iter().enumerate() {
            let (file, size) = (blob.file(&server), blob.bytes.len());
            let place = random.below(size);
            let kinds = [Damage::Flip, Damage::Flip, Damage::Flip, Damage::Truncate, Damage::Extend, Damage::Delete];
            let damage = kinds[random.below(kinds.len())];
            match damage {
                Damage::Flip => blob.flip(&server, place),
                Damage::Truncate => {
                    fs::File::options()
                        .write(true)
                        .open(&file)
                        .and_then(|file| file.set_len(place as u64))
                        .expect("cut");
                }
                Damage::Extend => {
                    let longer = (size + 1 + place) as u64;
                    fs::File::options()
                        .write(true)
                        .open(&file)
                        .and_then(|file| file.set_len(longer))
                        .expect("extended");
                }
                Damage::Delete => fs::remove_file(&file).expect("deleted"),
            }
            damages += 1;
            // Half of them are left to the scrub.
            if (at + round as usize).is_multiple_of(2) {
                for _ in 0..3 {
                    let (one, other) = (random.below(size), random.below(size));
                    blob.read_what_is_right(&server, Some(one.min(other)..one.max(other) + 1)).await;
                }
                blob.read_what_is_right(&server, None).await;
                assert_ne!(blob.get(&server, None).await.0, StatusCode::OK, "{damage:?} of {size} at {place}");
            }
        }
        server.clock.advance(Duration::from_hours(16 * 24));
        scrub(&server).await;
        assert_eq!(quarantined(&server).await.len(), blobs.len(), "the scrub finds all");
        for blob in &blobs {
            server.blob(&blob.bytes).await;
        }
        assert!(quarantined(&server).await.is_empty(), "the same content heals all");
        for blob in &blobs {
            assert_eq!(blob.get(&server, None).await, (StatusCode::OK, blob.bytes.clone(), true));
        }
        assert_eq!(server.stored_files().len(), blobs.len(), "the damaged bytes are deleted");
    }
    assert_eq!(damages, 1000);
}
