//! Damaged content: publishing the same files again replaces it, and `imgsrv admin fsck` finds it.

use crate::fixture::{CommandOutput, Fixture};
use h2::{Reason, RecvStream, client::SendRequest};
use imgsrv_testkit::digest;
use serde_json::json;
use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};
use ureq::http::Request;

/// The stored files of all blobs.
fn stored(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() { files.extend(stored(&path)) } else { files.push(path) }
    }
    files
}

fn cas(fixture: &Fixture) -> PathBuf {
    fixture.path("data/storage/cas")
}

/// Changes the byte at a position.
fn flip(file: &Path, at: usize) {
    let mut bytes = fs::read(file).expect("a file");
    bytes[at] ^= 1;
    fs::set_permissions(file, Permissions::from_mode(0o644)).expect("writable");
    fs::write(file, bytes).expect("changed");
}

/// Requests a path on a connection; returns the body.
async fn request(connection: &mut SendRequest<&[u8]>, url: String) -> RecvStream {
    let request = Request::get(url).body(()).expect("a request");
    let (response, _) = connection.send_request(request, true).expect("sent");
    let response = response.await.expect("a response");
    assert_eq!(response.status(), 200);
    response.into_body()
}

/// Receives a body until it ends or is broken off; returns the bytes, and why it was broken off.
async fn receive(mut body: RecvStream) -> (Vec<u8>, Option<h2::Error>) {
    let mut received = Vec::new();
    while let Some(data) = body.data().await {
        match data {
            Ok(data) => {
                received.extend_from_slice(&data);
                body.flow_control().release_capacity(data.len()).expect("the window");
            }
            Err(error) => return (received, Some(error)),
        }
    }
    (received, None)
}

/// Each body is larger than the window of its stream, so that both are in progress at once.
#[tokio::test(flavor = "multi_thread")]
async fn damage_resets_its_own_http2_stream_and_no_other() {
    let fixture = Fixture::start();
    let right = fixture.large_disk("right.qcow2", 1, 4);
    fixture.large_disk("damaged.qcow2", 2, 4);
    for name in ["right", "damaged"] {
        let publish = ["publish", name, "1", &format!("{name}.qcow2"), "--arch", "amd64"];
        assert_eq!(fixture.run(&publish).code, Some(0));
    }
    let damaged = fs::read(fixture.path("damaged.qcow2")).expect("a file");
    let at = (5 << 19) + 7;
    let file = stored(&cas(&fixture)).into_iter().find(|file| fs::read(file).expect("a file") == damaged);
    flip(&file.expect("the stored file"), at);

    let address = fixture.url.trim_start_matches("http://").to_owned();
    let stream = tokio::net::TcpStream::connect(address).await.expect("a connection");
    let handshake = h2::client::Builder::new().initial_connection_window_size(1 << 20).handshake(stream).await;
    let (connection, driver): (SendRequest<&[u8]>, _) = handshake.expect("HTTP/2");
    let driver = tokio::spawn(driver);
    let url = |name: &str| format!("{}/images/{name}/1/{name}-1-amd64.qcow2", fixture.url);
    let mut connection = connection.ready().await.expect("ready");
    let other = request(&mut connection, url("right")).await;
    let broken = request(&mut connection, url("damaged")).await;

    let (received, error) = receive(broken).await;
    let error = error.expect("broken off");
    assert!(error.is_reset() && error.is_remote() && error.reason() == Some(Reason::INTERNAL_ERROR), "{error:?}");
    assert!(received == damaged[..at - at % (256 << 10)], "{} bytes", received.len());

    let (received, error) = receive(other).await;
    assert!(error.is_none() && digest(&received) == right, "{error:?}, {} bytes", received.len());
    let later = request(&mut connection, url("right")).await;
    assert_eq!(digest(&receive(later).await.0), right, "the connection serves further requests");
    drop(connection);
    driver.await.expect("it ends").expect("without an error of the connection");
}

fn fsck(fixture: &Fixture, arguments: &[&str]) -> CommandOutput {
    let data = fixture.path("data").display().to_string();
    fixture.run(&[&["admin", "fsck", "--data-dir", &data], arguments].concat())
}

