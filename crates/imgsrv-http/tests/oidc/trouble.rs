//! Issuers that are slow, huge, wrong or down, and keys that change.

use crate::support::{RULES, Setup, not_authentic, ok};
use axum::http::StatusCode;
use imgsrv_testkit::{Manner, SigningKey};
use serde_json::json;

fn unavailable() -> (u16, String) {
    (503, "unavailable".to_owned())
}

#[tokio::test]
async fn an_issuer_that_cannot_be_read_is_503_and_counts_against_nobody() {
    let setup = Setup::new().await;
    let token = setup.token("repo:acme/images");
    for manner in [
        Manner::Status(500),
        Manner::Status(204),
        Manner::Redirect,
        Manner::Flood,
        Manner::Text("<html>".to_owned()),
        Manner::Text("{}".to_owned()),
    ] {
        // Each on a server that has not asked before.
        let fresh = Setup::new().await;
        fresh.issuer.behave(manner.clone());
        let answer = fresh.whoami(&fresh.token("repo:acme/images")).await;
        assert_eq!((answer.status.as_u16(), answer.problem()), unavailable(), "{manner:?}");
        assert!(!answer.header("retry-after").is_empty());
        fresh.issuer.behave(Manner::Well);
        assert_eq!(fresh.outcome(&fresh.token("repo:acme/images")).await, ok(), "{manner:?}");
    }
    assert_eq!(setup.outcome(&token).await, ok());
    // Keys that are known go on being used while the issuer is down.
    setup.issuer.behave(Manner::Status(500));
    assert_eq!(setup.outcome(&token).await, ok());
}

#[tokio::test]
async fn an_issuer_that_is_wrong_about_itself_or_its_keys_is_not_believed() {
    for manner in [
        Manner::AsAnother,
        Manner::KeysAt("http://169.254.169.254/latest/meta-data".to_owned()),
        Manner::KeysAt("https://[fd00:ec2::254]/keys".to_owned()),
        Manner::KeysAt("http://issuer.example/keys".to_owned()),
        Manner::KeysAt("file:///etc/passwd".to_owned()),
        Manner::KeysAt("/keys".to_owned()),
        // These would lead to the very same issuer.
        Manner::KeysAt("http://0.0.0.0:PORT/keys".to_owned()),
        Manner::KeysAt("http://[::ffff:0.0.0.0]:PORT/keys".to_owned()),
    ] {
        let setup = Setup::new().await;
        let port = setup.issuer.url.rsplit(':').next().expect("a port");
        let manner = match manner {
            Manner::KeysAt(url) => Manner::KeysAt(url.replace("PORT", port)),
            other => other,
        };
        setup.issuer.behave(manner.clone());
        assert_eq!(setup.outcome(&setup.token("repo:acme/images")).await, unavailable(), "{manner:?}");
        assert_eq!(setup.issuer.asked(), 0, "{manner:?}");
    }
}

#[tokio::test]
async fn an_issuer_that_does_not_answer_is_given_up_within_ten_seconds() {
    let setup = Setup::new().await;
    setup.issuer.behave(Manner::Silence);
    let token = setup.token("repo:acme/images");
    let asking = futures::future::join_all((0..10).map(|_| setup.outcome(&token)));
    let answers = tokio::time::timeout(std::time::Duration::from_secs(10), asking).await.expect("in time");
    assert!(answers.iter().all(|answer| *answer == unavailable()), "{answers:?}");
    // An API token is none of the issuer's business.
    assert_eq!(setup.outcome(&setup.server.writer).await, ok());
}

#[tokio::test]
async fn requests_that_are_broken_off_do_not_use_up_what_may_be_asked() {
    let setup = Setup::new().await;
    setup.issuer.behave(Manner::Held);
    let stranger = SigningKey::generate("ES256", "unknown").sign(&setup.claims("s"));
    for _ in 0..10 {
        // Polled until it waits for the issuer, and dropped.
        let broken_off = setup.outcome(&stranger);
        let waiting = async {
            while setup.issuer.held() == 0 {
                tokio::task::yield_now().await;
            }
        };
        futures::future::select(std::pin::pin!(broken_off), std::pin::pin!(waiting)).await;
    }
    setup.issuer.behave(Manner::Well);
    assert_eq!(setup.outcome(&setup.token("repo:acme/images")).await, ok());
    assert_eq!(setup.issuer.asked(), 1);
}

#[tokio::test]
async fn a_rotated_key_is_found_at_once_and_a_storm_of_unknown_ones_is_not_passed_on() {
    let setup = Setup::new().await;
    assert_eq!(setup.outcome(&setup.token("repo:acme/images")).await, ok());
    let second = SigningKey::generate("ES256", "second");
    setup.issuer.publish(&[&second]);
    let claims = setup.claims("repo:acme/images");
    assert_eq!(setup.outcome(&second.sign(&claims)).await, ok());
    assert_eq!(setup.issuer.asked(), 2);
    // What is withdrawn is not taken any more.
    assert_eq!(setup.outcome(&setup.token("repo:acme/images")).await, not_authentic());
    let storm = (0..200).map(|at| {
        let header = json!({"alg": "ES256", "kid": format!("unknown-{at}")});
        let token = second.sign_as(&header, &claims);
        async { setup.whoami(&{ token }).await }
    });
    for answer in futures::future::join_all(storm).await {
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    }
    assert_eq!(setup.issuer.asked(), 3, "the rest is spread over the minute");
    // And those who hold a known key do not notice.
    assert_eq!(setup.outcome(&second.sign(&claims)).await, ok());
}

#[tokio::test]
async fn many_who_come_at_once_ask_once() {
    let setup = Setup::new().await;
    let tokens: Vec<_> = (0..30).map(|at| setup.token(&format!("repo:{at}"))).collect();
    let answers = futures::future::join_all(tokens.iter().map(|token| setup.outcome(token))).await;
    assert!(answers.iter().all(|answer| *answer == ok()), "{answers:?}");
    assert_eq!(setup.issuer.asked(), 1);
}

#[tokio::test]
async fn issuers_that_may_not_be_asked_cannot_be_saved() {
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
