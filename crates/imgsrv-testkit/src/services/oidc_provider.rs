//! `oidc-provider`, a certified OpenID provider, with one client that gets JWT access tokens.

use super::installed;
use serde_json::Value;
use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

/// The version that tests run against.
pub const OIDC_PROVIDER_VERSION: &str = "9.13.3";

/// A dedicated provider, which ends when this is dropped or the process ends.
pub struct OidcProvider {
    /// Its issuer URL.
    pub issuer: String,
    child: Child,
    commands: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl OidcProvider {
    /// Starts a provider that signs with `algorithm`.
    pub fn start(algorithm: &str) -> Self {
        let folder = installed("oidc-provider", OIDC_PROVIDER_VERSION, "IMGSRV_TEST_OIDC_PROVIDER", "node_modules");
        let mut child = Command::new("node")
            .arg(folder.join("provider.mjs"))
            .env("ALG", algorithm)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("node starts");
        let commands = child.stdin.take();
        let output = BufReader::new(child.stdout.take().expect("its output"));
        let mut provider = Self { issuer: String::new(), child, commands, output };
        let line = provider.read_line();
        line.strip_prefix("issuer ").expect("its issuer").clone_into(&mut provider.issuer);
        provider
    }

    fn read_line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("a line");
        line.trim_end().to_owned()
    }

    /// Replaces its key: the previous one is no longer published.
    pub fn rotate(&mut self) {
        let commands = self.commands.as_mut().expect("it runs");
        commands.write_all(b"rotate\n").expect("a command");
        assert_eq!(self.read_line(), "rotated");
    }

    /// An access token for `audience`, an absolute URI. Its claims are `repository: acme/images`,
    /// `groups: [release, ci]`, `verified: true` and `scope: publish read`; its subject is `ci`.
    pub fn token(&self, audience: &str) -> String {
        let client = [("grant_type", "client_credentials"), ("client_id", "ci")];
        let form = client.into_iter().chain([("resource", audience), ("scope", "publish read")]);
        let request = ureq::post(format!("{}/token", self.issuer)).header("authorization", "Basic Y2k6c2VjcmV0");
        let tokens: Value = request.send_form(form).expect("a token").body_mut().read_json().expect("JSON");
        tokens["access_token"].as_str().expect("a token").to_owned()
    }
}

impl Drop for OidcProvider {
    fn drop(&mut self) {
        drop(self.commands.take());
        let _ = self.child.wait();
    }
}
