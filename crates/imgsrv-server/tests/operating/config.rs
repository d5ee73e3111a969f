//! `imgsrv admin config`.

use crate::{BINARY, Ran, imgsrv, ran};
use imgsrv_testkit::{Process, services::free_port};
use serde_json::Value;
use std::{collections::BTreeMap, net::TcpListener, process::Command};
use tempfile::TempDir;

fn check(arguments: &[&str]) -> Ran {
    imgsrv(&[&["admin", "config", "check", "--listen", "127.0.0.1:0", "--metrics-listen", ""][..], arguments].concat())
}

/// The outcomes of a check by part.
fn outcomes(ran: &Ran) -> BTreeMap<String, String> {
    let line = |line: &str| {
        let (outcome, rest) = line.split_once(' ').expect("an outcome");
        (rest.trim_start().split("  ").next().expect("a part").to_owned(), outcome.to_owned())
    };
    ran.out.lines().map(line).collect()
}

#[test]
fn a_check_of_a_new_server_creates_nothing() {
    let dir = TempDir::new().expect("a scratch folder");
    let data = dir.path().join("data");
    let ran = check(&["--data-dir", data.to_str().expect("a path")]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let found = outcomes(&ran);
    for (part, outcome) in
        [("catalog", "note"), ("blob store", "note"), ("disk", "ok"), ("certificate", "ok"), ("listener", "ok")]
    {
        assert_eq!(found.get(part).map(String::as_str), Some(outcome), "{part}: {ran:?}");
    }
    assert!(!data.exists(), "{ran:?}");
}

#[test]
fn a_check_beside_a_running_server_succeeds_and_finds_it() {
    let dir = TempDir::new().expect("a scratch folder");
    let mut server = Process::start(BINARY, dir.path(), &[]);
    let (data, address) = (dir.path().to_str().expect("a path"), server.url.trim_start_matches("http://").to_owned());
    let ran = imgsrv(&["admin", "config", "check", "--data-dir", data, "--listen", &address, "--metrics-listen", ""]);
    let found = outcomes(&ran);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    for (part, outcome) in [("catalog", "ok"), ("blob store", "ok"), ("listener", "note")] {
        assert_eq!(found.get(part).map(String::as_str), Some(outcome), "{part}: {ran:?}");
    }
    assert!(ran.out.contains("in use, as it is while the server runs"), "{ran:?}");
    // The check has not disturbed it.
    assert!(ureq::get(format!("{}/readyz", server.url)).call().is_ok());
    assert_eq!(server.terminate(), Some(0));
}

#[test]
fn a_check_fails_where_a_server_would_not_start() {
    let (one, other) = (TempDir::new().expect("a scratch folder"), TempDir::new().expect("a scratch folder"));
    for dir in [&one, &other] {
        assert_eq!(Process::start(BINARY, dir.path(), &[]).terminate(), Some(0));
    }
    let data = one.path().to_str().expect("a path");
    let (foreign, missing) = (other.path().join("storage"), one.path().join("nothing"));
    let certificate = one.path().join("no.pem");
    let certificate = certificate.to_str().expect("a path");
    for (arguments, part, reason) in [
        (vec!["--storage-dir", foreign.to_str().expect("a path")], "blob store", "the blobs of another catalog"),
        (vec!["--storage-dir", missing.to_str().expect("a path")], "blob store", "in another blob store"),
        (vec!["--tls-cert", certificate, "--tls-key", certificate], "certificate", "cannot read"),
        (vec!["--postgres-url", "postgres://u:hunter2@127.0.0.1:1/d"], "catalog", "cannot reach"),
        (
            vec![
                "--s3-path-style",
                "--s3-bucket",
                "b",
                "--s3-endpoint",
                "127.0.0.1:1",
                "--s3-access-key-id",
                "a",
                "--s3-secret-access-key",
                "b",
            ],
            "blob store",
            "cannot use",
        ),
    ] {
        let ran = check(&[&["--data-dir", data][..], &arguments].concat());
        let found = outcomes(&ran);
        assert_eq!(
            (ran.code, found.get(part).map(String::as_str)),
            (Some(1), Some("problem")),
            "{arguments:?}: {ran:?}"
        );
        assert!(ran.out.contains(reason) && !ran.out.contains("hunter2"), "{ran:?}");
    }
    assert_eq!(check(&["--data-dir", data, "--lease-term", "1"]).code, Some(2));
    let json = check(&["--data-dir", data, "--json"]);
    let json: Value = serde_json::from_str(&json.out).expect("JSON");
    assert_eq!((&json["ok"], &json["checks"][0]["part"]), (&true.into(), &"catalog".into()), "{json}");
}

/// Nothing is there yet: a server that starts would create everything.
#[test]
fn a_check_of_a_new_server_fails_where_it_could_not_be_created() {
    let dir = TempDir::new().expect("a scratch folder");
    let (data, file) = (dir.path().join("data"), dir.path().join("file"));
    std::fs::write(&file, "").expect("written");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let address = taken.local_addr().expect("an address").to_string();
    let (data, file) = (data.to_str().expect("a path"), file.to_str().expect("a path"));
    let below = format!("{file}/data");
    let missing = format!("{data}/token");
    let nowhere = dir.path().join("nowhere/token").display().to_string();
    let free = format!("127.0.0.1:{}", free_port());
    for (arguments, part, reason) in [
        (["--data-dir", file, "--lease-term", "30s"], "catalog", "is not a folder"),
        (["--data-dir", &below, "--lease-term", "30s"], "catalog", "is not a folder"),
        (["--storage-dir", file, "--data-dir", data], "blob store", "is not a folder"),
        (["--bootstrap-token-file", &nowhere, "--data-dir", data], "bootstrap token", "is not a folder"),
        (["--bootstrap-token-file", "/dev/null", "--data-dir", data], "bootstrap token", "is not a regular file"),
        (["--listen", &address, "--data-dir", data], "listener", "in use by another program"),
        (["--listen", &free, "--metrics-listen", &free], "metrics", "as well"),
        (["--listen", "192.0.2.1:80", "--data-dir", data], "listener", "cannot listen on 192.0.2.1:80"),
    ] {
        let ran = imgsrv(&[&["admin", "config", "check"][..], &arguments].concat());
        assert_eq!(ran.code, Some(1), "{arguments:?}: {ran:?}");
        let is_found = |line: &str| line.starts_with("problem") && line.contains(part) && line.contains(reason);
        assert!(ran.out.lines().any(is_found), "{arguments:?}: {ran:?}");
    }
    let ran = check(&["--data-dir", data, "--otlp-endpoint", "http://127.0.0.1:1"]);
    assert_eq!(outcomes(&ran).get("traces").map(String::as_str), Some("note"), "{ran:?}");
    let ran = check(&["--data-dir", data, "--bootstrap-token-file", &missing]);
    assert_eq!(ran.code, Some(0), "the folder of the token is created with the catalog: {ran:?}");
}

#[test]
fn every_setting_is_shown_with_its_origin_and_no_secret() {
    let mut command = Command::new(BINARY);
    command.args([
        "admin",
        "config",
        "show",
        "--json",
        "--data-dir",
        "/srv/images",
        "--s3-secret-access-key",
        "hunter2",
    ]);
    command.env("IMGSRV_LOG_FORMAT", "json").env("IMGSRV_POSTGRES_URL", "postgres://u:hunter2@h/d");
    let shown = ran(command.output().expect("it runs"));
    assert!(shown.code == Some(0) && !shown.out.contains("hunter2"), "{shown:?}");
    let json: Value = serde_json::from_str(&shown.out).expect("JSON");
    let settings = json["settings"].as_array().expect("settings");
    let of = |flag: &str| settings.iter().find(|setting| setting["flag"] == flag).expect("a setting");
    for (flag, value, origin) in [
        ("--data-dir", Some("/srv/images"), "command line"),
        ("--log-format", Some("json"), "environment"),
        ("--lease-term", Some("30s"), "default"),
        ("--postgres-url", Some("(hidden)"), "environment"),
        ("--s3-secret-access-key", Some("(hidden)"), "command line"),
        ("--storage-dir", None, "default"),
    ] {
        let setting = of(flag);
        assert_eq!((setting["value"].as_str(), setting["origin"].as_str()), (value, Some(origin)), "{setting}");
    }
    let help = imgsrv(&["serve", "--help"]).out;
    let flags = help.lines().filter_map(|line| line.trim().strip_prefix("--")).filter(|line| !line.starts_with("help"));
    let flags: Vec<String> =
        flags.map(|line| format!("--{}", line.split([' ', '=']).next().unwrap_or_default())).collect();
    assert!(flags.len() > 50 && flags.iter().all(|flag| of(flag)["variable"].is_string()), "{flags:?}");
    let text = imgsrv(&["admin", "config", "show"]);
    assert!(text.out.lines().any(|line| line.starts_with("--lease-term") && line.ends_with("  30s")), "{text:?}");
}
