//! Retired versions on every surface.

use crate::support::{alias, get, images, released};
use axum::{
    body::Body,
    http::{Request, StatusCode},
};
use imgsrv_domain::ports::Clock;
use imgsrv_simplestreams::Product;
use imgsrv_testkit::{TestResponse, TestServer, digest, qcow2, services::Postgres};
use serde_json::{Value, json};
use std::time::Duration;

const HOUR: Duration = Duration::from_hours(1);
const VERSION: &str = "/v1/images/debian/versions/1";

/// A server with a content administrator.
pub(crate) struct Fixture {
    pub(crate) server: TestServer,
    pub(crate) admin: String,
    /// The catalog's database, if it has a clock of its own.
    pub(crate) database: Option<String>,
}

impl Fixture {
    pub(crate) async fn sqlite() -> Self {
        Self::on(TestServer::start().await, None).await
    }

    pub(crate) async fn postgres() -> Self {
        let url = Postgres::shared().await.database().await;
        let server = TestServer::start_on_database(&url, 4, |_| {}).await;
        Postgres::set_clock(&url, server.clock.now().micros()).await;
        Self::on(server, Some(url)).await
    }

    pub(crate) async fn on(server: TestServer, database: Option<String>) -> Self {
        let admin = server.token_with("content-admin").await;
        Self { server, admin, database }
    }

    pub(crate) async fn advance(&self, by: Duration) {
        self.server.clock.advance(by);
        if let Some(url) = &self.database {
            Postgres::set_clock(url, self.server.clock.now().micros()).await;
        }
    }

    pub(crate) async fn call(&self, method: &str, path: &str, body: Value) -> TestResponse {
        self.server.call(Some(&self.admin), method, path, Some(body)).await
    }

    /// Changes a lifecycle, and returns the version.
    pub(crate) async fn done(&self, version: &str, action: &str, body: Value) -> Value {
        let changed = self.call("POST", &format!("{version}/{action}"), body).await;
        assert_eq!(changed.status, StatusCode::OK, "{version} {action}: {changed:?}");
        changed.json()
    }

    /// The code of the problem of a refused change.
    pub(crate) async fn refused(&self, version: &str, action: &str, body: Value) -> String {
        let refused = self.call("POST", &format!("{version}/{action}"), body).await;
        assert!(refused.status.is_client_error(), "{action} was not refused: {refused:?}");
        refused.problem()
    }
}

fn header<'a>(response: &'a TestResponse, name: &str) -> Option<&'a str> {
    Some(response.headers.get(name)?.to_str().expect("a text"))
}

/// A row of the table: what a version in one state is on every surface.
#[derive(Debug, PartialEq, Eq)]
struct Row {
    image: u16,
    listed: bool,
    manifest: u16,
    downloads: u16,
    is_discouraged: bool,
    by_digest: u16,
    in_streams: Option<bool>,
    alias: u16,
}

