//! Inspection and fingerprints of artifacts during a publish.

use crate::support::{Artifact, EMPTY_GZIP, EMPTY_XZ, add, describe, draft, images, publish, version_url};
use axum::http::StatusCode;
use imgsrv_app::FormatCheck;
use imgsrv_domain::{
    hash::RunningHash,
    ports::{FingerprintKey, FingerprintProgress},
};
use imgsrv_testkit::{TestServer, qcow2};
use serde_json::{Value, json};
use std::io::Write;

/// An image with one byte of its header changed.
fn altered(at: usize, byte: u8) -> Vec<u8> {
    let mut image = qcow2(1);
    image[at] = byte;
    image
}

#[tokio::test]
async fn the_inspection_result_of_a_disk_is_shown() {
    let server = TestServer::start().await;
    let id = server.draft("debian", "1", &qcow2(1)).await;
    let url = format!("{}/artifacts/{id}", version_url("debian", "1"));
    assert_eq!(server.write("GET", &url, None).await.json()["inspection"], Value::Null);
    assert_eq!(publish(&server, "debian", "1").await["warnings"], Value::Null);
    let expected = json!({"detected_format": "qcow2", "virtual_size_bytes": 1 << 20, "cluster_size_bytes": 65536,
        "compression": "zlib"});
    assert_eq!(server.get(&url).await.json()["inspection"], expected);
    let manifest = server.get("/v1/images/debian/refs/1").await.json();
    assert_eq!(manifest["artifacts"][0]["artifact"]["inspection"], expected);
}

#[tokio::test]
async fn an_unsafe_disk_fails_the_publish_with_its_reason() {
    let server = TestServer::start().await;
    let elsewhere = "vmdk image: it has its data in another file, \"/etc/passwd\"";
    let descriptor = b"# Another comment\nversion=1\ncreateType=\"monolithicFlat\"\nRW 1 FLAT \"/etc/passwd\" 0\n";
    let mut sparse = vec![0; 4096];
    sparse[..5].copy_from_slice(b"KDMV\x01");
    sparse[28] = 1;
    sparse[512..512 + descriptor.len()].copy_from_slice(descriptor);
    let mut qed = [&b"QED\0"[..], &[0; 60], b"/etc/passwd"].concat();
    (qed[16], qed[56], qed[60]) = (1, 64, 11);
    for (version, format, bytes, reason) in [
        ("1", "qcow2", altered(15, 16), "qcow2 image: it has a backing file"),
        ("2", "qcow2", altered(79, 4), "qcow2 image: it has an external data file"),
        ("3", "qcow2", altered(79, 2), "qcow2 image: it is marked as corrupt"),
        ("4", "qcow2", altered(79, 64), "qcow2 image: it needs an unknown incompatible feature (bit 6)"),
        ("5", "qcow2", altered(35, 1), "qcow2 image: it is encrypted"),
        ("6", "qcow2", altered(44, 9), "qcow2 image: its L1 table is out of bounds"),
        // Programs that detect the format would follow it, so the declared format does not matter.
        ("7", "raw", altered(15, 16), "qcow2 image: it has a backing file"),
        ("8", "raw", altered(35, 1), "qcow2 image: it is encrypted"),
        ("9", "vmdk", descriptor.to_vec(), elsewhere),
        ("10", "raw", descriptor.to_vec(), elsewhere),
        ("11", "vmdk", sparse.clone(), elsewhere),
        ("12", "raw.gz", sparse, elsewhere),
        ("13", "raw", qed.clone(), "qed image: it has a backing file, \"/etc/passwd\""),
        ("14", "qcow2", qed, "qed image: it has a backing file, \"/etc/passwd\""),
        ("15", "raw", b"LUKS\xba\xbe\0\x02".to_vec(), "luks image: it is encrypted"),
        ("16", "raw.gz", gzip(descriptor), "vmdk.gz image: it has its data in another file, \"/etc/passwd\""),
        (
            "17",
            "raw.gz",
            b"\x1f\x8b\x08 not gzip".to_vec(),
            "gzip file: what it contains cannot be decompressed, since it is cut off or not valid",
        ),
    ] {
        draft(&server, "debian", version).await;
        add(&server, "debian", version, &Artifact { format, ..Artifact::qcow2(&bytes) }).await;
        let job = publish(&server, "debian", version).await;
        assert_eq!((&job["state"], &job["failed_step"]), (&json!("failed"), &json!("validate_catalog")), "{job}");
        assert_eq!(job["reason"], format!("debian-{version}-x86_64.{format}: {reason}"));
        assert_eq!(server.get(&format!("/v1/images/debian/refs/{version}")).await.status, StatusCode::NOT_FOUND);
        let url = format!("/v1/publish-jobs/{}/abandon", job["id"].as_str().expect("an id"));
        assert_eq!(server.write("POST", &url, None).await.json()["state"], "abandoned");
    }
}

