//! The real binary with a real OpenID provider, on both catalogs.

use imgsrv_testkit::{
    Issuer, Process, SigningKey,
    services::{OidcProvider, Postgres, TlsFront},
};
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};
use tempfile::TempDir;

const BINARY: &str = env!("CARGO_BIN_EXE_imgsrv");
const AUDIENCE: &str = "urn:imgsrv:test";
const RULES: &str = "/v1/auth/oidc-provisioning-rules";

async fn call(server: &Process, bearer: &str, method: Method, path: &str, body: Option<Value>) -> (StatusCode, Value) {
    let mut request = Client::new().request(method, format!("{}{path}", server.url)).bearer_auth(bearer);
    if let Some(body) = body {
        request = request.json(&body);
    }
    let response = request.send().await.expect("a response");
    let status = response.status();
    (status, response.json().await.unwrap_or(Value::Null))
}

fn rule(provider: &OidcProvider) -> Value {
    json!({
        "id": "ci", "display_name": "CI", "issuer_url": provider.issuer, "audience": AUDIENCE,
        "forwarded_claims": ["repository", "groups", "scope", "verified"],
        "condition": "claims.repository == 'acme/images' && hasAny(claims.groups, ['release']) &&
            hasToken(claims.scope, 'publish') && claims.verified == true && identity.subject == 'ci'",
    })
}

/// Publishes an image with the provider's token alone.
async fn publish(server: &Process, token: &str) {
    let content = b"an image of a few bytes";
    let digest = imgsrv_testkit::digest(content);
    let open = json!({"expected_digest": digest, "expected_size_bytes": content.len()});
    let (_, upload) = call(server, token, Method::POST, "/v1/uploads", Some(open)).await;
    let upload = format!("/v1/uploads/{}", upload["id"].as_str().expect("an id"));
    let part = Client::new().put(format!("{}{upload}/parts/1", server.url)).bearer_auth(token).body(&content[..]);
    let part: Value = part.send().await.expect("a response").json().await.expect("a part");
    let parts = json!({"parts": [{"number": 1, "etag": part["etag"], "size_bytes": content.len()}]});
    assert_eq!(call(server, token, Method::POST, &format!("{upload}/complete"), Some(parts)).await.0, StatusCode::OK);
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while call(server, token, Method::GET, &upload, None).await.1["state"] != "ready" {
        assert!(std::time::Instant::now() < deadline, "the upload does not become ready");
    }
    let artifact = json!({
        "operating_system": "debian", "architecture": "amd64", "format": "raw", "primary_blob_digest": digest,
        "primary_blob_size_bytes": content.len(), "primary_media_type": "application/octet-stream",
    });
    for (path, body) in [
        ("/v1/images", Some(json!({"name": "debian"}))),
        ("/v1/images/debian/versions", Some(json!({"version": "12"}))),
        ("/v1/images/debian/versions/12/artifacts", Some(artifact)),
    ] {
        let (status, response) = call(server, token, Method::POST, path, body).await;
        assert!(status.is_success(), "{path}: {response}");
    }
    let (status, job) = call(server, token, Method::POST, "/v1/images/debian/versions/12/publish", None).await;
    assert!(status.is_success(), "{job}");
    let job = format!("/v1/publish-jobs/{}", job["job_id"].as_str().expect("an id"));
    while call(server, token, Method::GET, &job, None).await.1["state"] != "succeeded" {
        assert!(std::time::Instant::now() < deadline, "the version is not published");
    }
}

