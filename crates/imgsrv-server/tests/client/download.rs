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
    let several = fixture.run(&["download", "debian", "--os", "linux", "--variant", "default"]);
    let host = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    assert_eq!(several.out, format!("debian-1-{host}.qcow2\n"), "that of this machine");
    fixture.disk("cloud.qcow2", 3);
    let files = ["disk.qcow2,arch=arm64", "cloud.qcow2,arch=arm64,variant=cloud"];
    assert_eq!(fixture.run(&["publish", "debian", "2", files[0], files[1]]).code, Some(0));
    let several = fixture.run(&["download", "debian/2", "--arch", "AARCH64"]);
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
    let set = fixture.run(&["aliases", "set", "debian", "stable", "1"]);
    assert_eq!(set.out, "debian:stable points to 1\n");
    assert!(fixture.run(&["aliases", "list", "debian"]).out.contains("stable  1"));
    let versions = fixture.run(&["versions", "list", "debian"]).out;
    let lines: Vec<&str> = versions.lines().collect();
    assert!(lines[1].starts_with("2        published") && lines[2].ends_with("stable"), "{versions}");
    let rows = fixture.run(&["versions", "list", "debian", "--json"]).json();
    assert_eq!(rows["versions"].as_array().map(Vec::len), Some(2));
    assert!(fixture.run(&["images", "list"]).out.contains("debian"));
    assert_eq!(fixture.run(&["aliases", "delete", "debian", "stable"]).code, Some(0));
    assert_eq!(fixture.run(&["aliases", "delete", "debian", "stable"]).code, Some(4));
}

#[test]
fn the_metadata_of_an_image_can_be_changed() {
    let fixture = Fixture::start();
    fixture.disk("disk.qcow2", 1);
    let publish = ["publish", "debian", "1", "disk.qcow2", "--arch", "x86_64"];
    assert_eq!(fixture.run(&[&publish[..], &["--display-name", "Debian"]].concat()).code, Some(0));
    let set = fixture.run(&["images", "set", "debian", "--description", "Base images", "--json"]).json();
    assert_eq!((&set["display_name"], &set["description"]), (&"Debian".into(), &"Base images".into()));
    // Publishing changes an existing image as well.
    assert_eq!(fixture.run(&[&publish[..], &["--display-name", "Debian 12"]].concat()).code, Some(0));
    let shown = fixture.run(&["images", "show", "debian"]);
    assert!(shown.out.starts_with("debian (Debian 12)\n  Base images\n  1  "), "{shown:?}");
    let removed = fixture.run(&["images", "set", "debian", "--display-name", "", "--json"]).json();
    assert!(removed.get("display_name").is_none(), "{removed}");
    assert_eq!(fixture.run(&["images", "set", "debian"]).code, Some(2));
    let artifact = &fixture.run(&["versions", "show", "debian:1", "--json"]).json()["artifacts"][0]["artifact"];
    assert_eq!(artifact["architecture"], "amd64", "architectures are written in one way");
}

#[test]
fn earlier_forms_of_commands_still_run() {
    let fixture = Fixture::start();
    fixture.disk("disk.qcow2", 1);
    assert_eq!(fixture.run(&["publish", "debian", "1", "disk.qcow2", "--alias", "latest"]).code, Some(0));
    let data = fixture.path("data");
    let data = data.to_str().expect("a path");
    for (arguments, expected) in [
        (&["images"][..], "debian"),
        (&["images", "--all"], "debian"),
        (&["versions", "debian"], "published"),
        (&["show", "debian"], "debian 1: published"),
        (&["drafts"], ""),
        (&["alias", "set", "debian", "stable", "1"], "debian:stable points to 1"),
        (&["alias", "list", "debian"], "stable"),
        (&["alias", "rm", "debian", "stable"], "deleted the alias debian:stable"),
        (&["auth", "list", "--data-dir", data], "content-writer"),
        (&["auth", "bootstrap", "--data-dir", data], "imgsrv bootstrap token (one-time): imgsrv_at_"),
    ] {
        let output = fixture.run(arguments);
        assert!(output.code == Some(0) && output.out.contains(expected), "{arguments:?}: {output:?}");
    }
    assert_eq!(fixture.run(&["auth", "revoke", "--data-dir", data]).code, Some(2));
}
