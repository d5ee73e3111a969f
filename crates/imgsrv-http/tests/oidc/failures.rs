//! Issuers that are slow, malicious, misconfigured or down, and key rotation.

use crate::support::{RULES, Setup, not_authentic, ok};
use axum::http::StatusCode;
use imgsrv_testkit::{Behavior, SigningKey};
use serde_json::json;

fn unavailable() -> (u16, String) {
    (503, "unavailable".to_owned())
}

#[tokio::test]
async fn an_unavailable_issuer_is_503_and_is_retried_by_the_next_server() {
    let setup = Setup::new().await;
    let token = setup.token("repo:acme/images");
    for manner in [
        Behavior::Status(500),
        Behavior::Status(204),
        Behavior::Redirect,
        Behavior::Endless,
        Behavior::Text("<html>".to_owned()),
        Behavior::Text("{}".to_owned()),
    ] {
        // Each on a new server, which has not fetched keys before.
        let fresh = Setup::new().await;
        fresh.issuer.behave(manner.clone());
        let response = fresh.whoami(&fresh.token("repo:acme/images")).await;
        assert_eq!((response.status.as_u16(), response.problem()), unavailable(), "{manner:?}");
        assert!(!response.header("retry-after").is_empty());
        fresh.issuer.behave(Behavior::Correct);
        assert_eq!(fresh.outcome(&fresh.token("repo:acme/images")).await, ok(), "{manner:?}");
    }
    assert_eq!(setup.outcome(&token).await, ok());
    // Cached keys stay in use while the issuer is down.
    setup.issuer.behave(Behavior::Status(500));
    assert_eq!(setup.outcome(&token).await, ok());
}

#[tokio::test]
async fn an_issuer_with_invalid_metadata_is_refused_without_fetching_keys() {
    for manner in [
        Behavior::AsAnother,
        Behavior::KeysAt("http://169.254.169.254/latest/meta-data".to_owned()),
        Behavior::KeysAt("https://[fd00:ec2::254]/keys".to_owned()),
        Behavior::KeysAt("http://issuer.example/keys".to_owned()),
        Behavior::KeysAt("file:///etc/passwd".to_owned()),
        Behavior::KeysAt("/keys".to_owned()),
        // These resolve to the same issuer.
        Behavior::KeysAt("http://0.0.0.0:PORT/keys".to_owned()),
        Behavior::KeysAt("http://[::ffff:0.0.0.0]:PORT/keys".to_owned()),
    ] {
        let setup = Setup::new().await;
        let port = setup.issuer.url.rsplit(':').next().expect("a port");
        let manner = match manner {
            Behavior::KeysAt(url) => Behavior::KeysAt(url.replace("PORT", port)),
            other => other,
        };
        setup.issuer.behave(manner.clone());
        assert_eq!(setup.outcome(&setup.token("repo:acme/images")).await, unavailable(), "{manner:?}");
        assert_eq!(setup.issuer.key_requests(), 0, "{manner:?}");
    }
}

#[tokio::test]
async fn an_issuer_that_does_not_respond_times_out_within_ten_seconds() {
    let setup = Setup::new().await;
    setup.issuer.behave(Behavior::Silent);
    let token = setup.token("repo:acme/images");
    let asking = futures::future::join_all((0..10).map(|_| setup.outcome(&token)));
    let responses = tokio::time::timeout(std::time::Duration::from_secs(10), asking).await.expect("in time");
    assert!(responses.iter().all(|response| *response == unavailable()), "{responses:?}");
    // API tokens do not depend on the issuer.
    assert_eq!(setup.outcome(&setup.server.writer).await, ok());
}

#[tokio::test]
async fn cancelled_requests_do_not_use_up_the_fetch_limit() {
    let setup = Setup::new().await;
    setup.issuer.behave(Behavior::Delayed);
    let unknown = SigningKey::generate("ES256", "unknown").sign(&setup.claims("s"));
    for _ in 0..10 {
        // Polled until it waits for the issuer, then dropped.
        let cancelled = setup.outcome(&unknown);
        let waiting = async {
            while setup.issuer.delayed_requests() == 0 {
                tokio::task::yield_now().await;
            }
        };
        futures::future::select(std::pin::pin!(cancelled), std::pin::pin!(waiting)).await;
    }
    setup.issuer.behave(Behavior::Correct);
    assert_eq!(setup.outcome(&setup.token("repo:acme/images")).await, ok());
    assert_eq!(setup.issuer.key_requests(), 1);
}

#[tokio::test]
async fn a_rotated_key_is_fetched_at_once_and_unknown_key_ids_do_not_flood_the_issuer() {
    let setup = Setup::new().await;
    assert_eq!(setup.outcome(&setup.token("repo:acme/images")).await, ok());
    let second = SigningKey::generate("ES256", "second");
    setup.issuer.publish(&[&second]);
    let claims = setup.claims("repo:acme/images");
    assert_eq!(setup.outcome(&second.sign(&claims)).await, ok());
    assert_eq!(setup.issuer.key_requests(), 2);
    // A withdrawn key is no longer accepted.
    assert_eq!(setup.outcome(&setup.token("repo:acme/images")).await, not_authentic());
    let storm = (0..200).map(|at| {
        let header = json!({"alg": "ES256", "kid": format!("unknown-{at}")});
        let token = second.sign_as(&header, &claims);
        async { setup.whoami(&{ token }).await }
    });
    for response in futures::future::join_all(storm).await {
        assert_eq!(response.status, StatusCode::UNAUTHORIZED);
    }
    assert_eq!(setup.issuer.key_requests(), 3, "the rest is spread over the minute");
    // Tokens of known keys are not affected.
    assert_eq!(setup.outcome(&second.sign(&claims)).await, ok());
}

#[tokio::test]
async fn concurrent_requests_share_one_fetch() {
    let setup = Setup::new().await;
    let tokens: Vec<_> = (0..30).map(|at| setup.token(&format!("repo:{at}"))).collect();
    let responses = futures::future::join_all(tokens.iter().map(|token| setup.outcome(token))).await;
    assert!(responses.iter().all(|response| *response == ok()), "{responses:?}");
    assert_eq!(setup.issuer.key_requests(), 1);
}

#[tokio::test]
async fn a_rule_with_a_forbidden_issuer_url_is_refused() {
    let setup = Setup::new().await;
    for url in [
        "http://issuer.example",
        "https://169.254.169.254",
        "https://metadata@issuer.example",
        "https://issuer.example/?a=b",
        "https://issuer.example/#a",
        "issuer.example",
        "file:///etc/passwd",
        "",
    ] {
        let mut rule = setup.rule();
        rule["issuer_url"] = url.into();
        let refused = setup.server.manage("POST", RULES, Some(rule)).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{url}");
        assert_eq!(refused.json()["errors"][0]["field"], "issuer_url", "{url}");
    }
}