#[test]
fn publishing_the_same_files_again_replaces_damaged_content() {
    let fixture = Fixture::start();
    let digest = fixture.disk("debian-12-amd64.qcow2", 1);
    let publish = ["publish", "debian", "1", "debian-12-amd64.qcow2", "--json"];
    assert_eq!(fixture.run(&publish).code, Some(0));
    let [file] = stored(&cas(&fixture)).try_into().expect("one blob");
    flip(&file, 100);
    let download = ["download", "debian:1", "--output", "copy.qcow2"];
    let refused = fixture.run(&download);
    assert!(refused.code != Some(0) && refused.err.contains("is missing or damaged"), "{refused:?}");
    assert_eq!(fixture.get("/v1/images/debian/versions/1")["artifacts"][0]["artifact"]["quarantined"], true);
    let metrics = ureq::get(&fixture.server.metrics).call().expect("metrics").body_mut().read_to_string();
    assert!(metrics.expect("a text").contains("\nimgsrv_blobs_quarantined 1\n"));

    let repaired = fixture.run(&publish).json();
    assert_eq!((&repaired["already_published"], &repaired["repaired"]), (&json!(true), &json!([digest])));
    assert_eq!(fixture.run(&download).code, Some(0));
    // Right after the new bytes are trusted.
    let until = Instant::now() + Duration::from_secs(30);
    while stored(&cas(&fixture)).len() > 1 {
        assert!(Instant::now() < until, "the damaged bytes are not deleted");
        std::thread::yield_now();
    }
    let again = fixture.run(&publish).json();
    assert_eq!(again["repaired"], json!([]));
}

#[test]
fn fsck_finds_damage_and_unknown_bytes_in_both_directions() {
    let fixture = Fixture::start_with(&["--scrub-rate", "0"]);
    let digests: Vec<String> = (1..=2).map(|salt| fixture.disk(&format!("{salt}.qcow2"), salt)).collect();
    for name in ["1.qcow2", "2.qcow2"] {
        assert_eq!(fixture.run(&["upload", name]).code, Some(0));
    }
    let clean = fsck(&fixture, &["--bytes", "--json"]).json();
    assert_eq!((&clean["clean"], &clean["blobs"]["hashed"]), (&json!(true), &json!(2)), "{clean}");

    let file = |digest: &str| {
        let files = stored(&cas(&fixture));
        files.into_iter().find(|file| file.to_string_lossy().contains(&digest["sha256:".len()..])).expect("a file")
    };
    flip(&file(&digests[0]), 100);
    fs::remove_file(file(&digests[1])).expect("removed");
    let unknown = cas(&fixture).join("sha256/ab/cd");
    fs::create_dir_all(&unknown).expect("a folder");
    let unknown = unknown.join(format!("{}-0198c0de-0000-7000-8000-000000000000", "ab".repeat(32)));
    fs::write(&unknown, b"nobody's").expect("written");
    let status = std::process::Command::new("touch").args(["-d", "2020-01-01"]).arg(&unknown).status();
    assert!(status.expect("touch").success());

    let found = fsck(&fixture, &["--bytes", "--json"]);
    assert_eq!(found.code, Some(1), "{found:?}");
    let report: serde_json::Value = serde_json::from_str(&found.out).expect("JSON");
    let faults = report["faults"].as_array().expect("faults");
    for (digest, fault) in [(&digests[0], "wrong-bytes"), (&digests[1], "missing")] {
        assert!(faults.contains(&json!({"digest": digest, "fault": fault})), "{report}");
    }
    assert_eq!((faults.len(), &report["unknown_bytes"]), (2, &json!(8)), "{report}");
    assert!(unknown.exists(), "nothing is changed without --repair");

    assert_eq!(fsck(&fixture, &["--bytes", "--repair", "--delete-unknown"]).code, Some(1));
    assert!(!unknown.exists());
    // Both are quarantined now, so that uploading them again replaces them.
    for name in ["1.qcow2", "2.qcow2"] {
        assert_eq!(fixture.run(&["upload", name]).code, Some(0));
    }
    let clean = fsck(&fixture, &["--bytes"]);
    assert_eq!(clean.code, Some(0), "{clean:?}");
    assert!(clean.out.ends_with("clean\n"), "{}", clean.out);
}

#[test]
fn fsck_without_a_catalog_creates_none() {
    let fixture = Fixture::start();
    let data = fixture.path("elsewhere").display().to_string();
    let missing = fixture.run(&["admin", "fsck", "--data-dir", &data]);
    assert_eq!(missing.code, Some(5), "{missing:?}");
    assert!(missing.err.contains(&data), "{}", missing.err);
    assert!(!fixture.path("elsewhere").exists());
}
