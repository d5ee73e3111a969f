//! Concurrent changes of authentication on two nodes with one PostgreSQL catalog.

use futures::future::join_all;
use imgsrv_testkit::{Issuer, Process, SigningKey, services::Postgres};
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    time::{SystemTime, UNIX_EPOCH},
};
use tempfile::TempDir;

const BINARY: &str = env!("CARGO_BIN_EXE_imgsrv");
const RULES: &str = "/v1/auth/oidc-provisioning-rules";

struct Pair {
    nodes: [Process; 2],
    manager: String,
    client: Client,
    _dir: TempDir,
}

impl Pair {
    async fn start() -> Self {
        let dir = TempDir::new().expect("a scratch folder");
        let url = Postgres::shared().await.database().await;
        let environment = [
            ("IMGSRV_POSTGRES_URL".to_owned(), url),
            ("IMGSRV_STORAGE_DIR".to_owned(), dir.path().join("storage").display().to_string()),
        ];
        let start = |name: &str| {
            let allowed = ["--oidc-allow-loopback", "--auth-failure-limit", "0"];
            Process::start_with(BINARY, &dir.path().join(name), &allowed, &environment)
        };
        let nodes = [start("one"), start("two")];
        let manager = nodes[0].bootstrap.clone().expect("a token");
        Self { nodes, manager, client: Client::new(), _dir: dir }
    }

    async fn call(&self, node: usize, bearer: &str, method: Method, path: &str, body: Value) -> (StatusCode, Value) {
        let request = self.client.request(method, format!("{}{path}", self.nodes[node % 2].url)).bearer_auth(bearer);
        let request = if body.is_null() { request } else { request.json(&body) };
        let response = request.send().await.expect("a response");
        (response.status(), response.json().await.unwrap_or(Value::Null))
    }

    /// A new manager's URL and token.
    async fn new_manager(&self) -> (String, String) {
        let body = json!({"kind": "user", "display_name": "m"});
        let (_, made) = self.call(0, &self.manager, Method::POST, "/v1/auth/principals", body).await;
        let url = format!("/v1/auth/principals/{}", made["id"].as_str().expect("an id"));
        self.call(0, &self.manager, Method::PUT, &format!("{url}/roles/auth-manager"), Value::Null).await;
        let body = json!({"expires_at": "2099-01-01T00:00:00Z"});
        let (_, issued) = self.call(0, &self.manager, Method::POST, &format!("{url}/api-tokens"), body).await;
        (url, issued["plaintext"].as_str().expect("a token").to_owned())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_managers_never_remove_each_other() {
    let mut pair = Pair::start().await;
    let (_, who) = pair.call(0, &pair.manager, Method::GET, "/v1/auth/whoami", Value::Null).await;
    let mut first = format!("/v1/auth/principals/{}", who["principal"]["id"].as_str().expect("an id"));
    for round in 0..12 {
        let (second, token) = pair.new_manager().await;
        let remove = |url: &str| match round % 2 {
            0 => (Method::DELETE, format!("{url}/roles/auth-manager")),
            _ => (Method::POST, format!("{url}/deactivate")),
        };
        let ((method_a, path_a), (method_b, path_b)) = (remove(&second), remove(&first));
        let (a, b) = futures::join!(
            pair.call(0, &pair.manager, method_a, &path_a, Value::Null),
            pair.call(1, &token, method_b, &path_b, Value::Null)
        );
        let mut alive = Vec::new();
        for (url, token) in [(first.clone(), pair.manager.clone()), (second, token)] {
            if pair.call(0, &token, Method::GET, "/v1/auth/roles", Value::Null).await.0 == StatusCode::OK {
                alive.push((url, token));
            }
        }
        let (url, token) = alive.pop().unwrap_or_else(|| panic!("no manager is left in round {round}: {a:?} {b:?}"));
        first = url;
        pair.manager = token;
    }
}

struct Publishers {
    issuer: Issuer,
    key: SigningKey,
}

impl Publishers {
    async fn start() -> Self {
        let (issuer, key) = (Issuer::start().await, SigningKey::generate("ES256", "k"));
        issuer.publish(&[&key]);
        Self { issuer, key }
    }

    #[expect(clippy::disallowed_methods, reason = "the server uses the same clock")]
    fn token(&self, subject: &str) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_secs();
        self.key.sign(&json!({"iss": self.issuer.url, "sub": subject, "aud": "imgsrv", "exp": now + 600}))
    }

    async fn save(&self, pair: &Pair, id: &str, enabled: bool) {
        let rule = json!({
            "display_name": id, "issuer_url": self.issuer.url, "audience": "imgsrv", "forwarded_claims": [],
            "condition": "true", "enabled": enabled,
        });
        let (status, _) = pair.call(0, &pair.manager, Method::PUT, &format!("{RULES}/{id}"), rule.clone()).await;
        if status == StatusCode::NOT_FOUND {
            let mut rule = rule;
            rule["id"] = id.into();
            let (status, saved) = pair.call(0, &pair.manager, Method::POST, RULES, rule).await;
            assert_eq!(status, StatusCode::CREATED, "{saved}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_first_requests_create_one_principal() {
    let (pair, publishers) = futures::join!(Pair::start(), Publishers::start());
    publishers.save(&pair, "ci", true).await;
    for subject in ["a", "b", "c"] {
        let token = publishers.token(subject);
        let requests = (0..24).map(|at| pair.call(at, &token, Method::GET, "/v1/auth/whoami", Value::Null));
        let responses = join_all(requests).await;
        let ids: BTreeSet<_> = responses.iter().map(|(_, body)| body["principal"]["id"].to_string()).collect();
        assert!(responses.iter().all(|(status, _)| *status == StatusCode::OK) && ids.len() == 1, "{responses:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn principals_admitted_by_another_rule_survive_a_reconciliation() {
    let (pair, publishers) = futures::join!(Pair::start(), Publishers::start());
    let tokens: Vec<_> = (0..30).map(|at| publishers.token(&format!("repo:{at}"))).collect();
    publishers.save(&pair, "ci", true).await;
    for token in &tokens {
        assert_eq!(pair.call(0, token, Method::GET, "/v1/auth/whoami", Value::Null).await.0, StatusCode::OK);
    }
    publishers.save(&pair, "other", true).await;
    publishers.save(&pair, "ci", false).await;
    let path = format!("{RULES}/ci/reconciliation");
    let matching =
        join_all(tokens.iter().map(|token| pair.call(1, token, Method::GET, "/v1/auth/whoami", Value::Null)));
    let (reconciled, _) = futures::join!(pair.call(0, &pair.manager, Method::POST, &path, Value::Null), matching);
    assert_eq!(reconciled.0, StatusCode::OK, "{reconciled:?}");
    for (at, token) in tokens.iter().enumerate() {
        let (status, response) = pair.call(0, token, Method::GET, "/v1/auth/whoami", Value::Null).await;
        assert_eq!(status, StatusCode::OK, "{at}: {response}");
    }
}
