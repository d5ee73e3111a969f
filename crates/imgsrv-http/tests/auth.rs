//! Principals, roles, API tokens and the audit log.

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
async fn the_expiry_of_a_token_can_be_changed_until_it_is_revoked() {
    let server = TestServer::start().await;
    let principal = principal(&server).await;
    let role = format!("{principal}/roles/content-writer");
    assert_eq!(server.manage("PUT", &role, None).await.status, StatusCode::NO_CONTENT);
    let issued = token(&server, &principal, "2026-01-01T01:00:00Z").await;
    let url = format!("/v1/auth/api-tokens/{}", issued["id"].as_str().expect("an id"));
    let set = async |at: &str| server.manage("PATCH", &url, Some(json!({"expires_at": at}))).await;
    server.clock.advance(Duration::from_hours(1));
    assert_eq!(works(&server, &issued).await, StatusCode::UNAUTHORIZED);
    let changed = set("2026-01-01T03:00:00Z").await;
    assert_eq!(changed.status, StatusCode::OK, "{changed:?}");
    let shown = changed.json();
    assert_eq!((&shown["id"], &shown["expires_at"]), (&issued["id"], &json!("2026-01-01T03:00:00Z")));
    assert!(shown.get("plaintext").is_none());
    assert_eq!(works(&server, &issued).await, StatusCode::OK);
    let past = set("2026-01-01T00:30:00Z").await;
    assert_eq!((past.status, past.problem().as_str()), (StatusCode::BAD_REQUEST, "invalid-request"));
    // Earlier than before, to the second.
    assert_eq!(set("2026-01-01T01:00:01Z").await.status, StatusCode::OK);
    server.clock.advance(Duration::from_secs(1));
    assert_eq!(works(&server, &issued).await, StatusCode::UNAUTHORIZED);
    assert_eq!(server.manage("DELETE", &url, None).await.status, StatusCode::NO_CONTENT);
    let revoked = set("2026-01-02T00:00:00Z").await;
    assert_eq!((revoked.status, revoked.problem().as_str()), (StatusCode::PRECONDITION_FAILED, "token-revoked"));
    assert_eq!(works(&server, &issued).await, StatusCode::UNAUTHORIZED);
    let log = server.manage("GET", "/v1/audit?action=token.expiry_changed", None).await.json();
    assert_eq!(log["entries"].as_array().expect("entries").len(), 2, "{log}");
    assert_eq!(log["entries"][0]["subject"], issued["id"]);
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
    // Neither the token nor its secret part is in the catalog.
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
    // The key of one token and the secret of another.
    let grafted = format!("{}{}", &genuine[..22], &other[22..]);
    for forged in [grafted.as_str(), &genuine[..genuine.len() - 1], "imgsrv_at_", ""] {
        let response = server.call(Some(forged), "GET", "/v1/images", None).await;
        assert_eq!((response.status, response.problem().as_str()), (StatusCode::UNAUTHORIZED, "invalid-bearer"));
    }
}

#[tokio::test]
async fn invalid_management_requests_are_refused() {
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
        let response = server.manage(method, &path, body).await;
        response.problem();
        assert_eq!(response.status, status, "{method} {path}");
    }
    let roles = server.manage("GET", "/v1/auth/roles", None).await.json();
    let ids: Vec<_> = roles["roles"].as_array().expect("roles").iter().map(|role| role["id"].clone()).collect();
    assert_eq!(ids, ["auditor", "auth-manager", "content-admin", "content-reader", "content-writer", "operator"]);
    let first = server.manage("GET", "/v1/auth/roles?limit=3", None).await.json();
    let next = format!("/v1/auth/roles?limit=3&cursor={}", first["next_cursor"].as_str().expect("a cursor"));
    let second = server.manage("GET", &next, None).await.json();
    assert_eq!((&second["roles"][2]["id"], second.get("next_cursor")), (&json!("operator"), None));
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

