//! Principals, roles and tokens.

use axum::http::StatusCode;
use imgsrv_testkit::TestServer;
use serde_json::{Value, json};
use std::time::Duration;

async fn principal(server: &TestServer) -> String {
    let body = json!({"kind": "service", "display_name": "ci", "attributes": {"team": "images"}});
    let made = server.manage("POST", "/v1/auth/principals", Some(body)).await;
    assert_eq!(made.status, StatusCode::CREATED);
    assert_eq!(made.json()["role_ids"], json!([]));
    format!("/v1/auth/principals/{}", made.json()["id"].as_str().expect("an id"))
}

async fn token(server: &TestServer, principal: &str, expires_at: &str) -> Value {
    let body = json!({"name": "laptop", "expires_at": expires_at});
    server.manage("POST", &format!("{principal}/api-tokens"), Some(body)).await.json()
}

async fn works(server: &TestServer, token: &Value) -> StatusCode {
    let bearer = token["plaintext"].as_str().expect("a token");
    server.call(Some(bearer), "GET", "/v1/images?include_unpublished=true", None).await.status
}

#[tokio::test]
async fn roles_expiry_and_revocation_count_from_the_next_request() {
    let server = TestServer::start().await;
    let principal = principal(&server).await;
    let first = token(&server, &principal, "2026-01-01T01:00:00Z").await;
    let second = token(&server, &principal, "2026-01-02T00:00:00Z").await;
    assert_eq!(works(&server, &first).await, StatusCode::FORBIDDEN);
    let role = format!("{principal}/roles/content-writer");
    for _ in 0..2 {
        assert_eq!(server.manage("PUT", &role, None).await.status, StatusCode::NO_CONTENT);
    }
    assert_eq!(works(&server, &first).await, StatusCode::OK);
    server.clock.advance(Duration::from_hours(1));
    assert_eq!(works(&server, &first).await, StatusCode::UNAUTHORIZED);
    assert_eq!(works(&server, &second).await, StatusCode::OK);
    let revoke = format!("/v1/auth/api-tokens/{}", second["id"].as_str().expect("an id"));
    for _ in 0..2 {
        assert_eq!(server.manage("DELETE", &revoke, None).await.status, StatusCode::NO_CONTENT);
    }
    assert_eq!(works(&server, &second).await, StatusCode::UNAUTHORIZED);
    let third = token(&server, &principal, "2026-01-02T00:00:00Z").await;
    assert_eq!(server.manage("DELETE", &role, None).await.status, StatusCode::NO_CONTENT);
    assert_eq!(works(&server, &third).await, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn tokens_are_listed_without_their_secret_and_with_their_use() {
    let server = TestServer::start().await;
    let principal = principal(&server).await;
    let issued = token(&server, &principal, "2026-02-01T00:00:00+01:00").await;
    works(&server, &issued).await;
    server.services.auth().flush_usage().await.expect("written");
    let listed = server.manage("GET", &format!("{principal}/api-tokens"), None).await;
    let shown = &listed.json()["api_tokens"][0];
    assert_eq!((&shown["name"], &shown["expires_at"]), (&json!("laptop"), &json!("2026-01-31T23:00:00Z")));
    assert_eq!(shown["last_used_at"], "2026-01-01T00:00:00Z");
    let plaintext = issued["plaintext"].as_str().expect("a token");
    assert!(!String::from_utf8_lossy(&listed.body).contains(plaintext));
    // Neither the text nor its secret part lies in the catalog.
    let secret = &plaintext[23..66];
    for suffix in ["", "-wal"] {
        let file = format!("{}{suffix}", server.catalog_file().display());
        let stored = std::fs::read(file).unwrap_or_default();
        assert!(!stored.windows(secret.len()).any(|window| window == secret.as_bytes()));
    }
}

#[tokio::test]
async fn forged_tokens_are_refused() {
    let server = TestServer::start().await;
    let genuine = server.writer.clone();
    let other = server.token_with("content-writer").await;
    // The key of one token with the secret of another.
    let grafted = format!("{}{}", &genuine[..22], &other[22..]);
    for forged in [grafted.as_str(), &genuine[..genuine.len() - 1], "imgsrv_at_", ""] {
        let answer = server.call(Some(forged), "GET", "/v1/images", None).await;
        assert_eq!((answer.status, answer.problem().as_str()), (StatusCode::UNAUTHORIZED, "invalid-bearer"));
    }
}

#[tokio::test]
async fn management_refuses_what_is_wrong() {
    let server = TestServer::start().await;
    let principal = principal(&server).await;
    let unknown = "/v1/auth/principals/0198c0de-0000-7000-8000-000000000000";
    for (method, path, body, status) in [
        ("PUT", format!("{principal}/roles/emperor"), None, StatusCode::BAD_REQUEST),
        ("PUT", format!("{unknown}/roles/content-writer"), None, StatusCode::NOT_FOUND),
        ("GET", unknown.to_owned(), None, StatusCode::NOT_FOUND),
        ("GET", "/v1/auth/principals/me".to_owned(), None, StatusCode::BAD_REQUEST),
        (
            "POST",
            format!("{principal}/api-tokens"),
            Some(json!({"expires_at": "2025-12-31T23:59:59Z"})),
            StatusCode::BAD_REQUEST,
        ),
        ("POST", format!("{principal}/api-tokens"), Some(json!({"expires_at": "tomorrow"})), StatusCode::BAD_REQUEST),
        (
            "POST",
            format!("{unknown}/api-tokens"),
            Some(json!({"expires_at": "2027-01-01T00:00:00Z"})),
            StatusCode::NOT_FOUND,
        ),
        (
            "POST",
            "/v1/auth/principals".to_owned(),
            Some(json!({"kind": "robot", "display_name": "x"})),
            StatusCode::BAD_REQUEST,
        ),
        ("DELETE", "/v1/auth/api-tokens/0198c0de-0000-7000-8000-000000000000".to_owned(), None, StatusCode::NOT_FOUND),
    ] {
        let answer = server.manage(method, &path, body).await;
        answer.problem();
        assert_eq!(answer.status, status, "{method} {path}");
    }
    let roles = server.manage("GET", "/v1/auth/roles", None).await.json();
    let ids: Vec<_> = roles["roles"].as_array().expect("roles").iter().map(|role| role["id"].clone()).collect();
    assert_eq!(ids, ["auth-manager", "content-writer"]);
    let first = server.manage("GET", "/v1/auth/roles?limit=1", None).await.json();
    let next = format!("/v1/auth/roles?limit=1&cursor={}", first["next_cursor"].as_str().expect("a cursor"));
    let second = server.manage("GET", &next, None).await.json();
    assert_eq!((&second["roles"][0]["id"], second.get("next_cursor")), (&json!("content-writer"), None));
}

#[tokio::test]
async fn a_bootstrap_token_is_minted_only_when_nobody_can_manage() {
    let server = TestServer::start().await;
    let bootstrap = server.services.bootstrap();
    assert_eq!(bootstrap.ensure().await.expect("asked"), None);
    server.clock.advance(Duration::from_hours(24));
    let second = bootstrap.ensure().await.expect("asked").expect("the first has expired");
    let forced = bootstrap.force().await.expect("minted");
    for bearer in [&second, &forced] {
        assert_eq!(server.call(Some(bearer), "GET", "/v1/auth/roles", None).await.status, StatusCode::OK);
    }
    let listed = server.call(Some(&forced), "GET", "/v1/auth/principals?limit=1", None).await.json();
    assert_eq!(listed["principals"][0]["display_name"], "bootstrap");
    assert!(listed["next_cursor"].is_string());
}
