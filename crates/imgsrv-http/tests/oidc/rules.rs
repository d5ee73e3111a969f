//! Provisioning rules.

use crate::support::{RULES, Setup};
use axum::http::StatusCode;
use serde_json::{Value, json};

#[tokio::test]
async fn rules_are_created_read_listed_updated_and_deleted() {
    let setup = Setup::new().await;
    let shown = setup.server.manage("GET", &format!("{RULES}/ci"), None).await;
    let mut expected = setup.rule();
    expected["id"] = "ci".into();
    expected["assign_role_ids"] = json!(["content-writer"]);
    expected["enabled"] = true.into();
    assert_eq!(shown.json(), expected);
    let unnamed = setup.server.manage("POST", RULES, Some(setup.rule())).await;
    assert_eq!(unnamed.status, StatusCode::CREATED);
    let location = unnamed.header("location").to_owned();
    assert_eq!(location, format!("{RULES}/{}", unnamed.json()["id"].as_str().expect("an id")));
    let listed = setup.server.manage("GET", &format!("{RULES}?limit=1"), None).await.json();
    assert_eq!(listed["rules"].as_array().expect("rules").len(), 1);
    let next = format!("{RULES}?cursor={}", listed["next_cursor"].as_str().expect("a cursor"));
    let rest = setup.server.manage("GET", &next, None).await.json();
    assert_eq!((rest["rules"].as_array().expect("rules").len(), rest.get("next_cursor")), (1, None));
    // A rule that was read can be sent back.
    expected["display_name"] = "Another name".into();
    expected["forwarded_claims"] = json!(["repository", "ref", "actor"]);
    let saved = setup.server.manage("PUT", &format!("{RULES}/ci"), Some(expected.clone())).await;
    assert_eq!((saved.status, saved.json()), (StatusCode::OK, expected.clone()));
    let mut again = setup.rule();
    again["id"] = "ci".into();
    let taken = setup.server.manage("POST", RULES, Some(again)).await;
    assert_eq!((taken.status, taken.problem().as_str()), (StatusCode::CONFLICT, "name-taken"));
    assert_eq!(taken.json()["existing"], json!({"id": "ci", "url": format!("{RULES}/ci")}));
    assert_eq!(setup.server.manage("DELETE", &location, None).await.status, StatusCode::NO_CONTENT);
    for (method, body) in [("GET", None), ("PUT", Some(setup.rule())), ("DELETE", None)] {
        assert_eq!(setup.server.manage(method, &location, body).await.status, StatusCode::NOT_FOUND, "{method}");
    }
    let log = setup.server.manage("GET", "/v1/audit?subject=ci", None).await.json();
    let actions: Vec<_> = log["entries"].as_array().expect("entries").iter().map(|entry| &entry["action"]).collect();
    assert_eq!(actions, ["provisioning_rule.updated", "provisioning_rule.created"]);
}

#[tokio::test]
async fn an_invalid_rule_is_refused_with_every_reason() {
    let setup = Setup::new().await;
    let many: Vec<_> = (0..65).map(|at| format!("claim{at}")).collect();
    for (changes, field) in [
        (json!({"id": "Upper"}), "id"),
        (json!({"id": ""}), "id"),
        (json!({"display_name": "a\nb"}), "display_name"),
        (json!({"audience": ""}), "audience"),
        (json!({"audience": "a".repeat(257)}), "audience"),
        (json!({"forwarded_claims": [""]}), "forwarded_claims[0]"),
        (json!({"forwarded_claims": many}), "forwarded_claims"),
        (json!({"condition": ""}), "condition"),
        (json!({"condition": "claims.repository"}), "condition"),
        (json!({"condition": "claims.repository == "}), "condition"),
        (json!({"condition": "env.HOME == 'x'"}), "condition"),
        (json!({"condition": "claims.repository.matches('a*')"}), "condition"),
        (json!({"condition": format!("true{}", " ".repeat(4093))}), "condition"),
        (json!({"condition": format!("{}true{}", "(".repeat(2000), ")".repeat(2000))}), "condition"),
        (json!({"assign_role_ids": ["auth-manager"]}), "assign_role_ids"),
        (json!({"assign_role_ids": ["content-writer", "auth-manager"]}), "assign_role_ids"),
    ] {
        let mut rule = setup.rule();
        for (name, value) in changes.as_object().expect("an object") {
            rule[name] = value.clone();
        }
        let refused = setup.server.manage("POST", RULES, Some(rule)).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{changes}");
        assert_eq!(refused.json()["errors"][0]["field"], field, "{changes}");
    }
    let mut rule = setup.rule();
    rule["condition"] = "nobody".into();
    rule["issuer_url"] = "http://issuer.example".into();
    let refused = setup.server.manage("POST", RULES, Some(rule)).await.json();
    assert_eq!(refused["errors"].as_array().expect("errors").len(), 2);
    let mut other = setup.rule();
    other["id"] = "other".into();
    let refused = setup.server.manage("PUT", &format!("{RULES}/ci"), Some(other)).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    let mut unknown = setup.rule();
    unknown["role"] = "content-writer".into();
    assert_eq!(setup.server.manage("POST", RULES, Some(unknown)).await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn an_issuer_has_a_bounded_number_of_rules() {
    let setup = Setup::new().await;
    for _ in 1..64 {
        assert_eq!(setup.server.manage("POST", RULES, Some(setup.rule())).await.status, StatusCode::CREATED);
    }
    let refused = setup.server.manage("POST", RULES, Some(setup.rule())).await;
    assert_eq!((refused.status, refused.problem().as_str()), (StatusCode::PAYLOAD_TOO_LARGE, "too-many-rules"));
    let mut other = setup.rule();
    other["issuer_url"] = "https://issuer.example".into();
    let made: Value = setup.server.manage("POST", RULES, Some(other)).await.json();
    assert_eq!(made["issuer_url"], "https://issuer.example");
}
