//! A release build of the server for a task, and requests to it.

use crate::shell::{Result, cargo, run, target_dir};
use imgsrv_testkit::writer_token;
use serde_json::{Value, json};
use std::{
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
    time::{Duration, Instant},
};
use ureq::{Agent, SendBody, http::StatusCode};

/// Builds the release server.
pub(crate) fn build() -> Result<()> {
    build_with("release", &[])
}

/// Builds the server with less optimisation, which takes less time, and lets the task use it.
pub(crate) fn build_for_demo() -> Result<()> {
    // Its own allocator takes as long to build as a dozen libraries.
    build_with("demo", &["--no-default-features"])?;
    use_binary(target_dir().join("demo/imgsrv"));
    Ok(())
}

fn build_with(profile: &str, options: &[&str]) -> Result<()> {
    run(cargo().args(["build", "--profile", profile, "--locked", "--package", "imgsrv-server"]).args(options))
}

/// The program that is used instead of the release build.
static GIVEN: OnceLock<PathBuf> = OnceLock::new();

/// Lets the task use this program instead of the release build.
pub(crate) fn use_binary(path: PathBuf) {
    // Set once, before the first server starts.
    let _ = GIVEN.set(path);
}

/// The program that the task runs.
pub(crate) fn binary() -> PathBuf {
    GIVEN.get().cloned().unwrap_or_else(|| target_dir().join("release/imgsrv"))
}

/// A server that ends with the task.
pub(crate) struct Server {
    child: Child,
    agent: Agent,
    pub(crate) url: String,
    pub(crate) token: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        terminate(&mut self.child);
    }
}

impl Server {
    /// Starts the server on a data folder below `scratch`, with more variables in its environment. Requests use a token
    /// that may write content.
    pub(crate) fn start(scratch: &Path, listen: &str, environment: &[(&str, String)]) -> Result<Self> {
        let mut server = Self::start_new(scratch, listen, environment)?;
        server.token = writer_token(&server.url, &server.token);
        Ok(server)
    }