/// The version `1` of an image on every surface. Its only artifact has `bytes`.
async fn seen(fixture: &Fixture, image: &str, bytes: &[u8]) -> Row {
    let server = &fixture.server;
    let version = format!("/v1/images/{image}/versions/1");
    let listed = server.get(&format!("/v1/images/{image}/versions")).await;
    let manifest = server.get(&version).await;
    let by_ref = server.get(&format!("/v1/images/{image}/refs/1")).await;
    assert_eq!(by_ref.status, manifest.status);
    assert_eq!(server.get(&format!("{version}/artifacts")).await.status, manifest.status);

    // The ids of a tombstone are no longer shown.
    let (artifact, attachment) = match manifest.status {
        StatusCode::OK => {
            let entry = &manifest.json()["artifacts"][0];
            let attachment = entry["attachments"][0]["id"].as_str().expect("an id").to_owned();
            (entry["artifact_id"].as_str().expect("an id").to_owned(), attachment)
        }
        _ => {
            let nil = "00000000-0000-7000-8000-000000000000".to_owned();
            (nil.clone(), nil)
        }
    };
    let file = format!("{image}-1-x86_64.qcow2");
    let mut downloads = Vec::new();
    for path in [
        format!("{version}/artifacts/{artifact}/download"),
        format!("{version}/artifacts/{artifact}/attachments/{attachment}/download"),
        format!("/images/{image}/1/{file}"),
        format!("/images/{image}/1/{file}.incus.tar.xz"),
        format!("/images/{image}/1/{file}.sha256"),
        format!("/images/{image}/1/SHA256SUMS"),
        format!("/images/{image}/1/versioned/SHA256SUMS"),
        format!("/images/{image}/1"),
        format!("/images/{image}/1/"),
    ] {
        let download = server.get(&path).await;
        downloads.push((path, download.status.as_u16(), header(&download, "deprecation").is_some()));
    }
    let (_, status, is_discouraged) = downloads[0].clone();
    assert!(
        downloads.iter().all(|(_, other, headers)| (*other, *headers) == (status, is_discouraged)),
        "{downloads:?}"
    );
    assert_eq!(header(&manifest, "deprecation").is_some(), is_discouraged);

    let digest = digest(bytes);
    let by_digest = server.get(&format!("/v1/blobs/{digest}")).await.status;
    let hex = digest.strip_prefix("sha256:").expect("a digest");
    let cas = server.get(&format!("/cas/sha256/{}/{hex}", &hex[..2])).await.status;
    assert_eq!(cas, by_digest);

    let products: Value = server.get("/streams/v1/images.json").await.json();
    let products = products["products"].as_object().expect("products");
    let product = products.get(&format!("{image}:1:amd64:default"));
    let product = product.map(|product| serde_json::from_value::<Product>(product.clone()).expect("a product"));
    let in_streams = product.map(|product| product.release_title.ends_with(" (deprecated)"));

    let aliased = server.write("PUT", &format!("/v1/images/{image}/aliases/next"), Some(json!({"version": "1"}))).await;
    if aliased.status == StatusCode::OK {
        server.write("DELETE", &format!("/v1/images/{image}/aliases/next"), None).await;
    }
    Row {
        image: server.get(&format!("/v1/images/{image}")).await.status.as_u16(),
        listed: listed.status == StatusCode::OK && listed.json()["versions"][0]["version"] == "1",
        manifest: manifest.status.as_u16(),
        downloads: status,
        is_discouraged,
        by_digest: by_digest.as_u16(),
        in_streams,
        alias: aliased.status.as_u16(),
    }
}

async fn the_table(fixture: &Fixture) {
    let states = ["active", "deprecated", "revoked", "removed", "revoked-removed", "tombstone", "revoked-tombstone"];
    let bytes = |state: &str| {
        qcow2(u64::try_from(states.iter().position(|one| *one == state).expect("a state")).expect("a number"))
    };
    for state in states {
        released(&fixture.server, state, "1", &bytes(state)).await;
    }
    let version = |state: &str| format!("/v1/images/{state}/versions/1");
    let why = json!({"reason": "it is old"});
    fixture.done(&version("deprecated"), "deprecate", why.clone()).await;
    for state in ["revoked", "revoked-removed", "revoked-tombstone"] {
        fixture.done(&version(state), "revoke", why.clone()).await;
    }
    for state in ["removed", "revoked-removed"] {
        fixture.done(&version(state), "remove", json!({"drain": "48h"})).await;
    }
    for state in ["tombstone", "revoked-tombstone"] {
        fixture.done(&version(state), "remove", json!({"drain": "2h"})).await;
    }
    fixture.advance(2 * HOUR).await;
    let served = Row {
        image: 200,
        listed: true,
        manifest: 200,
        downloads: 200,
        is_discouraged: false,
        by_digest: 200,
        in_streams: Some(false),
        alias: 200,
    };
    let gone = |manifest, downloads, by_digest| Row {
        image: 404,
        listed: false,
        manifest,
        downloads,
        is_discouraged: false,
        by_digest,
        in_streams: None,
        alias: 412,
    };
    for (state, expected) in [
        ("active", served),
        (
            "deprecated",
            Row {
                image: 200,
                listed: true,
                manifest: 200,
                downloads: 200,
                is_discouraged: true,
                by_digest: 200,
                in_streams: Some(true),
                alias: 412,
            },
        ),
        ("revoked", gone(200, 410, 410)),
        ("removed", Row { is_discouraged: true, ..gone(200, 200, 200) }),
        ("revoked-removed", gone(200, 410, 410)),
        ("tombstone", gone(410, 410, 404)),
        ("revoked-tombstone", gone(410, 410, 404)),
    ] {
        assert_eq!(seen(fixture, state, &bytes(state)).await, expected, "{state}");
        // A worker records the end of the drains, which changes nothing that is seen.
        fixture.server.settle().await;
    }
    assert_eq!(seen(fixture, "tombstone", &bytes("tombstone")).await, gone(410, 410, 404));

    // Those who can change lifecycles see images without offered versions, and find what can be restored.
    let listed = fixture.call("GET", "/v1/images/removed/versions?lifecycle=removed", json!({})).await.json();
    assert_eq!(listed["versions"][0]["lifecycle"]["state"], "removed");
    let state = fixture.server.get(&format!("{}/lifecycle", version("tombstone"))).await.json();
    assert_eq!(state["state"], "tombstone");
    assert_eq!(fixture.refused(&version("tombstone"), "restore", json!({})).await, "lifecycle-state");
}

