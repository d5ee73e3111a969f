//! A token issuer whose behaviour tests control, misbehaviour included.

use aws_lc_rs::{
    rand::SystemRandom,
    rsa::KeySize,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair,
        RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RsaEncoding, RsaKeyPair,
    },
};
use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::{StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};
use tokio::{net::TcpListener, sync::Notify};

enum Pair {
    Rsa(RsaKeyPair, &'static dyn RsaEncoding),
    Ec(EcdsaKeyPair, usize),
    Ed(Ed25519KeyPair),
}

/// A private key with its key id.
pub struct SigningKey {
    /// Its key id.
    pub id: String,
    /// Its signature algorithm.
    pub algorithm: &'static str,
    pair: Pair,
}

impl SigningKey {
    /// A fresh key for `RS256`, `RS384`, `RS512`, `PS256`, `ES256`, `ES384` or `EdDSA`.
    pub fn generate(algorithm: &'static str, id: &str) -> Self {
        let rsa = |encoding| Pair::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).expect("a key"), encoding);
        let pair = match algorithm {
            "RS256" => rsa(&RSA_PKCS1_SHA256),
            "RS384" => rsa(&RSA_PKCS1_SHA384),
            "RS512" => rsa(&RSA_PKCS1_SHA512),
            "PS256" => rsa(&RSA_PSS_SHA256),
            "ES256" => Pair::Ec(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key"), 256),
            "ES384" => Pair::Ec(EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).expect("a key"), 384),
            "EdDSA" => Pair::Ed(Ed25519KeyPair::generate().expect("a key")),
            other => panic!("the algorithm {other}"),
        };
        Self { id: id.to_owned(), algorithm, pair }
    }

    /// The public half as a JWK (RFC 7517).
    pub fn public(&self) -> Value {
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let mut key = match &self.pair {
            Pair::Rsa(pair, _) => {
                let public = pair.public_key();
                json!({"kty": "RSA", "n": encode(public.modulus().big_endian_without_leading_zero()),
                    "e": encode(public.exponent().big_endian_without_leading_zero())})
            }
            Pair::Ec(pair, bits) => {
                let point = &pair.public_key().as_ref()[1..];
                let (x, y) = point.split_at(point.len() / 2);
                json!({"kty": "EC", "crv": format!("P-{bits}"), "x": encode(x), "y": encode(y)})
            }
            Pair::Ed(pair) => json!({"kty": "OKP", "crv": "Ed25519", "x": encode(pair.public_key().as_ref())}),
        };
        key["kid"] = self.id.clone().into();
        key["alg"] = self.algorithm.into();
        key["use"] = "sig".into();
        key
    }

    /// A token with these claims.
    pub fn sign(&self, claims: &Value) -> String {
        self.sign_as(&json!({"alg": self.algorithm, "kid": self.id, "typ": "JWT"}), claims)
    }

    /// A token with this header, which need not match the key.
    pub fn sign_as(&self, header: &Value, claims: &Value) -> String {
        let message = message(header, claims);
        let random = SystemRandom::new();
        let signature = match &self.pair {
            Pair::Rsa(pair, encoding) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(*encoding, &random, message.as_bytes(), &mut signature).expect("a signature");
                signature
            }
            Pair::Ec(pair, _) => pair.sign(&random, message.as_bytes()).expect("a signature").as_ref().to_vec(),
            Pair::Ed(pair) => pair.sign(message.as_bytes()).as_ref().to_vec(),
        };
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

/// The signed part of a token.
pub fn message(header: &Value, claims: &Value) -> String {
    let encode = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
    format!("{}.{}", encode(header), encode(claims))
}

/// How an issuer responds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Behavior {
    /// Correctly.
    Correct,
    /// With this status to every request.
    Status(u16),
    /// With a redirect to the correct response.
    Redirect,
    /// Not at all, on connections that stay open.
    Silent,
    /// Not until the behaviour changes.
    Delayed,
    /// With an endless body.
    Endless,
    /// With this text.
    Text(String),
    /// With another issuer's name.
    AsAnother,
    /// With this URL of its keys.
    KeysAt(String),
}

