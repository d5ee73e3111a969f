//! Publishing: once, again, interrupted, beside others.

use crate::stage::{Stage, told};
use serde_json::json;

#[test]
fn one_line_publishes_and_the_same_line_again_does_nothing_twice() {
    let stage = Stage::set();
    let digest = stage.disk("debian-12-arm64.qcow2", 1);
    let publish = ["publish", "debian", "12.5.0", "debian-12-arm64.qcow2", "--alias", "latest", "--alias", "stable"];
    let first = stage.run(&publish);
    assert_eq!(
        (first.code, &*first.out),
        (Some(0), "debian 12.5.0 is published\ndebian latest is 12.5.0\ndebian stable is 12.5.0\n")
    );
    assert!(first.err.contains("qcow2 of 1.00 MiB, 320.00 KiB to send, arm64 by its name"), "{}", first.err);
    let second = stage.run(&[&publish[..], &["--json"]].concat()).json();
    assert_eq!((&second["was_published"], &second["digests"]), (&json!(true), &json!([digest])));
    let manifest = stage.run(&["show", "debian:stable", "--json"]).json();
    let artifact = &manifest["artifacts"][0]["artifact"];
    assert_eq!(artifact["primary_media_type"], "application/x-qemu-disk");
    assert_eq!((&artifact["architecture"], &artifact["operating_system"]), (&json!("arm64"), &json!("linux")));
    assert_eq!(stage.get("/v1/images/debian/versions")["versions"].as_array().map(Vec::len), Some(1));
}

#[test]
fn other_content_under_a_published_name_is_refused_with_what_differs() {
    let stage = Stage::set();
    stage.disk("a.qcow2", 1);
    stage.disk("b.qcow2", 2);
    assert_eq!(stage.run(&["publish", "debian", "1", "a.qcow2", "--arch", "amd64"]).code, Some(0));
    let other = stage.run(&["publish", "debian", "1", "b.qcow2", "--arch", "amd64"]);
    assert_eq!(other.code, Some(3));
    let expected = "imgsrv: debian 1 is published with other content: linux/amd64/default/qcow2 has digest sha256:";
    assert!(other.err.contains(expected), "{}", other.err);
    assert!(
        other.err.contains("\n  what is published never changes: publish it as another version\n"),
        "{}",
        other.err
    );
    let fewer = stage.run(&["publish", "debian", "1", "a.qcow2,arch=amd64", "b.qcow2,arch=arm64"]);
    assert_eq!(fewer.code, Some(3));
    assert!(fewer.err.contains("it lacks linux/arm64/default/qcow2"), "{}", fewer.err);
}

#[test]
fn what_is_bound_to_be_refused_is_refused_before_anything_is_sent() {
    let stage = Stage::set();
    stage.disk("a.qcow2", 1);
    stage.disk("b.qcow2", 2);
    let published = ["publish", "debian", "1", "a.qcow2", "--arch", "amd64", "--alias", "latest"];
    assert_eq!(stage.run(&published).code, Some(0));
    let uploads = |stage: &Stage| stage.server.log().matches("http.method=POST http.path=\"/v1/uploads\"").count();
    let before = uploads(&stage);
    let refused = |arguments: &[&str], code: i32, words: &str| {
        let told = stage.run(&[&["publish", "debian"], arguments, &["--arch", "amd64"]].concat());
        assert_eq!(told.code, Some(code), "{told:?}");
        assert!(told.err.contains(words), "{told:?}");
    };
    refused(&["1", "b.qcow2"], 3, "is published with other content");
    refused(&["2", "b.qcow2", "--alias", "1"], 3, "the alias 1 is the name of a version");
    refused(&["latest", "b.qcow2"], 3, "latest is the name of an alias");
    refused(&["2", "b.qcow2", "--alias", "2"], 2, "cannot be both");
    refused(&["2", "b.qcow2", "--alias", "a b"], 2, "is not the name of an alias");
    refused(&["2", "b.qcow2", "--attach", "x=a.qcow2", "--attach", "x=b.qcow2"], 2, "two files would be called");
    refused(&["2", "b.qcow2", "--incus", "--format", "raw"], 2, "Incus boots qcow2");
    assert_eq!(uploads(&stage), before);
}

