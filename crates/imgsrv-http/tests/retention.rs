//! Retention policies through the router.

use axum::{
    body::Body,
    http::{Request, StatusCode},
};
use futures::future::join;
use imgsrv_testkit::{TestResponse, TestServer, digest, qcow2};
use serde_json::{Value, json};
use std::time::Duration;

const URL: &str = "/v1/images/debian/retention";
const DAY: Duration = Duration::from_hours(24);

/// A server whose image `debian` has versions `1` to `count`, a day apart, and a token of a content-admin.
async fn with_versions(mut server: TestServer, count: u8) -> (TestServer, String) {
    let admin = server.token_with("content-admin").await;
    // The bootstrap token expires after an hour.
    server.manager = server.token_with("auth-manager").await;
    for version in 1..=count {
        server.published("debian", &version.to_string(), &qcow2(version.into())).await;
        server.clock.advance(DAY);
    }
    (server, admin)
}

fn removing(keep: Value) -> Value {
    json!({"keep": keep, "action": "remove", "enabled": false})
}

async fn put(server: &TestServer, admin: &str, policy: Value) {
    let set = server.call(Some(admin), "PUT", URL, Some(policy)).await;
    assert_eq!(set.status, StatusCode::OK, "{set:?}");
}

async fn preview(server: &TestServer, admin: &str) -> Value {
    let shown = server.call(Some(admin), "GET", &format!("{URL}/preview"), None).await;
    assert_eq!(shown.status, StatusCode::OK, "{shown:?}");
    shown.json()
}

async fn apply(server: &TestServer, admin: &str, revision: &Value) -> TestResponse {
    server.call(Some(admin), "POST", &format!("{URL}/apply"), Some(json!({"revision": revision}))).await
}

async fn state_of(server: &TestServer, version: u8) -> String {
    let shown = server.get(&format!("/v1/images/debian/versions/{version}/lifecycle")).await.json();
    shown["state"].as_str().expect("a state").to_owned()
}

/// The reasons of a decision for each version, the newest first.
fn decisions(preview: &Value) -> Vec<String> {
    let all = preview["decisions"].as_array().expect("decisions");
    let shown = |decision: &Value| {
        let because: Vec<&str> =
            decision["because"].as_array().expect("reasons").iter().filter_map(Value::as_str).collect();
        let (version, action) = (decision["version"].as_str(), decision["action"].as_str());
        format!("{} {}: {}", version.unwrap_or_default(), action.unwrap_or_default(), because.join(", "))
    };
    all.iter().map(shown).collect()
}

#[tokio::test]
async fn a_policy_is_set_read_and_deleted() {
    let (server, admin) = with_versions(TestServer::start().await, 1).await;
    let call = async |method, body| server.call(Some(&admin), method, URL, body).await;
    for method in ["GET", "DELETE"] {
        assert_eq!(call(method, None).await.problem(), "not-found", "there is no policy");
    }
    let wanted = json!({"keep": {"newest": 3, "fetched_within": "2w"}, "min_keep": 2, "deprecate_after": "30d",
        "remove_after": "90d", "enabled": true});
    let stored = json!({"keep": {"newest": 3, "fetched_within": "14d"}, "min_keep": 2, "deprecate_after": "30d",
        "remove_after": "90d", "enabled": true});
    for _ in 0..2 {
        assert_eq!(call("PUT", Some(wanted.clone())).await.json(), stored);
    }
    assert_eq!(call("GET", None).await.json(), stored);
    assert_eq!(server.write("PUT", URL, Some(wanted.clone())).await.problem(), "forbidden");
    assert_eq!(server.get(URL).await.problem(), "unauthenticated");
    assert_eq!(call("DELETE", None).await.status, StatusCode::NO_CONTENT);
    assert_eq!(call("GET", None).await.problem(), "not-found");
    let missing = server.call(Some(&admin), "PUT", "/v1/images/missing/retention", Some(wanted)).await;
    assert_eq!(missing.problem(), "not-found");
    let audited = server.manage("GET", "/v1/audit?subject=debian", None).await.json();
    let actions: Vec<&str> =
        audited["entries"].as_array().expect("entries").iter().filter_map(|entry| entry["action"].as_str()).collect();
    assert_eq!(actions.iter().filter(|action| action.starts_with("retention.")).count(), 2, "{actions:?}");
}

