//! Publishing: once, repeatedly, interrupted, and concurrently.

use crate::fixture::{Fixture, finish};
use serde_json::json;

#[test]
fn a_repeated_publish_changes_nothing() {
    let fixture = Fixture::start();
    let digest = fixture.disk("debian-12-arm64.qcow2", 1);
    let publish = ["publish", "debian", "12.5.0", "debian-12-arm64.qcow2", "--alias", "latest", "--alias", "stable"];
    let first = fixture.run(&publish);
    assert_eq!(first.code, Some(0), "{first:?}");
    let expected = "debian 12.5.0 is published\ndebian:latest points to 12.5.0\ndebian:stable points to 12.5.0\n";
    assert!(first.out.starts_with(expected), "{}", first.out);
    let url = format!("{}/images/debian/12.5.0/debian-12.5.0-arm64.qcow2", fixture.server.url);
    assert!(first.out.contains(&format!("\n  imgsrv download debian:latest\n  curl -fLO {url}\n")), "{}", first.out);
    assert_eq!(ureq::get(&url).call().expect("the file").status(), 200);
    assert!(first.err.contains("qcow2 of 1.00 MiB, 320.00 KiB to send, arm64 (from its name)"), "{}", first.err);
    let second = fixture.run(&[&publish[..], &["--json"]].concat()).json();
    assert_eq!((&second["already_published"], &second["digests"]), (&json!(true), &json!([digest])));
    let manifest = fixture.run(&["versions", "show", "debian:stable", "--json"]).json();
    let artifact = &manifest["artifacts"][0]["artifact"];
    assert_eq!(artifact["primary_media_type"], "application/x-qemu-disk");
    assert_eq!((&artifact["architecture"], &artifact["operating_system"]), (&json!("arm64"), &json!("linux")));
    assert_eq!(fixture.get("/v1/images/debian/versions")["versions"].as_array().map(Vec::len), Some(1));
}

#[test]
fn other_content_of_a_published_version_is_refused_with_the_differences() {
    let fixture = Fixture::start();
    fixture.disk("a.qcow2", 1);
    fixture.disk("b.qcow2", 2);
    assert_eq!(fixture.run(&["publish", "debian", "1", "a.qcow2", "--arch", "amd64"]).code, Some(0));
    let other = fixture.run(&["publish", "debian", "1", "b.qcow2", "--arch", "amd64"]);
    assert_eq!(other.code, Some(3));
    let expected = "imgsrv: debian 1 is published with other content: linux/amd64/default/qcow2 has digest sha256:";
    assert!(other.err.contains(expected), "{}", other.err);
    assert!(
        other.err.contains("\n  Published versions never change. Publish under a new version name.\n"),
        "{}",
        other.err
    );
    let fewer = fixture.run(&["publish", "debian", "1", "a.qcow2,arch=amd64", "b.qcow2,arch=arm64"]);
    assert_eq!(fewer.code, Some(3));
    assert!(fewer.err.contains("it lacks linux/arm64/default/qcow2"), "{}", fewer.err);
}

#[test]
fn an_invalid_publication_is_refused_before_anything_is_sent() {
    let fixture = Fixture::start();
    fixture.disk("a.qcow2", 1);
    fixture.disk("b.qcow2", 2);
    let published = ["publish", "debian", "1", "a.qcow2", "--arch", "amd64", "--alias", "latest"];
    assert_eq!(fixture.run(&published).code, Some(0));
    let uploads =
        |fixture: &Fixture| fixture.server.log().matches("http.method=POST http.path=\"/v1/uploads\"").count();
    let before = uploads(&fixture);
    let refused = |arguments: &[&str], code: i32, words: &str| {
        let output = fixture.run(&[&["publish", "debian"], arguments, &["--arch", "amd64"]].concat());
        assert_eq!(output.code, Some(code), "{output:?}");
        assert!(output.err.contains(words), "{output:?}");
    };
    refused(&["1", "b.qcow2"], 3, "is published with other content");
    refused(&["2", "b.qcow2", "--alias", "1"], 3, "the alias 1 is the name of a version");
    refused(&["latest", "b.qcow2"], 3, "latest is the name of an alias");
    refused(&["2", "b.qcow2", "--alias", "2"], 2, "cannot be both");
    refused(&["2", "b.qcow2", "--alias", "a b"], 2, "is not a valid alias name");
    refused(
        &["2", "b.qcow2", "--attach", "x=a.qcow2", "--attach", "x=b.qcow2"],
        2,
        "two files would have the same name",
    );
    refused(&["2", "b.qcow2", "--incus", "--format", "raw", "--force"], 2, "Incus cannot boot the format raw");
    assert_eq!(uploads(&fixture), before);
}

