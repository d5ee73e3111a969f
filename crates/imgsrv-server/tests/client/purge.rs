//! A leaked secret: finding the versions that have it, revoking and purging them, and unblocking its digest.

use crate::fixture::{Fixture, run};
use serde_json::{Value, json};

/// The token of a principal with the roles to publish and to retire.
fn administrator(fixture: &Fixture) -> String {
    let manager = fixture.server.bootstrap.clone().expect("a bootstrap token");
    let managed = |arguments: &[&str]| {
        let done = run(fixture.command(&[arguments, &["--json"]].concat()).env("IMGSRV_TOKEN", &manager));
        done.json()
    };
    managed(&["auth", "principals", "create", "admin", "--role", "content-writer", "--role", "content-admin"]);
    managed(&["auth", "tokens", "create", "admin"])["plaintext"].as_str().expect("a token").to_owned()
}

#[test]
fn a_leaked_secret_is_revoked_everywhere_purged_and_not_uploaded_again() {
    let fixture = Fixture::start();
    let token = administrator(&fixture);
    let admin = |arguments: &[&str]| run(fixture.command(arguments).env("IMGSRV_TOKEN", &token));
    let digest = fixture.disk("leaked.qcow2", 1);
    for (image, version) in [("debian", "1"), ("debian", "2"), ("ubuntu", "1")] {
        assert_eq!(admin(&["publish", image, version, "leaked.qcow2", "--arch", "amd64"]).code, Some(0));
    }
    let by_digest = ["versions", "revoke", "--digest", &digest, "--reason", "a private key"];
    let listed = admin(&["versions", "revoke", "--digest", &digest, "--dry-run", "--json"]).json();
    assert_eq!(listed["versions"].as_array().map(Vec::len), Some(3), "{listed}");
    assert_eq!(admin(&["download", "debian:1", "-o", "a.qcow2"]).code, Some(0), "nothing has changed");
    assert_eq!(admin(&by_digest).code, Some(2), "it needs --yes without a terminal");
    let dry = admin(&["versions", "revoke", "debian:1", "--dry-run", "--reason", "x", "--yes"]);
    assert_eq!(dry.code, Some(2), "a dry run of one version revokes nothing: {dry:?}");
    let unknown = format!("sha256:{}", "0".repeat(64));
    let mistyped = admin(&["versions", "revoke", "--digest", &unknown, "--reason", "x", "--yes"]);
    assert_eq!(mistyped.code, Some(4), "{mistyped:?}");
    let revoked = admin(&[&by_digest[..], &["--yes"]].concat());
    assert_eq!(revoked.code, Some(0), "{revoked:?}");
    assert_eq!(revoked.out.matches("revoked").count(), 3, "{revoked:?}");

    // Revoked and removed, a download says one word only.
    let removed = admin(&["versions", "remove", "debian:2", "--yes"]);
    assert_eq!(removed.code, Some(0));
    let listed = admin(&["versions", "list", "debian", "--all"]);
    for shown in [removed, listed] {
        assert!(shown.out.contains("removed") && !shown.out.contains("available until"), "{shown:?}");
    }
    let download = admin(&["download", "debian:2", "-o", "b.qcow2"]);
    assert_eq!(download.code, Some(3), "{download:?}");
    assert!(download.err.contains("revoked") && !download.err.contains("removed"), "{download:?}");

    let purge = |version: &str| {
        let arguments = ["versions", "remove", version, "--purge", "--reason", "a private key", "--yes", "--json"];
        admin(&arguments).json()
    };
    let missing_reason = admin(&["versions", "remove", "debian:1", "--purge", "--yes"]);
    assert_eq!(missing_reason.code, Some(2), "{missing_reason:?}");
    for version in ["debian:1", "debian:2"] {
        let purged = purge(version);
        assert_eq!((&purged["purged"], &purged["kept"][0]["digest"]), (&json!([]), &json!(digest)), "{purged}");
    }
    assert_eq!(purge("ubuntu:1")["purged"], json!([digest]));
    let refused = admin(&["upload", "leaked.qcow2"]);
    assert_eq!(refused.code, Some(3), "{refused:?}");
    assert!(refused.err.contains("is blocked") && refused.err.contains("a private key"), "{refused:?}");
    let blocked: Value = admin(&["blocked-digests", "list", "--json"]).json();
    assert_eq!(blocked["blocked_digests"][0]["digest"], digest);
    assert_eq!(admin(&["blocked-digests", "delete", &digest]).code, Some(0));
    assert_eq!(admin(&["blocked-digests", "delete", &digest]).code, Some(4));
    assert_eq!(admin(&["upload", "leaked.qcow2"]).code, Some(0));
}
