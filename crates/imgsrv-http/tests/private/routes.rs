//! Two teams on one server, each blind to the other: every route of the API answers for what belongs to the other team as
//! for what does not exist.

use crate::support::{Team, shown};
use axum::{body::Body, http::Request};
use imgsrv_testkit::{TestResponse, TestServer, digest};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The values of the parameters of paths.
type Values = BTreeMap<&'static str, String>;

/// What belongs to a team, with another version as a draft, an open upload and an open intake.
async fn belongings(server: &TestServer, team: &Team, image: &str) -> Values {
    let bytes = format!("the bytes of {image}").into_bytes();
    team.done(server, "POST", "/v1/images", Some(json!({"name": image, "visibility": "private"}))).await;
    team.upload(server, &bytes).await;
    let artifact = team.cite(server, image, "1", &bytes).await;
    let attached = json!({"name": "sbom", "media_type": "text/plain", "blob_digest": digest(&bytes), "blob_size_bytes": bytes.len()});
    let url = format!("/v1/images/{image}/versions/1/artifacts/{artifact}/attachments");
    let attachment = team.done(server, "POST", &url, Some(attached)).await.json();
    let url = format!("/v1/images/{image}/versions/1/publish");
    let job = team.done(server, "POST", &url, None).await.json();
    server.settle().await;
    team.done(server, "PUT", &format!("/v1/images/{image}/aliases/latest"), Some(json!({"version": "1"}))).await;
    team.cite(server, image, "2", b"a draft").await;
    let upload = team.open(server, b"something else", 14).await.json();
    let intake = json!({"image": image, "version": "3", "operating_system": "debian", "architecture": "amd64",
        "format": "raw", "size_bytes": 7});
    let intake = team.done(server, "POST", "/api/images", Some(intake)).await.json();
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let digest = digest(&bytes);
    let hex = digest.trim_start_matches("sha256:").to_owned();
    BTreeMap::from([
        ("name", image.to_owned()),
        ("version", "1".to_owned()),
        ("ref", "latest".to_owned()),
        ("alias", "latest".to_owned()),
        ("file", format!("{image}-1-amd64.qcow2")),
        ("artifact_id", artifact),
        ("attachment_id", text(&attachment["id"])),
        ("upload_id", text(&upload["id"])),
        ("upload_session_id", text(&intake["upload_session_id"])),
        ("job_id", text(&job["job_id"])),
        ("shard", hex[..2].to_owned()),
        ("hex", hex),
        ("digest", digest),
    ])
}

/// Values of the same lengths of what does not exist.
fn nothing(like: &Values) -> Values {
    let id = |number: u8| format!("00000000-0000-7000-8000-0000000000{number:02}");
    let name = like["name"].replace("vm", "no");
    BTreeMap::from([
        ("file", like["file"].replace(&like["name"], &name)),
        ("name", name),
        ("version", "1".to_owned()),
        ("ref", "latest".to_owned()),
        ("alias", "latest".to_owned()),
        ("artifact_id", id(1)),
        ("attachment_id", id(2)),
        ("upload_id", id(3)),
        ("upload_session_id", id(4)),
        ("job_id", id(5)),
        ("shard", "00".to_owned()),
        ("hex", "0".repeat(64)),
        ("digest", format!("sha256:{}", "0".repeat(64))),
    ])
}

/// The path of a route with these values; `None` if it has other parameters.
fn filled(path: &str, values: &Values) -> Option<String> {
    let path = values.iter().fold(path.to_owned(), |path, (name, value)| path.replace(&format!("{{{name}}}"), value));
    (!path.contains('{')).then_some(path)
}

/// A body with which a request would succeed, were its path right.
fn body(method: &str, path: &str, values: &Values) -> Option<Value> {
    let end = path.rsplit('/').next().unwrap_or_default();
    let blob = json!({"digest": values["digest"], "size": 1});
    Some(match (method, end) {
        ("patch", "{name}") => json!({"description": "x", "visibility": "public"}),
        ("post", "versions") => json!({"version": "9"}),
        ("post", "artifacts") => json!({"operating_system": "debian", "architecture": "amd64", "format": "qcow2",
            "primary_media_type": "a/b", "primary_blob_digest": blob["digest"], "primary_blob_size_bytes": 1}),
        ("post", "attachments") => {
            json!({"name": "x", "media_type": "a/b", "blob_digest": blob["digest"], "blob_size_bytes": 1})
        }
        ("put", "{alias}") => json!({"version": "1"}),
        ("post", "images") => json!({"image": values["name"], "version": "9", "operating_system": "debian",
            "architecture": "amd64", "format": "raw", "size_bytes": 1}),
        ("post", "deprecate" | "revoke") | ("put", "hold") => json!({"reason": "x"}),
        ("post", "remove" | "restore" | "incus-metadata") => json!({}),
        _ => return None,
    })
}