#[test]
fn replace_replaces_the_content_of_a_version_whose_job_has_failed() {
    let fixture = Fixture::start_with(&["--format-check", "enforce"]);
    std::fs::write(fixture.path("bad.qcow2"), vec![1; 4096]).expect("a file");
    let digest = fixture.disk("good.qcow2", 1);
    let publish = |file: &str, more: &[&str]| {
        let arguments = ["publish", "debian", "1", file, "--format", "qcow2", "--arch", "amd64"];
        fixture.run(&[&arguments[..], more].concat())
    };
    let refused = publish("bad.qcow2", &[]);
    assert!(refused.code == Some(3) && refused.err.contains("declared as qcow2"), "{refused:?}");
    let failed = publish("bad.qcow2", &["--force"]);
    assert_eq!(failed.code, Some(3));
    assert!(failed.err.contains("the publish job"), "{failed:?}");
    let other = publish("good.qcow2", &[]);
    assert_eq!(other.code, Some(3));
    assert!(other.err.contains("add --replace"), "{other:?}");
    assert_eq!(publish("good.qcow2", &["--replace"]).code, Some(0));
    let manifest = fixture.run(&["versions", "show", "debian:1", "--json"]).json();
    assert_eq!(manifest["artifacts"][0]["artifact"]["primary_blob_digest"], digest);
}

#[test]
fn several_files_with_attachments_and_incus_metadata_are_one_version() {
    let fixture = Fixture::start();
    fixture.disk("disk.qcow2", 1);
    fixture.disk("other.qcow2", 2);
    std::fs::write(fixture.path("sbom.json"), "{}").expect("a file");
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
    let published = fixture.run(&publish).json();
    assert_eq!(published["digests"].as_array().map(Vec::len), Some(3));
    let files = fixture.get("/images/debian/1/");
    let names: Vec<_> = files["files"].as_array().expect("files").iter().map(|file| file["name"].clone()).collect();
    let expected = [
        "debian-1-amd64.qcow2",
        "debian-1-amd64.qcow2.incus.tar.xz",
        "debian-1-amd64.qcow2.sbom.spdx.json",
        "debian-1-arm64.qcow2",
        "debian-1-arm64.qcow2.incus.tar.xz",
    ];
    assert_eq!(names, expected);
    assert_eq!(fixture.run(&publish).json()["already_published"], true);
    let ambiguous = fixture.run(&["publish", "debian", "2", "disk.qcow2", "other.qcow2", "--arch", "amd64"]);
    assert_eq!(ambiguous.code, Some(2));
    assert!(ambiguous.err.contains("two files would have the same name, amd64.qcow2"), "{}", ambiguous.err);
}

#[test]
fn a_publish_that_is_killed_three_times_resumes() {
    let fixture = Fixture::start();
    let digest = fixture.large_disk("disk.qcow2", 1, 224);
    let publish = ["publish", "debian", "1", "disk.qcow2", "--arch", "amd64", "--alias", "latest"];
    let mut accepted = Vec::new();
    for parts in [1, 3, 5] {
        let mut running = fixture.command(&publish).spawn().expect("it runs");
        let before = fixture.wait_for_parts(&digest, parts);
        running.kill().expect("killed");
        running.wait().expect("it ends");
        // In any order: on a slow machine, several are sent at once.
        assert!(accepted.iter().all(|part| before.contains(part)), "accepted parts are not sent again");
        accepted = before;
    }
    assert_eq!(fixture.run(&publish).code, Some(0));
    let uploads = fixture.get("/v1/uploads");
    assert_eq!(uploads["uploads"], json!([]), "one session was enough");
    let manifest = fixture.run(&["versions", "show", "debian", "--json"]).json();
    assert_eq!(manifest["artifacts"][0]["artifact"]["primary_blob_digest"], digest);
}

#[test]
fn a_publish_survives_restarts_of_the_server() {
    let mut fixture = Fixture::start();
    let digest = fixture.large_disk("disk.qcow2", 1, 192);
    let running =
        fixture.command(&["publish", "debian", "1", "disk.qcow2", "--arch", "amd64"]).spawn().expect("it runs");
    for parts in [1, 3] {
        fixture.wait_for_parts(&digest, parts);
        fixture.server.restart();
    }
    let output = finish(running);
    assert_eq!(output.code, Some(0), "{output:?}");
    assert!(output.err.contains("retrying in"), "{}", output.err);
    assert_eq!(fixture.get("/v1/images/debian/versions/1")["version"]["state"], "published");
}

