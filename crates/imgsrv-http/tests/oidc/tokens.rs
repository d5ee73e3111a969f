//! Verification of tokens.

use crate::support::{NOW, Setup, not_authentic, ok};
use imgsrv_testkit::{Issuer, SigningKey, message};
use serde_json::{Value, json};

#[tokio::test]
async fn every_secure_algorithm_is_accepted() {
    for algorithm in ["RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "EdDSA"] {
        let setup = Setup::with_key(algorithm).await;
        assert_eq!(setup.outcome(&setup.token("repo:acme/images")).await, ok(), "{algorithm}");
    }
}

#[tokio::test]
async fn a_token_must_be_signed_by_a_key_of_its_issuer() {
    let setup = Setup::with_key("RS256").await;
    let (claims, own) = (setup.claims("repo:acme/images"), setup.key.public());
    let other = SigningKey::generate("RS256", "first");
    let unknown = Issuer::start().await;
    unknown.publish(&[&other]);
    let header = |changes: Value| {
        let mut header = json!({"alg": "RS256", "kid": "first", "typ": "JWT"});
        for (name, value) in changes.as_object().expect("an object") {
            header[name] = value.clone();
        }
        header
    };
    let good = setup.token("repo:acme/images");
    let (signed, signature) = good.rsplit_once('.').expect("a signature");
    let mut greedy = claims.clone();
    greedy["repository"] = "evil/images".into();
    // Signed by HMAC with the public key as its secret.
    let hmac = |secret: &[u8]| {
        use aws_lc_rs::hmac;
        use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
        let message = message(&header(json!({"alg": "HS256"})), &claims);
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message.as_bytes());
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(tag.as_ref()))
    };
    for (attack, token) in [
        ("unsigned", format!("{}.", message(&header(json!({"alg": "none"})), &claims))),
        ("unsigned, with a signature", format!("{}.{signature}", message(&header(json!({"alg": "none"})), &claims))),
        ("signature left out", format!("{signed}.")),
        ("keyed with the modulus", hmac(own["n"].as_str().expect("a modulus").as_bytes())),
        ("keyed with the JWK", hmac(own.to_string().as_bytes())),
        ("keyed with nothing", hmac(b"")),
        ("signed by another key of the same name", other.sign(&claims)),
        ("signed by the key in its header", other.sign_as(&header(json!({"jwk": other.public()})), &claims)),
        (
            "signed by a key it points to",
            other.sign_as(&header(json!({"jku": format!("{}/keys", unknown.url)})), &claims),
        ),
        ("with a certificate's address", other.sign_as(&header(json!({"x5u": unknown.url})), &claims)),
        ("genuine, but bringing a key", setup.key.sign_as(&header(json!({"jwk": other.public()})), &claims)),
        ("extension that must be understood", setup.key.sign_as(&header(json!({"crit": ["exp"]})), &claims)),
        ("another algorithm of the same family", setup.key.sign_as(&header(json!({"alg": "PS256"})), &claims)),
        ("another family", setup.key.sign_as(&header(json!({"alg": "ES256"})), &claims)),
        ("a logout token", setup.key.sign_as(&header(json!({"typ": "logout+jwt"})), &claims)),
        ("payload exchanged", format!("{}.{signature}", message(&header(json!({})), &greedy))),
        ("header exchanged", format!("{}.{signature}", message(&header(json!({"kid": "other"})), &claims))),
        ("cut short", good[..good.len() - 4].to_owned()),
        ("an encrypted token's five parts", format!("{good}.a.b")),
    ] {
        assert_eq!(setup.outcome(&token).await, not_authentic(), "{attack}");
    }
    assert_eq!(unknown.key_requests(), 0);
    assert_eq!(setup.outcome(&good).await, ok());
    assert_eq!(setup.principals().await.len(), 3, "the manager, the writer and the one who was admitted");
}

#[tokio::test]
async fn the_registered_claims_of_a_token_are_verified() {
    let setup = Setup::new().await;
    for changes in [
        json!({"exp": null}),
        json!({"exp": NOW - 31}),
        json!({"exp": "never"}),
        json!({"nbf": NOW + 31}),
        json!({"iat": NOW + 31}),
        json!({"sub": null}),
        json!({"sub": ""}),
        json!({"sub": ["a"]}),
        json!({"iss": null}),
        json!({"iss": format!("{}/", setup.issuer.url)}),
        json!({"iss": setup.issuer.url.to_uppercase()}),
        json!({"iss": "https://unknown.example"}),
        json!({"aud": {"a": 1}}),
    ] {
        assert_eq!(setup.outcome(&setup.token_with(&changes)).await, not_authentic(), "{changes}");
    }
    for changes in
        [json!({"exp": NOW - 29}), json!({"nbf": NOW + 29, "iat": NOW + 29}), json!({"nbf": null, "iat": null})]
    {
        assert_eq!(setup.outcome(&setup.token_with(&changes)).await, ok(), "{changes}");
    }
    // Tokens that cannot be authentic cause no request to the issuer.
    assert_eq!(setup.issuer.key_requests(), 1);
}

#[tokio::test]
async fn keys_that_are_not_for_signatures_verify_nothing() {
    let setup = Setup::new().await;
    let with = |name: &str, value: Value| {
        let mut key = setup.key.public();
        key[name] = value;
        key
    };
    let secret = json!({"kty": "oct", "kid": "first", "k": "c2VjcmV0"});
    for keys in [
        vec![with("use", "enc".into())],
        vec![with("key_ops", json!(["encrypt"]))],
        vec![with("alg", "ES384".into())],
        vec![with("crv", "P-384".into())],
        vec![with("kid", "other".into())],
        vec![with("x", "AAAA".into())],
        vec![secret, json!("junk"), json!({"kty": "AKP"})],
    ] {
        let fresh = Setup::new().await;
        fresh.issuer.publish_raw(keys.clone());
        let mut claims = fresh.claims("repo:acme/images");
        claims["iss"] = fresh.issuer.url.clone().into();
        assert_eq!(fresh.outcome(&setup.key.sign(&claims)).await, not_authentic(), "{keys:?}");
    }
}

#[tokio::test]
async fn a_key_needs_no_id_and_no_algorithm() {
    let setup = Setup::new().await;
    let mut bare = setup.key.public();
    for name in ["kid", "alg", "use"] {
        bare.as_object_mut().expect("an object").remove(name);
    }
    setup.issuer.publish_raw(vec![SigningKey::generate("EdDSA", "x").public(), bare]);
    let token = setup.key.sign_as(&json!({"alg": "ES256"}), &setup.claims("repo:acme/images"));
    assert_eq!(setup.outcome(&token).await, ok());
    // A key id that the issuer does not publish is not ignored.
    assert_eq!(setup.outcome(&setup.token("repo:acme/images")).await, not_authentic());
}
