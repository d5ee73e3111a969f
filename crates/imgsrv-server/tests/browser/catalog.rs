//! A server with a catalog to look at.

use imgsrv_testkit::{Process, qcow2, token_with_roles, writer_token};
use serde_json::{Value, json};
use std::{path::Path, process::Command};
use tempfile::TempDir;

const BINARY: &str = env!("CARGO_BIN_EXE_imgsrv");
pub(crate) const ACCEPT: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";

/// A running server and a folder for files.
pub(crate) struct Catalog {
    pub(crate) url: String,
    pub(crate) dir: TempDir,
    server: Process,
    token: String,
}

impl Catalog {
    /// A server without images.
    pub(crate) fn empty() -> Self {
        Self::named("Example Images", &[])
    }

    fn named(title: &str, more: &[&str]) -> Self {
        let dir = TempDir::new().expect("a scratch folder");
        let arguments = [&["--site-title", title], more].concat();
        let server = Process::start(BINARY, &dir.path().join("data"), &arguments);
        let token = writer_token(&server.url, server.bootstrap.as_deref().expect("a bootstrap token"));
        Self { url: server.url.clone(), dir, server, token }
    }

    /// A server with images of every kind and in every state.
    pub(crate) fn full() -> Self {
        let catalog = Self::empty();
        for (version, salt) in [("12.5.0", 1), ("12.6.0", 2), ("12.7.0", 3)] {
            let file = |architecture: &str, salt| {
                let name = format!("debian-{version}-{architecture}.qcow2");
                std::fs::write(catalog.dir.path().join(&name), qcow2(salt)).expect("a file");
                name
            };
            let (amd64, arm64) = (file("amd64", salt), file("arm64", salt + 100));
            catalog
                .run(&["publish", "debian", version, &amd64, &arm64, "--os", "debian", "--incus", "--alias", "latest"]);
        }
        catalog.update(
            "debian",
            &json!({"display_name": "Debian 12 (bookworm)", "description": "Minimal Debian for virtual machines, with \
                cloud-init. Rebuilt every week with all security updates; the root file system grows at the first boot."}),
        );
        for (image, system, title, architecture) in [
            ("fedora-server", "fedora", "Fedora Server 41", "amd64"),
            ("opensuse-leap", "opensuse", "openSUSE Leap 15.6", "arm64"),
            ("rocky-linux", "rockylinux", "Rocky Linux 9", "amd64"),
        ] {
            std::fs::write(catalog.dir.path().join("disk.qcow2"), qcow2(image.len() as u64 + 500)).expect("a file");
            catalog.run(&["publish", image, "1.0", "disk.qcow2", "--os", system, "--arch", architecture]);
            catalog.update(image, &json!({"display_name": title, "description": "General purpose server."}));
        }
        catalog.manage(
            "/v1/images/debian/versions/12.5.0/revoke",
            &json!({"reason": "The image had a default password.", "replacement": "latest"}),
        );
        catalog.manage(
            "/v1/images/debian/versions/12.6.0/deprecate",
            &json!({"reason": "Superseded by the point release 12.7.", "replacement": "latest", "end_of_life": "2030-06-30"}),
        );
        catalog
    }

    /// A server whose texts are as long as they can be, have no place to break a line, and try to run a script.
    pub(crate) fn hostile() -> Self {
        let script = "<script>window.ran=1</script><img src=x onerror=window.ran=1>";
        let text = |length: usize| format!("{script}{}", "W".repeat(length - script.len()));
        let catalog = Self::named(&text(256), &["--site-notice", &text(4096)]);
        let name = "w".repeat(63);
        for version in ["1", &"2".repeat(64)] {
            std::fs::write(catalog.dir.path().join("disk.qcow2"), qcow2(version.len() as u64)).expect("a file");
            let publish = ["publish", &name, version, "disk.qcow2", "--os", "debian", "--arch", "amd64"];
            catalog.run(&[&publish[..], &["--alias", &"a".repeat(64)]].concat());
        }
        catalog.update(&name, &json!({"display_name": text(256), "description": text(4096)}));
        catalog.manage(&format!("/v1/images/{name}/versions/1/revoke"), &json!({"reason": text(4096)}));
        catalog
    }

    /// The token of an operator.
    pub(crate) fn operator(&self) -> String {
        token_with_roles(&self.url, self.server.bootstrap.as_deref().expect("a bootstrap token"), &["operator"])
    }

    /// Runs a command of the publisher.
    pub(crate) fn run(&self, arguments: &[&str]) {
        let mut command = Command::new(BINARY);
        command.args(arguments).current_dir(self.dir.path()).env("XDG_CONFIG_HOME", self.dir.path());
        command.env("IMGSRV_URL", &self.url).env("IMGSRV_TOKEN", &self.token);
        let output = command.output().expect("it runs");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn update(&self, image: &str, body: &Value) {
        self.send("PATCH", &format!("/v1/images/{image}"), &self.token, body);
    }

    /// Sends a request of a content-admin.
    fn manage(&self, path: &str, body: &Value) {
        let manager = self.server.bootstrap.as_deref().expect("a bootstrap token");
        let me = self.send("GET", "/v1/auth/whoami", manager, &Value::Null);
        let me = me["principal"]["id"].as_str().expect("an id").to_owned();
        self.send("PUT", &format!("/v1/auth/principals/{me}/roles/content-admin"), manager, &Value::Null);
        self.send("POST", path, manager, body);
    }

    fn send(&self, method: &str, path: &str, token: &str, body: &Value) -> Value {
        let text = if body.is_null() { String::new() } else { body.to_string() };
        let request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url))
            .header("authorization", format!("Bearer {token}"))
            .header("content-type", "application/json")
            .body(text);
        let agent = ureq::Agent::config_builder().allow_non_standard_methods(true).build().new_agent();
        let response = agent.run(request.expect("a request"));
        let mut response = response.unwrap_or_else(|error| panic!("{method} {path}: {error}"));
        let text = response.body_mut().read_to_string().expect("a body");
        serde_json::from_str(&text).unwrap_or(Value::Null)
    }

    /// The HTML that a browser gets.
    pub(crate) fn page(&self, path: &str) -> String {
        self.page_with(path, &[])
    }

    /// The HTML that a browser gets that sends these headers as well.
    pub(crate) fn page_with(&self, path: &str, headers: &[(&str, &str)]) -> String {
        let config = ureq::Agent::config_builder().http_status_as_error(false).build();
        let request = config.new_agent().get(format!("{}{path}", self.url)).header("accept", ACCEPT);
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        request.call().expect(path).body_mut().read_to_string().expect("a page")
    }

    /// Runs commands of a page in an empty folder, as somebody who pastes them.
    pub(crate) fn paste(&self, commands: &str) -> String {
        let folder = TempDir::new_in(self.dir.path()).expect("a folder");
        run_in(folder.path(), commands)
    }
}

fn run_in(folder: &Path, commands: &str) -> String {
    let output = Command::new("bash").args(["-euc", commands]).current_dir(folder).output().expect("bash runs");
    let shown = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{commands}\n{shown}");
    shown
}
