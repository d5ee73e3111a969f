//! Conditions as operators write them, and hostile ones.

use imgsrv_auth::CelEngine;
use imgsrv_domain::{
    oidc::{ClaimValue, Claims, Condition, ForwardedClaims, OidcIdentity},
    ports::{ConditionEngine, ConditionError},
};
use proptest::{
    prelude::*,
    strategy::ValueTree,
    test_runner::{Config, TestRunner},
};

fn engine() -> CelEngine {
    CelEngine::start().expect("a thread")
}

fn text(raw: &str) -> ClaimValue {
    ClaimValue::Text(raw.to_owned())
}

fn claims() -> Claims {
    let list = |values: &[&str]| ClaimValue::List(values.iter().map(|value| text(value)).collect());
    let nested = ClaimValue::Map([("roles".to_owned(), list(&["release"]))].into());
    let claims = [
        ("repository", text("acme/images")),
        ("ref", text("refs/heads/main")),
        ("scope", text("read publish")),
        ("groups", list(&["release", "ci"])),
        ("access", nested),
        ("verified", ClaimValue::Bool(true)),
        ("n", ClaimValue::Int(3)),
        ("nothing", ClaimValue::Null),
    ];
    claims.map(|(name, value)| (name.to_owned(), value)).into()
}

fn forwarded() -> ForwardedClaims {
    ForwardedClaims::new(claims().keys().map(|name| name.parse().expect("a name"))).expect("few")
}

async fn holds(engine: &CelEngine, condition: &str) -> Result<bool, ConditionError> {
    let identity = OidcIdentity {
        issuer: "https://issuer.example".parse().expect("an issuer"),
        subject: "repo:acme/images".parse().expect("a subject"),
    };
    engine.holds(&condition.parse::<Condition>().expect("a text"), &identity, claims()).await
}

async fn may_be_saved(engine: &CelEngine, condition: &str) -> Result<(), ConditionError> {
    engine.check(&condition.parse::<Condition>().expect("a text"), &forwarded()).await
}

#[tokio::test]
async fn conditions_are_true_or_false_and_anything_else_is_an_error() {
    let engine = engine();
    for condition in [
        "true",
        "claims.repository == 'acme/images' && claims.ref == \"refs/heads/main\"",
        "claims.repository.startsWith('acme/')",
        "claims.ref in ['refs/heads/main', 'refs/heads/stable']",
        "'repository' in claims && !('actor' in claims)",
        "identity.issuer == 'https://issuer.example' && identity.subject == 'repo:acme/images'",
        "hasToken(claims.scope, 'publish')",
        "hasAny(claims.groups, ['release', 'admins'])",
        "hasAny(claims.repository, ['acme/images'])",
        "hasAny(claims.access.roles, ['release'])",
        "claims.verified",
        "claims.n > 2 && claims.n == 3",
        "claims.n >= 3 && claims.n <= 3 && claims.n != 4 && -claims.n < 7 % 4 * 6 / 2 - 1",
        "claims['repository'].size() == 11",
        "claims.absent == 'a' || true",
        "claims.repository == 'other' ? false : true",
    ] {
        assert_eq!(holds(&engine, condition).await, Ok(true), "{condition}");
    }
    for condition in [
        "false",
        "hasToken(claims.scope, 'pub')",
        "hasToken(claims.scope, '')",
        "hasToken(claims.scope, 'read publish')",
        "hasAny(claims.groups, [])",
        "hasAny(claims.repository, ['acme'])",
        "claims.n == '3'",
    ] {
        assert_eq!(holds(&engine, condition).await, Ok(false), "{condition}");
    }
    for condition in [
        "claims.absent == 'a'",
        "claims.repository",
        "claims.n",
        "1",
        "claims",
        "claims.nothing.x == 1",
        "hasToken(claims.groups, 'release')",
        "hasAny(claims.n, [3])",
        "hasAny(claims.groups, 'release')",
        "'a' in claims.repository",
        "1 / 0 == 1",
        "claims.n > 'a'",
        "unknown == 1",
    ] {
        assert!(holds(&engine, condition).await.is_err(), "{condition}");
    }
}