#[test]
fn a_version_whose_job_has_failed_takes_other_content_on_request() {
    let stage = Stage::set_with(&["--format-check", "enforce"]);
    std::fs::write(stage.path("bad.qcow2"), vec![1; 4096]).expect("a file");
    let digest = stage.disk("good.qcow2", 1);
    let publish = |file: &str, more: &[&str]| {
        let arguments = ["publish", "debian", "1", file, "--format", "qcow2", "--arch", "amd64"];
        stage.run(&[&arguments[..], more].concat())
    };
    let failed = publish("bad.qcow2", &[]);
    assert_eq!(failed.code, Some(3));
    assert!(failed.err.contains("The publish job") || failed.err.contains("the publish job"), "{failed:?}");
    let other = publish("good.qcow2", &[]);
    assert_eq!(other.code, Some(3));
    assert!(other.err.contains("add --replace"), "{other:?}");
    assert_eq!(publish("good.qcow2", &["--replace"]).code, Some(0));
    let manifest = stage.run(&["show", "debian:1", "--json"]).json();
    assert_eq!(manifest["artifacts"][0]["artifact"]["primary_blob_digest"], digest);
}

#[test]
fn several_files_with_attachments_and_incus_metadata_are_one_version() {
    let stage = Stage::set();
    stage.disk("disk.qcow2", 1);
    stage.disk("other.qcow2", 2);
    std::fs::write(stage.path("sbom.json"), "{}").expect("a file");
    let publish = [
        "publish",
        "debian",
        "1",
        "disk.qcow2,arch=amd64,attach=sbom.spdx.json=sbom.json",
        "other.qcow2,arch=arm64",
        "--incus",
        "--os",
        "debian",
        "--json",
    ];
    let published = stage.run(&publish).json();
    assert_eq!(published["digests"].as_array().map(Vec::len), Some(3));
    let files = stage.get("/images/debian/1/");
    let names: Vec<_> = files["files"].as_array().expect("files").iter().map(|file| file["name"].clone()).collect();
    let expected = [
        "debian-1-amd64.qcow2",
        "debian-1-amd64.qcow2.incus.tar.xz",
        "debian-1-amd64.qcow2.sbom.spdx.json",
        "debian-1-arm64.qcow2",
        "debian-1-arm64.qcow2.incus.tar.xz",
    ];
    assert_eq!(names, expected);
    assert_eq!(stage.run(&publish).json()["was_published"], true);
    let ambiguous = stage.run(&["publish", "debian", "2", "disk.qcow2", "other.qcow2", "--arch", "amd64"]);
    assert_eq!(ambiguous.code, Some(2));
    assert!(ambiguous.err.contains("two files would be called amd64.qcow2"), "{}", ambiguous.err);
}

#[test]
fn a_publish_that_is_killed_three_times_goes_on_where_it_was() {
    let stage = Stage::set();
    let digest = stage.large_disk("disk.qcow2", 1, 224);
    let publish = ["publish", "debian", "1", "disk.qcow2", "--arch", "amd64", "--alias", "latest"];
    let mut kept = Vec::new();
    for parts in [1, 3, 5] {
        let mut running = stage.command(&publish).spawn().expect("it runs");
        let before = stage.has_parts(&digest, parts);
        running.kill().expect("killed");
        running.wait().expect("it ends");
        assert!(before.starts_with(&kept), "what was accepted is not sent again");
        kept = before;
    }
    assert_eq!(stage.run(&publish).code, Some(0));
    let uploads = stage.get("/v1/uploads");
    assert_eq!(uploads["uploads"], json!([]), "one session was enough");
    let manifest = stage.run(&["show", "debian", "--json"]).json();
    assert_eq!(manifest["artifacts"][0]["artifact"]["primary_blob_digest"], digest);
}