async fn a_publisher_needs_only_the_providers_token(environment: &[(String, String)]) {
    let dir = TempDir::new().expect("a scratch folder");
    let server = Process::start_with(BINARY, dir.path(), &["--oidc-allow-loopback"], environment);
    let manager = server.bootstrap.clone().expect("a token");
    let mut provider = OidcProvider::start("ES256");
    let token = provider.token(AUDIENCE);
    assert_eq!(call(&server, &token, Method::GET, "/v1/auth/whoami", None).await.0, StatusCode::UNAUTHORIZED);
    let (status, saved) = call(&server, &manager, Method::POST, RULES, Some(rule(&provider))).await;
    assert_eq!(status, StatusCode::CREATED, "{saved}");
    publish(&server, &token).await;
    let (_, whoami) = call(&server, &token, Method::GET, "/v1/auth/whoami", None).await;
    assert_eq!(whoami["principal"]["attributes"], json!({"issuer": provider.issuer, "subject": "ci"}));
    assert_eq!(whoami["authentication"]["rule_id"], "ci");

    provider.rotate();
    let rotated = provider.token(AUDIENCE);
    assert_eq!(call(&server, &rotated, Method::GET, "/v1/auth/whoami", None).await.0, StatusCode::OK);
    assert_eq!(call(&server, &token, Method::GET, "/v1/auth/whoami", None).await.0, StatusCode::UNAUTHORIZED);
    let other = provider.token("urn:another:service");
    assert_eq!(call(&server, &other, Method::GET, "/v1/auth/whoami", None).await.0, StatusCode::FORBIDDEN);

    let (_, reconciled) = call(&server, &manager, Method::POST, &format!("{RULES}/ci/reconciliation"), None).await;
    assert_eq!(reconciled["principal_count"], 1, "{reconciled}");
    assert_eq!(call(&server, &rotated, Method::GET, "/v1/auth/whoami", None).await.0, StatusCode::FORBIDDEN);
    // The log and the audit log contain the changes, and no token.
    let (_, audit_log) = call(&server, &manager, Method::GET, "/v1/audit", None).await;
    for log in [audit_log.to_string(), server.log_with("provisioning_rule.reconciled")] {
        assert!(log.contains("provisioning_rule.reconciled") && log.contains("version.published"), "{log}");
        for secret in [&token, &rotated, &other, &manager] {
            assert!(!log.contains(secret.as_str()) && !log.contains(&secret[secret.len() - 20..]), "{log}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_needs_only_the_providers_token_on_sqlite() {
    a_publisher_needs_only_the_providers_token(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_needs_only_the_providers_token_on_postgres() {
    let url = Postgres::shared().await.database().await;
    a_publisher_needs_only_the_providers_token(&[("IMGSRV_POSTGRES_URL".to_owned(), url)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_accepted_with_every_supported_algorithm() {
    let dir = TempDir::new().expect("a scratch folder");
    let server = Process::start(BINARY, dir.path(), &["--oidc-allow-loopback"]);
    let manager = server.bootstrap.clone().expect("a token");
    for algorithm in ["RS256", "RS384", "RS512", "PS256", "ES384", "EdDSA"] {
        let provider = OidcProvider::start(algorithm);
        let mut rule = rule(&provider);
        rule["id"] = algorithm.to_lowercase().into();
        let (status, saved) = call(&server, &manager, Method::POST, RULES, Some(rule)).await;
        assert_eq!(status, StatusCode::CREATED, "{saved}");
        let token = provider.token(AUDIENCE);
        let (status, response) = call(&server, &token, Method::GET, "/v1/auth/whoami", None).await;
        assert_eq!(status, StatusCode::OK, "{algorithm}: {response}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::disallowed_methods, reason = "the server uses the same clock")]
async fn an_issuer_may_use_a_private_authority() {
    let mut front = None;
    let issuer = Issuer::start_as(|port| {
        let started = front.insert(TlsFront::new(port));
        format!("https://localhost:{}", started.port)
    })
    .await;
    let front = front.expect("it was started");
    let key = SigningKey::generate("ES256", "k");
    issuer.publish(&[&key]);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_secs();
    let token = key.sign(&json!({"iss": issuer.url, "sub": "s", "aud": AUDIENCE, "exp": now + 600}));
    for (environment, expected) in [
        (vec![], StatusCode::SERVICE_UNAVAILABLE),
        (vec![("SSL_CERT_FILE".to_owned(), front.authority())], StatusCode::OK),
    ] {
        let dir = TempDir::new().expect("a scratch folder");
        let server = Process::start_with(BINARY, dir.path(), &["--oidc-allow-loopback"], &environment);
        let manager = server.bootstrap.clone().expect("a token");
        let rule = json!({
            "display_name": "CI", "issuer_url": issuer.url, "audience": AUDIENCE, "forwarded_claims": [],
            "condition": "true",
        });
        assert_eq!(call(&server, &manager, Method::POST, RULES, Some(rule)).await.0, StatusCode::CREATED);
        let (status, response) = call(&server, &token, Method::GET, "/v1/auth/whoami", None).await;
        assert_eq!(status, expected, "{response}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_on_loopback_is_refused_unless_that_is_allowed() {
    let dir = TempDir::new().expect("a scratch folder");
    let server = Process::start(BINARY, dir.path(), &[]);
    let manager = server.bootstrap.clone().expect("a token");
    for url in ["http://127.0.0.1:9", "https://127.0.0.1:9", "https://localhost", "https://[::1]"] {
        let rule = json!({
            "display_name": "CI", "issuer_url": url, "audience": AUDIENCE, "forwarded_claims": [], "condition": "true",
        });
        let (status, refused) = call(&server, &manager, Method::POST, RULES, Some(rule)).await;
        assert_eq!((status, &refused["errors"][0]["field"]), (StatusCode::BAD_REQUEST, &json!("issuer_url")), "{url}");
    }
}