#[tokio::test]
async fn every_surface_follows_the_table_of_lifecycles_on_sqlite() {
    the_table(&Fixture::sqlite().await).await;
}

#[tokio::test]
async fn every_surface_follows_the_table_of_lifecycles_on_postgres() {
    the_table(&Fixture::postgres().await).await;
}

#[tokio::test]
async fn a_retired_version_says_why_and_what_to_use_instead() {
    let fixture = Fixture::sqlite().await;
    let server = &fixture.server;
    released(server, "debian", "1", &qcow2(1)).await;
    released(server, "debian", "2", &qcow2(2)).await;
    alias(server, "debian", "latest", "2").await;
    let words = json!({"reason": "Use 2", "replacement": "latest", "end_of_life": "2027-06-30"});
    let version = fixture.done(VERSION, "deprecate", words).await;
    let replacement = json!({"name": "latest", "url": "/v1/images/debian/refs/latest"});
    let lifecycle = &version["lifecycle"];
    assert_eq!((&lifecycle["state"], &lifecycle["reason"]), (&json!("deprecated"), &json!("Use 2")));
    assert_eq!((&lifecycle["replacement"], &lifecycle["end_of_life"]), (&replacement, &json!("2027-06-30")));
    let manifest = server.get(VERSION).await;
    assert_eq!(manifest.json()["version"], version);
    assert_eq!(header(&manifest, "deprecation"), Some("@1767225600"));
    assert_eq!(header(&manifest, "sunset"), Some("Wed, 30 Jun 2027 00:00:00 GMT"));
    assert_eq!(header(&manifest, "link"), Some("</v1/images/debian/refs/latest>; rel=\"successor-version\""));
    let products = server.get("/streams/v1/images.json").await.json();
    assert_eq!(products["products"]["debian:1:amd64:default"]["support_eol"], "2027-06-30");
    assert_eq!(products["products"]["debian:2:amd64:default"]["support_eol"], Value::Null);
    let past = json!({"reason": "Use 2", "end_of_life": "2025-01-01"});
    fixture.done(VERSION, "deprecate", past).await;
    assert_eq!(header(&server.get(VERSION).await, "sunset"), None, "not before the deprecation");

    fixture.done(VERSION, "revoke", json!({"reason": "A secret leaked", "replacement": "debian:2"})).await;
    let path = "/images/debian/1/debian-1-x86_64.qcow2";
    let gone = server.get(path).await;
    assert_eq!(gone.status, StatusCode::GONE);
    let problem = gone.json();
    assert_eq!(problem["type"], "urn:imgsrv:problem:version-revoked");
    assert_eq!(problem["reason"], "A secret leaked");
    assert_eq!(problem["replacement"], json!({"name": "2", "url": "/v1/images/debian/refs/2"}));
    assert_eq!(problem["detail"], "version 1 of debian was revoked: A secret leaked. Use debian:2 instead");

    // Incus drops its cached index on 404 alone.
    let incus = get(server, "GET", path, &[("user-agent", "Incus 6.0.4 (Linux; x86_64)")]).await;
    assert_eq!((incus.status, &incus.json()["reason"]), (StatusCode::NOT_FOUND, &problem["reason"]));
    assert_eq!(incus.json()["status"], 404);
    assert!(
        images(server)
            .await
            .find(
                "debian/1",
                imgsrv_simplestreams::ImageKind::VirtualMachine,
                "amd64".parse().expect("an architecture")
            )
            .is_none()
    );

    // The replacement is left out once it is no longer offered itself.
    fixture.done("/v1/images/debian/versions/2", "remove", json!({"aliases": {"latest": null}})).await;
    assert_eq!(server.get(path).await.json()["replacement"], Value::Null);
    let draining = server.get("/v1/images/debian/versions/2").await;
    assert_eq!(header(&draining, "sunset"), Some("Fri, 02 Jan 2026 00:00:00 GMT"));
}

