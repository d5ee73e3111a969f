//! Simple Streams documents of a large catalog: serving them, and what one change costs.

use super::{
    Options,
    site::{Site, seconds},
    small,
    table::{MILLISECONDS, Row, Target},
};
use crate::{
    demo::digest,
    server::{Server, text},
    shell::{Result, output},
};
use imgsrv_testkit::qcow2;
use serde_json::{Value, json};
use std::{process::Command, thread};

const LISTEN: &str = "127.0.0.1:8095";
/// Artifacts of each version.
const PER_VERSION: usize = 200;
const PUBLISHERS: usize = 4;
/// Changes of a round: its figure is their median.
const CHANGES: usize = 11;

/// The documents of a second server, whose catalog has that many products.
pub(super) fn documents(site: &Site, options: &Options) -> Result<Vec<Row>> {
    let server = Server::start(&site.scratch.path().join("streams"), LISTEN, &[])?;
    let images = options.products.div_ceil(PER_VERSION);
    println!("publishing {} products as {images} images", images * PER_VERSION);
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
    let mut rows = small::streams(site, &server, options)?;
    rows.push(changes(&server, images, options)?);
    Ok(rows)
}

/// The next document after an alias was moved.
fn changes(server: &Server, images: usize, options: &Options) -> Result<Row> {
    let url = format!("{}/streams/v1/images.json", server.url);
    let mut ours = Vec::new();
    for round in 0..options.rounds {
        let mut took = Vec::new();
        for at in 0..CHANGES {
            let alias = format!("/v1/images/image-{}/aliases/other-{round}-{at}", at % images);
            server.request("PUT", &alias, Some(&json!({"version": "1"})))?;
            let mut get = Command::new("curl");
            get.args(["-sSf", "-o", "/dev/null", "-H", "Accept-Encoding: gzip", "-w", "%{time_starttransfer}", &url]);
            let mut first_byte = 0.0;
            seconds(|| {
                first_byte = output(&mut get)?.trim().parse()?;
                Ok(())
            })?;
            took.push(1000.0 * first_byte);
        }
        took.sort_by(f64::total_cmp);
        ours.push(took[took.len() / 2]);
    }
    let what = format!("images.json in gzip after an alias of {PER_VERSION} products was set");
    Ok(Row { what, unit: MILLISECONDS, ours, peer: Vec::new(), target: Target::Limit(20.0) })
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
