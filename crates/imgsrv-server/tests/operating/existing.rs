//! Operators' commands never create what they should find.

use crate::{BINARY, imgsrv};
use imgsrv_testkit::{Process, services::Postgres};
use std::{net::TcpListener, os::unix::fs::FileTypeExt, process::Command};
use tempfile::TempDir;

#[test]
fn commands_refuse_where_there_is_no_catalog_and_create_nothing() {
    let dir = TempDir::new().expect("a scratch folder");
    let data = dir.path().join("mistyped");
    let path = data.to_str().expect("a path");
    for command in [
        &["admin", "bootstrap"][..],
        &["admin", "tokens", "list"],
        &["admin", "tokens", "revoke", "imgsrv_at_aaaaaaaaaaaa"],
        &["admin", "release-hold", "debian:12"],
    ] {
        let ran = imgsrv(&[command, &["--data-dir", path]].concat());
        let catalog = data.join("catalog.db").display().to_string();
        assert!(ran.code == Some(5) && ran.err.contains(&catalog) && ran.out.is_empty(), "{command:?}: {ran:?}");
        assert!(!data.exists(), "{command:?} created the folder");
    }
}

#[test]
fn an_import_of_a_backup_that_does_not_exist_creates_nothing() {
    let dir = TempDir::new().expect("a scratch folder");
    let (data, empty) = (dir.path().join("data"), dir.path().join("empty"));
    std::fs::create_dir(&empty).expect("a folder");
    for backup in [dir.path().join("mistyped"), empty] {
        let backup = backup.to_str().expect("a path");
        let ran = imgsrv(&["admin", "import", backup, "--data-dir", data.to_str().expect("a path")]);
        assert!(ran.code == Some(1) && ran.err.contains(backup), "{ran:?}");
        assert!(!data.exists(), "it created the folder");
    }
}

#[tokio::test]
async fn commands_refuse_an_empty_database_and_one_that_cannot_be_reached() {
    let url = Postgres::shared().await.database().await;
    let empty = imgsrv(&["admin", "bootstrap", "--postgres-url", &url]);
    assert!(empty.code == Some(5) && empty.err.contains("there is no catalog in the PostgreSQL database"), "{empty:?}");
    let name = url.rsplit('/').next().expect("a name").split('?').next().expect("a name");
    assert!(empty.err.contains(name), "{empty:?}");
    let unreachable = imgsrv(&["admin", "tokens", "list", "--postgres-url", "postgres://u:hunter2@127.0.0.1:1/d"]);
    assert!(unreachable.code == Some(5) && unreachable.err.contains("127.0.0.1:1"), "{unreachable:?}");
    assert!(!unreachable.err.contains("hunter2"), "{unreachable:?}");
}

#[test]
fn a_server_that_cannot_listen_issues_no_bootstrap_token() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let address = taken.local_addr().expect("an address").to_string();
    let dir = TempDir::new().expect("a scratch folder");
    let path = dir.path().to_str().expect("a path");
    for listeners in
        [["--listen", &address, "--metrics-listen", ""], ["--listen", "127.0.0.1:0", "--metrics-listen", &address]]
    {
        let refused = imgsrv(&[&["serve", "--data-dir", path][..], &listeners].concat());
        assert!(refused.code == Some(1) && refused.out.is_empty(), "{refused:?}");
    }
    assert!(Process::start(BINARY, dir.path(), &[]).bootstrap.is_some(), "no token was issued meanwhile");
}

#[test]
fn a_bootstrap_token_file_that_is_no_regular_file_is_neither_replaced_nor_removed() {
    let dir = TempDir::new().expect("a scratch folder");
    let (data, pipe) = (dir.path().join("data"), dir.path().join("pipe"));
    let made = Command::new("mkfifo").arg(&pipe).status().expect("mkfifo runs");
    assert!(made.success());
    let serve = || {
        let (data, pipe) = (data.to_str().expect("a path"), pipe.to_str().expect("a path"));
        imgsrv(
            &[
                &["serve", "--listen", "127.0.0.1:0", "--metrics-listen", "", "--data-dir", data][..],
                &["--bootstrap-token-file", pipe],
            ]
            .concat(),
        )
    };
    let is_pipe = || std::fs::metadata(&pipe).is_ok_and(|found| found.file_type().is_fifo());
    let refused = serve();
    assert!(refused.code == Some(1) && refused.err.contains("is not a regular file"), "{refused:?}");
    assert!(is_pipe(), "it was replaced");
    // Where a token exists, the file would be removed.
    drop(Process::start(BINARY, &data, &[]));
    assert!(serve().code == Some(1) && is_pipe());
}
