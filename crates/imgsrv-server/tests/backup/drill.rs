//! Moving a server while it is in use, with exports and imports that are killed.

use crate::{
    compare::{assert_same, audit, get, json, walk},
    site::{FILL, SETTLE, Site, script},
};
use imgsrv_testkit::{Process, digest};
use std::{
    path::Path,
    process::Child,
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    thread,
    time::Duration,
};
use tempfile::TempDir;

/// A server with content of every kind, and the token of a principal with all roles.
fn filled(site: &Site, work: &Path) -> (Process, String) {
    let server = site.serve();
    let manager = server.bootstrap.clone().expect("a bootstrap token");
    let shown = script(work, &server.url, &manager, FILL);
    let token = shown.lines().last().expect("a token").to_owned();
    (server, token)
}

/// Kills a command after a while, unless it has ended.
fn kill_after(mut command: Child, delay: Duration) {
    thread::sleep(delay);
    let _ = command.kill();
    command.wait().expect("it ends");
}

fn path(dir: &TempDir) -> String {
    dir.path().join("backup").display().to_string()
}

/// Imports a backup into `site`, and compares the server there with `original`, which has `token`.
fn moves(from: &Process, token: &str, backup: &str, site: &Site, kills: bool) -> Process {
    let import = ["import", backup];
    if kills {
        for (point, passes) in [
            ("import.started", 0),
            ("import.claimed", 0),
            ("import.staged", 1),
            ("import.placed", 2),
            ("import.recorded", 1),
        ] {
            site.crashes(&import, point, passes);
        }
        let refused = site.fails_to_serve();
        assert!(refused.contains("an import into this catalog was interrupted"), "{refused}");
        site.crashes(&import, "import.record", 100);
        for millis in [20, 60, 120] {
            kill_after(site.start(&import), Duration::from_millis(millis));
        }
    }
    script(site.data().parent().expect("a folder"), &from.url, token, SETTLE);
    let shown = site.succeeds(&import);
    assert!(shown.contains("imported revision") || shown.contains("was imported already"), "{shown}");
    let again = site.succeeds(&import);
    assert!(again.contains("was imported already"), "{again}");
    let restored = site.serve();
    assert_eq!(restored.bootstrap, None, "a restored server has its managers");
    assert_same(&walk(&from.url, token), &walk(&restored.url, token));
    assert_eq!(audit(&from.url, token), audit(&restored.url, token));
    restored
}

#[test]
fn one_image_is_restored() {
    let (work, backups) = (TempDir::new().expect("a folder"), TempDir::new().expect("a folder"));
    let (one, other) = (Site::local(), Site::local());
    let (server, token) = filled(&one, work.path());
    let backup = path(&backups);
    let shown = one.succeeds(&["export", &backup]);
    assert!(shown.contains("exported revision"), "{shown}");
    let verified = one.succeeds(&["export", "--verify", &backup]);
    assert!(verified.contains("the backup is complete"), "{verified}");
    let restored = moves(&server, &token, &backup, &other, false);
    // What had not ended is aborted.
    let upload = std::fs::read_to_string(work.path().join("upload.json")).expect("an upload");
    let upload: serde_json::Value = serde_json::from_str(&upload).expect("JSON");
    let upload = format!("/v1/uploads/{}", upload["id"].as_str().expect("an id"));
    assert_eq!(json(&server.url, &token, &upload)["state"], "created");
    assert_eq!(json(&restored.url, &token, &upload)["state"], "aborted");
    // The restored server accepts changes.
    let more = "export IMGSRV_TOKEN=$MANAGER\nhead -c 9000 /dev/urandom > next.raw
        imgsrv publish debian 1.5 next.raw --arch amd64 --format raw --alias latest --quiet
        imgsrv publish debian 2.0 next.raw --arch amd64 --format raw --quiet
        imgsrv versions release debian:1.3\nimgsrv versions restore debian:1.2";
    script(work.path(), &restored.url, &token, more);
    let late = other.fails(&["import", &backup], 1);
    assert!(late.contains("another imgsrv server is using"), "{late}");
    drop(restored);
    let late = other.fails(&["import", &backup], 1);
    assert!(late.contains("the catalog is not empty"), "{late}");
}