#[tokio::test]
async fn only_conditions_that_can_be_true_or_false_are_saved() {
    let engine = engine();
    for condition in [
        "claims.repository == 'acme/images'",
        "claims.not_forwarded == 'x'",
        "'x' in claims && claims.x == 'y'",
        "hasToken(claims.scope, 'publish') && hasAny(claims.groups, ['release'])",
        "claims.access.roles == ['a'] || hasAny(claims.absent, ['b'])",
        "claims.repository == 'a' &&\n  claims.ref == 'b'",
        "size(claims.ref) > 3",
        "identity.subject.startsWith('repo:acme/')",
    ] {
        assert_eq!(may_be_saved(&engine, condition).await, Ok(()), "{condition}");
    }
    for (condition, why) in [
        ("claims.repository", "string"),
        ("1 + 1", "int"),
        ("claims", "map"),
        ("claims.repository ==", "Syntax error"),
        ("claims.repository === 'a'", "Syntax error"),
        ("claim.repository == 'a'", "claim does not exist"),
        ("identity.email == 'a'", "identity.email does not exist"),
        ("identity == claims", "identity can be used only"),
        ("env('HOME') == 'a'", "function env does not exist"),
        ("claims.ref.matches('.*')", "function matches does not exist"),
        ("has(claims.ref)", "function has does not exist"),
        ("claims.groups.exists(g, g == 'a')", "function exists does not exist"),
        ("[1].map(x, x) == [1]", "function map does not exist"),
        ("claims.groups.all(g, true)", "function all does not exist"),
        ("claims.?ref == 'a'", "unsupported syntax"),
        ("google.protobuf.Any{} == 1", "does not exist"),
        ("claims.ref.hasToken('a')", "must not be called as a method"),
        ("startsWith(claims.ref, 'a')", "must be called as a method"),
        ("hasToken(claims.ref)", "takes 2 arguments, not 1"),
        ("true || hasAny(claims.ref)", "takes 2 arguments, not 1"),
        ("claims.ref + 1 == 'a'", "fails"),
        ("claims.ref > 1", "fails"),
        ("b'a' == claims.ref", "directly after a word"),
        ("r'a' == claims.ref", "directly after a word"),
        (".nothing(1) || true", "function .nothing does not exist"),
        ("_nothing(claims.ref) || true", "function _nothing does not exist"),
        ("claims.ref._foo() || true", "function _foo does not exist"),
        (".matches(claims.ref, 'a') || true", "function .matches does not exist"),
        (".type(claims.ref) == .type('a')", "does not exist"),
        (&format!("size(claims.ref{}) > 1", "+claims.ref".repeat(33)), "more than 32 additions"),
    ] {
        let refused = may_be_saved(&engine, condition).await.expect_err(condition);
        assert!(refused.0.contains(why), "{condition}: {refused}");
    }
}

#[tokio::test]
async fn errors_do_not_reveal_values_of_claims() {
    let engine = engine();
    let error = async |condition: &str| holds(&engine, condition).await.expect_err(condition).0;
    assert!(error("claims.absent == 'a'").await.contains("absent"));
    let hidden = error("{'a': true}[claims.repository]").await;
    assert!(!hidden.contains("acme/images"), "{hidden}");
    for condition in
        ["claims.repository > 1", "claims.repository", "int(claims.repository) == 1", "claims.groups + 1 == 1"]
    {
        assert!(!error(condition).await.contains("acme") && !error(condition).await.contains("release"), "{condition}");
    }
}

#[tokio::test]
async fn no_condition_stops_the_engine() {
    let engine = engine();
    let wrapped = |open: &str, inner: &str, close: &str, n| format!("{}{inner}{}", open.repeat(n), close.repeat(n));
    for n in [31, 32, 33, 100, 500, 1000] {
        for condition in [
            wrapped("(", "true", ")", n),
            wrapped("[", "1", "]", n),
            wrapped("{1:", "1", "}", n),
            wrapped("claims[", "1", "]", n),
            wrapped("int(", "1", ")", n),
            wrapped("!", "true", "", n),
            wrapped("-", "1", "", n),
            wrapped("true?true:", "true", "", n),
            wrapped("claims", "", ".a", n),
            wrapped("claims", "", ".a()", n),
            wrapped("", "1", "+1", n),
            wrapped("", "1", "==1", n),
            wrapped("", "true", "&&true", n),
            wrapped("", "true", "||true", n),
            wrapped("'", "", "", n),
            wrapped("\"\\", "", "", n),
            wrapped("(!-a.b(1)+[", "1", "])", n),
        ] {
            let Ok(condition) = condition.parse::<Condition>() else { continue };
            let _ = engine.check(&condition, &forwarded()).await;
        }
    }
    assert_eq!(holds(&engine, "true").await, Ok(true));
}

#[tokio::test]
async fn any_input_gets_a_result() {
    let engine = engine();
    let pieces = prop::sample::select(vec![
        "claims", "identity", ".", "ref", "(", ")", "[", "]", "{", "}", ":", "?", "==", "!=", "&&", "||", "!", "-",
        "+", "'a'", "\"b\"", "1", "1.5", "0x", "u", "in", ",", "hasToken", "hasAny", "size", "true", "null", "'", "\\",
        "\n", "r'", "b'", "'''", "é", "`", "@", "//", "matches", "map",
    ]);
    let mut runner = TestRunner::new(Config::default());
    let sources = prop_oneof![prop::collection::vec(pieces, 1..60).prop_map(|words| words.concat()), ".{1,80}"];
    for _ in 0..2000 {
        let source = sources.new_tree(&mut runner).expect("a source").current();
        let Ok(condition) = source.parse::<Condition>() else { continue };
        if engine.check(&condition, &forwarded()).await.is_ok() {
            let _ = holds(&engine, &source).await;
        }
    }
    assert_eq!(holds(&engine, "true").await, Ok(true));
}
