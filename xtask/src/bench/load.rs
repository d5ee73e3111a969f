//! Mixed load on one server: publishers beside bulk downloads and readers of Simple Streams, with the latency of each.

use super::{growth::Database, site::LISTEN};
use crate::{
    demo::digest,
    server::{Server, text},
    shell::Result,
};
use imgsrv_testkit::services::LocalPostgres;
use serde_json::json;
use std::{
    fs::File,
    io::{self, Read},
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};
use ureq::{Agent, SendBody};

/// The size of the blob that downloads fetch: cached, so that they run as fast as the machine copies.
const DOWNLOAD_MIB: u64 = 256;
/// The size of a published blob.
const PUBLISHED: usize = 4096;
/// Pause between two probes of `/healthz` or of a manifest.
const PROBE_INTERVAL: Duration = Duration::from_millis(20);
/// How long each probe is repeated before the load.
const IDLE: Duration = Duration::from_secs(3);

/// Who sends requests, and for how long.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Load {
    /// Measure mixed load for so many seconds
    #[arg(long = "load", value_name = "SECONDS", num_args = 0..=1, default_missing_value = "60")]
    seconds: Option<u64>,
    /// Concurrent publishers of the load
    #[arg(long, default_value_t = 64, requires = "seconds")]
    publishers: usize,
    /// Concurrent downloads of the load
    #[arg(long, default_value_t = 256, requires = "seconds")]
    downloads: usize,
    /// Concurrent readers of Simple Streams of the load
    #[arg(long, default_value_t = 16, requires = "seconds")]
    readers: usize,
}

impl Load {
    /// The duration, if the load is wanted.
    pub(super) fn duration(&self) -> Option<Duration> {
        self.seconds.map(Duration::from_secs)
    }
}

/// Durations of what succeeded and texts of what did not.
#[derive(Default)]
struct Measured {
    times: Vec<Duration>,
    errors: Vec<String>,
}

/// Results of one kind of request, from many threads.
#[derive(Default)]
struct Results(Mutex<Measured>);

impl Results {
    fn record(&self, done: Result<()>, took: Duration) {
        let mut measured = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match done {
            Ok(()) => measured.times.push(took),
            Err(error) => measured.errors.push(error.to_string()),
        }
    }

    /// Repeats a request until the end of the load.
    fn repeat(&self, end: Instant, pause: Duration, mut request: impl FnMut() -> Result<()>) {
        while Instant::now() < end {
            let started = Instant::now();
            let done = request();
            self.record(done, started.elapsed());
            thread::sleep(pause);
        }
    }

    fn show(&self, what: &str) {
        let mut measured = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        measured.times.sort();
        let at = |per_mille: usize| {
            let index = (measured.times.len() * per_mille / 1000).min(measured.times.len().saturating_sub(1));
            measured.times.get(index).map_or(0, Duration::as_millis)
        };
        let (count, errors) = (measured.times.len(), measured.errors.len());
        println!("  {what:18} {count:8} {errors:8} {:8} {:8} {:8}", at(500), at(990), at(1000));
        for error in measured.errors.iter().take(3) {
            println!("      {error}");
        }
    }
}

pub(super) fn run(load: &Load, duration: Duration, database: Database) -> Result<()> {
    let scratch = tempfile::TempDir::with_prefix("imgsrv-bench-")?;
    let postgres = (database == Database::Postgres).then(LocalPostgres::start_durable);
    let environment: Vec<_> = postgres.iter().map(|postgres| ("IMGSRV_POSTGRES_URL", postgres.url())).collect();
    let server = Server::start(scratch.path(), LISTEN, &environment)?;
    let file = scratch.path().join("file");
    io::copy(&mut File::open("/dev/urandom")?.take(DOWNLOAD_MIB << 20), &mut File::create(&file)?)?;
    let (bulk, size) = digest(File::open(&file)?)?;
    server.upload(&bulk, size, File::open(&file)?)?;
    for publisher in 0..load.publishers.max(1) {
        server.request("POST", "/v1/images", Some(&json!({"name": format!("load{publisher}")})))?;
    }
    publish(&server, &server_agent(), "load0", "first", &Results::default())?;

    // The same probes while nothing else happens.
    let [idle_manifests, idle_health] = <[Results; 2]>::default();
    for (results, path) in [(&idle_manifests, "/v1/images/load0/versions/first"), (&idle_health, "/healthz")] {
        let (agent, url) = (server_agent(), format!("{}{path}", server.url));
        let end = Instant::now() + IDLE;
        results.repeat(end, PROBE_INTERVAL, || fetch(&agent, &url, &server.token, end));
    }

    println!(
        "\n{} publishers, {} downloads, {} stream readers, {database}",
        load.publishers, load.downloads, load.readers
    );
    let end = Instant::now() + duration;
    let [flows, publishes, downloads, readers, manifests, health] = <[Results; 6]>::default();
    thread::scope(|scope| {
        for publisher in 0..load.publishers {
            let (server, flows, publishes) = (&server, &flows, &publishes);
            scope.spawn(move || {
                let (agent, image, mut version) = (server_agent(), format!("load{publisher}"), 0_u64);
                flows.repeat(end, Duration::ZERO, || {
                    version += 1;
                    publish(server, &agent, &image, &version.to_string(), publishes)
                });
            });
        }
        let url = format!("{}/v1/blobs/{bulk}", server.url);
        for (count, results, pause, is_bulk, url) in [
            (load.downloads, &downloads, Duration::ZERO, true, url),
            (load.readers, &readers, Duration::ZERO, false, format!("{}/streams/v1/images.json", server.url)),
            (1, &manifests, PROBE_INTERVAL, false, format!("{}/v1/images/load0/versions/first", server.url)),
            (1, &health, PROBE_INTERVAL, false, format!("{}/healthz", server.url)),
        ] {
            for _ in 0..count {
                let (url, token) = (url.clone(), &server.token);
                scope.spawn(move || {
                    if is_bulk {
                        give_way();
                    }
                    let agent = server_agent();
                    results.repeat(end, pause, || fetch(&agent, &url, token, end));
                });
            }
        }
    });
    println!("  {:18} {:>8} {:>8} {:>8} {:>8} {:>8}", "", "count", "errors", "p50 ms", "p99 ms", "max ms");
    flows.show("upload to publish");
    publishes.show("publish");
    downloads.show("download");
    readers.show("images.json");
    manifests.show("manifest");
    health.show("/healthz");
    idle_manifests.show("manifest, idle");
    idle_health.show("/healthz, idle");
    Ok(())
}