#[tokio::test]
async fn aliases_move_with_their_version_or_the_change_is_refused() {
    let fixture = Fixture::sqlite().await;
    let server = &fixture.server;
    for version in ["1", "2"] {
        server.published("debian", version, &qcow2(1)).await;
    }
    for name in ["latest", "old", "stable"] {
        alias(server, "debian", name, "1").await;
    }
    let before = server.get(VERSION).await.json();
    for aliases in [json!({}), json!({"latest": "2"}), json!({"latest": "2", "old": null, "stable": "1"})] {
        let body = json!({"reason": "bad", "aliases": aliases});
        let refused = fixture.call("POST", &format!("{VERSION}/revoke"), body).await;
        assert_eq!((refused.status, refused.problem()), (StatusCode::CONFLICT, "aliases-in-use".to_owned()));
        assert!(refused.json()["detail"].as_str().expect("a detail").contains("stable"), "{refused:?}");
        assert_eq!(server.get("/v1/images/debian/aliases/latest").await.json()["version"], "1", "nothing has changed");
    }
    assert_eq!(server.get(VERSION).await.json(), before);
    for (aliases, code) in [
        (json!({"latest": "3", "old": null, "stable": null}), "invalid-request"),
        (json!({"latest": "/", "old": null, "stable": null}), "invalid-request"),
        (json!({"2": "2", "latest": "2", "old": null, "stable": null}), "name-taken"),
    ] {
        assert_eq!(fixture.refused(VERSION, "revoke", json!({"reason": "bad", "aliases": aliases})).await, code);
    }
    let aliases = json!({"latest": "2", "old": null, "stable": "2", "absent": null, "new": "2"});
    let body = json!({"reason": "bad", "aliases": aliases});
    let revoked = fixture.done(VERSION, "revoke", body.clone()).await;
    assert_eq!(fixture.done(VERSION, "revoke", body).await, revoked, "a repeated request changes nothing");
    let aliases = server.get("/v1/images/debian/aliases").await.json();
    let aliases = aliases["aliases"].as_array().expect("aliases").iter();
    let on: Vec<String> =
        aliases.map(|alias| format!("{} {}", alias["alias"], alias["version"]).replace('"', "")).collect();
    assert_eq!(on, ["latest 2", "new 2", "stable 2"]);
    let audit = server.manage("GET", "/v1/audit?subject=debian/1&action=version.revoked", None).await.json();
    assert_eq!(audit["entries"].as_array().map(Vec::len), Some(1), "{audit}");
    assert_eq!(audit["entries"][0]["detail"], "bad");
    assert_eq!(fixture.refused(VERSION, "deprecate", json!({"reason": "x"})).await, "lifecycle-state");
}

