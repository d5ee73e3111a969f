//! A demonstration of publishing and downloading an image, end to end, with a quick build of the server.

use crate::{
    server::{Server, build_for_demo, text},
    shell::{Result, has, run as run_command, target_dir},
};
use imgsrv_testkit::qcow2;
use serde_json::json;
use sha2::{Digest, Sha256};
use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

/// The options of the demo.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Stop the server at the end instead of serving until Ctrl-C
    #[arg(long)]
    exit: bool,
    /// Where the server listens
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: String,
    /// Publish this qcow2 instead of making one
    #[arg(long, value_name = "FILE")]
    image: Option<PathBuf>,
    /// How many MiB of data the qcow2 that is made has
    #[arg(long, default_value_t = 64)]
    mib: u64,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    build_for_demo()?;
    // Checked first: another demo may be serving on that address, from the same folder.
    let free = std::net::TcpListener::bind(&options.listen);
    drop(free.map_err(|error| format!("cannot listen on {}: {error}; choose another --listen", options.listen))?);
    // Emptied at the start, because Ctrl-C ends this program before it can clean up. Each address has its own folder.
    let scratch = target_dir().join(format!("demo-{}", options.listen.replace(':', "-")));
    if scratch.exists() {
        std::fs::remove_dir_all(&scratch)?;
    }
    std::fs::create_dir_all(&scratch)?;
    let image = match &options.image {
        Some(image) => image.clone(),
        None => make_image(&scratch, options.mib)?,
    };
    let mut server = Server::start(&scratch, &options.listen, &[])?;
    let artifact = publish(&server, &image, &scratch)?;
    print_commands(&server, &artifact);
    if options.exit {
        drop(server);
        std::fs::remove_dir_all(&scratch)?;
        return Ok(());
    }
    println!("\nServing on {} until Ctrl-C; all data is in {}.", server.url, scratch.display());
    server.wait_for_end()
}

fn make_image(folder: &Path, mib: u64) -> Result<PathBuf> {
    let path = folder.join("disk.qcow2");
    if !has("qemu-img") {
        println!("\nqemu-img is not installed: writing a small, valid qcow2 instead");
        std::fs::write(&path, qcow2(u64::from(std::process::id())))?;
        return Ok(path);
    }
    let raw = folder.join("disk.raw");
    std::io::copy(&mut File::open("/dev/urandom")?.take(mib << 20), &mut File::create(&raw)?)?;
    run_command(Command::new("qemu-img").args(["convert", "-f", "raw", "-O", "qcow2"]).arg(&raw).arg(&path))?;
    std::fs::remove_file(raw)?;
    run_command(Command::new("qemu-img").arg("info").arg(&path))?;
    Ok(path)
}

/// The digest and the number of the bytes of a reader.
pub(crate) fn digest(mut reader: impl Read) -> Result<(String, u64)> {
    let (mut hasher, mut buffer, mut size) = (Sha256::new(), vec![0; 1 << 20], 0);
    loop {
        let read = reader.read(&mut buffer)?;
        if read == 0 {
            let hex: String = hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
            return Ok((format!("sha256:{hex}"), size));
        }
        hasher.update(&buffer[..read]);
        size += read as u64;
    }
}

#[expect(clippy::cast_precision_loss, reason = "shown to two digits")]
fn rate(size: u64, took: Duration) -> String {
    format!("{:.0} MiB/s", size as f64 / 1_048_576.0 / took.as_secs_f64().max(1e-9))
}

/// Uploads, publishes and downloads an image; returns the path of the artifact.
fn publish(server: &Server, image: &Path, scratch: &Path) -> Result<String> {
    println!("\n1. Upload {} with its declared digest", image.display());
    let (digest_of_image, size) = digest(File::open(image)?)?;
    println!("  {digest_of_image}, {size} bytes");
    let started = Instant::now();
    server.upload(&digest_of_image, size, File::open(image)?)?;
    println!("  the blob is trusted after {:?} ({})", started.elapsed(), rate(size, started.elapsed()));

    println!("\n2. Create an image and a draft version, and add the artifact");
    server.send("POST", "/v1/images", Some(&json!({"name": "demo", "display_name": "Demo image"})))?;
    server.send("POST", "/v1/images/demo/versions", Some(&json!({"version": "1.0.0"})))?;
    let artifact = json!({
        "operating_system": "linux", "architecture": "amd64", "format": "qcow2", "primary_blob_digest": digest_of_image,
        "primary_blob_size_bytes": size, "primary_media_type": "application/x-qemu-disk",
    });
    let artifact = server.send("POST", "/v1/images/demo/versions/1.0.0/artifacts", Some(&artifact))?;
    let artifact = format!("/v1/images/demo/versions/1.0.0/artifacts/{}", text(&artifact, "id")?);

    println!("\n3. Publish the version, which cannot be changed afterwards");
    let started = Instant::now();
    server.publish("demo", "1.0.0")?;
    println!("  it is published after {:?}", started.elapsed());
    server.send("PUT", "/v1/images/demo/aliases/latest", Some(&json!({"version": "1.0.0"})))?;

    println!("\n4. Download the artifact, without a token");
    let started = Instant::now();
    let download = scratch.join("downloaded.qcow2");
    let mut response = ureq::get(format!("{}{artifact}/download", server.url)).call()?;
    std::io::copy(&mut response.body_mut().as_reader(), &mut File::create(&download)?)?;
    println!("  GET  {artifact}/download -> {} ({})", response.status(), rate(size, started.elapsed()));
    let (digest_of_download, _) = digest(File::open(&download)?)?;
    if digest_of_download != digest_of_image {
        return Err(format!("the download has digest {digest_of_download}").into());
    }
    println!("  its digest matches");
    std::fs::remove_file(download)?;
    Ok(artifact)
}

fn print_commands(server: &Server, artifact: &str) {
    let url = &server.url;
    println!("\nCommands for consumers:");
    println!("  curl -s {url}/v1/images/demo/refs/latest");
    println!("  curl -fOJ {url}{artifact}/download");
    println!("  curl -fO {url}/images/demo/1.0.0/demo-1.0.0-amd64.qcow2");
    println!("  curl -s {url}/images/demo/1.0.0/SHA256SUMS");
    println!("  xdg-open {url}/docs");
    println!("Commands for publishers:");
    println!("  export TOKEN={}", server.token);
    println!("  curl -s {url}/v1/images?include_unpublished=true -H \"Authorization: Bearer $TOKEN\"");
}
