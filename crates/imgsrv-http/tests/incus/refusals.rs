//! Changes of retired versions that are refused: each has one clear problem, and nothing changes.

use crate::{
    lifecycle::Fixture,
    support::{get, version_url},
};
use axum::{
    body::Body,
    http::{Request, StatusCode},
};
use futures::future::join;
use imgsrv_testkit::{Rows, TestResponse, qcow2, rows};
use serde_json::{Value, json};
use std::time::Duration;

/// More than a chain of replacements that could be followed by chance.
const CHAIN: usize = 20;
const IMAGE: &str = "/v1/images/debian";

/// A request: what is wrong with it, method, path and body, then the code of its problem and what the problem says.
type Refusal = (&'static str, &'static str, String, Value, &'static str, &'static str);

fn version(name: &str) -> String {
    version_url("debian", name)
}

/// A server with a version in each state. `c1` to `c20` are each replaced by the next one.
async fn scene(fixture: &Fixture) {
    let server = &fixture.server;
    for name in ["active", "deprecated", "revoked", "held", "gone", "draining", "target"] {
        server.published("debian", name, &qcow2(1)).await;
    }
    server.draft("debian", "draft", &qcow2(1)).await;
    server.published("ubuntu", "1", &qcow2(1)).await;
    for number in 1..=CHAIN {
        server.published("debian", &format!("c{number}"), &qcow2(1)).await;
    }
    let write = async |path: String, body: Value| {
        let written = server.write("PUT", &path, Some(body)).await;
        assert!(written.status.is_success(), "{path}: {written:?}");
    };
    write(format!("{IMAGE}/aliases/latest"), json!({"version": "active"})).await;
    write("/v1/images/ubuntu/aliases/lts".to_owned(), json!({"version": "1"})).await;
    let words = |replacement: &str| json!({"reason": "old", "replacement": replacement});
    fixture.done(&version("deprecated"), "deprecate", words("active")).await;
    fixture.done(&version_url("ubuntu", "1"), "deprecate", words("debian:target")).await;
    for number in 1..CHAIN {
        fixture.done(&version(&format!("c{number}")), "deprecate", words(&format!("c{}", number + 1))).await;
    }
    fixture.done(&version("revoked"), "revoke", json!({"reason": "bad"})).await;
    let held = fixture.call("PUT", &format!("{}/hold", version("held")), json!({"reason": "evidence"})).await;
    assert_eq!(held.status, StatusCode::OK);
    fixture.done(&version("gone"), "remove", json!({"drain": "2h"})).await;
    fixture.advance(Duration::from_hours(2)).await;
    server.settle().await;
    fixture.done(&version("draining"), "remove", json!({})).await;
    // The use of a token is recorded once a minute.
    assert_eq!(server.write("GET", IMAGE, None).await.status, StatusCode::OK);
}

