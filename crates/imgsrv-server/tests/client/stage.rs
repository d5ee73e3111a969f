//! A server, files to publish, and a way to run commands.

use imgsrv_testkit::{Process, digest, qcow2, writer_token};
use serde_json::Value;
use std::{
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};
use tempfile::TempDir;

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_imgsrv");
const PATIENCE: Duration = Duration::from_secs(90);

/// A server, and a folder for files.
pub(crate) struct Stage {
    pub(crate) server: Process,
    pub(crate) token: String,
    pub(crate) dir: TempDir,
}

/// What a command came to.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Told {
    /// Its outcome as JSON.
    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.code, Some(0), "{self:?}");
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

impl Stage {
    pub(crate) fn set() -> Self {
        Self::set_with(&[])
    }

    pub(crate) fn set_with(arguments: &[&str]) -> Self {
        let dir = TempDir::new().expect("a scratch folder");
        let server = Process::start(BINARY, &dir.path().join("data"), arguments);
        let token = writer_token(&server.url, server.bootstrap.as_deref().expect("a bootstrap token"));
        Self { server, token, dir }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A small qcow2, another one for each `salt`; its digest.
    pub(crate) fn disk(&self, name: &str, salt: u64) -> String {
        let bytes = qcow2(salt);
        std::fs::write(self.path(name), &bytes).expect("a file");
        digest(&bytes)
    }

    /// A qcow2 with `mib` MiB behind it; its digest.
    pub(crate) fn large_disk(&self, name: &str, salt: u64, mib: usize) -> String {
        let mut bytes = qcow2(salt);
        bytes.extend((bytes.len()..mib << 20).map(|at| (at / 4096 + at).to_le_bytes()[0]));
        std::fs::write(self.path(name), &bytes).expect("a file");
        digest(&bytes)
    }

    /// A command that knows the server and the writer's token; run in the folder of files.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(BINARY);
        command
            .args(arguments)
            .current_dir(self.dir.path())
            .env("XDG_CONFIG_HOME", self.path("config"))
            .env("IMGSRV_URL", &self.server.url)
            .env("IMGSRV_TOKEN", &self.token)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Told {
        told(self.command(arguments).spawn().expect("it runs"))
    }

    /// Asks the server, as the writer.
    pub(crate) fn get(&self, path: &str) -> Value {
        let answer = ureq::get(format!("{}{path}", self.server.url))
            .header("authorization", format!("Bearer {}", self.token))
            .call();
        let mut answer = answer.unwrap_or_else(|error| panic!("{path}: {error}"));
        answer.body_mut().read_json().expect("JSON")
    }

    /// The parts that the one open upload of `digest` holds, by number and etag.
    pub(crate) fn parts(&self, digest: &str) -> Vec<(u64, String)> {
        let open = self.get(&format!("/v1/uploads?expected_digest={digest}"));
        let Some(id) = open["uploads"][0]["id"].as_str() else { return Vec::new() };
        let parts = self.get(&format!("/v1/uploads/{id}/parts"));
        let parts = parts["parts"].as_array().expect("parts").iter();
        let part = |part: &Value| Some((part["part_number"].as_u64()?, part["etag"].as_str()?.to_owned()));
        parts.filter_map(part).collect()
    }

    /// Waits until the upload of `digest` holds at least `count` parts.
    pub(crate) fn has_parts(&self, digest: &str, count: usize) -> Vec<(u64, String)> {
        let until = Instant::now() + PATIENCE;
        loop {
            let parts = self.parts(digest);
            if parts.len() >= count {
                return parts;
            }
            assert!(Instant::now() < until, "{} of {count} parts", parts.len());
        }
    }
}

/// Waits for the end of a command.
pub(crate) fn told(child: Child) -> Told {
    let output = child.wait_with_output().expect("it ends");
    Told {
        code: output.status.code(),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
