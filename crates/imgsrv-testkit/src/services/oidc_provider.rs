//! `oidc-provider`, a certified OpenID provider, with one client that gets JWT access tokens for its secret.

use super::{cache_dir, variable};
use serde_json::Value;
use std::{
    io::{BufRead, BufReader, Write},
    path::PathBuf,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

/// The version that tests run against.
pub const OIDC_PROVIDER_VERSION: &str = "9.13.3";

/// A provider of one's own. It ends when this, or this process, does.
pub struct OidcProvider {
    /// Its issuer, and its address.
    pub issuer: String,
    child: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl OidcProvider {
    /// Starts a provider that signs by `algorithm`.
    pub fn start(algorithm: &str) -> Self {
        let folder = variable("IMGSRV_TEST_OIDC_PROVIDER").map(PathBuf::from);
        let folder =
            folder.unwrap_or_else(|| cache_dir().join("tools").join(format!("oidc-provider-{OIDC_PROVIDER_VERSION}")));
        assert!(folder.join("node_modules").is_dir(), "no oidc-provider: run cargo xtask test, which installs it");
        let mut child = Command::new("node")
            .arg(folder.join("provider.mjs"))
            .env("ALG", algorithm)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("node starts");
        let orders = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().expect("its output"));
        let mut provider = Self { issuer: String::new(), child, orders, answers };
        let line = provider.answer();
        line.strip_prefix("issuer ").expect("its issuer").clone_into(&mut provider.issuer);
        provider
    }

    fn answer(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("an answer");
        line.trim_end().to_owned()
    }

    /// Signs with a fresh key from now on, and withdraws the one before.
    pub fn rotate(&mut self) {
        let orders = self.orders.as_mut().expect("it runs");
        orders.write_all(b"rotate\n").expect("an order");
        assert_eq!(self.answer(), "rotated");
    }

    /// An access token for `audience`, which is an absolute URI. It says `repository: acme/images`,
    /// `groups: [release, ci]`, `verified: true` and `scope: publish read`; its subject is `ci`.
    pub fn token(&self, audience: &str) -> String {
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", "ci"),
            ("resource", audience),
            ("scope", "publish read"),
        ];
        let answer = ureq::post(format!("{}/token", self.issuer))
            .header("authorization", "Basic Y2k6c2VjcmV0")
            .send_form(form)
            .expect("a token");
        let text = answer.into_body().read_to_string().expect("a body");
        let answer: Value = serde_json::from_str(&text).expect("JSON");
        answer["access_token"].as_str().expect("a token").to_owned()
    }
}

impl Drop for OidcProvider {
    fn drop(&mut self) {
        drop(self.orders.take());
        let _ = self.child.wait();
    }
}
