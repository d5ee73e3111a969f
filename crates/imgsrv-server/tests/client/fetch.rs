//! Fetching: downloads that resume and verify, lists, aliases.

use crate::stage::Stage;
use imgsrv_testkit::digest;
use std::process::Stdio;

#[test]
fn a_download_is_verified_resumed_and_found_there() {
    let stage = Stage::set();
    let expected = stage.large_disk("disk.qcow2", 1, 8);
    assert_eq!(
        stage.run(&["publish", "debian", "1", "disk.qcow2", "--arch", "amd64", "--alias", "latest"]).code,
        Some(0)
    );
    let fetched = stage.run(&["download", "debian"]);
    assert_eq!((fetched.code, &*fetched.out), (Some(0), "debian-1-amd64.qcow2\n"));
    assert_eq!(digest(&std::fs::read(stage.path("debian-1-amd64.qcow2")).expect("the file")), expected);
    let asked =
        |stage: &Stage| stage.server.log().matches("http.path=\"/images/debian/1/debian-1-amd64.qcow2\"").count();
    let before = asked(&stage);
    assert_eq!(stage.run(&["download", "debian"]).code, Some(0));
    assert_eq!(asked(&stage), before, "what is there already is not fetched again");

    // What an interrupted download leaves is gone on with; rotten bytes are noticed, and not kept.
    let bytes = std::fs::read(stage.path("disk.qcow2")).expect("the file");
    let partial = stage.path(&format!(".copy.{}.part", &expected["sha256:".len()..][..16]));
    std::fs::write(&partial, &bytes[..5 << 20]).expect("a partial file");
    assert_eq!(stage.run(&["download", "debian:1", "-o", "copy"]).code, Some(0));
    assert_eq!(digest(&std::fs::read(stage.path("copy")).expect("the file")), expected);
    assert!(stage.server.log_with("http.status=206").contains("http.status=206"));
    std::fs::write(stage.path("copy"), b"something else").expect("a file");
    std::fs::write(&partial, vec![7; 1 << 20]).expect("a rotten partial file");
    assert_eq!(stage.run(&["download", "debian:1", "-o", "copy"]).code, Some(0), "begun anew by itself");
    assert_eq!(digest(&std::fs::read(stage.path("copy")).expect("the file")), expected);
    assert!(!partial.exists());

    // A pipe is written to, and a link followed; neither is replaced.
    std::os::unix::fs::symlink("copy", stage.path("link")).expect("a link");
    std::fs::remove_file(stage.path("copy")).expect("gone");
    std::fs::write(stage.path("copy"), b"something else").expect("a file");
    assert_eq!(stage.run(&["download", "debian:1", "-o", "link"]).code, Some(0));
    assert!(stage.path("link").is_symlink());
    assert_eq!(digest(&std::fs::read(stage.path("copy")).expect("the file")), expected);
    assert_eq!(stage.run(&["download", "debian:1", "-o", "/dev/null"]).code, Some(0));
    assert!(!std::fs::metadata("/dev/null").expect("the device").is_file());
    assert_eq!(stage.run(&["download", "debian:1", "-o", "new/"]).code, Some(0));
    assert!(stage.path("new/debian-1-amd64.qcow2").exists());

    let mut piped = stage.command(&["download", "debian", "-o", "-"]);
    let output = piped.stdout(Stdio::piped()).output().expect("it runs");
    assert_eq!(digest(&output.stdout), expected);
}

#[test]
fn anybody_may_fetch_and_is_asked_which_where_there_are_several() {
    let stage = Stage::set();
    stage.disk("disk.qcow2", 1);
    stage.disk("other.qcow2", 2);
    std::fs::write(stage.path("sig"), "signature").expect("a file");
    let files = ["disk.qcow2,arch=amd64,attach=asc=sig", "other.qcow2,arch=arm64"];
    assert_eq!(stage.run(&["publish", "debian", "1", files[0], files[1], "--alias", "latest"]).code, Some(0));
    let mut anonymous = stage.command(&["download", "debian", "--arch", "arm64"]);
    assert!(anonymous.env_remove("IMGSRV_TOKEN").status().expect("it runs").success());
    assert!(stage.path("debian-1-arm64.qcow2").exists());
    let several = stage.run(&["download", "debian"]);
    assert_eq!(several.code, Some(2));
    assert!(several.err.contains("--os linux --arch arm64 --variant default --format qcow2"), "{}", several.err);
    let attached = stage.run(&["download", "debian", "--arch", "amd64", "--attachment", "asc"]);
    assert_eq!(attached.out, "debian-1-amd64.qcow2.asc\n");
    assert_eq!(std::fs::read(stage.path("debian-1-amd64.qcow2.asc")).expect("the file"), b"signature");
    assert_eq!(stage.run(&["download", "debian", "--arch", "s390x"]).code, Some(4));
    assert_eq!(stage.run(&["download", "nothing"]).code, Some(4));
}

#[test]
fn images_versions_and_aliases_are_listed_and_moved() {
    let stage = Stage::set();
    stage.disk("disk.qcow2", 1);
    for version in ["1", "2"] {
        assert_eq!(stage.run(&["publish", "debian", version, "disk.qcow2", "--arch", "amd64"]).code, Some(0));
    }
    assert_eq!(stage.run(&["alias", "set", "debian", "stable", "1"]).out, "debian stable is 1\n");
    assert!(stage.run(&["alias", "list", "debian"]).out.contains("stable  1"));
    let versions = stage.run(&["versions", "debian"]).out;
    let lines: Vec<&str> = versions.lines().collect();
    assert!(lines[1].starts_with("2        published") && lines[2].ends_with("stable"), "{versions}");
    let rows = stage.run(&["versions", "debian", "--json"]).out;
    let rows: Vec<serde_json::Value> = rows.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(rows.len(), 2);
    assert!(stage.run(&["images"]).out.contains("debian"));
    assert_eq!(stage.run(&["alias", "rm", "debian", "stable"]).code, Some(0));
    assert_eq!(stage.run(&["alias", "rm", "debian", "stable"]).code, Some(4));
}
