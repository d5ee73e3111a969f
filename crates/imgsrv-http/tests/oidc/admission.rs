//! Admission by rules.

use crate::support::{RULES, Setup, not_admitted, not_authentic, ok};
use axum::http::StatusCode;
use imgsrv_testkit::Behavior;
use serde_json::{Value, json};

#[tokio::test]
async fn an_admitted_token_can_publish_and_its_principal_is_created_once() {
    let setup = Setup::new().await;
    let token = setup.token("repo:acme/images:ref:refs/heads/main");
    let made = setup.server.call(Some(&token), "POST", "/v1/images", Some(json!({"name": "debian"}))).await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    let whoami = setup.whoami(&token).await.json();
    let principal = &whoami["principal"];
    assert_eq!(principal["kind"], "service");
    assert_eq!(principal["role_ids"], json!(["content-writer"]));
    let subject = "repo:acme/images:ref:refs/heads/main";
    assert_eq!(principal["attributes"], json!({"issuer": setup.issuer.url, "subject": subject}));
    assert_eq!(whoami["actions"], json!(["content.read", "content.write"]));
    assert_eq!(
        whoami["authentication"],
        json!({"method": "oidc", "issuer": setup.issuer.url, "subject": subject, "rule_id": "ci",
            "expires_at": "2026-01-01T00:10:00Z"})
    );
    assert_eq!(setup.principals().await.len(), 3);
    let url = format!("/v1/audit?subject={}", principal["id"].as_str().expect("an id"));
    let log = setup.server.manage("GET", &url, None).await.json();
    let actions: Vec<_> = log["entries"].as_array().expect("entries").iter().map(|entry| &entry["action"]).collect();
    assert_eq!(actions, ["role.granted", "principal.created"]);
    assert_eq!(log["entries"][0]["detail"], "content-writer by rule ci");
    assert_eq!(log["entries"][0]["actor"]["id"], principal["id"]);
}

#[tokio::test]
async fn concurrent_first_requests_create_one_principal() {
    let setup = Setup::new().await;
    let token = setup.token("repo:acme/images");
    let responses = futures::future::join_all((0..20).map(|_| setup.whoami(&token))).await;
    let ids: std::collections::BTreeSet<_> =
        responses.iter().map(|response| response.json()["principal"]["id"].to_string()).collect();
    assert_eq!(ids.len(), 1);
    assert_eq!(setup.principals().await.len(), 3);
}

#[tokio::test]
async fn an_identity_is_exactly_issuer_and_subject() {
    let setup = Setup::new().await;
    let first = setup.principal_url(&setup.token("a")).await;
    // Case, spaces and homoglyphs make other subjects; attributes of a principal do not count.
    let body =
        json!({"kind": "service", "display_name": "b", "attributes": {"issuer": setup.issuer.url, "subject": "b"}});
    let by_hand = setup.server.manage("POST", "/v1/auth/principals", Some(body)).await.json();
    let mut seen = vec![first.clone(), format!("/v1/auth/principals/{}", by_hand["id"].as_str().expect("an id"))];
    for subject in ["A", "a ", " a", "\u{430}", "b"] {
        let url = setup.principal_url(&setup.token(subject)).await;
        assert!(!seen.contains(&url), "{subject:?}");
        seen.push(url);
    }
    let long = setup.token(&"\u{e9}".repeat(512));
    assert_eq!(setup.outcome(&long).await, ok());
    assert_eq!(setup.principal_url(&setup.token("a")).await, first);
}

