//! Simple Streams documents of a large catalog: the cost of one change compared with a rebuild, and throughput compared
//! with nginx serving the same bytes from a file.

use super::{Instant, median, memory, nginx, timed};
use crate::{
    server::{Server, build, text},
    shell::Result,
    tools,
};
use imgsrv_testkit::qcow2;
use serde_json::{Value, json};
use std::{fs, io::Read, thread, time::Duration};
use ureq::Agent;

const LISTEN: &str = "127.0.0.1:8095";
/// Artifacts of each version.
const PER_VERSION: usize = 200;
const PUBLISHERS: usize = 4;
const REQUESTS: u32 = 300;
const CHANGES: usize = 21;

pub(super) fn run(products: usize) -> Result<()> {
    tools::from_debian(&[("nginx", "nginx-light")])?;
    build()?;
    let scratch = tempfile::TempDir::with_prefix("imgsrv-bench-")?;
    let mut server = Server::start(scratch.path(), LISTEN)?;
    server.become_writer()?;
    let images = products.div_ceil(PER_VERSION);
    println!("\npublishing {} products as {images} images", images * PER_VERSION);
    let publisher =
        Publisher { url: server.url.clone(), token: server.token.clone(), agent: Agent::new_with_defaults() };
    let disk = publisher.upload(&qcow2(1))?;
    thread::scope(|scope| {
        let work: Vec<_> = (0..PUBLISHERS)
            .map(|first| {
                let (publisher, disk) = (&publisher, &disk);
                let publish = move || {
                    (first..images)
                        .step_by(PUBLISHERS)
                        .try_for_each(|at| publisher.publish(at, disk).map_err(|error| error.to_string()))
                };
                scope.spawn(publish)
            })
            .collect();
        work.into_iter().try_for_each(|thread| thread.join().map_err(|_| "a publisher failed".to_owned())?)
    })?;

    // The documents were not requested before.
    let memory_before = memory(&server)?;
    let url = format!("{}/streams/v1/images.json", server.url);
    let (plain, scratch_build) = timed(|| fetch(&url, "identity"))?;
    let gzip = fetch(&url, "gzip")?;
    let memory_after = memory(&server)?;
    let zstd = fetch(&url, "zstd")?;
    println!("images.json: {} bytes, gzip {}, zstd {}", plain.len(), gzip.len(), zstd.len());
    println!("  rebuild, first response              {scratch_build:.1?}");
    let mut changes = Vec::new();
    for at in 0..CHANGES {
        let alias = format!("/v1/images/image-{}/aliases/other-{at}", at % images);
        publisher.send("PUT", &alias, Some(&json!({"version": "1"})))?;
        changes.push(timed(|| fetch(&url, "gzip"))?.1);
    }
    let change = median(changes);
    println!("  after an alias of {PER_VERSION} products was set  {change:.1?}");
    println!("  ratio to the rebuild: {:.1}", scratch_build.as_secs_f64() / change.as_secs_f64());

    println!("memory, before the first request and after\n{memory_before}\n{memory_after}");

    fs::write(scratch.path().join("file"), &gzip)?;
    let _nginx = nginx(scratch.path())?;
    let ours = repeatedly(&url, "gzip")?;
    let peer = repeatedly(&format!("http://{}/file", super::NGINX), "identity")?;
    println!("Serving it in gzip, one connection");
    println!("  nginx, the same bytes in a file      {:.0} a second", 1.0 / peer.as_secs_f64());
    println!("  imgsrv                               {:.0} a second", 1.0 / ours.as_secs_f64());
    println!("  ratio: {:.2}", peer.as_secs_f64() / ours.as_secs_f64());
    Ok(())
}

fn fetch(url: &str, encoding: &str) -> Result<Vec<u8>> {
    get(&Agent::config_builder().accept_encoding(encoding).build().into(), url)
}

fn get(agent: &Agent, url: &str) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    agent.get(url).call()?.body_mut().as_reader().read_to_end(&mut body)?;
    Ok(body)
}

/// The time of a request on a kept-alive connection.
fn repeatedly(url: &str, encoding: &str) -> Result<Duration> {
    let agent: Agent = Agent::config_builder().accept_encoding(encoding).build().into();
    get(&agent, url)?;
    let began = Instant::now();
    for _ in 0..REQUESTS {
        get(&agent, url)?;
    }
    Ok(began.elapsed() / REQUESTS)
}

struct Publisher {
    url: String,
    token: String,
    agent: Agent,
}

impl Publisher {
    fn send(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value> {
        let request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url))
            .header("authorization", format!("Bearer {}", self.token))
            .header("content-type", "application/json");
        let body = body.map(ToString::to_string).unwrap_or_default();
        let mut response = self.agent.run(request.body(body)?).map_err(|error| format!("{method} {path}: {error}"))?;
        let text = response.body_mut().read_to_string()?;
        Ok(if text.is_empty() { Value::Null } else { serde_json::from_str(&text)? })
    }

    /// Uploads bytes and waits until the blob is trusted; returns an artifact of it.
    fn upload(&self, bytes: &[u8]) -> Result<Value> {
        let digest = crate::demo::digest(bytes)?.0;
        let claim = json!({"expected_digest": digest, "expected_size_bytes": bytes.len()});
        let session = self.send("POST", "/v1/uploads", Some(&claim))?;
        let url = format!("/v1/uploads/{}", text(&session, "id")?);
        let put = self.agent.put(format!("{}{url}/parts/1", self.url));
        let part: Value =
            put.header("authorization", format!("Bearer {}", self.token)).send(bytes)?.body_mut().read_json()?;
        let listed = json!({"parts": [{"number": 1, "etag": part["etag"], "size_bytes": part["size_bytes"]}]});
        self.send("POST", &format!("{url}/complete"), Some(&listed))?;
        while self.send("GET", &url, None)?["state"] != "ready" {
            thread::sleep(Duration::from_millis(5));
        }
        Ok(json!({"operating_system": "debian", "architecture": "amd64", "format": "qcow2",
            "primary_blob_digest": digest, "primary_blob_size_bytes": bytes.len(),
            "primary_media_type": "application/x-qemu-disk"}))
    }

    /// Publishes a version with many artifacts, each with its own metadata.
    fn publish(&self, at: usize, disk: &Value) -> Result<()> {
        let image = format!("/v1/images/image-{at}");
        self.send("POST", "/v1/images", Some(&json!({"name": format!("image-{at}")})))?;
        self.send("POST", &format!("{image}/versions"), Some(&json!({"version": "1"})))?;
        for variant in 0..PER_VERSION {
            let mut artifact = disk.clone();
            artifact["variant"] = json!(format!("v{variant}"));
            let added = self.send("POST", &format!("{image}/versions/1/artifacts"), Some(&artifact))?;
            let url = format!("{image}/versions/1/artifacts/{}/incus-metadata", text(&added, "id")?);
            self.send("POST", &url, Some(&json!({"release": format!("{at}")})))?;
        }
        let job = self.send("POST", &format!("{image}/versions/1/publish"), None)?;
        let job = format!("/v1/publish-jobs/{}", text(&job, "job_id")?);
        while self.send("GET", &job, None)?["state"] != "succeeded" {
            thread::sleep(Duration::from_millis(20));
        }
        self.send("PUT", &format!("{image}/aliases/latest"), Some(&json!({"version": "1"})))?;
        Ok(())
    }
}
