//! Uploads and downloads with PostgreSQL and Garage, compared with those of other S3 clients on the same Garage.

use super::{
    bulk::mib,
    site::{LISTEN, curl, publish, seconds},
    table::{self, MIB_PER_SECOND, Row, Target},
};
use crate::{
    demo::digest,
    server::Server,
    services,
    shell::{Result, output, run as run_command},
    tools,
};
use imgsrv_testkit::services::{Garage, LocalPostgres, S3Server};
use serde_json::json;
use std::{
    fs::File,
    io::{self, Read, Write},
    path::Path,
    process::Command,
};

const METRICS: &str = "127.0.0.1:9493";

pub(super) fn run(whole_mib: u64, rounds: usize) -> Result<()> {
    services::install()?;
    tools::from_debian(&[("aws", "awscli")])?;
    let scratch = tempfile::TempDir::with_prefix("imgsrv-bench-")?;
    let path = scratch.path().join("file");
    io::copy(&mut File::open("/dev/urandom")?.take(whole_mib << 20), &mut File::create(&path)?)?;
    let (postgres, garage) = (LocalPostgres::start(), Garage::start());
    let (key, secret) = garage.keys();
    let environment = [
        ("IMGSRV_METRICS_LISTEN", METRICS.to_owned()),
        ("IMGSRV_POSTGRES_URL", postgres.url()),
        ("IMGSRV_S3_ENDPOINT", garage.endpoint()),
        ("IMGSRV_S3_BUCKET", "imgsrv".to_owned()),
        ("IMGSRV_S3_ACCESS_KEY_ID", key.to_owned()),
        ("IMGSRV_S3_SECRET_ACCESS_KEY", secret.to_owned()),
        ("IMGSRV_S3_REGION", "garage".to_owned()),
        ("IMGSRV_S3_PATH_STYLE", "true".to_owned()),
    ];
    let server = Server::start(scratch.path(), LISTEN, &environment)?;
    server.request("POST", "/v1/images", Some(&json!({"name": "bench"})))?;
    let row = |what: &str, name, least| Row {
        what: format!("{what} of {whole_mib} MiB with Garage"),
        unit: MIB_PER_SECOND,
        ours: Vec::new(),
        peer: Vec::new(),
        target: Target::Peer(name, least),
    };
    let mut uploads = row("upload to ready", "aws s3 cp", 1.0);
    let mut downloads = row("download", "curl that signs its request to Garage", 0.95);
    for round in 0..rounds {
        // Different bytes in each round: a trusted blob is not uploaded again.
        File::options().write(true).open(&path)?.write_all(&round.to_le_bytes())?;
        let (digest, size) = digest(File::open(&path)?)?;
        uploads.ours.push(mib(size) / seconds(|| server.upload(&digest, size, File::open(&path)?))?);
        uploads.peer.push(mib(size) / seconds(|| copy(&path, &garage))?);
        publish(&server, "bench", &round.to_string(), &digest, size)?;
        let blob = format!("{}/v1/blobs/{digest}", server.url);
        downloads.ours.push(mib(size) / seconds(|| download(&mut curl(&blob, None)))?);
        downloads.peer.push(mib(size) / seconds(|| download(&mut signing_curl(&garage)))?);
    }
    println!("\n{}", table::markdown(&[uploads, downloads]));
    println!("Requests to the store and bytes, of all rounds and the start");
    let metrics = ureq::get(format!("http://{METRICS}/metrics")).call()?.body_mut().read_to_string()?;
    let shown = ["imgsrv_objectstore_operations_total{", "imgsrv_objectstore_bytes_total{"];
    for line in metrics.lines().filter(|line| shown.iter().any(|name| line.starts_with(name)) && !line.ends_with(" 0"))
    {
        println!("  {line}");
    }
    Ok(())
}

fn download(curl: &mut Command) -> Result<()> {
    output(curl.args(["-o", "/dev/null"])).map(drop)
}

/// curl, which gets what [`copy`] has uploaded from Garage.
fn signing_curl(garage: &Garage) -> Command {
    let (key, secret) = garage.keys();
    let mut curl = curl(&format!("http://{}/imgsrv/peer", garage.endpoint()), None);
    curl.args(["--aws-sigv4", "aws:amz:garage:s3", "--user", &format!("{key}:{secret}")]);
    // Garage requires it.
    curl.args(["-H", "x-amz-content-sha256: UNSIGNED-PAYLOAD"]);
    curl
}

fn copy(path: &Path, garage: &Garage) -> Result<()> {
    let (key, secret) = garage.keys();
    run_command(
        Command::new("aws")
            .args(["--endpoint-url", &format!("http://{}", garage.endpoint()), "s3", "cp", "--quiet"])
            .arg(path)
            .arg("s3://imgsrv/peer")
            .envs([("AWS_ACCESS_KEY_ID", key), ("AWS_SECRET_ACCESS_KEY", secret), ("AWS_DEFAULT_REGION", "garage")]),
    )
}
