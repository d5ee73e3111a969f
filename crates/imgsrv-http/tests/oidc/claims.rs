//! Rules whose image patterns name claims: each repository has images of its own, also where two look alike in image names.

use crate::support::{RULES, Setup};
use axum::{
    body::{Body, Bytes},
    http::{Request, StatusCode},
};
use imgsrv_testkit::{TestServer, digest};
use serde_json::{Value, json};

/// Two repositories whose names become the same in names of images.
const OWN: &str = "a/b-c";
const OTHER: &str = "a-b/c";

/// A rule that admits every repository, on images that are named after it.
async fn setup() -> Setup {
    let setup = Setup::new().await;
    save(&setup, json!({})).await;
    setup
}

async fn save(setup: &Setup, changes: Value) {
    let mut rule = json!({"condition": "claims.repository != 'x'", "images": ["{claims.repository}-*"]});
    rule.as_object_mut().expect("an object").extend(changes.as_object().expect("an object").clone());
    setup.save_rule("ci", &rule).await;
}

fn token(setup: &Setup, repository: &str) -> String {
    setup.token_with(&json!({"sub": format!("repo:{repository}"), "repository": repository}))
}

async fn ask(server: &TestServer, token: &str, method: &str, path: &str, body: Option<Value>) -> (u16, String) {
    let response = server.call(Some(token), method, path, body).await;
    let code = if response.status.is_success() { String::new() } else { response.problem() };
    (response.status.as_u16(), code)
}

async fn create(setup: &Setup, token: &str, image: &str) -> u16 {
    ask(&setup.server, token, "POST", "/v1/images", Some(json!({"name": image}))).await.0
}

fn intake(image: &str, version: &str) -> Value {
    json!({
        "image": image, "version": version, "operating_system": "debian", "architecture": "amd64",
        "format": "qcow2", "size_bytes": 4, "aliases": ["latest"],
    })
}

/// Sends the bytes of an intake; returns the status.
async fn append(server: &TestServer, token: &str, id: &str) -> u16 {
    let request = Request::builder()
        .method("PATCH")
        .uri(format!("/api/uploads/tus/{id}"))
        .header("authorization", format!("Bearer {token}"))
        .header("tus-resumable", "1.0.0")
        .header("upload-offset", "0")
        .header("content-type", "application/offset+octet-stream");
    server.send(request.body("data".into()).expect("a request")).await.status.as_u16()
}

async fn open(server: &TestServer, token: &str, image: &str, version: &str) -> String {
    let opened = server.call(Some(token), "POST", "/api/images", Some(intake(image, version))).await;
    assert_eq!(opened.status, StatusCode::CREATED, "{opened:?}");
    opened.json()["upload_session_id"].as_str().expect("an id").to_owned()
}

/// Every request of a writer that is about an existing image, with a body that is valid.
fn requests(image: &str) -> Vec<(&'static str, String, Option<Value>)> {
    let artifact = json!({
        "operating_system": "debian", "architecture": "amd64", "format": "qcow2",
        "primary_media_type": "application/x-qemu-disk", "primary_blob_digest": digest(b"x"), "primary_blob_size_bytes": 1,
    });
    let attachment =
        json!({"name": "x", "media_type": "text/plain", "blob_digest": digest(b"x"), "blob_size_bytes": 1});
    let uuid = "00000000-0000-0000-0000-000000000000";
    let (image, version) = (format!("/v1/images/{image}"), format!("/v1/images/{image}/versions/1"));
    vec![
        ("PATCH", image.clone(), Some(json!({"description": "x"}))),
        ("POST", format!("{image}/versions"), Some(json!({"version": "9"}))),
        ("GET", format!("{image}/versions?state=all"), None),
        ("POST", format!("{version}/artifacts"), Some(artifact)),
        ("DELETE", format!("{version}/artifacts/{uuid}"), None),
        ("POST", format!("{version}/artifacts/{uuid}/attachments"), Some(attachment)),
        ("DELETE", format!("{version}/artifacts/{uuid}/attachments/{uuid}"), None),
        ("POST", format!("{version}/artifacts/{uuid}/incus-metadata"), Some(json!({}))),
        ("POST", format!("{version}/publish"), None),
        ("PUT", format!("{image}/aliases/latest"), Some(json!({"version": "1"}))),
        ("DELETE", format!("{image}/aliases/latest"), None),
        ("DELETE", version, None),
        ("DELETE", image, None),
    ]
}

