//! Simple Streams documents of a large catalog: the cost of one change compared with a rebuild, and throughput compared
//! with nginx serving the same bytes from a file.

use super::{Instant, NGINX, median, memory, nginx, timed};
use crate::{
    demo::digest,
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
    let server = Server::start(scratch.path(), LISTEN, &[])?;
    let images = products.div_ceil(PER_VERSION);
    println!("\npublishing {} products as {images} images", images * PER_VERSION);
    let image = qcow2(1);
    let (digest, size) = digest(image.as_slice())?;
    server.upload(&digest, size, image.as_slice())?;
    let disk = json!({"operating_system": "debian", "architecture": "amd64", "format": "qcow2",
        "primary_blob_digest": digest, "primary_blob_size_bytes": size, "primary_media_type": "application/x-qemu-disk"});
    thread::scope(|scope| {
        let publishers = (0..PUBLISHERS).map(|first| {
            let mut work = (first..images).step_by(PUBLISHERS);
            let (server, disk) = (&server, &disk);
            scope.spawn(move || work.try_for_each(|at| publish(server, at, disk).map_err(|error| error.to_string())))
        });
        let publishers: Vec<_> = publishers.collect();
        publishers.into_iter().try_for_each(|thread| thread.join().map_err(|_| "a publisher failed".to_owned())?)
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
        server.request("PUT", &alias, Some(&json!({"version": "1"})))?;
        changes.push(timed(|| fetch(&url, "gzip"))?.1);
    }
    let change = median(changes);
    println!("  after an alias of {PER_VERSION} products was set  {change:.1?}");
    println!("  ratio to the rebuild: {:.1}", scratch_build.as_secs_f64() / change.as_secs_f64());

    println!("memory, before the first request and after\n{memory_before}\n{memory_after}");

    fs::write(scratch.path().join("file"), &gzip)?;
    let _nginx = nginx(scratch.path())?;
    let ours = repeatedly(&url, "gzip")?;
    let peer = repeatedly(&format!("http://127.0.0.1:{NGINX}/file"), "identity")?;
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

/// Publishes a version with many artifacts, each with its own metadata.
fn publish(server: &Server, at: usize, disk: &Value) -> Result<()> {
    let (name, versions) = (format!("image-{at}"), format!("/v1/images/image-{at}/versions"));
    server.request("POST", "/v1/images", Some(&json!({"name": name})))?;
    server.request("POST", &versions, Some(&json!({"version": "1"})))?;
    for variant in 0..PER_VERSION {
        let mut artifact = disk.clone();
        artifact["variant"] = json!(format!("v{variant}"));
        let (_, added) = server.request("POST", &format!("{versions}/1/artifacts"), Some(&artifact))?;
        let url = format!("{versions}/1/artifacts/{}/incus-metadata", text(&added, "id")?);
        server.request("POST", &url, Some(&json!({"release": format!("{at}")})))?;
    }
    server.publish(&name, "1")?;
    server.request("PUT", &format!("/v1/images/{name}/aliases/latest"), Some(&json!({"version": "1"})))?;
    Ok(())
}