/// The routes of the API, from its document.
fn routes() -> Vec<(String, String)> {
    let document = serde_json::to_value(imgsrv_http::openapi()).expect("JSON");
    let paths = document["paths"].as_object().expect("paths").clone();
    let methods = ["get", "put", "post", "delete", "patch", "head"];
    let routes = paths.into_iter().flat_map(|(path, item)| {
        let keys: Vec<String> = item.as_object().expect("an object").keys().cloned().collect();
        keys.into_iter().filter(|key| methods.contains(&key.as_str())).map(move |method| (path.clone(), method))
    });
    routes.collect()
}

async fn send(
    server: &TestServer,
    token: Option<&str>,
    method: &str,
    url: &str,
    header: Option<(&str, &str)>,
    body: Option<Value>,
) -> TestResponse {
    let mut request = Request::builder().method(method).uri(url);
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    if let Some((name, value)) = header {
        request = request.header(name, value);
    }
    if body.is_some() {
        request = request.header("content-type", "application/json");
    }
    let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
    server.send(request.body(body).expect("a request")).await
}

/// Compares every answer about what belongs to another team with the answer about nothing.
async fn is_blind(server: &TestServer, who: Option<&Team>, theirs: &Values) {
    let (token, nothing) = (who.map(|team| team.token.as_str()), nothing(theirs));
    let blank = |text: String| {
        theirs.iter().fold(text, |text, (name, value)| {
            let is_telling = value != &nothing[name] && value.len() > 4;
            if is_telling { text.replace(value, &nothing[name]) } else { text }
        })
    };
    let conditions = [
        None,
        Some(("range", "bytes=0-0")),
        Some(("if-none-match", "*")),
        Some(("if-match", "*")),
        Some(("accept", "text/html")),
    ];
    let mut compared = 0;
    for (path, method) in routes() {
        let (Some(real), Some(absent)) = (filled(&path, theirs), filled(&path, &nothing)) else { continue };
        if real == absent {
            continue;
        }
        let methods =
            if method == "get" { vec!["GET".to_owned(), "HEAD".to_owned()] } else { vec![method.to_uppercase()] };
        for method in methods {
            for condition in conditions.iter().take(if method == "GET" || method == "HEAD" { 5 } else { 1 }) {
                let lower = method.to_lowercase();
                let of_theirs = send(server, token, &method, &real, *condition, body(&lower, &path, theirs)).await;
                let of_nothing = send(server, token, &method, &absent, *condition, body(&lower, &path, &nothing)).await;
                let (status, headers, text) = shown(&of_theirs);
                let headers: Vec<_> = headers.into_iter().map(|(name, value)| (name, blank(value))).collect();
                let named = who.map_or("nobody", |team| &team.images);
                assert_eq!(
                    (status, headers, blank(text)),
                    shown(&of_nothing),
                    "{method} {real} {condition:?} as {named}"
                );
                let is_list = path.ends_with("/versions") && path.starts_with("/v1/blobs/");
                assert!(status >= 400 || is_list, "{method} {real} as {named}: {status}");
                compared += 1;
            }
        }
    }
    assert!(compared > 150, "only {compared} answers were compared");
}

/// Every answer that is about nothing in particular leaves the other team out.
async fn lists_leave_out(server: &TestServer, who: Option<&Team>, theirs: &Values) {
    let token = who.map(|team| team.token.as_str());
    let (pages, values) = (["/", "/images", "/feed.atom", "/status", "/robots.txt"], Values::new());
    let lists = routes().into_iter().filter(|(path, method)| method == "get" && filled(path, &values).is_some());
    for path in lists.map(|(path, _)| path).chain(pages.map(str::to_owned)) {
        for accept in ["application/json", "text/html"] {
            let answer = send(server, token, "GET", &path, Some(("accept", accept)), None).await;
            let text = String::from_utf8_lossy(&answer.body).into_owned();
            for secret in ["name", "artifact_id", "attachment_id", "upload_id", "job_id", "hex"] {
                assert!(!text.contains(&theirs[secret]), "{path} shows the {secret} {}", theirs[secret]);
            }
        }
    }
}