#[test]
fn a_server_that_is_killed_under_a_publish_does_not_end_it() {
    let mut stage = Stage::set();
    let digest = stage.large_disk("disk.qcow2", 1, 192);
    let running = stage.command(&["publish", "debian", "1", "disk.qcow2", "--arch", "amd64"]).spawn().expect("it runs");
    for parts in [1, 3] {
        stage.has_parts(&digest, parts);
        stage.server.restart();
    }
    let told = told(running);
    assert_eq!(told.code, Some(0), "{told:?}");
    assert!(told.err.contains("trying again in"), "{}", told.err);
    assert_eq!(stage.get("/v1/images/debian/versions/1")["version"]["state"], "published");
}

#[test]
fn two_identical_publishes_at_once_are_one() {
    let stage = Stage::set();
    stage.large_disk("disk.qcow2", 1, 96);
    let publish = ["publish", "debian", "1", "disk.qcow2", "--arch", "amd64", "--alias", "latest", "--json"];
    let both = [stage.command(&publish).spawn(), stage.command(&publish).spawn()]
        .map(|child| told(child.expect("it runs")).json());
    let ids = both.each_ref().map(|told| told["version"]["id"].clone());
    assert_eq!(ids[0], ids[1]);
    let jobs: Vec<_> = both.iter().filter_map(|told| told["job"]["id"].as_str()).collect();
    assert!(jobs.windows(2).all(|pair| pair[0] == pair[1]), "{jobs:?}");
    assert_eq!(stage.get("/v1/images/debian/versions?state=all")["versions"].as_array().map(Vec::len), Some(1));
}

#[test]
fn a_draft_with_other_content_is_replaced_only_on_request() {
    let stage = Stage::set();
    stage.disk("old.qcow2", 1);
    let digest = stage.disk("new.qcow2", 2);
    let draft = [("/v1/images", json!({"name": "debian"})), ("/v1/images/debian/versions", json!({"version": "1"}))];
    let artifact = json!({
        "operating_system": "linux", "architecture": "amd64", "format": "qcow2", "primary_media_type": "a/b",
        "primary_blob_digest": format!("sha256:{}", "0".repeat(64)), "primary_blob_size_bytes": 1,
    });
    for (path, body) in draft.into_iter().chain([("/v1/images/debian/versions/1/artifacts", artifact)]) {
        let posted = ureq::post(format!("{}{path}", stage.server.url))
            .header("authorization", format!("Bearer {}", stage.token))
            .send_json(body);
        posted.unwrap_or_else(|error| panic!("{path}: {error}"));
    }
    assert!(stage.run(&["drafts"]).out.contains("debian  1        draft"), "{}", stage.run(&["drafts"]).out);
    let publish = ["publish", "debian", "1", "new.qcow2", "--arch", "amd64"];
    let refused = stage.run(&publish);
    assert_eq!(refused.code, Some(3));
    assert!(
        refused.err.contains("debian 1 is a draft with other content") && refused.err.contains("--replace"),
        "{}",
        refused.err
    );
    assert_eq!(stage.run(&[&publish[..], &["--replace"]].concat()).code, Some(0));
    assert_eq!(
        stage.run(&["show", "debian:1", "--json"]).json()["artifacts"][0]["artifact"]["primary_blob_digest"],
        digest
    );
}

#[test]
fn without_waiting_the_job_is_told_and_can_be_awaited() {
    let stage = Stage::set();
    stage.disk("disk.qcow2", 1);
    let told = stage.run(&["publish", "debian", "1", "disk.qcow2", "--arch", "amd64", "--no-wait", "--json"]).json();
    let job = told["job"]["id"].as_str().expect("a job");
    assert_eq!(stage.run(&["jobs", "show", job, "--wait", "--json"]).json()["state"], "succeeded");
    assert_eq!(stage.run(&["jobs", "retry", job]).code, Some(3));
}