#[tokio::test]
async fn repositories_that_look_alike_never_reach_each_others_images() {
    let setup = setup().await;
    let server = &setup.server;
    let (own, other) = (token(&setup, OWN), token(&setup, OTHER));
    for image in ["a-b-c-draft", "a-b-c-public", "a-b-c-empty"] {
        assert_eq!(create(&setup, &own, image).await, 201, "{image}");
    }
    assert_eq!(create(&setup, &own, "a-b-d-1").await, 403);
    for image in ["a-b-c-draft", "a-b-c-public"] {
        server.draft(image, "1", b"data").await;
    }
    let publish = "/v1/images/a-b-c-public/versions/1/publish";
    assert_eq!(ask(server, &own, "POST", publish, None).await.0, 202);
    server.settle().await;
    assert_eq!(server.get("/v1/images/a-b-c-public/versions/1").await.status, StatusCode::OK);

    // What is not public does not exist for the other repository; what is public, it cannot change.
    for (image, expected) in [("a-b-c-draft", 404), ("a-b-c-empty", 404), ("a-b-c-public", 403)] {
        for (method, path, body) in requests(image) {
            assert_eq!(ask(server, &other, method, &path, body).await.0, expected, "{method} {path}");
        }
        assert_eq!(create(&setup, &other, image).await, 403, "{image}");
        let opened = ask(server, &other, "POST", "/api/images", Some(intake(image, "2"))).await;
        assert_eq!(opened, (403, "forbidden".to_owned()), "{image}");
    }
    for path in ["/v1/images/a-b-c-draft", "/v1/images/a-b-c-draft/versions/1", "/v1/images/a-b-c-draft/aliases"] {
        assert_eq!(ask(server, &other, "GET", path, None).await.0, 404, "{path}");
        assert_eq!(ask(server, &own, "GET", path, None).await.0, 200, "{path}");
    }
    let names = async |token: &str| {
        let listed = server.call(Some(token), "GET", "/v1/images?include_unpublished=true", None).await.json();
        let images = listed["images"].as_array().expect("a list").iter();
        images.map(|image| image["name"].as_str().expect("a name").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(&other).await, ["a-b-c-public"]);
    assert_eq!(names(&own).await, ["a-b-c-draft", "a-b-c-empty", "a-b-c-public"]);
    let jobs = server.call(Some(&other), "GET", "/v1/publish-jobs", None).await.json();
    assert_eq!(jobs["jobs"], json!([]));

    // The other repository has images of its own, which the first cannot change either.
    assert_eq!(create(&setup, &other, "a-b-c-other").await, 201);
    assert_eq!(ask(server, &own, "DELETE", "/v1/images/a-b-c-other", None).await.0, 404);
    // The owner, with a token of another subject.
    let again = setup.token_with(&json!({"sub": "another job", "repository": OWN}));
    let described = Some(json!({"description": "x"}));
    assert_eq!(ask(server, &again, "PATCH", "/v1/images/a-b-c-draft", described).await.0, 200);
    // A name is free again once its image is deleted.
    assert_eq!(ask(server, &own, "DELETE", "/v1/images/a-b-c-empty", None).await.0, 204);
    assert_eq!(create(&setup, &other, "a-b-c-empty").await, 201);
    assert_eq!(ask(server, &own, "DELETE", "/v1/images/a-b-c-empty", None).await.0, 404);
    let log = server.manage("GET", "/v1/audit?subject=a-b-c-draft&action=image.created", None).await.json();
    assert_eq!(log["entries"][0]["detail"], "bound to rule ci, repository a/b-c");
}

#[tokio::test]
async fn an_intake_binds_the_image_that_it_creates() {
    let setup = setup().await;
    let server = &setup.server;
    let (own, other) = (token(&setup, OWN), token(&setup, OTHER));
    let first = open(server, &own, "a-b-c-1", "1").await;
    // Opened while there is no such image.
    let second = open(server, &other, "a-b-c-1", "2").await;
    assert_eq!(append(server, &own, &first).await, 204);
    server.settle().await;
    let state =
        async |token: &str, id: &str| server.call(Some(token), "GET", &format!("/api/uploads/{id}"), None).await.json();
    assert_eq!(state(&own, &first).await["state"], "published");
    assert_eq!(append(server, &other, &second).await, 404, "it is not an image of that repository");
    for (method, path, body) in requests("a-b-c-1") {
        assert_eq!(ask(server, &other, method, &path, body).await.0, 403, "{method} {path}");
    }

    // Both send their bytes while there is no such image.
    let (first, second) = (open(server, &own, "a-b-c-2", "1").await, open(server, &other, "a-b-c-2", "2").await);
    assert_eq!((append(server, &own, &first).await, append(server, &other, &second).await), (204, 204));
    server.settle().await;
    assert_eq!(state(&own, &first).await["state"], "published");
    assert_eq!(server.get("/v1/images/a-b-c-2/versions/2").await.status, StatusCode::NOT_FOUND);
    let alias = server.get("/v1/images/a-b-c-2/aliases/latest").await.json();
    assert_eq!(alias["version"], "1", "{alias}");

    // A platform can give the jobs of several repositories one subject, and they have one principal.
    let [own, other] = [OWN, OTHER].map(|name| setup.token_with(&json!({"sub": "shared", "repository": name})));
    let shared = open(server, &own, "a-b-c-4", "1").await;
    assert_eq!(ask(server, &other, "GET", &format!("/api/uploads/{shared}"), None).await.0, 404);
    assert_eq!((append(server, &other, &shared).await, append(server, &own, &shared).await), (404, 204));

    // An intake ends with the permission that the rule gives.
    let third = open(server, &own, "a-b-c-3", "1").await;
    assert_eq!(append(server, &own, &third).await, 204);
    save(&setup, json!({"images": ["other-*"]})).await;
    server.settle().await;
    assert_eq!(server.get("/v1/images/a-b-c-3/versions/1").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_request_that_began_before_an_image_existed_does_not_reach_it() {
    let setup = setup().await;
    let server = &setup.server;
    let (own, other) = (token(&setup, OWN), token(&setup, OTHER));
    let (created, until_created) = tokio::sync::oneshot::channel::<()>();
    let (started, until_started) = tokio::sync::oneshot::channel::<()>();
    // The body is read after the token.
    let body = futures::stream::once(async move {
        started.send(()).expect("the test waits");
        until_created.await.expect("the test continues");
        Ok::<_, std::io::Error>(Bytes::from_static(br#"{"description": "mine"}"#))
    });
    let request = Request::builder()
        .method("PATCH")
        .uri("/v1/images/a-b-c-1")
        .header("authorization", format!("Bearer {other}"))
        .header("content-type", "application/json")
        .body(Body::from_stream(body))
        .expect("a request");
    let creation = async {
        until_started.await.expect("the request is read");
        assert_eq!(create(&setup, &own, "a-b-c-1").await, 201);
        created.send(()).expect("the request waits");
    };
    let (response, ()) = futures::join!(server.send(request), creation);
    assert_eq!(response.status, StatusCode::NOT_FOUND);
    let image = server.call(Some(&own), "GET", "/v1/images/a-b-c-1", None).await.json();
    assert!(image.get("description").is_none(), "{image}");
}

#[tokio::test]
async fn a_pattern_grants_nothing_without_its_claim() {
    let setup = setup().await;
    let permissions = async |changes: Value| {
        let shown = setup.whoami(&setup.token_with(&changes)).await.json();
        (shown["actions"].clone(), shown["permissions"].clone())
    };
    save(&setup, json!({"condition": "true", "forwarded_claims": ["repository", "owner"]})).await;
    for nothing in [json!(null), json!(""), json!(7), json!(true), json!(["a"]), json!("a\nb"), json!("a".repeat(300))]
    {
        let changes = json!({"repository": nothing, "sub": "s"});
        assert_eq!(permissions(changes.clone()).await, (json!([]), json!([])), "{nothing}");
        assert_eq!(create(&setup, &setup.token_with(&changes), "a").await, 403, "{nothing}");
    }
    let (_, shown) = permissions(json!({"repository": "Acme/*"})).await;
    let expected = |action: &str, images: &[&str]| json!({"action": action, "images": images});
    assert_eq!(shown, json!([expected("content.read", &["acme---*"]), expected("content.write", &["acme---*"])]));
    let star = setup.token_with(&json!({"repository": "*"}));
    for image in ["a", "a-b", "debian"] {
        assert_eq!(create(&setup, &star, image).await, 403, "{image}");
    }
    // Patterns without claims count besides, and are not bound.
    save(&setup, json!({"images": ["tools", "{claims.repository}-*"]})).await;
    let (own, other) = (token(&setup, OWN), token(&setup, OTHER));
    assert_eq!(create(&setup, &own, "tools").await, 201);
    assert_eq!(ask(&setup.server, &other, "DELETE", "/v1/images/tools", None).await.0, 204);
    // An image that somebody else created is reached by its name.
    setup.server.write("POST", "/v1/images", Some(json!({"name": "a-b-c-old"}))).await;
    let described = Some(json!({"description": "x"}));
    assert_eq!(ask(&setup.server, &own, "PATCH", "/v1/images/a-b-c-old", described).await.0, 200);
    // A pattern is checked when the rule is saved.
    for (images, forwarded) in [
        (json!(["{claims.actor}-*"]), json!(["repository"])),
        (json!(["{claims.}-*"]), json!(["repository"])),
        (json!(["{repository}-*"]), json!(["repository"])),
        (json!([]), json!(["repository"])),
    ] {
        let mut rule = setup.rule();
        rule["images"] = images.clone();
        rule["forwarded_claims"] = forwarded;
        let refused = setup.server.manage("PUT", &format!("{RULES}/ci"), Some(rule)).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{images}");
        let field = refused.json()["errors"][0]["field"].as_str().expect("a field").to_owned();
        assert!(field.starts_with("images"), "{field}");
    }
}

#[tokio::test]
async fn a_rule_grants_the_role_that_it_names_and_no_other() {
    let setup = Setup::new().await;
    let writer = setup.token("a");
    assert_eq!(create(&setup, &writer, "acme-1").await, 201);
    setup.server.published("secret", "1", b"secret").await;
    // The principal keeps the role of the first rule, which does not count for tokens that the other admits.
    setup.save_rule("ci", &json!({"enabled": false})).await;
    let reader = json!({"assign_role_ids": ["content-reader"], "images": ["{claims.repository}*"]});
    let saved = setup.save_rule("readers", &reader).await;
    assert_eq!(saved["assign_role_ids"], json!(["content-reader"]));
    let shown = setup.whoami(&writer).await.json();
    assert_eq!(shown["permissions"], json!([{"action": "content.read", "images": ["acme-images*"]}]));
    assert_eq!(shown["principal"]["roles"], json!([{"id": "content-reader", "images": ["acme-images*"]}]));
    assert_eq!(create(&setup, &writer, "acme-images-2").await, 403);
    assert_eq!(ask(&setup.server, &writer, "DELETE", "/v1/images/acme-1", None).await.0, 403);

    // Reconciliation takes what each rule granted.
    let preview = setup.server.manage("GET", &format!("{RULES}/readers/reconciliation"), None).await.json();
    assert_eq!(preview["unassign_role_ids"], json!(["content-reader"]));
    setup.server.manage("POST", &format!("{RULES}/readers/reconciliation"), None).await;
    assert_eq!(setup.outcome(&writer).await, (403, "token-not-admitted".to_owned()));
    let applied = setup.server.manage("POST", &format!("{RULES}/ci/reconciliation"), None).await.json();
    assert_eq!((&applied["unassign_role_ids"], &applied["principal_count"]), (&json!(["content-writer"]), &json!(1)));
    for bad in [json!([]), json!(["content-admin"]), json!(["content-reader", "content-writer"])] {
        let mut rule = setup.rule();
        rule["assign_role_ids"] = bad.clone();
        let refused = setup.server.manage("PUT", &format!("{RULES}/ci"), Some(rule)).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{bad}");
    }
}

#[tokio::test]
async fn a_role_that_was_revoked_and_granted_by_hand_counts_as_granted_by_hand() {
    let setup = Setup::new().await;
    let token = setup.token("a");
    assert_eq!(create(&setup, &token, "one").await, 201);
    let role = format!("{}/roles/content-writer", setup.principal_url(&token).await);
    assert_eq!(setup.server.manage("DELETE", &role, None).await.status, StatusCode::NO_CONTENT);
    let granted = setup.server.manage("PUT", &role, Some(json!({"images": ["tools"]}))).await;
    assert_eq!(granted.status, StatusCode::NO_CONTENT);
    assert_eq!((create(&setup, &token, "tools").await, create(&setup, &token, "two").await), (201, 403));
}

#[tokio::test]
async fn a_link_of_a_repository_ends_with_the_rule_that_admits_it() {
    let setup = setup().await;
    let server = &setup.server;
    let (own, other) = (token(&setup, OWN), token(&setup, OTHER));
    assert_eq!(create(&setup, &own, "a-b-c-base").await, 201);
    let artifact = server.published("a-b-c-base", "1", b"data").await;
    let admin = server.token_with("content-admin").await;
    let private = Some(json!({"visibility": "private"}));
    assert_eq!(ask(server, &admin, "PATCH", "/v1/images/a-b-c-base", private).await.0, 200);
    let links = format!("/v1/images/a-b-c-base/versions/1/artifacts/{artifact}/links");
    let ttl = || Some(json!({"ttl": "7d"}));
    assert_eq!(ask(server, &other, "POST", &links, ttl()).await.0, 404, "it does not exist for the other repository");
    let made = server.call(Some(&own), "POST", &links, ttl()).await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    // The token ends in ten minutes, and the platform issues no other one for the same job.
    assert_eq!(made.json()["expires_at"], "2026-01-08T00:00:00Z");
    // Another rule that admits the same principal does not keep the link.
    let wide = json!({"condition": "claims.repository != 'x'", "images": ["*"]});
    setup.save_rule("wide", &wide).await;
    save(&setup, json!({"enabled": false})).await;
    assert_eq!(ask(server, &own, "GET", "/v1/images/a-b-c-base", None).await.0, 200);
    save(&setup, json!({})).await;
    server.clock.advance(std::time::Duration::from_hours(1));
    let url = made.json()["url"].as_str().expect("a URL").to_owned();
    let path = url.strip_prefix("http://images.test").expect("the host of the request").to_owned();
    let is_valid = async || {
        let answer = server.get(&path).await;
        assert!(answer.status == StatusCode::OK || answer.problem() == "link-invalid", "{answer:?}");
        answer.status == StatusCode::OK
    };
    assert!(is_valid().await);
    for (changes, expected) in [
        (json!({"enabled": false}), false),
        (json!({}), true),
        (json!({"images": ["other-*"]}), false),
        (json!({"images": ["{claims.repository}-b*", "x"]}), true),
        (json!({"assign_role_ids": ["content-reader"]}), false),
        (json!({}), true),
    ] {
        save(&setup, changes.clone()).await;
        assert_eq!(is_valid().await, expected, "{changes}");
    }
    assert_eq!(server.manage("DELETE", &format!("{RULES}/ci"), None).await.status, StatusCode::NO_CONTENT);
    assert!(!is_valid().await);
    save(&setup, json!({})).await;
    assert!(is_valid().await, "a rule with the same id is the same rule");
    let made_by = server.manage("GET", "/v1/audit?action=link.created", None).await.json();
    let principal = made_by["entries"][0]["actor"]["id"].as_str().expect("an id").to_owned();
    let role = format!("/v1/auth/principals/{principal}/roles/content-writer");
    assert_eq!(server.manage("DELETE", &role, None).await.status, StatusCode::NO_CONTENT);
    assert!(!is_valid().await, "the grant of the rule has ended");
}
