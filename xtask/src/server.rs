//! A release build of the server for a task, and requests to it.

use crate::shell::{Result, cargo, run, target_dir};
use serde_json::{Value, json};
use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

/// Builds the release server.
pub(crate) fn build() -> Result<()> {
    run(cargo().args(["build", "--release", "--locked", "--package", "imgsrv-server"]))
}

/// A server that ends with the task.
pub(crate) struct Server {
    child: Child,
    pub(crate) url: String,
    pub(crate) token: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        let _ = self.child.wait();
    }
}

impl Server {
    /// Starts the server on a data folder below `scratch`; requests use the bootstrap token.
    pub(crate) fn start(scratch: &Path, listen: &str) -> Result<Self> {
        Self::start_with(scratch, listen, "", &[])
    }

    /// The same, with a metrics address and environment variables.
    pub(crate) fn start_with(
        scratch: &Path,
        listen: &str,
        metrics: &str,
        environment: &[(&str, String)],
    ) -> Result<Self> {
        let binary = target_dir().join("release/imgsrv");
        let data = scratch.join("data");
        println!("\n$ {} --data-dir {} --listen {listen}", binary.display(), data.display());
        let mut child = Command::new(binary)
            .arg("--data-dir")
            .arg(&data)
            .args(["--listen", listen, "--metrics-listen", metrics, "--verbosity", "warn"])
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().ok_or("no standard output")?).read_line(&mut line)?;
        if line.is_empty() {
            return Err(format!("the server did not start: {}", child.wait()?).into());
        }
        print!("{line}");
        let token = line.rsplit(' ').next().unwrap_or_default().trim().to_owned();
        let mut server = Self { child, url: format!("http://{listen}"), token };
        for _ in 0..500 {
            if let Some(status) = server.child.try_wait()? {
                return Err(format!("the server did not start: {status}").into());
            }
            if ureq::get(format!("{}/healthz", server.url)).call().is_ok() {
                return Ok(server);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Err("the server does not respond".into())
    }

    /// Sends a request with JSON and shows it.
    pub(crate) fn send(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value> {
        let request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url))
            .header("authorization", format!("Bearer {}", self.token));
        let agent = ureq::agent();
        let sent = match body {
            Some(body) => agent.run(request.header("content-type", "application/json").body(body.to_string())?),
            None => agent.run(request.body(())?),
        };
        let mut response = sent.map_err(|error| format!("{method} {path}: {error}"))?;
        println!("  {method:4} {path} -> {}", response.status());
        let text = response.body_mut().read_to_string()?;
        Ok(if text.is_empty() { Value::Null } else { serde_json::from_str(&text)? })
    }

    /// Creates a principal that may write content; further requests use its token.
    pub(crate) fn become_writer(&mut self) -> Result<()> {
        let new = json!({"kind": "service", "display_name": "xtask"});
        let principal = self.send("POST", "/v1/auth/principals", Some(&new))?;
        let principal = format!("/v1/auth/principals/{}", text(&principal, "id")?);
        self.send("PUT", &format!("{principal}/roles/content-writer"), None)?;
        let expiry = json!({"name": "xtask", "expires_at": "2099-01-01T00:00:00Z"});
        let issued = self.send("POST", &format!("{principal}/api-tokens"), Some(&expiry))?;
        text(&issued, "plaintext")?.clone_into(&mut self.token);
        Ok(())
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until the process ends.
    pub(crate) fn wait_for_end(&mut self) -> Result<()> {
        println!("the server ended: {}", self.child.wait()?);
        Ok(())
    }

    /// Waits until the state of the resource at `path` is one of `ends`.
    pub(crate) fn wait(&self, path: &str, ends: &[&str]) -> Result<String> {
        loop {
            let mut response = ureq::get(format!("{}{path}", self.url))
                .header("authorization", format!("Bearer {}", self.token))
                .call()?;
            let body: Value = response.body_mut().read_json()?;
            let state = text(&body, "state")?.to_owned();
            if ends.contains(&state.as_str()) {
                return Ok(state);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// A text field of a response.
pub(crate) fn text<'a>(body: &'a Value, field: &str) -> Result<&'a str> {
    body[field].as_str().ok_or_else(|| format!("no {field} in {body}").into())
}
