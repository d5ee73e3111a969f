//! Which permission each route needs: a row a route, compared with the routes that exist, and with what each role gets.

use axum::http::StatusCode;
use imgsrv_testkit::{TestServer, digest};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// What a route needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Need {
    /// Nothing: what it shows is public, or depends on the caller.
    Nothing,
    /// Nothing for a public image, and `content.read` for a private one, which does not exist for others.
    Read,
    /// Any credential.
    Credential,
    /// A permission.
    Permission(&'static str),
}

const PUBLIC: Need = Need::Nothing;
const READ: Need = Need::Read;
const WRITE: Need = Need::Permission("content.write");
const RETIRE: Need = Need::Permission("content.retire");
const MANAGE: Need = Need::Permission("auth.manage");
const OPERATE: Need = Need::Permission("system.operate");
const SEE: Need = Need::Permission("system.read");

const IMAGE: &str = "/v1/images/{name}";
const VERSION: &str = "/v1/images/{name}/versions/{version}";
const ARTIFACT: &str = "/v1/images/{name}/versions/{version}/artifacts/{artifact_id}";
const UPLOAD: &str = "/v1/uploads/{upload_id}";
const JOB: &str = "/v1/publish-jobs/{job_id}";
const PRINCIPAL: &str = "/v1/auth/principals/{principal_id}";
const RULES: &str = "/v1/auth/oidc-provisioning-rules";

/// Routes as base, rest of the path, methods and what they need.
const TABLE: &[(&str, &str, &[&str], Need)] = &[
    ("/healthz", "", &["get"], PUBLIC),
    ("/readyz", "", &["get"], PUBLIC),
    ("/ca.pem", "", &["get"], PUBLIC),
    ("/openapi/v1.json", "", &["get"], PUBLIC),
    ("/openapi/v1.yaml", "", &["get"], PUBLIC),
    ("/streams/v1/index.json", "", &["get"], PUBLIC),
    ("/streams/v1/images.json", "", &["get"], PUBLIC),
    ("/cas/sha256/{shard}/{hex}", "", &["get"], READ),
    ("/images/{name}/{ref}", "", &["get"], READ),
    ("/images/{name}/{ref}/", "", &["get"], READ),
    ("/images/{name}/{ref}/{file}", "", &["get"], READ),
    ("/images/{name}/{ref}/versioned/{file}", "", &["get"], READ),
    ("/f/{capability}/{file}", "", &["get"], PUBLIC),
    ("/t/{token}/streams/v1/index.json", "", &["get"], PUBLIC),
    ("/t/{token}/streams/v1/images.json", "", &["get"], PUBLIC),
    ("/api/images", "", &["post"], WRITE),
    ("/api/uploads/tus/", "", &["post"], WRITE),
    ("/api/uploads/tus/", "", &["options"], PUBLIC),
    ("/api/uploads/tus/{upload_id}", "", &["head", "post", "patch", "delete"], WRITE),
    ("/api/uploads/tus/{upload_id}", "", &["options"], PUBLIC),
    ("/api/uploads/{upload_session_id}", "", &["get"], WRITE),
    ("/v1/blobs/{digest}", "", &["get"], READ),
    ("/v1/blobs/{digest}/versions", "", &["get"], RETIRE),
    ("/v1/images", "", &["get"], PUBLIC),
    ("/v1/images", "", &["post"], WRITE),
    (IMAGE, "", &["get"], READ),
    (IMAGE, "", &["patch", "delete"], WRITE),
    (IMAGE, "/aliases", &["get"], READ),
    (IMAGE, "/aliases/{alias}", &["get"], READ),
    (IMAGE, "/aliases/{alias}", &["put", "delete"], WRITE),
    (IMAGE, "/refs/{ref}", &["get"], READ),
    (IMAGE, "/links/revoke", &["post"], WRITE),
    (IMAGE, "/retention", &["get", "put", "delete"], RETIRE),
    (IMAGE, "/retention/apply", &["post"], RETIRE),
    (IMAGE, "/retention/preview", &["get", "post"], RETIRE),
    (IMAGE, "/versions", &["get"], READ),
    (IMAGE, "/versions", &["post"], WRITE),
    (VERSION, "", &["get"], READ),
    (VERSION, "", &["delete"], WRITE),
    (VERSION, "/publish", &["post"], WRITE),
    (VERSION, "/lifecycle", &["get"], READ),
    (VERSION, "/deprecate", &["post"], RETIRE),
    (VERSION, "/revoke", &["post"], RETIRE),
    (VERSION, "/remove", &["post"], RETIRE),
    (VERSION, "/restore", &["post"], RETIRE),
    (VERSION, "/hold", &["put", "delete"], RETIRE),
    (VERSION, "/artifacts", &["get"], READ),
    (VERSION, "/artifacts", &["post"], WRITE),
    (ARTIFACT, "", &["get"], READ),
    (ARTIFACT, "", &["delete"], WRITE),
    (ARTIFACT, "/download", &["get"], READ),
    (ARTIFACT, "/links", &["post"], WRITE),
    (ARTIFACT, "/incus-metadata", &["post"], WRITE),
    (ARTIFACT, "/attachments", &["post"], WRITE),
    (ARTIFACT, "/attachments/{attachment_id}", &["delete"], WRITE),
    (ARTIFACT, "/attachments/{attachment_id}/download", &["get"], READ),
    ("/v1/uploads", "", &["get", "post"], WRITE),
    (UPLOAD, "", &["get"], WRITE),
    (UPLOAD, "/parts", &["get"], WRITE),
    (UPLOAD, "/parts/{part_number}", &["put"], WRITE),
    (UPLOAD, "/complete", &["post"], WRITE),
    (UPLOAD, "/abort", &["post"], WRITE),
    ("/v1/publish-jobs", "", &["get"], WRITE),
    (JOB, "", &["get"], WRITE),
    (JOB, "/retry", &["post"], WRITE),
    (JOB, "/abandon", &["post"], WRITE),
    ("/v1/system/blobs", "", &["get"], SEE),
    ("/v1/system/blobs/{digest}", "", &["get"], SEE),
    ("/v1/system/blobs/{digest}/verify", "", &["post"], OPERATE),
    ("/v1/system/nodes", "", &["get"], SEE),
    ("/v1/system/storage", "", &["get"], SEE),
    ("/v1/system/gc", "", &["post"], OPERATE),
    ("/v1/system/blocked-digests", "", &["get"], RETIRE),
    ("/v1/system/blocked-digests/{digest}", "", &["delete"], RETIRE),
    ("/v1/audit", "", &["get"], Need::Permission("audit.read")),
    ("/v1/auth/whoami", "", &["get"], Need::Credential),
    ("/v1/auth/roles", "", &["get"], MANAGE),
    ("/v1/auth/principals", "", &["get", "post"], MANAGE),
    (PRINCIPAL, "", &["get"], MANAGE),
    (PRINCIPAL, "/activate", &["post"], MANAGE),
    (PRINCIPAL, "/deactivate", &["post"], MANAGE),
    (PRINCIPAL, "/api-tokens", &["get", "post"], MANAGE),
    (PRINCIPAL, "/roles/{role_id}", &["put", "delete"], MANAGE),
    ("/v1/auth/api-tokens/{token_id}", "", &["patch", "delete"], MANAGE),
    (RULES, "", &["get", "post"], MANAGE),
    (RULES, "/{rule_id}", &["get", "put", "delete"], MANAGE),
    (RULES, "/{rule_id}/reconciliation", &["get", "post"], MANAGE),
];