    /// The same, but requests use the bootstrap token.
    pub(crate) fn start_new(scratch: &Path, listen: &str, environment: &[(&str, String)]) -> Result<Self> {
        std::fs::create_dir_all(scratch)?;
        let mut child = command(scratch, listen, environment).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().ok_or("no standard output")?).read_line(&mut line)?;
        print!("{line}");
        let token = line.rsplit(' ').next().unwrap_or_default().trim();
        Self::of(child, listen, token)
    }

    /// Starts the server on what an earlier one left below `scratch`, where `token` is valid; also returns how long it took
    /// until the server was ready.
    pub(crate) fn resume(
        scratch: &Path,
        listen: &str,
        environment: &[(&str, String)],
        token: &str,
    ) -> Result<(Self, Duration)> {
        let mut command = command(scratch, listen, environment);
        let started = Instant::now();
        let server = Self::of(command.stdout(Stdio::null()).spawn()?, listen, token)?;
        Ok((server, started.elapsed()))
    }

    /// Waits until the server that `child` runs is ready.
    fn of(child: Child, listen: &str, token: &str) -> Result<Self> {
        let url = format!("http://{listen}");
        let mut server = Self { child, agent: ureq::agent(), url, token: token.to_owned() };
        let end = Instant::now() + Duration::from_mins(1);
        while Instant::now() < end {
            if let Some(status) = server.child.try_wait()? {
                return Err(format!("the server did not start: {status}").into());
            }
            if ureq::get(format!("{}/readyz", server.url)).call().is_ok() {
                return Ok(server);
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Err("the server is not ready".into())
    }

    /// Sends a request with JSON and shows it.
    pub(crate) fn send(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value> {
        let (status, response) = self.request(method, path, body)?;
        println!("  {method:4} {path} -> {status}");
        Ok(response)
    }

    /// Sends a request with JSON.
    pub(crate) fn request(&self, method: &str, path: &str, body: Option<&Value>) -> Result<(StatusCode, Value)> {
        let request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url))
            .header("authorization", format!("Bearer {}", self.token));
        let sent = match body {
            Some(body) => self.agent.run(request.header("content-type", "application/json").body(body.to_string())?),
            None => self.agent.run(request.body(())?),
        };
        let mut response = sent.map_err(|error| format!("{method} {path}: {error}"))?;
        let text = response.body_mut().read_to_string()?;
        Ok((response.status(), if text.is_empty() { Value::Null } else { serde_json::from_str(&text)? }))
    }

    /// Uploads bytes in one part, shows it, and waits until the blob is trusted.
    pub(crate) fn upload(&self, digest: &str, size: u64, mut bytes: impl Read) -> Result<()> {
        let claim = json!({"expected_digest": digest, "expected_size_bytes": size});
        let upload = format!("/v1/uploads/{}", text(&self.send("POST", "/v1/uploads", Some(&claim))?, "id")?);
        let mut response = ureq::put(format!("{}{upload}/parts/1", self.url))
            .header("authorization", format!("Bearer {}", self.token))
            .header("content-length", size.to_string())
            .send(SendBody::from_reader(&mut bytes))?;
        println!("  PUT  {upload}/parts/1 -> {}", response.status());
        let part: Value = response.body_mut().read_json()?;
        self.complete(&upload, &[part])
    }

    /// Completes an upload of these parts, and waits until the blob is trusted.
    pub(crate) fn complete(&self, upload: &str, parts: &[Value]) -> Result<()> {
        let listed = |part: &Value| json!({"number": part["part_number"], "etag": part["etag"], "size_bytes": part["size_bytes"]});
        let parts = json!({"parts": parts.iter().map(listed).collect::<Vec<_>>()});
        self.send("POST", &format!("{upload}/complete"), Some(&parts))?;
        self.wait(upload, "ready")
    }

    /// Publishes version `version` of `image`, and waits until it is published.
    pub(crate) fn publish(&self, image: &str, version: &str) -> Result<()> {
        let requested = self.send("POST", &format!("/v1/images/{image}/versions/{version}/publish"), None)?;
        self.wait(&format!("/v1/publish-jobs/{}", text(&requested, "job_id")?), "succeeded")
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

    /// Waits until the state of the resource at `path` is `end`; fails if that is `failed`.
    fn wait(&self, path: &str, end: &str) -> Result<()> {
        loop {
            let (_, body) = self.request("GET", path, None)?;
            match text(&body, "state")? {
                state if state == end => return Ok(()),
                "failed" => return Err(format!("{path} failed: {body}").into()),
                _ => std::thread::sleep(Duration::from_millis(1)),
            }
        }
    }
}

/// A server with TLS that ends with the task.
pub(crate) struct TlsServer {
    child: Child,
    pub(crate) url: String,
}

impl Drop for TlsServer {
    fn drop(&mut self) {
        terminate(&mut self.child);
    }
}

impl TlsServer {
    /// Starts the server, with a certificate of its own authority, on what an earlier one without TLS left below `scratch`.
    pub(crate) fn resume(scratch: &Path, listen: &str) -> Result<Self> {
        let child = command(scratch, listen, &[]).arg("--tls-self-signed").stdout(Stdio::null()).spawn()?;
        let server = Self { child, url: format!("https://{listen}") };
        let end = Instant::now() + Duration::from_mins(1);
        while Instant::now() < end {
            let ready = Command::new("curl").args(["-skf", &format!("{}/readyz", server.url)]).status()?;
            if ready.success() {
                return Ok(server);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Err("the server with TLS is not ready".into())
    }
}

/// Stops a server, and waits until it has ended.
fn terminate(child: &mut Child) {
    let _ = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
    let _ = child.wait();
}

/// The command that starts a server on a data folder below `scratch`, which it shows.
fn command(scratch: &Path, listen: &str, environment: &[(&str, String)]) -> Command {
    let (binary, data) = (binary(), scratch.join("data"));
    println!("\n$ {} serve --data-dir {} --listen {listen}", binary.display(), data.display());
    let mut command = Command::new(binary);
    command
        .args(["serve", "--data-dir"])
        .arg(data)
        .args(["--listen", listen, "--verbosity", "warn"])
        .env("IMGSRV_METRICS_LISTEN", "")
        .envs(environment.iter().map(|(name, value)| (name, value)));
    command
}

/// A text field of a response.
pub(crate) fn text<'a>(body: &'a Value, field: &str) -> Result<&'a str> {
    body[field].as_str().ok_or_else(|| format!("no {field} in {body}").into())
}