#[expect(clippy::too_many_lines, reason = "a table")]
fn refusals() -> Vec<Refusal> {
    let retire = |what, name: &str, action: &str, body, code, says| {
        (what, "POST", format!("{}/{action}", version(name)), body, code, says)
    };
    let replaced = |what, name: &str, replacement: &str, says| {
        let body = json!({"reason": "old", "replacement": replacement});
        retire(what, name, "deprecate", body, "replacement-unusable", says)
    };
    let drained = |what, drain: &str| {
        retire(what, "target", "remove", json!({"drain": drain}), "invalid-request", "drain: must be")
    };
    let illegal = |action: &str, body| retire("a step of a tombstone", "gone", action, body, "lifecycle-state", "gone");
    let why = json!({"reason": "x"});
    let policy = |keep: Value, more: Value| {
        let mut policy = json!({"keep": keep, "action": "remove", "enabled": true});
        for (name, value) in more.as_object().into_iter().flatten() {
            policy[name] = value.clone();
        }
        policy
    };
    let retention = |what, policy, says| (what, "PUT", format!("{IMAGE}/retention"), policy, "invalid-request", says);
    let intake = |version: &str, aliases: Value| {
        json!({"image": "debian", "version": version, "operating_system": "debian", "architecture": "amd64",
            "format": "raw", "size_bytes": 5, "aliases": aliases})
    };
    let moves = |aliases: Value| json!({"reason": "x", "aliases": aliases});
    let (versions, intakes) = (format!("{IMAGE}/versions"), "/api/images".to_owned());
    vec![
        replaced("an unknown replacement", "target", "none", "none does not exist"),
        replaced("an unknown replacement of another image", "target", "none:1", "none:1 does not exist"),
        replaced("a draft as the replacement", "target", "draft", "does not exist"),
        replaced("a revoked replacement", "target", "revoked", "is revoked"),
        replaced("a draining replacement", "target", "draining", "is removed"),
        replaced("a tombstone as the replacement", "target", "gone", "is removed"),
        replaced("the version itself", "active", "active", "is the version itself"),
        replaced("an alias of the version itself", "active", "debian:latest", "is the version itself"),
        replaced("a cycle of two", "active", "deprecated", "is itself replaced by this version"),
        replaced("a cycle through an alias of another image", "target", "ubuntu:lts", "is itself replaced"),
        replaced("a long cycle", "c20", "c1", "is itself replaced by this version"),
        retire("no reason", "target", "revoke", json!({"reason": "\u{a0}"}), "invalid-request", "reason"),
        drained("a drain under 2 h", "1h59m59s"),
        drained("no drain", "0s"),
        drained("a negative drain", "-48h"),
        drained("a drain of ten thousand years", "90000000h"),
        drained("a drain without a unit", "48"),
        retire("revoking what is held", "held", "revoke", why.clone(), "version-held", "held"),
        retire("removing what is held", "held", "remove", json!({}), "version-held", "held"),
        illegal("restore", json!({})),
        illegal("deprecate", why.clone()),
        illegal("revoke", why.clone()),
        ("holding a tombstone", "PUT", format!("{}/hold", version("gone")), why.clone(), "lifecycle-state", "gone"),
        retire("deprecating what drains", "draining", "deprecate", why.clone(), "lifecycle-state", "draining"),
        retire("revoking what drains", "draining", "revoke", why.clone(), "lifecycle-state", "draining"),
        retire("restoring a draft", "draft", "restore", json!({}), "version-not-published", "draft"),
        retire("restoring what never was", "none", "restore", json!({}), "not-found", "none"),
        retire("an alias in use", "active", "revoke", why.clone(), "aliases-in-use", "latest"),
        retire(
            "an alias to a tombstone",
            "active",
            "revoke",
            moves(json!({"latest": "gone"})),
            "version-not-active",
            "gone",
        ),
        retire(
            "an alias to what drains",
            "active",
            "revoke",
            moves(json!({"latest": "draining"})),
            "version-not-active",
            "draining",
        ),
        retire(
            "an alias named like a tombstone",
            "active",
            "revoke",
            moves(json!({"latest": "target", "gone": "target"})),
            "name-taken",
            "already",
        ),
        ("a version named like a tombstone", "POST", versions, json!({"version": "gone"}), "name-taken", "already"),
        (
            "an alias named like a tombstone",
            "PUT",
            format!("{IMAGE}/aliases/gone"),
            json!({"version": "active"}),
            "name-taken",
            "already",
        ),
        (
            "an intake named like a tombstone",
            "POST",
            intakes.clone(),
            intake("gone", json!([])),
            "name-taken",
            "already",
        ),
        (
            "an alias of an intake named like a tombstone",
            "POST",
            intakes,
            intake("new", json!(["gone"])),
            "name-taken",
            "already",
        ),
        (
            "an alias to a tombstone",
            "PUT",
            format!("{IMAGE}/aliases/latest"),
            json!({"version": "gone"}),
            "version-not-active",
            "gone",
        ),
        ("deleting a tombstone", "DELETE", version("gone"), Value::Null, "version-not-draft", "gone"),
        ("deleting an image with tombstones", "DELETE", IMAGE.to_owned(), Value::Null, "image-in-use", "debian"),
        retention("a policy without rules", policy(json!({}), json!({})), "at least one rule"),
        retention("a policy that keeps no newest", policy(json!({"newest": 0}), json!({})), "must be from 1"),
        retention(
            "a policy that keeps nothing at all",
            policy(json!({"newest": 1}), json!({"min_keep": 0})),
            "must be from 1",
        ),
        retention("a negative number", policy(json!({"daily": -1}), json!({})), "must be from 1"),
        retention("a number that is too large", policy(json!({"monthly": 4_294_967_296_i64}), json!({})), "4294967295"),
        retention(
            "a zone instead of UTC",
            policy(json!({"younger_than": "1d Europe/Zürich"}), json!({})),
            "must be a duration",
        ),
        retention("a span of a thousand years", policy(json!({"fetched_within": "365250d"}), json!({})), "100 years"),
        retention(
            "removal before deprecation",
            policy(json!({"newest": 1}), json!({"action": null, "deprecate_after": "3d", "remove_after": "2d"})),
            "longer",
        ),
        (
            "applying without a policy",
            "POST",
            format!("{IMAGE}/retention/apply"),
            json!({"revision": "x"}),
            "not-found",
            "retention policy",
        ),
    ]
}