/// Publishes versions until the load is over; each is read back at once.
fn load(server: &Process, token: &str, is_over: &AtomicBool, published: &AtomicU32) {
    let work = TempDir::new().expect("a folder");
    while !is_over.load(Ordering::SeqCst) {
        let number = published.load(Ordering::SeqCst);
        let version = format!("9.{number}");
        let publish = format!(
            "export IMGSRV_TOKEN=$MANAGER\nhead -c 400000 /dev/urandom > disk.raw
            imgsrv publish load {version} disk.raw --arch amd64 --format raw --alias latest --quiet
            curl -sSf \"$IMGSRV/images/load/{version}/load-{version}-amd64.raw\" | cmp - disk.raw"
        );
        script(work.path(), &server.url, token, &publish);
        published.fetch_add(1, Ordering::SeqCst);
    }
}

/// Exports under load, killed at crash points and at other instants.
fn export_under_load(site: &Site, server: &Process, token: &str, backup: &str) {
    let (is_over, published) = (AtomicBool::new(false), AtomicU32::new(0));
    thread::scope(|scope| {
        let writer = scope.spawn(|| load(server, token, &is_over, &published));
        let export = ["export", backup];
        for (point, passes) in
            [("export.pinned", 0), ("export.file", 7), ("export.chunk", 2), ("export.blob", 2), ("export.manifest", 0)]
        {
            site.crashes(&export, point, passes);
            let incomplete = site.fails(&["export", "--verify", backup], 1);
            assert!(incomplete.contains("contains no complete backup"), "{incomplete}");
        }
        for millis in [30, 70, 150, 300] {
            kill_after(site.start(&export), Duration::from_millis(millis));
        }
        site.succeeds(&export);
        // The next one copies what is new, and the first one stays until it is complete.
        while published.load(Ordering::SeqCst) < 2 {
            thread::sleep(Duration::from_millis(10));
        }
        for (point, passes) in [("export.file", 3), ("export.manifest", 0)] {
            site.crashes(&export, point, passes);
            let verified = site.succeeds(&["export", "--verify", backup]);
            assert!(verified.contains("the backup is complete"), "{verified}");
        }
        site.succeeds(&export);
        is_over.store(true, Ordering::SeqCst);
        writer.join().expect("the writer succeeds");
    });
    let verified = site.succeeds(&["export", "--verify", backup]);
    assert!(verified.contains("the backup is complete"), "{verified}");
}

/// Every published file of a server has the bytes that its checksums say.
fn assert_consistent(server: &Process, token: &str) {
    for version in
        json(&server.url, token, "/v1/images/load/versions?limit=200")["versions"].as_array().expect("a list")
    {
        let version = version["version"].as_str().expect("a version");
        let folder = format!("/images/load/{version}");
        let sums = String::from_utf8(get(&server.url, token, &format!("{folder}/SHA256SUMS")).2).expect("text");
        for line in sums.lines() {
            let (sum, name) = line.split_once("  ").expect("a sum and a name");
            let (_, status, bytes) = get(&server.url, token, &format!("{folder}/{}", name.trim_start_matches('*')));
            assert_eq!((status, digest(&bytes)), (200, format!("sha256:{sum}")), "{folder}/{name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_moves_to_postgres_and_a_bucket_and_back() {
    let (laptop, cluster) = (Site::local(), Site::scaled_out().await);
    tokio::task::spawn_blocking(move || {
        let (work, backups) = (TempDir::new().expect("a folder"), TempDir::new().expect("a folder"));
        let backup = path(&backups);
        let (server, token) = filled(&laptop, work.path());
        export_under_load(&laptop, &server, &token, &backup);
        // Nothing changes any more.
        let last = laptop.succeeds(&["export", &backup, "--prune"]);
        assert!(last.contains("files that the backup does not need"), "{last}");
        let moved = moves(&server, &token, &backup, &cluster, true);
        assert_consistent(&moved, &token);
        drop(server);
        // And back.
        let back = Site::local();
        let backup = backups.path().join("back").display().to_string();
        cluster.succeeds(&["export", &backup, "--rate", "64MiB"]);
        let returned = moves(&moved, &token, &backup, &back, true);
        assert_consistent(&returned, &token);
    })
    .await
    .expect("it ends");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_moves_between_the_other_combinations() {
    let (one, other) = (Site::with_postgres().await, Site::with_bucket().await);
    tokio::task::spawn_blocking(move || {
        let (work, backups) = (TempDir::new().expect("a folder"), TempDir::new().expect("a folder"));
        let backup = path(&backups);
        let (server, token) = filled(&one, work.path());
        one.succeeds(&["export", &backup]);
        let moved = moves(&server, &token, &backup, &other, false);
        drop(server);
        let backup = backups.path().join("back").display().to_string();
        other.succeeds(&["export", &backup]);
        moves(&moved, &token, &backup, &Site::local(), false);
    })
    .await
    .expect("it ends");
}