/// Roles and the permissions that they grant.
const ROLES: &[(&str, &[&str])] = &[
    ("content-reader", &["content.read"]),
    ("content-writer", &["content.read", "content.write"]),
    ("content-admin", &["content.read", "content.write", "content.retire"]),
    ("auth-manager", &["auth.manage", "audit.read"]),
    ("operator", &["system.operate", "system.read"]),
    ("auditor", &["audit.read", "system.read"]),
];

fn needs() -> BTreeMap<(String, &'static str), Need> {
    let rows = TABLE.iter().flat_map(|(base, rest, methods, need)| {
        methods.iter().map(move |method| ((format!("{base}{rest}"), *method), *need))
    });
    rows.collect()
}

/// The routes of the router, as its document lists them.
fn routes() -> BTreeSet<(String, String)> {
    let document = serde_json::to_value(imgsrv_http::openapi()).expect("JSON");
    let paths = document["paths"].as_object().expect("paths");
    let methods = ["get", "put", "post", "delete", "patch", "head", "options"];
    let routes = paths.iter().flat_map(|(path, item)| {
        let item = item.as_object().expect("an object");
        item.keys().filter(|key| methods.contains(&key.as_str())).map(|method| (path.clone(), method.clone()))
    });
    routes.collect()
}

/// The path with values that no resource has.
fn filled(path: &str) -> String {
    let values = [
        ("{shard}", "00"),
        ("{hex}", "0000000000000000000000000000000000000000000000000000000000000000"),
        ("{digest}", "sha256:0000000000000000000000000000000000000000000000000000000000000000"),
        ("{part_number}", "1"),
        ("{role_id}", "operator"),
        ("{name}", "nothing"),
        ("{version}", "1"),
        ("{ref}", "1"),
        ("{alias}", "latest"),
        ("{file}", "nothing.img"),
        ("{rule_id}", "nothing"),
    ];
    let path = values.iter().fold(path.to_owned(), |path, (name, value)| path.replace(name, value));
    // What is left are ids.
    let mut pieces = path.split('{');
    let first = pieces.next().unwrap_or_default().to_owned();
    pieces.fold(first, |path, piece| {
        path + "00000000-0000-7000-8000-000000000000" + piece.split_once('}').expect("a closing brace").1
    })
}

