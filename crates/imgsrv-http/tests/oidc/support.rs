//! A server with an issuer and a provisioning rule that trusts it.

use axum::http::StatusCode;
use imgsrv_testkit::{Issuer, SigningKey, TestResponse, TestServer};
use serde_json::{Value, json};

pub(crate) const RULES: &str = "/v1/auth/oidc-provisioning-rules";
/// 2026-01-01, the time of the test's clock, in seconds.
pub(crate) const NOW: i64 = 1_767_225_600;

/// A server with one rule `ci`, and the issuer that it names.
pub(crate) struct Setup {
    pub(crate) server: TestServer,
    pub(crate) issuer: Issuer,
    pub(crate) key: SigningKey,
}

impl Setup {
    pub(crate) async fn new() -> Self {
        Self::with_key("ES256").await
    }

    pub(crate) async fn with_key(algorithm: &'static str) -> Self {
        let server = TestServer::start_serving(|_, http| http.auth_failure_limit = None).await;
        let issuer = Issuer::start().await;
        let key = SigningKey::generate(algorithm, "first");
        issuer.publish(&[&key]);
        let setup = Self { server, issuer, key };
        setup.save_rule("ci", &json!({})).await;
        setup
    }

    /// A rule that admits the repository `acme/images` of the issuer.
    pub(crate) fn rule(&self) -> Value {
        json!({
            "display_name": "CI of acme/images", "issuer_url": self.issuer.url, "audience": "imgsrv",
            "forwarded_claims": ["repository"], "condition": "claims.repository == 'acme/images'",
        })
    }

    /// Creates or updates that rule, with changes.
    pub(crate) async fn save_rule(&self, id: &str, changes: &Value) -> Value {
        let mut rule = self.rule();
        rule["id"] = id.into();
        for (name, value) in changes.as_object().expect("an object") {
            rule[name] = value.clone();
        }
        let url = format!("{RULES}/{id}");
        let exists = self.server.manage("GET", &url, None).await.status == StatusCode::OK;
        let (method, url) = if exists { ("PUT", url.as_str()) } else { ("POST", RULES) };
        let saved = self.server.manage(method, url, Some(rule)).await;
        assert!(saved.status.is_success(), "{saved:?}");
        saved.json()
    }

    /// The claims of a token of that repository, valid for ten minutes.
    pub(crate) fn claims(&self, subject: &str) -> Value {
        json!({
            "iss": self.issuer.url, "sub": subject, "aud": "imgsrv", "exp": NOW + 600, "iat": NOW, "nbf": NOW,
            "repository": "acme/images",
        })
    }

    /// A token of that repository.
    pub(crate) fn token(&self, subject: &str) -> String {
        self.key.sign(&self.claims(subject))
    }

    /// The same with changed claims; `null` removes one.
    pub(crate) fn token_with(&self, changes: &Value) -> String {
        let mut claims = self.claims("repo:acme/images");
        for (name, value) in changes.as_object().expect("an object") {
            match value {
                Value::Null => drop(claims.as_object_mut().expect("an object").remove(name)),
                value => claims[name] = value.clone(),
            }
        }
        self.key.sign(&claims)
    }

    pub(crate) async fn whoami(&self, bearer: &str) -> TestResponse {
        self.server.call(Some(bearer), "GET", "/v1/auth/whoami", None).await
    }

    /// The status and the problem that a bearer gets.
    pub(crate) async fn outcome(&self, bearer: &str) -> (u16, String) {
        let response = self.whoami(bearer).await;
        let problem = if response.status == StatusCode::OK { String::new() } else { response.problem() };
        (response.status.as_u16(), problem)
    }

    pub(crate) async fn principals(&self) -> Vec<Value> {
        let listed = self.server.manage("GET", "/v1/auth/principals", None).await.json();
        listed["principals"].as_array().expect("principals").clone()
    }

    /// The URL of a bearer's principal.
    pub(crate) async fn principal_url(&self, bearer: &str) -> String {
        let whoami = self.whoami(bearer).await.json();
        format!("/v1/auth/principals/{}", whoami["principal"]["id"].as_str().expect("an id"))
    }
}

pub(crate) fn ok() -> (u16, String) {
    (200, String::new())
}

pub(crate) fn not_authentic() -> (u16, String) {
    (401, "invalid-bearer".to_owned())
}

pub(crate) fn not_admitted() -> (u16, String) {
    (403, "token-not-admitted".to_owned())
}