#[tokio::test]
async fn two_teams_on_one_server_are_blind_to_each_other() {
    for server in [TestServer::start().await, TestServer::start_on_postgres().await] {
        let alpha = Team::with(&server, "content-admin", "alpha-*").await;
        let beta = Team::with(&server, "content-admin", "beta-*").await;
        let reader = Team::with(&server, "content-reader", "alpha-*").await;
        let of_alpha = belongings(&server, &alpha, "alpha-vm").await;
        let of_beta = belongings(&server, &beta, "beta-vm").await;
        for (who, theirs) in
            [(Some(&alpha), &of_beta), (Some(&reader), &of_beta), (Some(&beta), &of_alpha), (None, &of_alpha)]
        {
            is_blind(&server, who, theirs).await;
            lists_leave_out(&server, who, theirs).await;
        }
        // What was compared does exist.
        for (team, own) in [(&alpha, &of_alpha), (&beta, &of_beta)] {
            let url = filled(
                "/v1/images/{name}/versions/{version}/artifacts/{artifact_id}/attachments/{attachment_id}/download",
                own,
            );
            assert_eq!(team.get(&server, &url.expect("a path")).await.status, 200);
            assert_eq!(team.get(&server, &filled("/v1/publish-jobs/{job_id}", own).expect("a path")).await.status, 200);
        }
    }
}

#[tokio::test]
async fn a_replacement_in_another_private_image_is_refused_and_is_hidden_when_it_becomes_private() {
    let server = TestServer::start().await;
    let alpha = Team::with(&server, "content-admin", "alpha-*").await;
    let beta = Team::with(&server, "content-admin", "beta-*").await;
    alpha.image(&server, "alpha-old", "public", b"old").await;
    alpha.image(&server, "alpha-new", "private", b"new").await;
    beta.image(&server, "beta-old", "public", b"other").await;
    // Another team cannot find out by naming it.
    let lifecycle = "/v1/images/beta-old/versions/1/deprecate";
    let deprecate = |replacement: &str| Some(json!({"reason": "old", "replacement": replacement}));
    let hidden = beta.call(&server, "POST", lifecycle, deprecate("alpha-new:1")).await;
    let absent = beta.call(&server, "POST", lifecycle, deprecate("alpha-no1:1")).await;
    let text = |response: &TestResponse| shown(response).2.replace("alpha-new", "alpha-no1");
    assert_eq!((hidden.status, text(&hidden)), (absent.status, text(&absent)));
    assert!(hidden.status.is_client_error());

    let own = "/v1/images/alpha-old/versions/1/deprecate";
    let refused = alpha.call(&server, "POST", own, deprecate("alpha-new:1")).await;
    assert_eq!(refused.problem(), "replacement-unusable", "{refused:?}");
    assert!(shown(&refused).2.contains("is in a private image"), "{refused:?}");
    alpha.done(&server, "PATCH", "/v1/images/alpha-new", Some(json!({"visibility": "public"}))).await;
    alpha.done(&server, "POST", own, deprecate("alpha-new:1")).await;
    for image in ["alpha-new", "alpha-old"] {
        alpha.done(&server, "PATCH", &format!("/v1/images/{image}"), Some(json!({"visibility": "private"}))).await;
    }
    let seen = alpha.get(&server, "/v1/images/alpha-old/versions/1/lifecycle").await;
    assert!(!String::from_utf8_lossy(&seen.body).contains("alpha-new"), "other readers may not read it");
    alpha.done(&server, "PATCH", "/v1/images/alpha-old", Some(json!({"visibility": "public"}))).await;
    for url in ["/v1/images/alpha-old/versions/1", "/v1/images/alpha-old/versions/1/lifecycle", "/images/alpha-old/1/"]
    {
        let seen = server.get(url).await;
        let all = format!("{:?} {}", seen.headers, String::from_utf8_lossy(&seen.body));
        assert!(!all.contains("alpha-new"), "{url}: {all}");
    }
    alpha.done(&server, "PATCH", "/v1/images/alpha-new", Some(json!({"visibility": "public"}))).await;
    let seen = server.get("/v1/images/alpha-old/versions/1/lifecycle").await;
    assert!(String::from_utf8_lossy(&seen.body).contains("alpha-new"), "it is public now");
}
