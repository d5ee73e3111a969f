//! A server for one test: started in a scratch folder, with tokens, and removed afterwards.

use crate::{
    Process,
    services::{program, variable},
};
use serde_json::{Value, json};
use std::path::PathBuf;
use tempfile::TempDir;

/// A running, empty server.
///
/// ```no_run
/// let server = imgsrv_testkit::Disposable::start();
/// let images = ureq::get(format!("{}/v1/images", server.url)).call();
/// assert!(images.is_ok());
/// ```
pub struct Disposable {
    /// Its base URL.
    pub url: String,
    /// A token with `auth.manage`.
    pub manager: String,
    /// A token with `content.write`.
    pub writer: String,
    // Declared before the folder: it must end before the folder is removed.
    _process: Process,
    _dir: TempDir,
}

impl Disposable {
    /// Starts the binary that `IMGSRV_TEST_BINARY` names, or `imgsrv` on the `PATH`, with a SQLite catalog and blobs in
    /// a scratch folder.
    pub fn start() -> Self {
        let given = variable("IMGSRV_TEST_BINARY").map(PathBuf::from);
        let binary = given.or_else(|| program("imgsrv", &[])).unwrap_or_else(|| {
            panic!("no imgsrv: put it on the PATH, or set IMGSRV_TEST_BINARY to its path");
        });
        Self::of(binary.to_str().expect("a path in UTF-8"))
    }

    /// Starts `binary`.
    pub fn of(binary: &str) -> Self {
        let dir = TempDir::with_prefix("imgsrv-test-").expect("a scratch folder");
        let process = Process::start(binary, dir.path(), &[]);
        let manager = process.bootstrap.clone().expect("a bootstrap token");
        let writer = writer_token(&process.url, &manager);
        Self { url: process.url.clone(), manager, writer, _process: process, _dir: dir }
    }
}

/// A token with `content.write` for a new principal, created with the token `manager`.
pub fn writer_token(url: &str, manager: &str) -> String {
    token_with_roles(url, manager, &["content-writer"])
}

/// A token for a new principal with these roles, created with the token `manager`.
pub fn token_with_roles(url: &str, manager: &str, roles: &[&str]) -> String {
    let send = |method: &str, path: &str, body: &Value| -> Value {
        let request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("{url}{path}"))
            .header("authorization", format!("Bearer {manager}"))
            .header("content-type", "application/json")
            .body(if body.is_null() { String::new() } else { body.to_string() });
        let response = ureq::run(request.expect("a request"));
        let mut response = response.unwrap_or_else(|error| panic!("{method} {path}: {error}"));
        let text = response.body_mut().read_to_string().expect("a body");
        serde_json::from_str(&text).unwrap_or(Value::Null)
    };
    let principal = send("POST", "/v1/auth/principals", &json!({"kind": "service", "display_name": "test"}));
    let principal = format!("/v1/auth/principals/{}", principal["id"].as_str().expect("an id"));
    for role in roles {
        send("PUT", &format!("{principal}/roles/{role}"), &Value::Null);
    }
    let issued = send("POST", &format!("{principal}/api-tokens"), &json!({"expires_at": "2099-01-01T00:00:00Z"}));
    issued["plaintext"].as_str().expect("a token").to_owned()
}
