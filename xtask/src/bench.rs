//! Throughput compared with peers in the same run: `openssl`, a plain write with fsync, and nginx with sendfile.

mod checks;
mod load;
mod scale_out;
mod streams;

use crate::{
    demo::digest,
    server::{Server, build},
    shell::{Result, run as run_command},
    tools,
};
use imgsrv_testkit::services::Nginx;
use std::{
    fs::{self, File, Permissions},
    io::{self, Read},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Child, Command},
    time::{Duration, Instant},
};

const LISTEN: &str = "127.0.0.1:8093";
const NGINX: u16 = 8094;
const METRICS: &str = "127.0.0.1:9493";
const ROUNDS: usize = 5;
const SLOW_READERS: usize = 16;

/// The options of the benchmark.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Size of the file in MiB
    #[arg(long, default_value_t = 1024)]
    mib: u64,
    /// On PostgreSQL and Garage, beside `aws s3 cp` to the same Garage
    #[arg(long)]
    scale_out: bool,
    /// The documents of Simple Streams with so many products, beside nginx and a rebuild from scratch
    #[arg(long, value_name = "PRODUCTS", num_args = 0..=1, default_missing_value = "10000")]
    streams: Option<usize>,
    /// With and without verifying what is read
    #[arg(long)]
    checks: bool,
    #[command(flatten)]
    load: load::Load,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    if options.scale_out {
        return scale_out::run(options.mib);
    }
    if options.checks {
        return checks::run(options.mib);
    }
    if let Some(products) = options.streams {
        return streams::run(products);
    }
    if let Some(duration) = options.load.duration() {
        return load::run(&options.load, duration);
    }
    tools::from_debian(&[("curl", "curl"), ("openssl", "openssl"), ("nginx", "nginx-light")])?;
    build()?;
    let scratch = tempfile::TempDir::with_prefix("imgsrv-bench-")?;
    let file = scratch.path().join("file");
    io::copy(&mut File::open("/dev/urandom")?.take(options.mib << 20), &mut File::create(&file)?)?;
    let server = Server::start(scratch.path(), LISTEN, &[])?;

    let (digest, size) = digest(File::open(&file)?)?;
    let ((), hashing) = timed(|| run_command(Command::new("openssl").args(["dgst", "-sha256"]).arg(&file)))?;
    let mut write = Command::new("dd");
    write.args(["if=file", "of=written", "bs=1M", "conv=fsync", "status=none"]).current_dir(scratch.path());
    let ((), writing) = timed(|| run_command(&mut write))?;
    fs::remove_file(scratch.path().join("written"))?;
    let ((), uploading) = timed(|| server.upload(&digest, size, File::open(&file)?))?;
    let slower = hashing.max(writing);
    println!("\nUpload of {} MiB", options.mib);
    println!("  openssl dgst -sha256   {}", rate(options.mib, hashing));
    println!("  write and fsync        {}", rate(options.mib, writing));
    println!("  imgsrv, to ready       {}", rate(options.mib, uploading));
    println!("  ratio to the slower of the first two: {:.2}", slower.as_secs_f64() / uploading.as_secs_f64());

    let _nginx = nginx(scratch.path())?;
    let ours = format!("{}/v1/blobs/{digest}", server.url);
    for connections in [1, 8] {
        let (mut imgsrv, mut peer) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            imgsrv.push(download(&ours, Some(&server.token), connections)?);
            peer.push(download(&format!("http://127.0.0.1:{NGINX}/file"), None, connections)?);
        }
        let (imgsrv, peer) = (median(imgsrv), median(peer));
        let mib = options.mib * connections as u64;
        println!("Download, cached, {connections} at once, median of {ROUNDS}");
        println!("  nginx, sendfile on     {}", rate(mib, peer));
        println!("  imgsrv                 {}", rate(mib, imgsrv));
        println!("  ratio: {:.2}", peer.as_secs_f64() / imgsrv.as_secs_f64());
    }
    let mut readers: Vec<Child> = (0..SLOW_READERS)
        .map(|_| curl(&ours, Some(&server.token)).args(["--limit-rate", "1M"]).spawn())
        .collect::<io::Result<_>>()?;
    std::thread::sleep(Duration::from_secs(3));
    let memory = memory(&server)?;
    for reader in &mut readers {
        reader.kill()?;
        reader.wait()?;
    }
    println!("Memory with {SLOW_READERS} slow downloads\n{memory}");
    Ok(())
}

/// The server's current and peak memory.
fn memory(server: &Server) -> Result<String> {
    let status = fs::read_to_string(format!("/proc/{}/status", server.id()))?;
    let lines = status.lines().filter(|line| line.starts_with("RssAnon") || line.starts_with("VmHWM"));
    Ok(lines.map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n"))
}

fn timed<T>(work: impl FnOnce() -> Result<T>) -> Result<(T, Duration)> {
    let started = Instant::now();
    work().map(|done| (done, started.elapsed()))
}

/// An nginx that serves the files of `folder`.
fn nginx(folder: &Path) -> Result<Nginx> {
    // The workers run as another user, who must be able to read the files.
    fs::set_permissions(folder, Permissions::from_mode(0o755))?;
    let server =
        format!("sendfile on; tcp_nopush on; server {{ listen 127.0.0.1:{NGINX}; root {}; }}", folder.display());
    Ok(Nginx::start(NGINX, |_| server))
}

fn curl(url: &str, bearer: Option<&str>) -> Command {
    let mut curl = Command::new("curl");
    curl.args(["-sf", "-o", "/dev/null", url]);
    if let Some(bearer) = bearer {
        curl.args(["-H", &format!("Authorization: Bearer {bearer}")]);
    }
    curl
}

fn download(url: &str, bearer: Option<&str>, connections: usize) -> Result<Duration> {
    let started = Instant::now();
    let children: Vec<Child> = (0..connections).map(|_| curl(url, bearer).spawn()).collect::<io::Result<_>>()?;
    for mut child in children {
        if !child.wait()?.success() {
            return Err(format!("cannot download {url}").into());
        }
    }
    Ok(started.elapsed())
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

#[expect(clippy::cast_precision_loss, reason = "shown without digits")]
fn rate(mib: u64, took: Duration) -> String {
    format!("{:6.0} MiB/s", mib as f64 / took.as_secs_f64())
}