#[tokio::test]
async fn bad_requests_have_one_clear_problem_and_change_nothing() {
    let fixture = Fixture::sqlite().await;
    let server = &fixture.server;
    for version in ["1", "2", "3"] {
        server.published("debian", version, &qcow2(1)).await;
    }
    server.draft("debian", "draft", &qcow2(1)).await;
    fixture.done("/v1/images/debian/versions/3", "revoke", json!({"reason": "bad"})).await;
    let two = "/v1/images/debian/versions/2";
    fixture.done(two, "deprecate", json!({"reason": "old", "replacement": "1"})).await;
    for (action, body, code) in [
        ("deprecate", json!({"reason": " "}), "invalid-request"),
        ("deprecate", json!({}), "invalid-json"),
        ("deprecate", json!({"reason": "x", "end_of_life": "2027-02-30"}), "invalid-request"),
        ("deprecate", json!({"reason": "x", "replacement": "9"}), "replacement-unusable"),
        ("deprecate", json!({"reason": "x", "replacement": "other:1"}), "replacement-unusable"),
        ("deprecate", json!({"reason": "x", "replacement": "draft"}), "replacement-unusable"),
        ("deprecate", json!({"reason": "x", "replacement": "1"}), "replacement-unusable"),
        ("deprecate", json!({"reason": "x", "replacement": "3"}), "replacement-unusable"),
        ("deprecate", json!({"reason": "x", "replacement": "debian:2"}), "replacement-unusable"),
        ("remove", json!({"drain": "1h59m"}), "invalid-request"),
        ("remove", json!({"drain": "soon"}), "invalid-request"),
    ] {
        assert_eq!(fixture.refused(VERSION, action, body.clone()).await, code, "{action} {body}");
    }
    let draft = "/v1/images/debian/versions/draft";
    assert_eq!(fixture.refused(draft, "revoke", json!({"reason": "x"})).await, "version-not-published");
    assert_eq!(fixture.refused("/v1/images/debian/versions/9", "restore", json!({})).await, "not-found");
    let lifecycle = server.get(&format!("{VERSION}/lifecycle")).await;
    assert_eq!(lifecycle.json()["state"], "active");
    for (bearer, status) in [(None, 401), (Some(&*server.writer), 403), (Some(&*server.manager), 403)] {
        let denied = server.call(bearer, "POST", &format!("{VERSION}/revoke"), Some(json!({"reason": "x"}))).await;
        assert_eq!(denied.status.as_u16(), status);
    }
}

#[tokio::test]
async fn only_the_expected_lifecycle_is_changed() {
    let fixture = Fixture::sqlite().await;
    fixture.server.published("debian", "1", &qcow2(1)).await;
    let tag = async || {
        let lifecycle = fixture.server.get(&format!("{VERSION}/lifecycle")).await;
        header(&lifecycle, "etag").expect("an entity tag").to_owned()
    };
    let restore = async |tag: &str| {
        let request = Request::post(format!("{VERSION}/restore")).header("if-match", tag);
        let request = request.header("authorization", format!("Bearer {}", fixture.admin));
        let request = request.header("content-type", "application/json").body(Body::from("{}"));
        fixture.server.send(request.expect("a request")).await
    };
    fixture.done(VERSION, "deprecate", json!({"reason": "old"})).await;
    let first = tag().await;
    fixture.done(VERSION, "revoke", json!({"reason": "bad"})).await;
    let second = tag().await;
    assert_ne!(first, second);
    for wrong in [&*first, "\"x\"", "W/\"y\""] {
        let refused = restore(wrong).await;
        assert_eq!(
            (refused.status, refused.problem()),
            (StatusCode::PRECONDITION_FAILED, "precondition-failed".to_owned())
        );
    }
    let restored = restore(&second).await;
    assert_eq!(restored.json()["lifecycle"]["state"], "deprecated");
    assert_eq!(header(&restored, "etag"), Some(&*tag().await));
    assert_eq!(restore(&second).await.status, StatusCode::PRECONDITION_FAILED, "a repeated request undoes no more");
    assert_eq!(restore("*").await.json()["lifecycle"], Value::Null);
}

