//! Downloads, lists and aliases.

use crate::fixture::Fixture;
use imgsrv_testkit::digest;
use std::process::Stdio;

#[test]
fn a_download_is_verified_and_resumed() {
    let fixture = Fixture::start();
    let expected = fixture.large_disk("disk.qcow2", 1, 8);
    assert_eq!(
        fixture.run(&["publish", "debian", "1", "disk.qcow2", "--arch", "amd64", "--alias", "latest"]).code,
        Some(0)
    );
    let fetched = fixture.run(&["download", "debian"]);
    assert_eq!((fetched.code, &*fetched.out), (Some(0), "debian-1-amd64.qcow2\n"));
    assert_eq!(digest(&std::fs::read(fixture.path("debian-1-amd64.qcow2")).expect("the file")), expected);
    let requests =
        |fixture: &Fixture| fixture.server.log().matches("http.path=\"/images/debian/1/debian-1-amd64.qcow2\"").count();
    let before = requests(&fixture);
    assert_eq!(fixture.run(&["download", "debian"]).code, Some(0));
    assert_eq!(requests(&fixture), before, "a complete file is not downloaded again");

    // A partial file is resumed; a damaged one is detected and replaced.
    let bytes = std::fs::read(fixture.path("disk.qcow2")).expect("the file");
    let partial = fixture.path(&format!(".copy.{}.part", &expected["sha256:".len()..][..16]));
    std::fs::write(&partial, &bytes[..5 << 20]).expect("a partial file");
    assert_eq!(fixture.run(&["download", "debian:1", "-o", "copy"]).code, Some(0));
    assert_eq!(digest(&std::fs::read(fixture.path("copy")).expect("the file")), expected);
    assert!(fixture.server.log_with("http.status=206").contains("http.status=206"));
    std::fs::write(fixture.path("copy"), b"something else").expect("a file");
    std::fs::write(&partial, vec![7; 1 << 20]).expect("a damaged partial file");
    assert_eq!(fixture.run(&["download", "debian:1", "-o", "copy"]).code, Some(0), "it starts again");
    assert_eq!(digest(&std::fs::read(fixture.path("copy")).expect("the file")), expected);
    assert!(!partial.exists());

    // A device is written to and a symbolic link followed; neither is replaced.
    std::os::unix::fs::symlink("copy", fixture.path("link")).expect("a link");
    std::fs::remove_file(fixture.path("copy")).expect("gone");
    std::fs::write(fixture.path("copy"), b"something else").expect("a file");
    assert_eq!(fixture.run(&["download", "debian:1", "-o", "link"]).code, Some(0));
    assert!(fixture.path("link").is_symlink());
    assert_eq!(digest(&std::fs::read(fixture.path("copy")).expect("the file")), expected);
    assert_eq!(fixture.run(&["download", "debian:1", "-o", "/dev/null"]).code, Some(0));
    assert!(!std::fs::metadata("/dev/null").expect("the device").is_file());
    assert_eq!(fixture.run(&["download", "debian:1", "-o", "new/"]).code, Some(0));
    assert!(fixture.path("new/debian-1-amd64.qcow2").exists());

    let mut piped = fixture.command(&["download", "debian", "-o", "-"]);
    let output = piped.stdout(Stdio::piped()).output().expect("it runs");
    assert_eq!(digest(&output.stdout), expected);
}

#[test]
fn downloads_need_no_token_and_options_choose_among_artifacts() {
    let fixture = Fixture::start();
    fixture.disk("disk.qcow2", 1);
    fixture.disk("other.qcow2", 2);
    std::fs::write(fixture.path("sig"), "signature").expect("a file");
    let files = ["disk.qcow2,arch=amd64,attach=asc=sig", "other.qcow2,arch=arm64"];
    assert_eq!(fixture.run(&["publish", "debian", "1", files[0], files[1], "--alias", "latest"]).code, Some(0));
    let mut anonymous = fixture.command(&["download", "debian", "--arch", "arm64"]);
    assert!(anonymous.env_remove("IMGSRV_TOKEN").status().expect("it runs").success());
    assert!(fixture.path("debian-1-arm64.qcow2").exists());
    let several = fixture.run(&["download", "debian"]);
    assert_eq!(several.code, Some(2));
    assert!(several.err.contains("--os linux --arch arm64 --variant default --format qcow2"), "{}", several.err);
    let attached = fixture.run(&["download", "debian", "--arch", "amd64", "--attachment", "asc"]);
    assert_eq!(attached.out, "debian-1-amd64.qcow2.asc\n");
    assert_eq!(std::fs::read(fixture.path("debian-1-amd64.qcow2.asc")).expect("the file"), b"signature");
    assert_eq!(fixture.run(&["download", "debian", "--arch", "s390x"]).code, Some(4));
    assert_eq!(fixture.run(&["download", "nothing"]).code, Some(4));
}

#[test]
fn images_versions_and_aliases_are_listed_and_moved() {
    let fixture = Fixture::start();
    fixture.disk("disk.qcow2", 1);
    for version in ["1", "2"] {
        assert_eq!(fixture.run(&["publish", "debian", version, "disk.qcow2", "--arch", "amd64"]).code, Some(0));
    }
    assert_eq!(fixture.run(&["alias", "set", "debian", "stable", "1"]).out, "debian stable is 1\n");
    assert!(fixture.run(&["alias", "list", "debian"]).out.contains("stable  1"));
    let versions = fixture.run(&["versions", "debian"]).out;
    let lines: Vec<&str> = versions.lines().collect();
    assert!(lines[1].starts_with("2        published") && lines[2].ends_with("stable"), "{versions}");
    let rows = fixture.run(&["versions", "debian", "--json"]).out;
    let rows: Vec<serde_json::Value> = rows.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(rows.len(), 2);
    assert!(fixture.run(&["images"]).out.contains("debian"));
    assert_eq!(fixture.run(&["alias", "rm", "debian", "stable"]).code, Some(0));
    assert_eq!(fixture.run(&["alias", "rm", "debian", "stable"]).code, Some(4));
}