#[tokio::test]
async fn another_format_than_declared_is_a_warning() {
    let server = TestServer::start().await;
    draft(&server, "debian", "1").await;
    for (format, bytes) in [("qcow2", &b"a placeholder"[..]), ("raw", &qcow2(1)), ("raw.gz", EMPTY_GZIP), ("iso", b"")]
    {
        add(&server, "debian", "1", &Artifact { format, ..Artifact::qcow2(bytes) }).await;
    }
    let job = publish(&server, "debian", "1").await;
    assert_eq!(job["state"], "succeeded");
    let reasons: Vec<_> =
        job["warnings"].as_array().expect("warnings").iter().map(|one| one["reason"].as_str()).collect();
    assert_eq!(
        reasons,
        [
            Some("debian-1-x86_64.iso: declared as iso, but the bytes are not recognised"),
            Some("debian-1-x86_64.qcow2: declared as qcow2, but the bytes are not recognised"),
            Some("debian-1-x86_64.raw: declared as raw, but the bytes are qcow2"),
        ]
    );
    assert_eq!(server.get("/v1/images/debian/refs/1").await.json()["warnings"], job["warnings"]);
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("written");
    encoder.finish().expect("compressed")
}

#[tokio::test]
async fn compressed_files_and_kernels_are_distinguished_from_disks() {
    let server = TestServer::start().await;
    draft(&server, "debian", "1").await;
    let mut kernel = vec![0; 4096];
    kernel[510..518].copy_from_slice(b"\x55\xaa\0\0HdrS");
    for (format, bytes) in [
        ("qcow2.gz", gzip(&qcow2(1))),
        ("raw.gz", gzip(&qcow2(2))),
        ("root.tar.gz", gzip(b"unknown")),
        ("kernel", kernel.clone()),
        ("raw", kernel),
        ("initrd", gzip(b"070701")),
        ("raw.xz", EMPTY_XZ.to_vec()),
    ] {
        add(&server, "debian", "1", &Artifact { format, ..Artifact::qcow2(&bytes) }).await;
    }
    let job = publish(&server, "debian", "1").await;
    assert_eq!(job["state"], "succeeded", "{job}");
    let reasons: Vec<_> =
        job["warnings"].as_array().expect("warnings").iter().map(|one| one["reason"].as_str()).collect();
    assert_eq!(
        reasons,
        [
            Some("debian-1-x86_64.raw: declared as raw, but the bytes are kernel"),
            Some("debian-1-x86_64.raw.gz: declared as raw.gz, but the bytes are qcow2.gz"),
        ]
    );
    let served = server.get("/images/debian/1/debian-1-x86_64.initrd").await;
    assert_eq!((served.status, served.body), (StatusCode::OK, gzip(b"070701")));
}

#[tokio::test]
async fn another_format_than_declared_fails_where_formats_are_enforced() {
    let server = TestServer::start_with(|settings| settings.format_check = FormatCheck::Enforce).await;
    draft(&server, "debian", "1").await;
    add(&server, "debian", "1", &Artifact::qcow2(b"a placeholder")).await;
    add(&server, "debian", "1", &Artifact { format: "raw", ..Artifact::qcow2(b"a raw disk may be anything") }).await;
    let job = publish(&server, "debian", "1").await;
    assert_eq!(job["state"], "failed");
    assert_eq!(job["reason"], "debian-1-x86_64.qcow2: declared as qcow2, but the bytes are not recognised");
    let url = format!("/v1/publish-jobs/{}/abandon", job["id"].as_str().expect("an id"));
    assert_eq!(server.write("POST", &url, None).await.status, StatusCode::OK);
    let version = server.write("GET", "/v1/images/debian/versions/1", None).await.json();
    assert_eq!((&version["version"]["state"], &version["warnings"]), (&json!("draft"), &Value::Null));
}

#[tokio::test]
async fn a_damaged_blob_gets_no_fingerprint() {
    let server = TestServer::start().await;
    draft(&server, "debian", "1").await;
    let artifact = add(&server, "debian", "1", &Artifact::qcow2(&qcow2(1))).await;
    describe(&server, &artifact).await;
    corrupt(&server, &imgsrv_testkit::digest(&qcow2(1)), qcow2(1).len() - 1);
    let job = publish(&server, "debian", "1").await;
    assert_eq!((&job["state"], &job["failed_step"]), (&json!("failed"), &json!("validate_catalog")), "{job}");
    // After another upload the same job continues.
    server.blob(&qcow2(1)).await;
    let url = format!("/v1/publish-jobs/{}/retry", job["id"].as_str().expect("an id"));
    assert_eq!(server.write("POST", &url, None).await.status, StatusCode::ACCEPTED);
    server.settle().await;
    assert_eq!(images(&server).await.iter().count(), 1);
}

