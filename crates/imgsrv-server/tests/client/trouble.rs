//! What goes wrong: told in the problem's words, with what to do next and an exit code.

use crate::stage::{Stage, told};
use imgsrv_testkit::{Process, writer_token};
use serde_json::Value;

#[test]
fn exit_codes_tell_what_a_caller_can_do() {
    let stage = Stage::set();
    stage.disk("disk.qcow2", 1);
    let code = |arguments: &[&str]| stage.run(arguments).code;
    assert_eq!(code(&["images"]), Some(0));
    assert_eq!(code(&["publish", "debian"]), Some(2));
    assert_eq!(code(&["publish", "debian", "1", "nothing.qcow2"]), Some(2));
    assert_eq!(code(&["publish", "Not A Name", "1", "disk.qcow2"]), Some(2));
    assert_eq!(code(&["show", "debian"]), Some(4));
    assert_eq!(code(&["images", "--server", "http://127.0.0.1:1", "--retry-for", "0s"]), Some(5));
    assert_eq!(code(&["images", "--server", "nonsense"]), Some(2));
    let mut refused = stage.command(&["upload", "disk.qcow2"]);
    let refused = told(refused.env("IMGSRV_TOKEN", "wrong").spawn().expect("it runs"));
    assert_eq!(refused.code, Some(3));
    assert!(
        refused.err.contains("The bearer token is not valid\n  the token is not valid (any more): run imgsrv login"),
        "{}",
        refused.err
    );
    let mut anonymous = stage.command(&["upload", "disk.qcow2"]);
    let anonymous = told(anonymous.env_remove("IMGSRV_TOKEN").spawn().expect("it runs"));
    assert_eq!(anonymous.code, Some(3));
    assert!(anonymous.err.contains("run imgsrv login, or set IMGSRV_TOKEN"), "{}", anonymous.err);
}

#[test]
fn errors_are_json_where_that_is_asked_for() {
    let stage = Stage::set();
    let failed = stage.run(&["show", "debian", "--json"]);
    let told: Value = serde_json::from_str(failed.err.trim()).expect("JSON");
    assert_eq!((&told["exit_code"], &told["problem"]["type"]), (&4.into(), &"urn:imgsrv:problem:not-found".into()));
    assert_eq!(failed.out, "");
}

#[test]
fn a_disk_that_cannot_be_published_is_refused_before_it_is_sent() {
    let stage = Stage::set();
    stage.disk("base.qcow2", 1);
    let mut bytes = std::fs::read(stage.path("base.qcow2")).expect("the file");
    // A backing file's name, behind the header.
    bytes[8..16].copy_from_slice(&512_u64.to_be_bytes());
    bytes[16..20].copy_from_slice(&4_u32.to_be_bytes());
    bytes[512..516].copy_from_slice(b"base");
    std::fs::write(stage.path("overlay.qcow2"), bytes).expect("a file");
    let refused = stage.run(&["publish", "debian", "1", "overlay.qcow2", "--arch", "amd64"]);
    assert_eq!(refused.code, Some(3));
    assert!(
        refused.err.contains("overlay.qcow2 cannot be published") && refused.err.contains("qemu-img convert"),
        "{}",
        refused.err
    );
    assert!(!stage.server.log().contains("/v1/uploads"));
}

#[test]
fn uploads_beyond_a_limit_are_refused_with_nothing_sent_and_taken_once_there_is_room() {
    let stage = Stage::set_with(&["--max-upload-bytes", "1MiB", "--max-staged-bytes", "512KiB"]);
    stage.large_disk("large.qcow2", 1, 2);
    stage.large_disk("medium.qcow2", 2, 1);
    stage.disk("small.qcow2", 3);
    let large = stage.run(&["upload", "large.qcow2"]);
    assert_eq!(large.code, Some(3));
    assert!(large.err.contains("an upload may have at most 1048576 bytes"), "{}", large.err);
    let medium = stage.run(&["upload", "medium.qcow2"]);
    assert_eq!(medium.code, Some(3));
    assert!(medium.err.contains("There is no room for more bytes: uploads that are not done"), "{}", medium.err);
    // Two of 320 KiB do not fit at once; one after the other they do.
    let open =
        serde_json::json!({"expected_digest": format!("sha256:{}", "0".repeat(64)), "expected_size_bytes": 320 << 10});
    let post = |path: &str, body: Value| {
        let posted = ureq::post(format!("{}{path}", stage.server.url))
            .header("authorization", format!("Bearer {}", stage.token))
            .send_json(body);
        posted.expect("an answer").body_mut().read_json::<Value>().expect("JSON")
    };
    let other = post("/v1/uploads", open);
    assert_eq!(stage.run(&["upload", "small.qcow2"]).code, Some(3));
    post(&format!("/v1/uploads/{}/abort", other["id"].as_str().expect("an id")), Value::Null);
    assert_eq!(stage.run(&["upload", "small.qcow2"]).code, Some(0));
}

/// The disk is filled by a file without a byte in it, which its file system must support.
#[test]
fn a_disk_that_gets_full_loses_nothing_and_heals() {
    let mut stage = Stage::set();
    let disk = rustix::fs::statvfs(stage.dir.path()).expect("a file system");
    let free = disk.f_bavail * disk.f_frsize;
    // So much must stay free that other tests do not matter, and that filling two thirds of the rest is enough.
    let reserve = 3 << 30;
    assert!(free > 2 * reserve, "this test needs a disk with more than 6 GiB free, not {free} bytes");
    stage.server.kill();
    let least = (free - reserve).to_string();
    stage.server = Process::start(super::stage::BINARY, &stage.path("data"), &["--min-free-bytes", &least]);
    stage.token = writer_token(&stage.server.url, stage.server.bootstrap.as_deref().unwrap_or(&manager(&stage)));
    let digest = stage.large_disk("disk.qcow2", 1, 160);
    let running = stage.command(&["upload", "disk.qcow2"]).spawn().expect("it runs");
    stage.has_parts(&digest, 1);
    let ballast = std::fs::File::create(stage.path("ballast")).expect("a file");
    rustix::fs::fallocate(&ballast, rustix::fs::FallocateFlags::empty(), 0, reserve + (1 << 30)).expect("room for it");
    stage.disk("small.qcow2", 2);
    let small = stage.run(&["upload", "small.qcow2"]);
    assert_eq!(small.code, Some(3), "{small:?}");
    assert!(small.err.contains("must stay free") && small.err.contains("the operator must make room"), "{small:?}");
    let full = told(running);
    if full.code != Some(0) {
        assert_eq!(full.code, Some(3), "{full:?}");
        assert!(full.err.contains("must stay free"), "{full:?}");
        let kept = stage.parts(&digest);
        assert!(!kept.is_empty());
        assert_eq!(stage.run(&["upload", "disk.qcow2"]).code, Some(3));
        assert_eq!(stage.parts(&digest), kept, "what was acknowledged is kept");
    }
    drop(ballast);
    std::fs::remove_file(stage.path("ballast")).expect("room again");
    assert_eq!(stage.run(&["upload", "disk.qcow2"]).code, Some(0));
}

/// A manager's token, minted with the catalog at hand.
fn manager(stage: &Stage) -> String {
    let data = stage.path("data");
    let minted = stage.run(&["auth", "bootstrap", "--data-dir", data.to_str().expect("a path")]);
    minted.out.rsplit(' ').next().expect("a token").trim().to_owned()
}