#[test]
fn repeating_an_old_publication_moves_no_alias_back() {
    let fixture = Fixture::start();
    fixture.disk("disk.qcow2", 1);
    let publish = |version: &str, more: &[&str]| {
        fixture.run(&[&["publish", "debian", version, "disk.qcow2", "--alias", "latest"], more].concat())
    };
    let latest = || fixture.get("/v1/images/debian/aliases/latest")["version"].clone();
    assert_eq!((publish("1.0", &[]).code, publish("3.0", &[]).code), (Some(0), Some(0)));
    let again = publish("1.0", &["--alias", "old"]);
    assert_eq!(again.code, Some(0), "{again:?}");
    assert!(again.err.contains("debian:latest stays at 3.0") && again.err.contains("--move-aliases"), "{}", again.err);
    assert!(again.out.contains("debian:old points to 1.0") && !again.out.contains("latest"), "{}", again.out);
    assert_eq!(latest(), "3.0");
    let json = publish("1.0", &["--json"]).json();
    assert_eq!((&json["aliases"], &json["kept_aliases"][0]["version"]), (&json!([]), &json!("3.0")));
    assert_eq!(publish("1.0", &["--move-aliases"]).code, Some(0));
    assert_eq!(latest(), "1.0");
}

#[test]
fn concurrent_identical_publishes_make_one_version() {
    let fixture = Fixture::start();
    fixture.large_disk("disk.qcow2", 1, 96);
    let publish = ["publish", "debian", "1", "disk.qcow2", "--arch", "amd64", "--alias", "latest", "--json"];
    let both = [fixture.command(&publish).spawn(), fixture.command(&publish).spawn()]
        .map(|child| finish(child.expect("it runs")).json());
    let ids = both.each_ref().map(|published| published["version"]["id"].clone());
    assert_eq!(ids[0], ids[1]);
    let jobs: Vec<_> = both.iter().filter_map(|published| published["job"]["id"].as_str()).collect();
    assert!(jobs.windows(2).all(|pair| pair[0] == pair[1]), "{jobs:?}");
    assert_eq!(fixture.get("/v1/images/debian/versions?state=all")["versions"].as_array().map(Vec::len), Some(1));
}

#[test]
fn a_draft_with_other_content_is_replaced_only_with_replace() {
    let fixture = Fixture::start();
    fixture.disk("old.qcow2", 1);
    let digest = fixture.disk("new.qcow2", 2);
    let draft = [("/v1/images", json!({"name": "debian"})), ("/v1/images/debian/versions", json!({"version": "1"}))];
    let artifact = json!({
        "operating_system": "linux", "architecture": "amd64", "format": "qcow2", "primary_media_type": "a/b",
        "primary_blob_digest": format!("sha256:{}", "0".repeat(64)), "primary_blob_size_bytes": 1,
    });
    for (path, body) in draft.into_iter().chain([("/v1/images/debian/versions/1/artifacts", artifact)]) {
        let posted = ureq::post(format!("{}{path}", fixture.server.url))
            .header("authorization", format!("Bearer {}", fixture.token))
            .send_json(body);
        posted.unwrap_or_else(|error| panic!("{path}: {error}"));
    }
    assert!(
        fixture.run(&["drafts", "list"]).out.contains("debian  1        draft"),
        "{}",
        fixture.run(&["drafts", "list"]).out
    );
    let publish = ["publish", "debian", "1", "new.qcow2", "--arch", "amd64"];
    let refused = fixture.run(&publish);
    assert_eq!(refused.code, Some(3));
    assert!(
        refused.err.contains("debian 1 is a draft with other content") && refused.err.contains("--replace"),
        "{}",
        refused.err
    );
    assert_eq!(fixture.run(&[&publish[..], &["--replace"]].concat()).code, Some(0));
    assert_eq!(
        fixture.run(&["versions", "show", "debian:1", "--json"]).json()["artifacts"][0]["artifact"]["primary_blob_digest"],
        digest
    );
}

#[test]
fn without_waiting_the_job_is_returned_and_can_be_waited_for() {
    let fixture = Fixture::start();
    fixture.disk("disk.qcow2", 1);
    let published =
        fixture.run(&["publish", "debian", "1", "disk.qcow2", "--arch", "amd64", "--no-wait", "--json"]).json();
    let job = published["job"]["id"].as_str().expect("a job");
    assert_eq!(fixture.run(&["jobs", "show", job, "--wait", "--json"]).json()["state"], "succeeded");
    assert_eq!(fixture.run(&["jobs", "retry", job]).code, Some(3));
    let listed = |arguments: &[&str]| {
        let output = fixture.run(&[&["jobs", "list", "--json"], arguments].concat());
        output.json()["jobs"].as_array().unwrap_or_else(|| panic!("{output:?}")).clone()
    };
    for (arguments, count) in [(&[][..], 0), (&["--all"], 1), (&["debian", "--state", "succeeded,failed"], 1)] {
        let jobs = listed(arguments);
        assert!(jobs.len() == count && jobs.iter().all(|found| found["id"] == job), "{arguments:?}: {jobs:?}");
    }
}
