//! A server that is killed and restarted on the same catalog and folder.

use imgsrv_testkit::{Process, qcow2, services::Postgres, writer_token};
use reqwest::{Client, Method, StatusCode};
use serde_json::Value;
use std::{
    path::Path,
    time::{Duration, Instant},
};
use tempfile::TempDir;

const BINARY: &str = env!("CARGO_BIN_EXE_imgsrv");
/// A short lease, so that the work of a killed process is soon reclaimed.
const QUICK: [&str; 4] = ["--lease-term", "1s", "--cas-promotion-poll-interval", "100ms"];
/// The deadline of everything that a test waits for.
const DEADLINE: Duration = Duration::from_mins(1);

/// A server that is killed and restarted on the same catalog and folder.
pub(crate) struct Victim {
    dir: TempDir,
    catalog: Vec<(String, String)>,
    arguments: Vec<&'static str>,
    pub(crate) process: Process,
    pub(crate) http: Client,
    pub(crate) token: String,
}

impl Victim {
    /// A server with SQLite.
    pub(crate) async fn start() -> Self {
        Self::start_on(Vec::new(), &[]).await
    }

    /// A server with PostgreSQL.
    pub(crate) async fn start_on_postgres(arguments: &[&'static str]) -> Self {
        let url = Postgres::shared().await.database().await;
        Self::start_on(vec![("IMGSRV_POSTGRES_URL".to_owned(), url)], arguments).await
    }

    /// A server with the catalog that the environment names.
    pub(crate) async fn start_on(catalog: Vec<(String, String)>, arguments: &[&'static str]) -> Self {
        let dir = TempDir::new().expect("a scratch folder");
        let arguments = [&QUICK[..], arguments].concat();
        let process = Process::start_with(BINARY, dir.path(), &arguments, &catalog);
        let (url, bootstrap) = (process.url.clone(), process.bootstrap.clone().expect("a bootstrap token"));
        let token = tokio::task::spawn_blocking(move || writer_token(&url, &bootstrap)).await.expect("a token");
        Self { dir, catalog, arguments, process, http: Client::new(), token }
    }

    /// The folder of its data.
    pub(crate) fn folder(&self) -> &Path {
        self.dir.path()
    }

    /// Kills the process and starts another one.
    pub(crate) fn restart(&mut self) {
        assert!(self.restart_with("").is_ok(), "it starts");
    }

    /// Kills the process and starts another one, whose crash points are armed. It may crash before it listens; that error
    /// is its log.
    pub(crate) fn restart_with(&mut self, points: &str) -> Result<(), String> {
        self.process.kill();
        let mut environment = self.catalog.clone();
        environment.push(("FAILPOINTS".to_owned(), points.to_owned()));
        self.process = Process::try_start(BINARY, self.dir.path(), &self.arguments, &environment)?;
        // Connections to the old process are broken.
        self.http = Client::new();
        Ok(())
    }

    /// Waits until the process has crashed.
    pub(crate) async fn crashes(&mut self) {
        let began = Instant::now();
        while !self.process.has_ended() {
            assert!(began.elapsed() < DEADLINE, "no crash point was reached:\n{}", self.process.log());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> reqwest::Result<(StatusCode, Value)> {
        let mut request = self.http.request(method, format!("{}{path}", self.process.url)).bearer_auth(&self.token);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await?;
        let status = response.status();
        let body = response.bytes().await?;
        Ok((status, serde_json::from_slice(&body).unwrap_or(Value::Null)))
    }

    pub(crate) async fn call(&self, method: Method, path: &str, body: Value) -> Value {
        let (status, response) =
            self.send(method, path, Some(body).filter(|body| !body.is_null())).await.expect("a response");
        assert!(status.is_success(), "{path}: {status} {response}");
        response
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        let (status, response) = self.send(Method::GET, path, None).await.expect("a response");
        assert_eq!(status, StatusCode::OK, "{path}: {response}");
        response
    }

    /// The bytes at `path`.
    pub(crate) async fn read(&self, path: &str) -> Vec<u8> {
        let response = self.http.get(format!("{}{path}", self.process.url)).send().await.expect("a response");
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        response.bytes().await.expect("a body").to_vec()
    }

    pub(crate) async fn put_part(&self, upload: &str, number: usize, bytes: Vec<u8>) -> reqwest::Result<Value> {
        let url = format!("{}/v1/uploads/{upload}/parts/{number}", self.process.url);
        let response = self.http.put(url).bearer_auth(&self.token).body(bytes).send().await?;
        assert_eq!(response.status(), StatusCode::OK);
        Ok(serde_json::from_slice(&response.bytes().await?).expect("JSON"))
    }

    /// Waits until the resource at `path` is in `state`. It fails when that can no longer happen, and ends when the process
    /// does.
    pub(crate) async fn becomes(&self, path: &str, state: &str) -> reqwest::Result<Value> {
        let began = Instant::now();
        loop {
            let (status, body) = self.send(Method::GET, path, None).await?;
            assert_eq!(status, StatusCode::OK, "{path}: {body}");
            let now = text(&body, "state");
            if now == state {
                return Ok(body);
            }
            assert!(!matches!(now, "failed" | "aborted" | "abandoned"), "{path}: {body}");
            assert!(began.elapsed() < DEADLINE, "{path} does not become {state}: {body}\n{}", self.process.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until the resource at `path` is in `state`.
    pub(crate) async fn reaches(&self, path: &str, state: &str) -> Value {
        self.becomes(path, state).await.expect("a response")
    }

    /// Kills the process `delay` after `work` began; then restarts it.
    pub(crate) async fn killed_after<T>(
        &mut self,
        delay: Duration,
        work: impl AsyncFnOnce(&Self) -> reqwest::Result<T>,
    ) -> Option<T> {
        let id = self.process.id().to_string();
        let (done, ()) = tokio::join!(work(self), async {
            tokio::time::sleep(delay).await;
            let killed = std::process::Command::new("kill").args(["-KILL", &id]).status();
            assert!(killed.expect("kill runs").success());
        });
        self.restart();
        done.ok()
    }

    /// Waits until all staged bytes are removed.
    pub(crate) async fn staging_is_cleared(&self) {
        let began = Instant::now();
        while !self.staged().is_empty() {
            assert!(began.elapsed() < DEADLINE, "still staged: {:?}", self.staged());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// The entries of the staging folder.
    fn staged(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.folder().join("storage/staging")).expect("a folder");
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect()
    }
}

pub(crate) fn text<'a>(body: &'a Value, field: &str) -> &'a str {
    body[field].as_str().unwrap_or_else(|| panic!("no {field} in {body}"))
}

/// A few megabytes, different in each round.
pub(crate) fn image(round: u64) -> Vec<u8> {
    let mut bytes = qcow2(round);
    bytes.extend((0..500_000_u64).flat_map(|word| (word ^ round).to_le_bytes()));
    bytes
}