fn server_agent() -> Agent {
    ureq::Agent::config_builder().http_status_as_error(true).build().into()
}

/// Runs this thread only when others do not need the processor: the clients of real downloads are other machines.
fn give_way() {
    // On Linux, this is the priority of the thread alone.
    let _ = rustix::process::setpriority_process(None, 19);
}

/// Reads a response to its end, or to the end of the load.
fn fetch(agent: &Agent, url: &str, token: &str, end: Instant) -> Result<()> {
    let mut response = agent.get(url).header("authorization", format!("Bearer {token}")).call()?;
    let (mut body, mut buffer) = (response.body_mut().as_reader(), vec![0; 256 << 10]);
    while body.read(&mut buffer)? > 0 && Instant::now() < end {}
    Ok(())
}

/// Uploads new bytes and publishes them as a version; records how long the publish alone takes.
fn publish(server: &Server, agent: &Agent, image: &str, version: &str, publishes: &Results) -> Result<()> {
    let mut bytes = vec![0; PUBLISHED];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    let (digest, size) = digest(&bytes[..])?;
    let bearer = format!("Bearer {}", server.token);
    let post = |path: &str, body: serde_json::Value| -> Result<serde_json::Value> {
        let request = agent.post(format!("{}{path}", server.url)).header("authorization", &bearer);
        Ok(request.send_json(body)?.body_mut().read_json()?)
    };
    let wait = |path: &str, end: &str| -> Result<()> {
        loop {
            let request = agent.get(format!("{}{path}", server.url)).header("authorization", &bearer);
            let body: serde_json::Value = request.call()?.body_mut().read_json()?;
            match text(&body, "state")? {
                state if state == end => return Ok(()),
                "failed" => return Err(format!("{path} failed: {body}").into()),
                _ => thread::sleep(Duration::from_millis(5)),
            }
        }
    };
    let claim = json!({"expected_digest": digest, "expected_size_bytes": size});
    let upload = format!("/v1/uploads/{}", text(&post("/v1/uploads", claim)?, "id")?);
    let part: serde_json::Value = agent
        .put(format!("{}{upload}/parts/1", server.url))
        .header("authorization", &bearer)
        .header("content-length", size.to_string())
        .send(SendBody::from_reader(&mut &bytes[..]))?
        .body_mut()
        .read_json()?;
    let parts = json!({"parts": [{"number": 1, "etag": part["etag"], "size_bytes": part["size_bytes"]}]});
    post(&format!("{upload}/complete"), parts)?;
    wait(&upload, "ready")?;
    post(&format!("/v1/images/{image}/versions"), json!({"version": version}))?;
    let artifact = json!({
        "operating_system": "linux", "architecture": "amd64", "format": "raw", "primary_blob_digest": digest,
        "primary_blob_size_bytes": size, "primary_media_type": "application/octet-stream",
    });
    post(&format!("/v1/images/{image}/versions/{version}/artifacts"), artifact)?;
    let started = Instant::now();
    let requested = post(&format!("/v1/images/{image}/versions/{version}/publish"), json!({}))?;
    let done = wait(&format!("/v1/publish-jobs/{}", text(&requested, "job_id")?), "succeeded");
    publishes.record(done, started.elapsed());
    Ok(())
}
