//! `imgsrv doctor`.

use crate::{BINARY, Ran, imgsrv};
use imgsrv_testkit::Process;
use std::{
    io::{Read, Write},
    net::TcpListener,
    path::Path,
};
use tempfile::TempDir;

fn doctor(url: &str, arguments: &[&str]) -> Ran {
    imgsrv(&[&["doctor", url, "--retry-for", "0s"][..], arguments].concat())
}

/// The outcome of a part, and what the doctor says about it.
#[track_caller]
fn expect(ran: &Ran, part: &str, outcome: &str, detail: &str) {
    let is_it = |line: &&str| {
        let words: Vec<&str> = line.splitn(2, ' ').collect();
        words[0] == outcome && words[1].trim_start().starts_with(part) && line.contains(detail)
    };
    assert!(ran.out.lines().any(|line| is_it(&line)), "no {outcome} of {part} with {detail:?}: {ran:?}");
}

/// A server with a published version; the guard is its folder.
fn published(arguments: &[&str]) -> (TempDir, Process) {
    let dir = TempDir::new().expect("a scratch folder");
    let server = Process::start(BINARY, dir.path(), arguments);
    (dir, server)
}

fn publish(dir: &Path, url: &str, manager: &str, authority: &[&str]) {
    let disk = dir.join("disk.qcow2");
    std::fs::write(&disk, imgsrv_testkit::qcow2(7)).expect("a file");
    let created =
        imgsrv(
            &[
                &[
                    "auth",
                    "principals",
                    "create",
                    "ci",
                    "--role",
                    "content-writer",
                    "--server",
                    url,
                    "--token",
                    manager,
                ][..],
                authority,
            ]
            .concat(),
        );
    assert_eq!(created.code, Some(0), "{created:?}");
    let token =
        imgsrv(&[&["auth", "tokens", "create", "ci", "--server", url, "--token", manager][..], authority].concat());
    let token = token.out.trim();
    let disk = disk.to_str().expect("a path");
    let done = imgsrv(
        &[
            &["publish", "debian", "12", disk, "--os", "debian", "--arch", "amd64", "--server", url, "--token", token]
                [..],
            authority,
        ]
        .concat(),
    );
    assert_eq!(done.code, Some(0), "{done:?}");
}

#[test]
fn a_healthy_server_on_loopback_has_no_problem() {
    let (dir, server) = published(&[]);
    publish(dir.path(), &server.url, server.bootstrap.as_deref().expect("a token"), &[]);
    let ran = doctor(&server.url, &[]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    for (part, detail) in [
        ("certificate", "loopback"),
        ("api", "ready"),
        ("clock", "agrees"),
        ("streams", "0 products for"),
        ("files", "bytes"),
        ("ranges", "resumed"),
        ("ETag", "not sent again"),
    ] {
        expect(&ran, part, "ok", detail);
    }
}

#[test]
fn a_file_that_the_server_cannot_serve_is_not_blamed_on_a_proxy() {
    let (dir, server) = published(&[]);
    publish(dir.path(), &server.url, server.bootstrap.as_deref().expect("a token"), &[]);
    std::fs::remove_dir_all(dir.path().join("storage/cas/sha256")).expect("the content is gone");
    std::fs::create_dir(dir.path().join("storage/cas/sha256")).expect("a folder");
    let path = "/images/debian/12/debian-12-amd64.qcow2";
    assert!(ureq::get(format!("{}{path}", server.url)).call().is_err());
    let ran = doctor(&server.url, &[]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    expect(&ran, "files", "problem", "the server cannot serve this file");
    assert!(!ran.out.contains("proxy"), "{ran:?}");
}

#[test]
fn a_certificate_is_examined_as_clients_verify_it() {
    let (dir, server) = published(&["--tls-self-signed"]);
    let port = server.url.rsplit(':').next().expect("a port").to_owned();
    let url = format!("https://localhost:{port}");
    let unknown = doctor(&url, &[]);
    assert_eq!(unknown.code, Some(1), "{unknown:?}");
    expect(&unknown, "certificate", "problem", "--ca-file");
    let authority = dir.path().join("tls/ca.crt");
    let authority = authority.to_str().expect("a path");
    let known = doctor(&url, &["--ca-file", authority]);
    assert_eq!(known.code, Some(0), "{known:?}");
    expect(&known, "certificate", "ok", "localhost");
    expect(&known, "plain HTTP", "ok", "refuses it");
    expect(&known, "files", "note", "nothing is published");
    let other = doctor(&format!("https://[::ffff:127.0.0.1]:{port}"), &["--ca-file", authority]);
    expect(&other, "certificate", "problem", "not for ::ffff:7f00:1");
    let spoken = doctor(&format!("http://localhost:{port}"), &[]);
    assert_eq!(spoken.code, Some(1), "{spoken:?}");
}

#[test]
fn what_is_no_imgsrv_server_is_a_problem() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let mut request = [0; 1024];
            let _ = stream.read(&mut request);
            let _ = stream.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        }
    });
    let ran = doctor(&url, &[]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    expect(&ran, "api", "problem", "no imgsrv server");
    let gone = doctor("http://127.0.0.1:1", &[]);
    expect(&gone, "api", "problem", "Check that the server runs");
}
