//! Commands, and curl, against a server below a path of a reverse proxy, which removes the path or keeps it.

use crate::fixture::{Fixture, run};
use serde_json::Value;
use std::{fs, process::Command};

/// The URL that a reference in a response of `base` refers to.
fn resolved(base: &str, reference: &str) -> String {
    let path = base.trim_start_matches("https://").find('/').map_or(base.len(), |at| "https://".len() + at);
    if reference.starts_with('/') { format!("{}{reference}", &base[..path]) } else { reference.to_owned() }
}

#[test]
fn commands_work_below_a_path_of_a_proxy() {
    for is_kept in [false, true] {
        let (fixture, front) = Fixture::start_below_a_path(is_kept);
        let authority = front.authority();
        let command = |arguments: &[&str]| run(fixture.command(arguments).env("IMGSRV_CA_FILE", &authority));
        // With and without a slash at the end of the server's URL.
        let slashed = format!("{}/", fixture.url);
        fixture.disk("debian-12-amd64.qcow2", 3);
        let published = command(&["publish", "debian", "12", "debian-12-amd64.qcow2", "--alias", "latest", "--json"]);
        let published = published.json();
        assert_eq!(published["url"], format!("{slashed}images/debian/12/"));
        let bytes = fs::read(fixture.path("debian-12-amd64.qcow2")).expect("the disk");
        for url in published["files"].as_array().expect("files") {
            assert_eq!(curl(&authority, url.as_str().expect("a URL")), bytes);
        }
        command(&["publish", "debian", "12", "debian-12-amd64.qcow2", "--server", &slashed, "--json"]).json();
        let downloaded = command(&["download", "debian:latest", "--output", "again.qcow2", "--server", &slashed]);
        assert_eq!(downloaded.code, Some(0), "{downloaded:?}");
        assert_eq!(fs::read(fixture.path("again.qcow2")).expect("the disk"), bytes);
        for arguments in [
            ["images", "list", "--json"].as_slice(),
            &["versions", "list", "debian", "--json"],
            &["jobs", "list", "--json"],
            &["whoami", "--json"],
        ] {
            command(arguments).json();
        }
    }
}

#[test]
fn curl_follows_every_link_of_a_listing_below_a_path_of_a_proxy() {
    for is_kept in [false, true] {
        let (fixture, front) = Fixture::start_below_a_path(is_kept);
        let authority = front.authority();
        for (image, salt) in [("debian", 3), ("ubuntu", 5)] {
            fixture.disk("disk-amd64.qcow2", salt);
            let arguments = ["publish", image, "1", "disk-amd64.qcow2", "--alias", "latest"];
            let published = run(fixture.command(&arguments).env("IMGSRV_CA_FILE", &authority));
            assert_eq!(published.code, Some(0), "{published:?}");
            let bytes = fs::read(fixture.path("disk-amd64.qcow2")).expect("the disk");
            let listing = curl(&authority, &format!("{}/images/{image}/latest/", fixture.url));
            let listing: Value = serde_json::from_slice(&listing).expect("JSON");
            let files = listing["files"].as_array().expect("files");
            assert_eq!(files.len(), 1, "{listing}");
            for file in files {
                let url = resolved(&fixture.url, file["url"].as_str().expect("a URL"));
                assert_eq!(curl(&authority, &url), bytes, "{url}");
            }
        }
        let mut names = Vec::new();
        let mut next = Some(format!("{}/v1/images?limit=1", fixture.url));
        while let Some(url) = next {
            let page: Value = serde_json::from_slice(&curl(&authority, &url)).expect("JSON");
            names.push(page["images"][0]["name"].as_str().expect("a name").to_owned());
            let head = String::from_utf8(curl_with(&authority, &["-o", "/dev/null", "-D", "-"], &url)).expect("text");
            let link = head.lines().find_map(|line| line.strip_prefix("link: <").or(line.strip_prefix("Link: <")));
            next = link.and_then(|link| link.split_once('>')).map(|(target, _)| resolved(&fixture.url, target));
        }
        assert_eq!(names, ["debian", "ubuntu"]);
    }
}

fn curl(authority: &str, url: &str) -> Vec<u8> {
    curl_with(authority, &[], url)
}

fn curl_with(authority: &str, more: &[&str], url: &str) -> Vec<u8> {
    let output = Command::new("curl").args(["-sSf", "--cacert", authority]).args(more).arg(url).output();
    let output = output.expect("curl runs");
    assert!(output.status.success(), "{url}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}