#[test]
fn every_route_has_a_row() {
    let listed: BTreeSet<_> = needs().into_keys().map(|(path, method)| (path, method.to_owned())).collect();
    let routes = routes();
    let missing: Vec<_> = routes.difference(&listed).collect();
    let gone: Vec<_> = listed.difference(&routes).collect();
    assert!(missing.is_empty() && gone.is_empty(), "without a row: {missing:#?}; without a route: {gone:#?}");
}

#[tokio::test]
async fn every_route_refuses_the_roles_that_lack_its_permission_and_no_other() {
    let server = TestServer::start().await;
    let mut tokens = vec![(None, "nobody", &[][..])];
    for (role, permissions) in ROLES {
        tokens.push((Some(server.token_with(role).await), role, *permissions));
    }
    let shown = server.manage("GET", "/v1/auth/roles", None).await.json();
    for role in shown["roles"].as_array().expect("roles") {
        let (_, expected) = ROLES.iter().find(|(id, _)| role["id"] == json!(id)).expect("a row for every role");
        assert_eq!(role["actions"], json!(expected), "{role}");
    }
    for ((path, method), need) in needs() {
        for (token, role, permissions) in &tokens {
            let url = filled(&path);
            let response = server.call(token.as_deref(), &method.to_uppercase(), &url, None).await;
            let expected = match need {
                Need::Credential | Need::Permission(_) if token.is_none() => Some(StatusCode::UNAUTHORIZED),
                Need::Permission(permission) if !permissions.contains(&permission) => Some(StatusCode::FORBIDDEN),
                Need::Nothing | Need::Read | Need::Credential | Need::Permission(_) => None,
            };
            let refused = [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN].contains(&response.status);
            let got = refused.then_some(response.status);
            assert_eq!(got, expected, "{method} {url} as {role}: {}", response.status);
        }
    }
}

/// Publishes a version with an artifact and an attachment; returns the values of the parameters of its paths.
async fn published(server: &TestServer, admin: &str, image: &str, visibility: &str) -> Vec<(&'static str, String)> {
    let done = async |method: &str, path: String, body: Value| {
        let done = server.call(Some(admin), method, &path, Some(body)).await;
        assert!(done.status.is_success(), "{method} {path}: {done:?}");
        done
    };
    let artifact = server.draft(image, "1", image.as_bytes()).await;
    let (digest, size) = (digest(image.as_bytes()), image.len());
    let url = format!("/v1/images/{image}/versions/1");
    let attached = json!({"name": "sbom", "media_type": "text/plain", "blob_digest": digest, "blob_size_bytes": size});
    let attached = done("POST", format!("{url}/artifacts/{artifact}/attachments"), attached).await.json();
    server.write("POST", &format!("{url}/publish"), None).await;
    server.settle().await;
    done("PUT", format!("/v1/images/{image}/aliases/latest"), json!({"version": "1"})).await;
    done("PATCH", format!("/v1/images/{image}"), json!({"visibility": visibility})).await;
    let hex = digest.trim_start_matches("sha256:").to_owned();
    vec![
        ("{name}", image.to_owned()),
        ("{version}", "1".to_owned()),
        ("{ref}", "latest".to_owned()),
        ("{alias}", "latest".to_owned()),
        ("{file}", format!("{image}-1-amd64.qcow2")),
        ("{artifact_id}", artifact),
        ("{attachment_id}", attached["id"].as_str().expect("an id").to_owned()),
        ("{shard}", hex[..2].to_owned()),
        ("{hex}", hex),
        ("{digest}", digest),
    ]
}

#[tokio::test]
async fn a_private_image_is_read_by_the_roles_that_read_content_and_a_public_one_by_everybody() {
    let server = TestServer::start().await;
    let mut tokens = vec![(None, "nobody", &[][..])];
    for (role, permissions) in ROLES {
        tokens.push((Some(server.token_with(role).await), role, *permissions));
    }
    let admin = server.token_with("content-admin").await;
    let mut asked = 0;
    for visibility in ["public", "private"] {
        let values = published(&server, &admin, visibility, visibility).await;
        for ((path, method), _) in needs().into_iter().filter(|(_, need)| *need == Need::Read) {
            let url = values.iter().fold(path, |path, (name, value)| path.replace(name, value));
            for (token, role, permissions) in &tokens {
                let response = server.call(token.as_deref(), &method.to_uppercase(), &url, None).await;
                let is_shown = visibility == "public" || permissions.contains(&"content.read");
                let expected = if is_shown { StatusCode::OK } else { StatusCode::NOT_FOUND };
                assert_eq!(response.status, expected, "{method} {url} as {role}");
                asked += 1;
            }
        }
    }
    assert!(asked > 200, "{asked}");
}
