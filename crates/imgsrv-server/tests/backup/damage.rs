//! Backups of damaged stores, damaged backups, and catalogs and stores that are in use.

use crate::{
    compare::{self, assert_same, get, walk},
    site::{FILL, SETTLE, Site, script},
};
use serde_json::{Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
};
use tempfile::TempDir;

/// A stopped server with content, the token of a principal with all roles, and an empty folder for a backup.
struct Stopped {
    site: Site,
    token: String,
    dir: TempDir,
}

impl Stopped {
    fn new() -> Self {
        let (site, dir) = (Site::local(), TempDir::new().expect("a folder"));
        let mut server = site.serve();
        let manager = server.bootstrap.clone().expect("a bootstrap token");
        let token = script(dir.path(), &server.url, &manager, FILL).lines().last().expect("a token").to_owned();
        assert_eq!(server.terminate(), Some(0));
        Self { site, token, dir }
    }

    fn backup(&self) -> String {
        self.dir.path().join("backup").display().to_string()
    }
}

/// All files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let mut found: Vec<_> = entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect();
    found.sort();
    found
}

/// Replaces the bytes of a file, which may be read-only.
fn overwrite(path: &Path, bytes: &[u8]) {
    fs::remove_file(path).expect("it is there");
    fs::write(path, bytes).expect("written");
}

#[test]
fn damaged_and_missing_blobs_are_named_and_the_rest_is_restored() {
    let stopped = Stopped::new();
    let (site, backup) = (&stopped.site, stopped.backup());
    let blobs: Vec<_> = files(&site.data().join("storage"))
        .into_iter()
        .filter(|path| path.to_string_lossy().contains("/cas/"))
        .collect();
    let large: Vec<_> =
        blobs.iter().filter(|blob| fs::metadata(blob).is_ok_and(|file| file.len() == 700_000)).collect();
    overwrite(large[0], &vec![7; 700_000]);
    fs::remove_file(large[1]).expect("it is there");
    let shown = site.fails(&["export", &backup], 1);
    assert_eq!(shown.matches("is damaged or missing and is not in the backup").count(), 2, "{shown}");
    let verified = site.fails(&["export", "--verify", &backup], 1);
    assert_eq!(verified.matches("damaged or missing when it was exported").count(), 2, "{verified}");
    let other = Site::local();
    let imported = other.fails(&["import", &backup], 1);
    assert_eq!(imported.matches("is quarantined until it is uploaded again").count(), 2, "{imported}");
    let server = other.serve();
    assert_eq!(compare::json(&server.url, &stopped.token, "/v1/images/debian")["name"], "debian");
    let hex = large[0].file_name().expect("a name").to_string_lossy()[..64].to_owned();
    let (_, status, _) = get(&server.url, &stopped.token, &format!("/v1/blobs/sha256:{hex}"));
    assert_ne!(status, 200, "no wrong byte is served");
}

#[test]
fn a_blob_that_was_purged_during_the_export_is_not_reported_as_damaged() {
    let stopped = Stopped::new();
    let (site, backup) = (&stopped.site, stopped.backup());
    let stored = files(&site.data().join("storage"));
    let blob = stored.iter().find(|path| path.to_string_lossy().contains("/cas/")).expect("a blob");
    fs::remove_file(blob).expect("it is there");
    site.fails(&["export", &backup], 1);
    // As an export writes it when a server purges the blob meanwhile.
    let path = Path::new(&backup).join("manifest.json");
    let mut manifest: Value = serde_json::from_slice(&fs::read(&path).expect("readable")).expect("JSON");
    manifest["purged"] = std::mem::replace(&mut manifest["unreadable"], json!([]));
    overwrite(&path, manifest.to_string().as_bytes());
    let imported = Site::local().succeeds(&["import", &backup]);
    assert!(imported.contains("was purged during the export"), "{imported}");
    assert!(!imported.contains("missing or damaged"), "{imported}");
}