#[tokio::test]
async fn a_policy_that_is_not_valid_is_one_clear_problem() {
    let (server, admin) = with_versions(TestServer::start().await, 1).await;
    for (policy, expected) in [
        (json!({"keep": {}, "action": "remove", "enabled": true}), "keep must have at least one rule"),
        (json!({"keep": {"newest": 1}, "enabled": true}), "needs an action"),
        (removing(json!({"newest": 0})), "keep.newest: must be from 1"),
        (removing(json!({"newest": -1})), "keep.newest: must be from 1"),
        (removing(json!({"younger_than": "0d"})), "must be longer than 0s"),
        (removing(json!({"younger_than": "a month"})), "keep.younger_than: \"a month\" must be a duration"),
        (removing(json!({"yearly": 1})), "yearly"),
        (
            json!({"keep": {"newest": 1}, "action": "remove", "min_keep": 0, "enabled": true}),
            "min_keep: must be from 1",
        ),
        (json!({"keep": {"newest": 1}, "action": "purge", "enabled": true}), "must be deprecate or remove"),
        (json!({"keep": {"newest": 1}, "action": "remove"}), "enabled"),
        (
            json!({"keep": {"newest": 1}, "deprecate_after": "30d", "remove_after": "30d", "enabled": true}),
            "remove_after must be longer",
        ),
    ] {
        for (method, url) in [("PUT", URL.to_owned()), ("POST", format!("{URL}/preview"))] {
            let refused = server.call(Some(&admin), method, &url, Some(policy.clone())).await;
            assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{policy}");
            let detail = refused.json()["detail"].as_str().expect("a detail").to_owned();
            assert!(detail.contains(expected), "{policy}: {detail}");
        }
    }
    assert_eq!(server.call(Some(&admin), "GET", URL, None).await.problem(), "not-found", "nothing was stored");
}

#[tokio::test]
async fn apply_does_what_the_preview_showed_and_keeps_what_is_needed() {
    let (server, admin) = with_versions(TestServer::start().await, 6).await;
    let call = async |method, url: &str, body| {
        let done = server.call(Some(&admin), method, url, Some(body)).await;
        assert_eq!(done.status, StatusCode::OK, "{done:?}");
    };
    let alias = server.write("PUT", "/v1/images/debian/aliases/old", Some(json!({"version": "1"}))).await;
    assert!(alias.status.is_success(), "{alias:?}");
    call("PUT", "/v1/images/debian/versions/2/hold", json!({"reason": "evidence"})).await;
    server.published("secret", "1", &qcow2(1)).await;
    let words = json!({"reason": "renamed", "replacement": "debian:3"});
    call("POST", "/v1/images/secret/versions/1/deprecate", words).await;
    put(&server, &admin, removing(json!({"newest": 1}))).await;

    let shown = preview(&server, &admin).await;
    let expected = [
        "6 keep: newest 1, min_keep 1",
        "5 remove: no rule keeps it",
        "4 remove: no rule keeps it",
        "3 keep: replacement of another version",
        "2 keep: held",
        "1 keep: alias old",
    ];
    assert_eq!(decisions(&shown), expected);
    assert_eq!(preview(&server, &admin).await, shown, "a preview changes nothing");
    let applied = apply(&server, &admin, &shown["revision"]).await;
    assert_eq!(applied.status, StatusCode::OK, "{applied:?}");
    let done: Vec<Value> = applied.json()["done"].as_array().expect("versions").clone();
    let because = json!(["no rule keeps it"]);
    let removed = |version: &str| json!({"version": version, "action": "remove", "because": because});
    assert_eq!(done, [removed("4"), removed("5")], "the oldest first");
    assert_eq!(applied.json()["remaining"], 0);
    let mut states = Vec::new();
    for version in 1..=6 {
        states.push(state_of(&server, version).await);
    }
    assert_eq!(states, ["active", "active", "active", "removed", "removed", "active"]);
    let audited = server.manage("GET", "/v1/audit?subject=debian/4&action=version.removed", None).await.json();
    assert_eq!(audited["entries"][0]["detail"], "retention: no rule keeps it", "{audited}");
    assert_eq!(apply(&server, &admin, &shown["revision"]).await.problem(), "revision-changed");
    assert_eq!(decisions(&preview(&server, &admin).await).len(), 4, "removed versions are not considered");
}

#[tokio::test]
async fn nothing_is_applied_after_a_change_of_the_image_or_its_policy() {
    let (server, admin) = with_versions(TestServer::start().await, 3).await;
    put(&server, &admin, removing(json!({"newest": 1}))).await;
    let version = "/v1/images/debian/versions";
    for (token, method, url, body) in [
        (&server.writer, "PUT", "/v1/images/debian/aliases/a".to_owned(), json!({"version": "3"})),
        (&admin, "POST", format!("{version}/3/deprecate"), json!({"reason": "old"})),
        (&admin, "PUT", format!("{version}/3/hold"), json!({"reason": "evidence"})),
        (&admin, "PUT", URL.to_owned(), removing(json!({"newest": 2}))),
    ] {
        let revision = preview(&server, &admin).await["revision"].clone();
        let changed = server.call(Some(token), method, &url, Some(body)).await;
        assert!(changed.status.is_success(), "{url}: {changed:?}");
        assert_eq!(apply(&server, &admin, &revision).await.problem(), "revision-changed", "{url}");
    }
    let revision = preview(&server, &admin).await["revision"].clone();
    server.published("debian", "4", &qcow2(4)).await;
    assert_eq!(apply(&server, &admin, &revision).await.problem(), "revision-changed");
    let tried =
        server.call(Some(&admin), "POST", &format!("{URL}/preview"), Some(removing(json!({"newest": 1})))).await;
    assert_eq!(apply(&server, &admin, &tried.json()["revision"]).await.problem(), "revision-changed", "another policy");
    for version in 1..=2 {
        assert_eq!(state_of(&server, version).await, "active");
    }
}

