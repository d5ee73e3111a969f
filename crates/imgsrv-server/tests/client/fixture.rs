//! A server, files to publish, and functions that run commands.

use imgsrv_testkit::{
    Process, digest, qcow2,
    services::{TlsFront, free_port},
    writer_token,
};
use serde_json::Value;
use std::{
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};
use tempfile::TempDir;

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_imgsrv");
const TIMEOUT: Duration = Duration::from_secs(90);

/// A running server, and a folder for files.
pub(crate) struct Fixture {
    pub(crate) server: Process,
    /// The URL at which commands reach the server.
    pub(crate) url: String,
    pub(crate) token: String,
    pub(crate) dir: TempDir,
}

/// The exit code and output of a command.
#[derive(Debug)]
pub(crate) struct CommandOutput {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl CommandOutput {
    /// The result of a successful command as JSON.
    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.code, Some(0), "{self:?}");
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

impl Fixture {
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    pub(crate) fn start_with(arguments: &[&str]) -> Self {
        let dir = TempDir::new().expect("a scratch folder");
        let server = Process::start(BINARY, &dir.path().join("data"), arguments);
        let token = writer_token(&server.url, server.bootstrap.as_deref().expect("a bootstrap token"));
        Self { url: server.url.clone(), server, token, dir }
    }

    /// A server below a path of an nginx, which removes the path or keeps it.
    pub(crate) fn start_below_a_path(is_kept: bool) -> (Self, TlsFront) {
        let port = free_port();
        let url = format!("https://localhost:{port}/images-server");
        let fixture = Self::start_with(&["--public-url", &url]);
        let upstream = format!("{}{}", fixture.server.url, if is_kept { "" } else { "/" });
        let front = TlsFront::below(port, "/images-server/", &upstream);
        (Self { url, ..fixture }, front)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a small qcow2, a different one for each `salt`; returns its digest.
    pub(crate) fn disk(&self, name: &str, salt: u64) -> String {
        let bytes = qcow2(salt);
        std::fs::write(self.path(name), &bytes).expect("a file");
        digest(&bytes)
    }

    /// Writes a qcow2 padded to `mib` MiB; returns its digest.
    pub(crate) fn large_disk(&self, name: &str, salt: u64, mib: usize) -> String {
        let mut bytes = qcow2(salt);
        bytes.extend((bytes.len()..mib << 20).map(|at| (at / 4096 + at).to_le_bytes()[0]));
        std::fs::write(self.path(name), &bytes).expect("a file");
        digest(&bytes)
    }

    /// A command with the server's URL and the writer's token, in the folder of files.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(BINARY);
        command
            .args(arguments)
            .current_dir(self.dir.path())
            .env("XDG_CONFIG_HOME", self.path("config"))
            .env("IMGSRV_URL", &self.url)
            .env("IMGSRV_TOKEN", &self.token)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> CommandOutput {
        run(&mut self.command(arguments))
    }

    /// The JSON response to a GET request of the writer.
    pub(crate) fn get(&self, path: &str) -> Value {
        let response = ureq::get(format!("{}{path}", self.server.url))
            .header("authorization", format!("Bearer {}", self.token))
            .call();
        let mut response = response.unwrap_or_else(|error| panic!("{path}: {error}"));
        response.body_mut().read_json().expect("JSON")
    }

    /// The parts of the open upload of `digest`, by number and etag.
    pub(crate) fn parts(&self, digest: &str) -> Vec<(u64, String)> {
        let open = self.get(&format!("/v1/uploads?expected_digest={digest}"));
        let Some(id) = open["uploads"][0]["id"].as_str() else { return Vec::new() };
        let parts = self.get(&format!("/v1/uploads/{id}/parts"));
        let parts = parts["parts"].as_array().expect("parts").iter();
        let part = |part: &Value| Some((part["part_number"].as_u64()?, part["etag"].as_str()?.to_owned()));
        parts.filter_map(part).collect()
    }

    /// Waits until the upload of `digest` has at least `count` parts.
    pub(crate) fn wait_for_parts(&self, digest: &str, count: usize) -> Vec<(u64, String)> {
        let until = Instant::now() + TIMEOUT;
        loop {
            let parts = self.parts(digest);
            if parts.len() >= count {
                return parts;
            }
            assert!(Instant::now() < until, "{} of {count} parts", parts.len());
        }
    }
}

/// Runs a command and waits until it ends.
pub(crate) fn run(command: &mut Command) -> CommandOutput {
    finish(command.spawn().expect("it runs"))
}

/// Waits until a command has ended.
pub(crate) fn finish(child: Child) -> CommandOutput {
    let output = child.wait_with_output().expect("it ends");
    CommandOutput {
        code: output.status.code(),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
