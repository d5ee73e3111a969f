//! What clients do with versions that are retired while they have the lists cached.

use crate::{
    client::{Client, Program},
    daemon::Daemon,
    disk, file_names,
    publisher::{Artifact, Publisher, Release},
};
use serde_json::{Value, json};
use std::{fs, path::Path};
use tempfile::TempDir;

const MACHINE: &str = "virtual-machine";

/// A server with versions 1 and 2 of `debian`, and their bytes. `latest` is version 1.
fn two_versions(scratch: &Path) -> (Publisher, [Vec<u8>; 2]) {
    let publisher = Publisher::start();
    let disks = [disk(scratch, 3), disk(scratch, 5)];
    for (version, bytes) in ["1", "2"].into_iter().zip(&disks) {
        publisher.publish(&Release { image: "debian", version, artifacts: &[Artifact::qcow2(bytes).described()] });
    }
    publisher.alias("debian", "latest", "1");
    (publisher, disks)
}

/// Exports the virtual machine with that name, and returns its disk.
fn export(client: &Client, name: &str, version: &str) -> Vec<u8> {
    let folder = TempDir::new().expect("a folder");
    client.run(&["image", "export", name, folder.path().to_str().expect("UTF-8"), "--vm"]);
    assert_eq!(file_names(folder.path()).len(), 2);
    fs::read(folder.path().join(format!("debian-{version}-x86_64.qcow2"))).expect("the disk")
}

fn names(images: &[Value]) -> String {
    let aliases = images.iter().flat_map(|image| image["aliases"].as_array().into_iter().flatten());
    aliases.filter_map(|alias| alias["name"].as_str()).collect::<Vec<_>>().join(" ")
}

#[test]
fn a_revoked_version_is_no_longer_listed_and_a_cached_list_is_dropped_at_its_answer() {
    let scratch = TempDir::new().expect("a scratch folder");
    let (publisher, [_, second]) = two_versions(scratch.path());
    for program in [Program::Incus, Program::Lxd] {
        let client = Client::new(program, &publisher);
        let first = client.fingerprint("debian/latest", MACHINE).expect("listed");
        let body = json!({"reason": "A secret leaked", "replacement": "2", "aliases": {"latest": "2"}});
        publisher.retire("debian", "1", "revoke", &body);

        // With its cached list, the client of Incus still knows the image; the answer to its request makes it forget that.
        let folder = scratch.path().to_str().expect("UTF-8");
        let failed = client.run_failing(&["image", "export", &format!("imgsrv:{first}"), folder, "--vm"]);
        assert!(program == Program::Lxd || failed.contains("not found"), "{failed}");
        assert!(!names(&client.list()).contains("debian/1"), "the list was not dropped");
        assert_eq!(export(&client, "imgsrv:debian/latest", "2"), second, "the alias has moved");
        let new = Client::new(program, &publisher);
        let listed = new.list();
        assert_eq!(listed.len(), 1, "{listed:?}");
        assert!(names(&listed).contains("debian/latest") && !names(&listed).contains("debian/1"));
        new.run_failing(&["image", "info", "imgsrv:debian/1", "--vm"]);

        publisher.retire("debian", "1", "restore", &json!({}));
        publisher.alias("debian", "latest", "1");
    }
}

#[test]
fn the_files_of_a_removed_version_outlive_the_cached_lists_of_clients() {
    let scratch = TempDir::new().expect("a scratch folder");
    let (publisher, [first, second]) = two_versions(scratch.path());
    // That of LXD reads the lists each time.
    let client = Client::new(Program::Incus, &publisher);
    let fingerprint = client.fingerprint("debian/latest", MACHINE).expect("listed");
    publisher.retire("debian", "1", "remove", &json!({"drain": "2h", "aliases": {"latest": "2"}}));
    assert!(names(&client.list()).contains("debian/1"), "the list is cached");
    assert_eq!(export(&client, "imgsrv:debian/latest", "1"), first, "by its cached list");
    assert_eq!(export(&client, &format!("imgsrv:{fingerprint}"), "1"), first);
    for program in [Program::Incus, Program::Lxd] {
        let new = Client::new(program, &publisher);
        assert!(!names(&new.list()).contains("debian/1"));
        assert_eq!(export(&new, "imgsrv:debian/latest", "2"), second);
    }
}

#[test]
#[expect(clippy::print_stdout, reason = "a skipped check is reported")]
fn a_refresh_under_an_alias_follows_it_when_the_lists_of_the_daemon_have_expired() {
    let daemon = match Daemon::start() {
        Ok(daemon) => daemon,
        Err(why) => {
            println!("image refresh was NOT run: incusd cannot run here: {why}");
            return;
        }
    };
    let scratch = TempDir::new().expect("a scratch folder");
    for verb in ["revoke", "remove"] {
        let (publisher, [_, second]) = two_versions(scratch.path());
        let client = Client::new(Program::Incus, &publisher).of(&daemon);
        let moved = client.fingerprint("debian/2", MACHINE).expect("listed");
        client.run(&["image", "copy", "imgsrv:debian/latest", "local:", "--vm", "--auto-update", "--alias", verb]);
        let copied = local(&client, verb);
        assert_ne!(copied, moved);
        publisher.retire("debian", "1", verb, &json!({"reason": "A secret leaked", "aliases": {"latest": "2"}}));

        // Within the hour, the daemon has the lists of before, in which the alias has not moved.
        client.run(&["image", "refresh", &format!("local:{verb}")]);
        assert_eq!(local(&client, verb), copied);
        daemon.expire_lists();
        client.run(&["image", "refresh", &format!("local:{verb}")]);
        assert_eq!(local(&client, verb), moved, "after {verb}");
        let folder = TempDir::new().expect("a folder");
        client.run(&["image", "export", &format!("local:{verb}"), folder.path().to_str().expect("UTF-8")]);
        let files = file_names(folder.path());
        let is_disk = |name: &&String| fs::read(folder.path().join(name)).is_ok_and(|bytes| bytes == second);
        assert!(files.iter().any(|name| is_disk(&name)), "{files:?}");
    }
}

/// The fingerprint of the image of the daemon with that alias.
fn local(client: &Client, alias: &str) -> String {
    let images: Vec<Value> =
        serde_json::from_str(&client.run(&["image", "list", "local:", "--format", "json"])).expect("JSON");
    let is_named = |image: &&Value| {
        image["aliases"].as_array().is_some_and(|aliases| aliases.iter().any(|found| found["name"] == alias))
    };
    let found = images.iter().find(is_named).expect("the image");
    found["fingerprint"].as_str().expect("a fingerprint").to_owned()
}