struct Shared {
    url: String,
    behavior: Mutex<Behavior>,
    keys: Mutex<Vec<Value>>,
    key_requests: AtomicUsize,
    delayed_requests: AtomicUsize,
    changed: Notify,
}

/// An issuer on the loopback interface, until it is dropped.
pub struct Issuer {
    /// Its name and address.
    pub url: String,
    shared: Arc<Shared>,
    serving: tokio::task::JoinHandle<()>,
}

impl Issuer {
    /// An issuer without keys.
    pub async fn start() -> Self {
        Self::start_as(|port| format!("http://127.0.0.1:{port}")).await
    }

    /// The same, with a name made from its port.
    pub async fn start_as(name: impl FnOnce(u16) -> String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = name(listener.local_addr().expect("an address").port());
        let shared = Arc::new(Shared {
            url: url.clone(),
            behavior: Mutex::new(Behavior::Correct),
            keys: Mutex::default(),
            key_requests: AtomicUsize::new(0),
            delayed_requests: AtomicUsize::new(0),
            changed: Notify::new(),
        });
        let router = Router::new().fallback(respond).with_state(Arc::clone(&shared));
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.expect("it serves") });
        Self { url, shared, serving }
    }

    /// Publishes these keys and no others.
    pub fn publish(&self, keys: &[&SigningKey]) {
        self.publish_raw(keys.iter().map(|key| key.public()).collect());
    }

    /// The same with raw keys.
    pub fn publish_raw(&self, keys: Vec<Value>) {
        *self.shared.keys.lock().expect("unpoisoned") = keys;
    }

    /// Changes how it responds.
    pub fn behave(&self, behavior: Behavior) {
        *self.shared.behavior.lock().expect("unpoisoned") = behavior;
        self.shared.changed.notify_waiters();
    }

    /// Number of requests that [`Behavior::Delayed`] has delayed.
    pub fn delayed_requests(&self) -> usize {
        self.shared.delayed_requests.load(Ordering::SeqCst)
    }

    /// Number of requests for its keys.
    pub fn key_requests(&self) -> usize {
        self.shared.key_requests.load(Ordering::SeqCst)
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn respond(State(shared): State<Arc<Shared>>, uri: Uri) -> Response {
    let behavior = loop {
        let changed = shared.changed.notified();
        let behavior = shared.behavior.lock().expect("unpoisoned").clone();
        if behavior != Behavior::Delayed {
            break behavior;
        }
        shared.delayed_requests.fetch_add(1, Ordering::SeqCst);
        changed.await;
    };
    let is_keys = uri.path() == "/keys";
    if is_keys {
        shared.key_requests.fetch_add(1, Ordering::SeqCst);
    }
    let url = &shared.url;
    let correct = |issuer: &str, keys_at: &str| {
        let body = if uri.path().ends_with("keys") {
            json!({"keys": *shared.keys.lock().expect("unpoisoned")})
        } else if uri.path().ends_with("/.well-known/openid-configuration") {
            json!({"issuer": issuer, "jwks_uri": keys_at})
        } else {
            return StatusCode::NOT_FOUND.into_response();
        };
        ([(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
    };
    let keys_at = format!("{url}/keys");
    match behavior {
        Behavior::Redirect if !uri.path().starts_with("/elsewhere") => {
            (StatusCode::FOUND, [(header::LOCATION, format!("{url}/elsewhere{}", uri.path()))]).into_response()
        }
        Behavior::Correct | Behavior::Redirect => correct(url, &keys_at),
        Behavior::Status(status) => StatusCode::from_u16(status).expect("a status").into_response(),
        Behavior::Silent | Behavior::Delayed => std::future::pending().await,
        Behavior::Endless => {
            let chunk = Ok::<_, std::convert::Infallible>(Bytes::from(vec![b' '; 64 << 10]));
            Body::from_stream(futures::stream::repeat(chunk)).into_response()
        }
        Behavior::Text(text) => text.into_response(),
        Behavior::AsAnother => correct("https://another.example", &keys_at),
        Behavior::KeysAt(keys_at) => correct(url, &keys_at),
    }
}