async fn two_managers(server: TestServer) {
    let (server, admin) = with_versions(server, 5).await;
    put(&server, &admin, removing(json!({"newest": 1}))).await;
    let revision = preview(&server, &admin).await["revision"].clone();
    let (one, other) = join(apply(&server, &admin, &revision), apply(&server, &admin, &revision)).await;
    let mut statuses = [one.status, other.status];
    statuses.sort();
    assert_eq!(statuses, [StatusCode::OK, StatusCode::CONFLICT], "{one:?} {other:?}");
    for version in 1..=4 {
        let url = format!("/v1/audit?subject=debian/{version}&action=version.removed");
        let audited = server.manage("GET", &url, None).await.json();
        assert_eq!(audited["entries"].as_array().map(Vec::len), Some(1), "{audited}");
    }
    assert_eq!(state_of(&server, 5).await, "active");
}

#[tokio::test]
async fn of_two_managers_that_apply_at_once_one_does() {
    two_managers(TestServer::start().await).await;
    two_managers(TestServer::start_on_postgres().await).await;
}

#[tokio::test]
async fn enabled_policies_are_applied_regularly_and_the_default_to_images_without_one() {
    let default = imgsrv_http::parse_retention(r#"{"keep": {"newest": 2}, "action": "deprecate", "enabled": true}"#);
    let server = TestServer::start_with(|settings| settings.default_retention = Some(default.expect("valid"))).await;
    let (server, admin) = with_versions(server, 3).await;
    // The default policy was applied when the third version was published and work was done.
    server.settle().await;
    assert_eq!(state_of(&server, 1).await, "deprecated");
    put(&server, &admin, removing(json!({"newest": 1}))).await;
    server.settle().await;
    assert_eq!(state_of(&server, 2).await, "active", "the policy is not enabled");
    put(&server, &admin, json!({"keep": {"newest": 1}, "action": "remove", "enabled": true})).await;
    server.settle().await;
    for (version, expected) in [(1, "removed"), (2, "removed"), (3, "active")] {
        assert_eq!(state_of(&server, version).await, expected);
    }
    let audited = server.manage("GET", "/v1/audit?subject=debian/1&action=version.removed", None).await.json();
    assert_eq!(audited["entries"][0]["actor"]["kind"], "worker", "{audited}");
}

#[tokio::test]
async fn a_version_that_was_fetched_lately_is_kept() {
    let (server, admin) = with_versions(TestServer::start().await, 4).await;
    server.clock.advance(30 * DAY);
    for path in ["/images/debian/1/debian-1-amd64.qcow2".to_owned(), format!("/v1/blobs/{}", digest(&qcow2(2)))] {
        assert_eq!(server.get(&path).await.status, StatusCode::OK, "{path}");
    }
    // No bytes are sent of the third version.
    let third = "/images/debian/3/debian-3-amd64.qcow2";
    let send = async |method: &str, path: &str, header: (&str, &str)| {
        let request = Request::builder().method(method).uri(path).header(header.0, header.1).body(Body::empty());
        server.send(request.expect("a request")).await
    };
    let tag = send("HEAD", third, ("accept", "*/*")).await.header("etag").to_owned();
    for path in [third.to_owned(), format!("/v1/blobs/{}", digest(&qcow2(3)))] {
        for (method, header, status) in [
            ("HEAD", ("accept", "*/*"), StatusCode::OK),
            ("GET", ("if-none-match", tag.as_str()), StatusCode::NOT_MODIFIED),
            ("GET", ("if-match", "\"other\""), StatusCode::PRECONDITION_FAILED),
            ("GET", ("range", "bytes=99999999-"), StatusCode::RANGE_NOT_SATISFIABLE),
        ] {
            assert_eq!(send(method, &path, header).await.status, status, "{path}");
        }
    }
    put(&server, &admin, removing(json!({"fetched_within": "20d"}))).await;
    let kept = async || {
        let shown = preview(&server, &admin).await;
        decisions(&shown).into_iter().filter(|decision| decision.contains("fetched within 20d")).count()
    };
    assert_eq!(kept().await, 0, "a download does not write");
    server.services.retention().flush_fetches().await.expect("stored");
    assert_eq!(kept().await, 2, "by file and by digest");
    server.clock.advance(22 * DAY);
    assert_eq!(kept().await, 0);
}