/// What must not change: every row, and the entity tags that clients hold.
async fn state(fixture: &Fixture) -> (Rows, Vec<String>) {
    let file = fixture.server.catalog_file().display().to_string();
    let stored = rows(fixture.database.as_deref().unwrap_or(&file)).await;
    let mut tags = Vec::new();
    for name in ["active", "deprecated", "revoked", "held", "gone", "draining", "target"] {
        for path in [version(name), format!("{}/lifecycle", version(name))] {
            let answer = fixture.server.get(&path).await;
            tags.push(format!("{path} {} {}", answer.status, answer.header("etag")));
        }
    }
    for path in [IMAGE, "/streams/v1/images.json", "/v1/images/debian/aliases/latest"] {
        tags.push(format!("{path} {}", fixture.server.get(path).await.header("etag")));
    }
    (stored, tags)
}

async fn refused_changes_change_nothing(fixture: &Fixture) {
    scene(fixture).await;
    let (before, mut unclear) = (state(fixture).await, Vec::new());
    for (what, method, path, body, code, says) in refusals() {
        let is_written = path == "/api/images"
            || path.starts_with("/v1/images/debian/aliases")
            || path == "/v1/images/debian/versions"
            || method == "DELETE";
        let token = if is_written { &fixture.server.writer } else { &fixture.admin };
        let body = Some(body).filter(|body| !body.is_null());
        let refused = fixture.server.call(Some(token), method, &path, body).await;
        assert!(refused.status.is_client_error(), "{what}: {refused:?}");
        let problem = refused.json();
        if refused.problem() != code || !problem.to_string().contains(says) {
            unclear.push(format!("{what}: {problem} is not {code} or does not say {says:?}"));
        }
        let after = state(fixture).await;
        for (table, rows) in &before.0 {
            assert_eq!(&after.0[table], rows, "{what} changes {table}");
        }
        assert_eq!(after.1, before.1, "{what}");
    }
    assert!(unclear.is_empty(), "{unclear:#?}");
}

#[tokio::test]
async fn refused_changes_change_nothing_on_sqlite() {
    refused_changes_change_nothing(&Fixture::sqlite().await).await;
}

#[tokio::test]
async fn refused_changes_change_nothing_on_postgres() {
    refused_changes_change_nothing(&Fixture::postgres().await).await;
}

/// Sends a change with the entity tag that its manager has read.
async fn conditional(fixture: &Fixture, action: &str, body: Value, tag: &str) -> TestResponse {
    let request = Request::post(format!("{}/{action}", version("1"))).header("if-match", tag);
    let request = request.header("authorization", format!("Bearer {}", fixture.admin));
    let request = request.header("content-type", "application/json").body(Body::from(body.to_string()));
    fixture.server.send(request.expect("a request")).await
}

async fn of_two_managers_one_succeeds(fixture: &Fixture) {
    let server = &fixture.server;
    server.published("debian", "1", &qcow2(1)).await;
    let lifecycle = async || get(server, "GET", &format!("{}/lifecycle", version("1")), &[]).await;
    let mut changes = 0;
    for (action, state) in [("revoke", "revoked"), ("remove", "removed")].into_iter().cycle().take(12) {
        fixture.done(&version("1"), "deprecate", json!({"reason": "old"})).await;
        let tag = lifecycle().await.header("etag").to_owned();
        let (retired, restored) = join(
            conditional(fixture, action, json!({"reason": "bad"}), &tag),
            conditional(fixture, "restore", json!({}), &tag),
        )
        .await;
        let (winner, loser, expected) =
            if retired.status == StatusCode::OK { (retired, restored, state) } else { (restored, retired, "active") };
        assert_eq!((winner.status, loser.problem()), (StatusCode::OK, "precondition-failed".to_owned()));
        assert_eq!(lifecycle().await.json()["state"], expected);
        assert_eq!(lifecycle().await.header("etag"), winner.header("etag"));
        changes += 2;
        while lifecycle().await.json()["state"] != "active" {
            fixture.done(&version("1"), "restore", json!({})).await;
            changes += 1;
        }
    }
    let manager = server.token_with("auth-manager").await;
    let audit = server.call(Some(&manager), "GET", "/v1/audit?subject=debian/1&limit=200", None).await.json();
    let entries = audit["entries"].as_array().expect("entries").iter();
    let is_change = |entry: &&Value| {
        matches!(
            entry["action"].as_str(),
            Some("version.deprecated" | "version.revoked" | "version.removed" | "version.restored")
        )
    };
    assert_eq!(entries.filter(is_change).count(), changes, "{audit}");
}

#[tokio::test]
async fn of_two_managers_that_retire_and_restore_at_once_one_succeeds() {
    of_two_managers_one_succeeds(&Fixture::sqlite().await).await;
    of_two_managers_one_succeeds(&Fixture::postgres().await).await;
}