#[test]
fn a_damaged_backup_is_found_and_not_imported() {
    let stopped = Stopped::new();
    let (site, backup) = (&stopped.site, stopped.backup());
    site.succeeds(&["export", &backup]);
    let all = files(Path::new(&backup));
    let blob = all.iter().find(|path| path.to_string_lossy().contains("/blobs/sha256/")).expect("a blob");
    let records = all.iter().find(|path| path.to_string_lossy().contains("/catalog/images-")).expect("records");
    for (file, is_fatal) in [(blob, false), (records, true)] {
        let original = fs::read(file).expect("readable");
        let mut damaged = original.clone();
        let middle = damaged.len() / 2;
        if damaged.is_empty() {
            damaged.push(1);
        } else {
            damaged[middle] ^= 1;
        }
        overwrite(file, &damaged);
        let shown = site.fails(&["export", "--verify", &backup], 1);
        assert!(shown.contains("the backup is damaged"), "{shown}");
        let other = Site::local();
        let imported = other.fails(&["import", &backup], 1);
        let expected = if is_fatal { "the backup is damaged" } else { "is missing or damaged in the backup" };
        assert!(imported.contains(expected), "{imported}");
        overwrite(file, &original);
    }
    let verified = site.succeeds(&["export", "--verify", &backup]);
    assert!(verified.contains("the backup is complete"), "{verified}");
}

#[test]
fn a_catalog_or_a_store_in_use_is_refused() {
    let stopped = Stopped::new();
    let (site, backup) = (&stopped.site, stopped.backup());
    site.succeeds(&["export", &backup]);
    let own = site.fails(&["import", &backup], 1);
    assert!(own.contains("the catalog is not empty"), "{own}");
    let other = Stopped::new();
    let refused = other.site.fails(&["export", &backup], 1);
    assert!(refused.contains("contains a backup of another catalog"), "{refused}");
    let foreign = Site::with_the_store_of(&other.site).fails(&["import", &backup], 1);
    assert!(foreign.contains("the blobs of another catalog"), "{foreign}");
    let used = Site::with_the_store_of(site);
    let refused = used.fails(&["import", &backup], 1);
    assert!(refused.contains("--existing-store"), "{refused}");
    let strange = other.site.fails(&["export", &stopped.dir.path().display().to_string()], 1);
    assert!(strange.contains("is not empty and contains no backup"), "{strange}");
    let nothing = other.site.fails(&["import", "/nonexistent"], 1);
    assert!(nothing.contains("/nonexistent"), "{nothing}");
}

#[test]
fn a_lost_catalog_is_restored_beside_its_store() {
    let stopped = Stopped::new();
    let (site, backup) = (&stopped.site, stopped.backup());
    let mut server = site.serve();
    script(stopped.dir.path(), &server.url, &stopped.token, SETTLE);
    let before = walk(&server.url, &stopped.token);
    site.succeeds(&["export", &backup, "--no-blobs"]);
    assert_eq!(server.terminate(), Some(0));
    let verified = site.succeeds(&["export", "--verify", &backup]);
    assert!(verified.contains("without the bytes of blobs"), "{verified}");
    for file in ["catalog.db", "catalog.db-wal", "catalog.db-shm"] {
        let _ = fs::remove_file(site.data().join(file));
    }
    let imported = site.succeeds(&["import", &backup, "--existing-store"]);
    assert!(imported.contains("0 of them copied now"), "{imported}");
    let server = site.serve();
    assert_same(&before, &walk(&server.url, &stopped.token));
}

#[test]
fn wrong_bytes_of_an_existing_store_are_replaced_from_the_backup() {
    let stopped = Stopped::new();
    let (site, backup) = (&stopped.site, stopped.backup());
    site.succeeds(&["export", &backup]);
    for file in ["catalog.db", "catalog.db-wal", "catalog.db-shm"] {
        let _ = fs::remove_file(site.data().join(file));
    }
    let stored = files(&site.data().join("storage/cas"));
    let damaged = stored.iter().find(|blob| fs::metadata(blob).is_ok_and(|file| file.len() == 700_000));
    overwrite(damaged.expect("a large blob"), &vec![7; 700_000]);
    let imported = site.succeeds(&["import", &backup, "--existing-store"]);
    assert!(imported.contains(", 1 of them copied now (700000 bytes)"), "{imported}");
    site.succeeds(&["fsck", "--bytes"]);
}