#[tokio::test]
async fn any_admitted_bearer_can_read_its_identity() {
    let server = TestServer::start().await;
    let principal = principal(&server).await;
    let issued = token(&server, &principal, "2026-02-01T00:00:00Z").await;
    let bearer = issued["plaintext"].as_str().expect("a token");
    let whoami = server.call(Some(bearer), "GET", "/v1/auth/whoami", None).await.json();
    let expected = json!({
        "principal": {"id": issued["principal_id"], "kind": "service", "display_name": "ci",
            "attributes": {"team": "images"}, "role_ids": [], "roles": []},
        "actions": [],
        "permissions": [],
        "authentication": {"method": "api_token", "api_token_id": issued["id"], "api_token_name": "laptop",
            "expires_at": "2026-02-01T00:00:00Z"},
    });
    assert_eq!(whoami, expected);
    let whoami = server.write("GET", "/v1/auth/whoami", None).await.json();
    assert_eq!(whoami["actions"], json!(["content.read", "content.write"]));
    let nobody = server.get("/v1/auth/whoami").await;
    assert_eq!((nobody.status, nobody.problem().as_str()), (StatusCode::UNAUTHORIZED, "unauthenticated"));
}

#[tokio::test]
async fn the_last_live_manager_cannot_be_removed() {
    let server = TestServer::start().await;
    let whoami = server.manage("GET", "/v1/auth/whoami", None).await.json();
    let own = format!("/v1/auth/principals/{}", whoami["principal"]["id"].as_str().expect("an id"));
    let own_role = format!("{own}/roles/auth-manager");
    let other = principal(&server).await;
    assert_eq!(server.manage("PUT", &format!("{other}/roles/auth-manager"), None).await.status, StatusCode::NO_CONTENT);
    // The other manager has no token, so no manager would be left.
    let tokens = server.manage("GET", &format!("{own}/api-tokens"), None).await.json();
    let own_token = format!("/v1/auth/api-tokens/{}", tokens["api_tokens"][0]["id"].as_str().expect("an id"));
    for (method, path) in
        [("DELETE", own_role.clone()), ("POST", format!("{own}/deactivate")), ("DELETE", own_token.clone())]
    {
        let refused = server.manage(method, &path, None).await;
        assert_eq!(
            (refused.status, refused.problem().as_str()),
            (StatusCode::PRECONDITION_FAILED, "last-auth-manager")
        );
    }
    let kept = server.manage("GET", &own, None).await.json();
    assert_eq!((&kept["role_ids"], kept.get("deactivated_at")), (&json!(["auth-manager"]), None));
    // Other roles and principals are not affected.
    let other_role = format!("{other}/roles/auth-manager");
    assert_eq!(server.manage("DELETE", &other_role, None).await.status, StatusCode::NO_CONTENT);
    assert_eq!(server.manage("PUT", &other_role, None).await.status, StatusCode::NO_CONTENT);
    let issued = token(&server, &other, "2026-02-01T00:00:00Z").await;
    assert_eq!(server.manage("DELETE", &own_role, None).await.status, StatusCode::NO_CONTENT);
    assert_eq!(server.manage("GET", "/v1/auth/roles", None).await.status, StatusCode::FORBIDDEN);
    let bearer = issued["plaintext"].as_str().expect("a token");
    let refused = server.call(Some(bearer), "POST", &format!("{other}/deactivate"), None).await;
    assert_eq!(refused.status, StatusCode::PRECONDITION_FAILED);
    // The token of a former manager is not needed.
    assert_eq!(server.call(Some(bearer), "DELETE", &own_token, None).await.status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn the_audit_log_records_every_change_and_no_secret() {
    let server = TestServer::start().await;
    let principal = principal(&server).await;
    let id = principal.rsplit('/').next().expect("an id").to_owned();
    let issued = token(&server, &principal, "2026-02-01T00:00:00Z").await;
    for (method, path) in [
        ("PUT", format!("{principal}/roles/content-writer")),
        ("PUT", format!("{principal}/roles/content-writer")),
        ("DELETE", format!("{principal}/roles/content-writer")),
        ("POST", format!("{principal}/deactivate")),
        ("POST", format!("{principal}/activate")),
        ("DELETE", format!("/v1/auth/api-tokens/{}", issued["id"].as_str().expect("an id"))),
    ] {
        assert!(server.manage(method, &path, None).await.status.is_success(), "{method} {path}");
    }
    server.published("debian", "12", b"bytes").await;
    let actions = |response: &Value| {
        let entries = response["entries"].as_array().expect("entries").iter();
        entries.map(|entry| entry["action"].as_str().expect("an action").to_owned()).collect::<Vec<_>>()
    };
    let of_principal = server.manage("GET", &format!("/v1/audit?subject={id}"), None).await.json();
    assert_eq!(
        actions(&of_principal),
        ["principal.activated", "principal.deactivated", "role.revoked", "role.granted", "principal.created"]
    );
    let whole = server.manage("GET", "/v1/audit", None).await;
    for action in [
        "upload.created",
        "upload.completed",
        "upload.ready",
        "blob.trusted",
        "image.created",
        "version.created",
        "artifact.added",
        "version.publish_requested",
        "version.published",
        "token.issued",
        "token.revoked",
    ] {
        assert!(actions(&whole.json()).iter().any(|recorded| recorded == action), "{action}");
    }
    let text = String::from_utf8_lossy(&whole.body).into_owned();
    let secret = issued["plaintext"].as_str().expect("a token");
    assert!(!text.contains(secret) && !text.contains(&secret[24..]), "{text}");

    let by_worker = server.manage("GET", "/v1/audit?actor_kind=worker&action=version.published", None).await.json();
    assert_eq!(by_worker["entries"][0]["actor"], json!({"kind": "worker", "id": "test-worker"}));
    assert_eq!(by_worker["entries"][0]["subject"], "debian/12");
    let first = server.manage("GET", "/v1/audit?limit=3&actor_kind=principal", None).await;
    assert!(first.header("link").contains("actor_kind=principal&cursor="), "{}", first.header("link"));
    let cursor = first.json()["next_cursor"].as_str().expect("a cursor").to_owned();
    let next = server.manage("GET", &format!("/v1/audit?actor_kind=principal&cursor={cursor}"), None).await.json();
    let ids = |response: &Value| {
        response["entries"].as_array().expect("entries").iter().map(|entry| entry["id"].as_i64()).collect::<Vec<_>>()
    };
    let paged = [ids(&first.json()), ids(&next)].concat();
    let all = server.manage("GET", "/v1/audit?actor_kind=principal", None).await.json();
    assert_eq!(paged, ids(&all));
    for bad in [
        "action=nothing.done",
        "actor_kind=robot",
        "since=yesterday",
        "until=2026",
        "actor=a%00b",
        "limit=0",
        "cursor=x",
    ] {
        let refused = server.manage("GET", &format!("/v1/audit?{bad}"), None).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{bad}");
    }
    let odd = format!("/v1/audit?cursor={cursor}");
    assert_eq!(server.manage("GET", &odd, None).await.problem(), "invalid-cursor");
}

#[tokio::test]
async fn the_audit_log_is_filtered_by_request_id_and_records_the_address() {
    let server =
        TestServer::start_serving(|_, http| http.trusted_proxies = vec!["10.0.0.0/8".parse().expect("a net")]).await;
    let request = axum::http::Request::builder()
        .method("POST")
        .uri("/v1/images")
        .header("authorization", format!("Bearer {}", server.writer))
        .header("content-type", "application/json")
        .header("x-request-id", "ci-run-42")
        .header("x-forwarded-for", "198.51.100.1, 192.0.2.7")
        .extension(imgsrv_http::PeerAddress("10.1.2.3".parse().expect("an address")));
    let made = server.send(request.body(r#"{"name": "debian"}"#.into()).expect("a request")).await;
    assert_eq!(made.status, StatusCode::CREATED);
    let found = server.manage("GET", "/v1/audit?request_id=ci-run-42", None).await.json();
    assert_eq!(found["entries"].as_array().expect("entries").len(), 1);
    assert_eq!(found["entries"][0]["address"], "192.0.2.7");
    assert_eq!(found["entries"][0]["action"], "image.created");
}

#[tokio::test]
async fn bootstrap_does_not_reactivate_a_deactivated_principal() {
    let server = TestServer::start().await;
    let own = server.manage("GET", "/v1/auth/whoami", None).await.json();
    let own = format!("/v1/auth/principals/{}", own["principal"]["id"].as_str().expect("an id"));
    let other = server.token_with("auth-manager").await;
    let deactivated = server.call(Some(&other), "POST", &format!("{own}/deactivate"), None).await;
    assert_eq!(deactivated.status, StatusCode::OK);
    assert_eq!(server.manage("GET", "/v1/auth/whoami", None).await.problem(), "principal-deactivated");
    let fresh = server.services.bootstrap().force().await.expect("minted");
    assert_eq!(server.call(Some(&fresh), "GET", "/v1/auth/roles", None).await.status, StatusCode::OK);
    assert_eq!(server.manage("GET", "/v1/auth/whoami", None).await.problem(), "invalid-bearer");
}