#[tokio::test]
async fn a_held_version_stays_until_the_cooldown_has_ended() {
    let fixture = Fixture::sqlite().await;
    let server = &fixture.server;
    server.published("debian", "1", &qcow2(1)).await;
    let hold = format!("{VERSION}/hold");
    let manager = server.token_with("auth-manager").await;
    let held = fixture.call("PUT", &hold, json!({"reason": "evidence"})).await;
    assert_eq!(held.json()["lifecycle"]["hold"], json!({"reason": "evidence"}));
    assert_eq!(server.get(VERSION).await.json()["version"]["lifecycle"]["state"], "active");
    for (action, body) in [("revoke", json!({"reason": "x"})), ("remove", json!({}))] {
        assert_eq!(fixture.refused(VERSION, action, body).await, "version-held");
    }
    let shorter = fixture.call("PUT", &hold, json!({"reason": "x", "until": "2026-02-01T00:00:00Z"})).await;
    assert_eq!(shorter.problem(), "lifecycle-state");
    let past = fixture.call("PUT", &hold, json!({"reason": "x", "until": "2025-02-01T00:00:00Z"})).await;
    assert_eq!(past.problem(), "invalid-request");
    let released = server.call(Some(&fixture.admin), "DELETE", &hold, None).await.json();
    assert_eq!(released["lifecycle"]["hold"]["lifts_at"], "2026-01-02T00:00:00Z");
    fixture.advance(23 * HOUR).await;
    assert_eq!(fixture.refused(VERSION, "remove", json!({})).await, "version-held");
    fixture.advance(HOUR).await;
    assert_eq!(server.get(VERSION).await.json()["version"]["lifecycle"], Value::Null);
    fixture.done(VERSION, "remove", json!({})).await;

    // A hold keeps a draining version from becoming a tombstone, but readers were promised no more.
    fixture.call("PUT", &hold, json!({"reason": "evidence"})).await;
    fixture.advance(25 * HOUR).await;
    server.settle().await;
    assert_eq!(server.get(VERSION).await.problem(), "version-removed");
    let audit = "/v1/audit?subject=debian/1&action=version.tombstoned";
    let entombed = async || {
        let entries = server.call(Some(&manager), "GET", audit, None).await.json();
        entries["entries"].as_array().map(Vec::len)
    };
    assert_eq!(entombed().await, Some(0));
    let (image, version) = ("debian".parse().expect("a name"), "1".parse().expect("a name"));
    let catalog = &*server.services.adapters().catalog;
    assert!(imgsrv_app::release_hold(catalog, &image, &version).await.expect("released"));
    assert!(!imgsrv_app::release_hold(catalog, &image, &version).await.expect("released"));
    server.settle().await;
    assert_eq!(entombed().await, Some(1));
}

#[tokio::test]
async fn the_name_of_a_retired_version_is_never_used_again() {
    let fixture = Fixture::sqlite().await;
    let server = &fixture.server;
    for version in ["1", "2"] {
        server.published("debian", version, &qcow2(1)).await;
    }
    let until = fixture.done(VERSION, "remove", json!({"drain": "2h"})).await["lifecycle"]["available_until"].clone();
    assert_eq!(until, "2026-01-01T02:00:00Z");
    for hours in [0, 2] {
        fixture.advance(HOUR * hours).await;
        server.settle().await;
        let version = server.write("POST", "/v1/images/debian/versions", Some(json!({"version": "1"}))).await;
        assert_eq!((version.status, version.problem()), (StatusCode::CONFLICT, "name-taken".to_owned()));
        let alias = server.write("PUT", "/v1/images/debian/aliases/1", Some(json!({"version": "2"}))).await;
        assert_eq!((alias.status, alias.problem()), (StatusCode::CONFLICT, "name-taken".to_owned()));
        assert_eq!(server.write("DELETE", VERSION, None).await.problem(), "version-not-draft");
        assert_eq!(server.write("DELETE", "/v1/images/debian", None).await.problem(), "image-in-use");
    }
    assert_eq!(fixture.refused(VERSION, "restore", json!({})).await, "lifecycle-state");
    fixture.done(VERSION, "remove", json!({})).await;
    // Restored before its drain ends, a version is what it was.
    let two = "/v1/images/debian/versions/2";
    let before = server.get(two).await.json();
    fixture.done(two, "remove", json!({})).await;
    fixture.advance(23 * HOUR).await;
    server.settle().await;
    fixture.done(two, "restore", json!({})).await;
    assert_eq!(server.get(two).await.json(), before);
    alias(server, "debian", "latest", "2").await;
}