#[tokio::test]
async fn a_token_that_matches_no_rule_is_403_and_no_principal_is_created() {
    let setup = Setup::new().await;
    let before = setup.principals().await.len();
    for changes in [
        json!({"aud": "other"}),
        json!({"aud": null}),
        json!({"aud": []}),
        json!({"aud": ["imgsrv2", "IMGSRV"]}),
        json!({"repository": "acme/other"}),
        json!({"repository": null}),
        json!({"repository": ["acme/images"]}),
        json!({"repository": true}),
    ] {
        assert_eq!(setup.outcome(&setup.token_with(&changes)).await, not_admitted(), "{changes}");
    }
    assert_eq!(setup.outcome(&setup.token_with(&json!({"aud": ["x", "imgsrv"]}))).await, ok());
    assert_eq!(setup.principals().await.len(), before + 1);
    // Also where no bearer is needed.
    let public = setup.server.call(Some(&setup.token_with(&json!({"aud": "other"}))), "GET", "/v1/images", None).await;
    assert_eq!(public.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn the_audience_is_enforced_independently_of_the_condition() {
    let setup = Setup::new().await;
    let terms = json!({"condition": "true || claims.repository == 'x'", "forwarded_claims": []});
    setup.save_rule("ci", &terms).await;
    assert_eq!(setup.outcome(&setup.token_with(&json!({"aud": "other"}))).await, not_admitted());
    assert_eq!(setup.outcome(&setup.token_with(&json!({"repository": "any"}))).await, ok());
}

#[tokio::test]
async fn a_condition_sees_forwarded_claims_only() {
    let setup = Setup::new().await;
    setup.save_rule("ci", &json!({"forwarded_claims": ["ref"]})).await;
    assert_eq!(setup.outcome(&setup.token("a")).await, not_admitted());
    setup.save_rule("ci", &json!({"forwarded_claims": ["ref"], "condition": "!('repository' in claims)"})).await;
    assert_eq!(setup.outcome(&setup.token("a")).await, ok());
}

#[tokio::test]
async fn every_request_must_match_a_rule_that_is_enabled_at_that_time() {
    let setup = Setup::new().await;
    let token = setup.token("a");
    assert_eq!(setup.outcome(&token).await, ok());
    setup.save_rule("ci", &json!({"condition": "claims.repository == 'acme/other'"})).await;
    assert_eq!(setup.outcome(&token).await, not_admitted());
    setup.save_rule("ci", &json!({"enabled": false})).await;
    assert_eq!(setup.outcome(&token).await, not_admitted());
    setup.save_rule("ci", &json!({})).await;
    assert_eq!(setup.outcome(&token).await, ok());
    setup.save_rule("other", &json!({"audience": "other"})).await;
    assert_eq!(setup.server.manage("DELETE", &format!("{RULES}/ci"), None).await.status, StatusCode::NO_CONTENT);
    assert_eq!(setup.outcome(&token).await, not_admitted());
    assert_eq!(setup.server.manage("DELETE", &format!("{RULES}/other"), None).await.status, StatusCode::NO_CONTENT);
    // No rule names the issuer any more.
    assert_eq!(setup.outcome(&token).await, not_authentic());
}

#[tokio::test]
async fn a_revoked_role_is_not_granted_again_by_the_same_rule() {
    let setup = Setup::new().await;
    let token = setup.token("a");
    let role = format!("{}/roles/content-writer", setup.principal_url(&token).await);
    assert_eq!(setup.server.manage("DELETE", &role, None).await.status, StatusCode::NO_CONTENT);
    for _ in 0..2 {
        assert_eq!(setup.outcome(&token).await, not_admitted());
    }
    assert_eq!(setup.server.manage("PUT", &role, None).await.status, StatusCode::NO_CONTENT);
    assert_eq!(setup.outcome(&token).await, ok());
}

#[tokio::test]
async fn no_credential_admits_a_deactivated_principal() {
    let setup = Setup::new().await;
    let token = setup.token("a");
    let url = setup.principal_url(&token).await;
    let issued = json!({"expires_at": "2027-01-01T00:00:00Z"});
    let issued = setup.server.manage("POST", &format!("{url}/api-tokens"), Some(issued)).await.json();
    let api_token = issued["plaintext"].as_str().expect("a token");
    assert_eq!(setup.outcome(api_token).await, ok());
    for _ in 0..2 {
        let deactivated = setup.server.manage("POST", &format!("{url}/deactivate"), None).await;
        assert_eq!(deactivated.json()["deactivated_at"], "2026-01-01T00:00:00Z");
    }
    let deactivated = (403, "principal-deactivated".to_owned());
    assert_eq!(setup.outcome(&token).await, deactivated);
    assert_eq!(setup.outcome(api_token).await, deactivated);
    // Another rule does not admit it either.
    setup.save_rule("another", &json!({})).await;
    setup.save_rule("ci", &json!({"enabled": false})).await;
    assert_eq!(setup.outcome(&token).await, deactivated);
    let active = setup.server.manage("POST", &format!("{url}/activate"), None).await.json();
    assert_eq!(active.get("deactivated_at"), None::<&Value>);
    assert_eq!(setup.outcome(&token).await, ok());
    assert_eq!(setup.outcome(api_token).await, ok());
}

#[tokio::test]
async fn a_rule_that_changes_while_keys_are_fetched_counts_as_changed() {
    let setup = Setup::new().await;
    setup.issuer.behave(Behavior::Delayed);
    let before = setup.principals().await.len();
    let token = setup.token("a");
    let changing = async {
        while setup.issuer.delayed_requests() == 0 {
            tokio::task::yield_now().await;
        }
        // Created again under the same id, it is not the rule that the request started with.
        setup.server.manage("DELETE", &format!("{RULES}/ci"), None).await;
        setup.save_rule("ci", &json!({"condition": "false"})).await;
        setup.issuer.behave(Behavior::Correct);
    };
    let (outcome, ()) = futures::join!(setup.outcome(&token), changing);
    assert_eq!(outcome, not_admitted());
    assert_eq!(setup.principals().await.len(), before);
}

#[tokio::test]
async fn a_rule_grants_its_role_on_its_images_alone() {
    let setup = Setup::new().await;
    let server = &setup.server;
    let create = async |token: &str, name: &str| {
        server.call(Some(token), "POST", "/v1/images", Some(json!({"name": name}))).await.status.as_u16()
    };
    let token = setup.token("a");
    assert_eq!(create(&token, "anything").await, 201);
    // The rule counts as it is now, also for those that it admitted before.
    setup.save_rule("ci", &json!({"images": ["acme-*"]})).await;
    assert_eq!((create(&token, "acme-1").await, create(&token, "other").await), (201, 403));
    let url = setup.principal_url(&token).await;
    let body = json!({"expires_at": "2099-01-01T00:00:00Z"});
    let issued = server.manage("POST", &format!("{url}/api-tokens"), Some(body)).await.json();
    let by_hand = issued["plaintext"].as_str().expect("a token");
    assert_eq!(create(by_hand, "acme-2").await, 403, "an API token has nothing of a limited rule");

    // To grant a role that it has without naming images leaves them as they are.
    let role = format!("{url}/roles/content-writer");
    assert_eq!(server.manage("PUT", &role, None).await.status, StatusCode::NO_CONTENT);
    assert_eq!((create(&token, "other").await, create(by_hand, "acme-2").await), (403, 403));
    // What is granted by hand counts besides.
    let granted = server.manage("PUT", &role, Some(json!({"images": ["tools"]}))).await;
    assert_eq!(granted.status, StatusCode::NO_CONTENT);
    let both = [("acme-3", 201), ("tools", 201), ("other", 403)];
    for (name, expected) in both {
        assert_eq!(create(&token, name).await, expected, "{name}");
    }
    assert_eq!((create(by_hand, "acme-4").await, create(by_hand, "tools").await), (403, 409));
    let shown = setup.whoami(&token).await.json();
    assert_eq!(shown["principal"]["roles"], json!([{"id": "content-writer", "images": ["acme-*", "tools"]}]));

    setup.save_rule("ci", &json!({})).await;
    assert_eq!(create(&token, "other").await, 201);
    let refused = server.manage("PUT", "/v1/auth/oidc-provisioning-rules/ci", Some(json!({"images": ["A"]}))).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
}
