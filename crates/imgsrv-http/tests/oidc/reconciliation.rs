//! Reconciliation: revoking what rules granted.

use crate::support::{RULES, Setup, not_admitted, ok};
use axum::http::StatusCode;
use serde_json::{Value, json};

async fn reconcile(setup: &Setup, method: &str, rule: &str) -> Value {
    setup.server.manage(method, &format!("{RULES}/{rule}/reconciliation"), None).await.json()
}

fn ids(reconciliation: &Value) -> Vec<String> {
    let listed = reconciliation["principals"].as_array().expect("principals").iter();
    listed.map(|principal| format!("/v1/auth/principals/{}", principal["id"].as_str().expect("an id"))).collect()
}

#[tokio::test]
async fn reconciliation_revokes_what_the_rule_granted_and_nothing_else() {
    let setup = Setup::new().await;
    let [by_rule, by_hand, by_both, by_other] = ["a", "b", "c", "d"].map(|subject| setup.token(subject));
    let mut urls = Vec::new();
    for token in [&by_rule, &by_hand, &by_both] {
        urls.push(setup.principal_url(token).await);
    }
    let role = format!("{}/roles/content-writer", urls[1]);
    assert_eq!(setup.server.manage("PUT", &role, None).await.status, StatusCode::NO_CONTENT);
    // The other rule is the first to match once this one is disabled.
    setup.save_rule("other", &json!({})).await;
    setup.save_rule("ci", &json!({"enabled": false})).await;
    for token in [&by_both, &by_other] {
        assert_eq!(setup.outcome(token).await, ok());
    }
    let preview = reconcile(&setup, "GET", "ci").await;
    assert_eq!(preview["applied"], false);
    assert_eq!(preview["unassign_role_ids"], json!(["content-writer"]));
    assert_eq!(ids(&preview), [urls[0].clone()]);
    assert_eq!(preview["principals"][0]["role_ids"], json!(["content-writer"]));
    let applied = reconcile(&setup, "POST", "ci").await;
    assert_eq!((&applied["applied"], &applied["principal_count"]), (&json!(true), &json!(1)));
    assert_eq!(ids(&applied), [urls[0].clone()]);
    assert_eq!(applied["principals"][0]["role_ids"], json!([]));
    let again = reconcile(&setup, "POST", "ci").await;
    assert_eq!((&again["unassign_role_ids"], &again["principals"]), (&json!([]), &json!([])));
    for token in [&by_hand, &by_both, &by_other] {
        assert_eq!(setup.outcome(token).await, ok());
    }
    // This rule granted the role; the other one has not granted it yet.
    assert_eq!(setup.outcome(&by_rule).await, ok());
}

#[tokio::test]
async fn a_deleted_rule_is_reconciled_from_its_recorded_grants() {
    let setup = Setup::new().await;
    let token = setup.token("a");
    let url = setup.principal_url(&token).await;
    setup.server.manage("DELETE", &format!("{RULES}/ci"), None).await;
    let kept = setup.server.manage("GET", &url, None).await.json();
    assert_eq!(kept["role_ids"], json!(["content-writer"]), "it stays until reconciled");
    assert_eq!(ids(&reconcile(&setup, "GET", "ci").await), std::slice::from_ref(&url));
    assert_eq!(ids(&reconcile(&setup, "POST", "ci").await), std::slice::from_ref(&url));
    assert_eq!(setup.server.manage("GET", &url, None).await.json()["role_ids"], json!([]));
    for method in ["GET", "POST"] {
        let unknown = setup.server.manage(method, &format!("{RULES}/never-was/reconciliation"), None).await;
        assert_eq!(unknown.status, StatusCode::NOT_FOUND);
    }
    // A rule of the same id is the same rule: it does not grant again what was revoked.
    setup.save_rule("ci", &json!({})).await;
    assert_eq!(setup.outcome(&token).await, not_admitted());
}

#[tokio::test]
async fn a_disabled_rule_does_not_protect_a_role_from_reconciliation() {
    let setup = Setup::new().await;
    let token = setup.token("a");
    let url = setup.principal_url(&token).await;
    setup.save_rule("ci", &json!({"enabled": false})).await;
    setup.save_rule("other", &json!({})).await;
    assert_eq!(setup.outcome(&token).await, ok());
    setup.save_rule("other", &json!({"enabled": false})).await;
    assert_eq!(ids(&reconcile(&setup, "POST", "ci").await), std::slice::from_ref(&url));
    assert_eq!(setup.server.manage("GET", &url, None).await.json()["role_ids"], json!([]));
    // What another rule granted counts again once it is enabled, until it is reconciled as well.
    setup.save_rule("other", &json!({})).await;
    assert_eq!(setup.outcome(&token).await, ok());
    assert_eq!(ids(&reconcile(&setup, "POST", "other").await), std::slice::from_ref(&url));
    assert_eq!(setup.outcome(&token).await, not_admitted());
}

#[tokio::test]
async fn many_grants_are_previewed_in_pages_and_revoked_at_once() {
    let setup = Setup::new().await;
    for at in 0..250 {
        assert_eq!(setup.outcome(&setup.token(&format!("repo:{at}"))).await, ok());
    }
    let first = setup.server.manage("GET", &format!("{RULES}/ci/reconciliation?limit=200"), None).await;
    assert!(first.header("link").contains("rel=\"next\""));
    let first = first.json();
    let next =
        format!("{RULES}/ci/reconciliation?limit=200&cursor={}", first["next_cursor"].as_str().expect("a cursor"));
    let second = setup.server.manage("GET", &next, None).await.json();
    assert_eq!((ids(&first).len(), ids(&second).len()), (200, 50));
    let applied = reconcile(&setup, "POST", "ci").await;
    assert_eq!(applied["principal_count"], 250);
    assert_eq!(ids(&reconcile(&setup, "GET", "ci").await), Vec::<String>::new());
    let log = setup.server.manage("GET", "/v1/audit?action=provisioning_rule.reconciled", None).await.json();
    assert_eq!(log["entries"].as_array().expect("entries").len(), 2);
}