/// Saves the progress of the fingerprint of a draft's image.
async fn save(server: &TestServer, metadata: &str, pair: &RunningHash, root: &RunningHash) {
    let hash = FingerprintProgress::Begun { combined: pair.save(), root: root.save() };
    let root = imgsrv_testkit::digest(&qcow2(1)).parse().expect("a digest");
    let pair = FingerprintKey { metadata: metadata.parse().expect("a digest"), root };
    let mut tx = server.services.adapters().catalog.begin().await.expect("a transaction");
    tx.save_fingerprint(&pair, &hash).await.expect("saved");
    tx.commit().await.expect("committed");
}

/// Corrupts a byte of a stored blob.
fn corrupt(server: &TestServer, digest: &str, at: usize) {
    let hex = digest.trim_start_matches("sha256:");
    let blob = server.stored_files().into_iter().find(|file| file.contains(hex)).expect("the blob");
    let path = server.storage().join(blob);
    let mut bytes = std::fs::read(&path).expect("the bytes");
    bytes[at] ^= 1;
    std::fs::remove_file(&path).expect("removed");
    std::fs::write(&path, bytes).expect("written");
}

#[tokio::test]
async fn a_fingerprint_continues_from_its_saved_progress() {
    let server = TestServer::start().await;
    draft(&server, "debian", "1").await;
    let artifact = add(&server, "debian", "1", &Artifact::qcow2(&qcow2(1))).await;
    let made = describe(&server, &artifact).await;
    let digest = made["blob_digest"].as_str().expect("a digest");
    // Reading from the start would not find these bytes.
    let other = b"metadata that only the progress has".to_vec();
    let (mut pair, mut root) = (RunningHash::default(), RunningHash::default());
    pair.update(&other);
    pair.update(&qcow2(1)[..1000]);
    root.update(&qcow2(1)[..1000]);
    save(&server, digest, &pair, &root).await;
    let job = publish(&server, "debian", "1").await;
    assert_eq!(job["state"], "succeeded", "{job}");
    let images = images(&server).await;
    let found = images.iter().next().expect("an image");
    assert_eq!(format!("sha256:{}", found.fingerprint), imgsrv_testkit::digest(&[other, qcow2(1)].concat()));
}

#[tokio::test]
async fn saved_progress_of_other_bytes_is_discarded() {
    let server = TestServer::start().await;
    draft(&server, "debian", "1").await;
    let artifact = add(&server, "debian", "1", &Artifact::qcow2(&qcow2(1))).await;
    let made = describe(&server, &artifact).await;
    let mut other = RunningHash::default();
    other.update(b"what the disk gave before it was mended");
    save(&server, made["blob_digest"].as_str().expect("a digest"), &other, &other).await;
    assert_eq!(publish(&server, "debian", "1").await["state"], "succeeded");
    let images = images(&server).await;
    let found = images.iter().next().expect("an image");
    let metadata = server.get(&format!("/{}", found.metadata.path)).await.body;
    let whole = imgsrv_testkit::digest(&[metadata, qcow2(1)].concat());
    assert_eq!(whole, format!("sha256:{}", found.fingerprint));
}

#[tokio::test]
async fn a_missing_blob_fails_the_publish_and_is_no_longer_trusted() {
    let server = TestServer::start().await;
    server.draft("debian", "1", &qcow2(1)).await;
    let blob = server.stored_files().into_iter().find(|file| file.starts_with("cas/")).expect("a blob");
    std::fs::remove_file(server.storage().join(blob)).expect("removed");
    let job = publish(&server, "debian", "1").await;
    assert_eq!((&job["state"], &job["failed_step"]), (&json!("failed"), &json!("validate_catalog")), "{job}");
    assert!(job["reason"].as_str().is_some_and(|reason| reason.contains("missing or damaged")), "{job}");
    // After another upload the same job continues.
    server.blob(&qcow2(1)).await;
    let url = format!("/v1/publish-jobs/{}/retry", job["id"].as_str().expect("an id"));
    assert_eq!(server.write("POST", &url, None).await.status, StatusCode::ACCEPTED);
    server.settle().await;
    assert_eq!(server.get("/v1/images/debian/refs/1").await.status, StatusCode::OK);
}
