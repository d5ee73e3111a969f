//! Failures: the message of the problem, advice, and an exit code.

use crate::fixture::{Fixture, finish, run};
use imgsrv_testkit::{Process, writer_token};
use serde_json::Value;

#[test]
fn exit_codes_distinguish_failures() {
    let fixture = Fixture::start();
    fixture.disk("disk.qcow2", 1);
    let code = |arguments: &[&str]| fixture.run(arguments).code;
    assert_eq!(code(&["images"]), Some(0));
    assert_eq!(code(&["publish", "debian"]), Some(2));
    assert_eq!(code(&["publish", "debian", "1", "nothing.qcow2"]), Some(2));
    assert_eq!(code(&["publish", "Not A Name", "1", "disk.qcow2"]), Some(2));
    assert_eq!(code(&["show", "debian"]), Some(4));
    assert_eq!(code(&["images", "list", "--server", "http://127.0.0.1:1", "--retry-for", "0s"]), Some(5));
    assert_eq!(code(&["images", "list", "--server", "nonsense"]), Some(2));
    let mut refused = fixture.command(&["upload", "disk.qcow2"]);
    let refused = run(refused.env("IMGSRV_TOKEN", "wrong"));
    assert_eq!(refused.code, Some(3));
    assert!(refused.err.contains("\n  The token is wrong, expired or revoked. Run imgsrv login"), "{}", refused.err);
    let mut anonymous = fixture.command(&["upload", "disk.qcow2"]);
    let anonymous = run(anonymous.env_remove("IMGSRV_TOKEN"));
    assert_eq!(anonymous.code, Some(3));
    assert!(anonymous.err.contains("Run imgsrv login, or set IMGSRV_TOKEN"), "{}", anonymous.err);
}

#[test]
fn errors_are_json_with_json() {
    let fixture = Fixture::start();
    let failed = fixture.run(&["versions", "show", "debian", "--json"]);
    let error: Value = serde_json::from_str(failed.err.trim()).expect("JSON");
    assert_eq!((&error["exit_code"], &error["type"]), (&4.into(), &"urn:imgsrv:problem:not-found".into()));
    assert_eq!(failed.out, "");
}

#[test]
fn an_unsafe_disk_is_refused_before_it_is_sent() {
    let fixture = Fixture::start();
    fixture.disk("base.qcow2", 1);
    let mut bytes = std::fs::read(fixture.path("base.qcow2")).expect("the file");
    // The name of a backing file, after the header.
    bytes[8..16].copy_from_slice(&512_u64.to_be_bytes());
    bytes[16..20].copy_from_slice(&4_u32.to_be_bytes());
    bytes[512..516].copy_from_slice(b"base");
    std::fs::write(fixture.path("overlay.qcow2"), bytes).expect("a file");
    let refused = fixture.run(&["publish", "debian", "1", "overlay.qcow2", "--arch", "amd64"]);
    assert_eq!(refused.code, Some(3));
    assert!(
        refused.err.contains("overlay.qcow2 cannot be published") && refused.err.contains("qemu-img convert"),
        "{}",
        refused.err
    );
    assert!(!fixture.server.log().contains("/v1/uploads"));
}

#[test]
fn uploads_over_a_limit_are_refused_before_they_are_sent_and_accepted_later() {
    let fixture = Fixture::start_with(&["--max-upload-bytes", "1MiB", "--max-staged-bytes", "512KiB"]);
    fixture.large_disk("large.qcow2", 1, 2);
    fixture.large_disk("medium.qcow2", 2, 1);
    fixture.disk("small.qcow2", 3);
    let large = fixture.run(&["upload", "large.qcow2"]);
    assert_eq!(large.code, Some(3));
    assert!(large.err.contains("an upload can have at most 1048576 bytes"), "{}", large.err);
    let medium = fixture.run(&["upload", "medium.qcow2"]);
    assert_eq!(medium.code, Some(3));
    assert!(medium.err.contains("unfinished uploads"), "{}", medium.err);
    // Two of 320 KiB do not fit together, but one after the other.
    let open =
        serde_json::json!({"expected_digest": format!("sha256:{}", "0".repeat(64)), "expected_size_bytes": 320 << 10});
    let post = |path: &str, body: Value| {
        let posted = ureq::post(format!("{}{path}", fixture.server.url))
            .header("authorization", format!("Bearer {}", fixture.token))
            .send_json(body);
        posted.expect("a response").body_mut().read_json::<Value>().expect("JSON")
    };
    let other = post("/v1/uploads", open);
    assert_eq!(fixture.run(&["upload", "small.qcow2"]).code, Some(3));
    post(&format!("/v1/uploads/{}/abort", other["id"].as_str().expect("an id")), Value::Null);
    assert_eq!(fixture.run(&["upload", "small.qcow2"]).code, Some(0));
}

/// The disk is filled with a preallocated file, which its file system must support.
#[test]
fn a_full_disk_loses_no_parts_and_the_upload_resumes() {
    let mut fixture = Fixture::start();
    let disk = rustix::fs::statvfs(fixture.dir.path()).expect("a file system");
    let free = disk.f_bavail * disk.f_frsize;
    // Large enough that other tests do not matter, and that filling two thirds of the rest suffices.
    let reserve = 3 << 30;
    assert!(free > 2 * reserve, "this test needs a disk with more than 6 GiB free, not {free} bytes");
    fixture.server.kill();
    let least = (free - reserve).to_string();
    fixture.server = Process::start(super::fixture::BINARY, &fixture.path("data"), &["--min-free-bytes", &least]);
    fixture.url.clone_from(&fixture.server.url);
    fixture.token =
        writer_token(&fixture.server.url, fixture.server.bootstrap.as_deref().unwrap_or(&manager(&fixture)));
    let digest = fixture.large_disk("disk.qcow2", 1, 160);
    let running = fixture.command(&["upload", "disk.qcow2"]).spawn().expect("it runs");
    fixture.wait_for_parts(&digest, 1);
    let ballast = std::fs::File::create(fixture.path("ballast")).expect("a file");
    rustix::fs::fallocate(&ballast, rustix::fs::FallocateFlags::empty(), 0, reserve + (1 << 30)).expect("free space");
    fixture.disk("small.qcow2", 2);
    let small = fixture.run(&["upload", "small.qcow2"]);
    assert_eq!(small.code, Some(3), "{small:?}");
    assert!(small.err.contains("must stay free") && small.err.contains("The operator must free storage"), "{small:?}");
    let full = finish(running);
    if full.code != Some(0) {
        assert_eq!(full.code, Some(3), "{full:?}");
        assert!(full.err.contains("must stay free"), "{full:?}");
        let accepted = fixture.parts(&digest);
        assert!(!accepted.is_empty());
        assert_eq!(fixture.run(&["upload", "disk.qcow2"]).code, Some(3));
        assert_eq!(fixture.parts(&digest), accepted, "acknowledged parts stay");
    }
    drop(ballast);
    std::fs::remove_file(fixture.path("ballast")).expect("removed");
    assert_eq!(fixture.run(&["upload", "disk.qcow2"]).code, Some(0));
}

/// A manager's token, minted in the catalog.
fn manager(fixture: &Fixture) -> String {
    let data = fixture.path("data");
    let minted = fixture.run(&["admin", "bootstrap", "--data-dir", data.to_str().expect("a path")]);
    minted.out.rsplit(' ').next().expect("a token").trim().to_owned()
}
