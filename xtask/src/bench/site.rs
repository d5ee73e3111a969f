//! The server that is measured with what it serves, and an nginx that serves the same bytes.

use crate::{
    demo::digest,
    server::{Server, text},
    shell::{Result, output},
};
use imgsrv_testkit::services::Nginx;
use serde_json::{Value, json};
use std::{
    fs::{self, File, Permissions},
    io::{self, Read, Write},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::Command,
    time::Instant,
};
use tempfile::TempDir;

pub(super) const LISTEN: &str = "127.0.0.1:8093";
const NGINX: u16 = 8094;

/// The server with one published version of one large file, and the peer.
pub(super) struct Site {
    pub(super) server: Server,
    pub(super) nginx: Nginx,
    /// Removed after both have ended.
    pub(super) scratch: TempDir,
    /// Size of the published file, which nginx serves as `file`.
    pub(super) size: u64,
}

impl Site {
    /// Publishes a file of random bytes as version `1` of the image `bench`.
    pub(super) fn start(mib: u64) -> Result<Self> {
        let scratch = TempDir::with_prefix("imgsrv-bench-")?;
        let file = scratch.path().join("file");
        write_random(&file, mib << 20)?;
        let server = Server::start(scratch.path(), LISTEN, &[])?;
        let (digest, size) = digest(File::open(&file)?)?;
        upload(&server, &file, &digest, size)?;
        server.request("POST", "/v1/images", Some(&json!({"name": "bench"})))?;
        publish(&server, "bench", "1", &digest, size)?;
        server.request("PUT", "/v1/images/bench/aliases/latest", Some(&json!({"version": "1"})))?;
        // The workers run as another user, who must be able to read the files.
        fs::set_permissions(scratch.path(), Permissions::from_mode(0o755))?;
        let root = scratch.path().display();
        let nginx = Nginx::start(NGINX, |_| {
            format!(
                "sendfile on; tcp_nodelay on; keepalive_requests 1000000000; etag on; gzip_static on;
                default_type application/json; server {{ listen 127.0.0.1:{NGINX} backlog=4096; root {root}; }}"
            )
        });
        Ok(Self { server, nginx, scratch, size })
    }

    /// The URL of `path` on the server.
    pub(super) fn ours(&self, path: &str) -> String {
        format!("{}{path}", self.server.url)
    }

    /// The URL of the published file, by its version.
    pub(super) fn published(&self) -> String {
        self.ours("/images/bench/1/bench-1-amd64.raw")
    }

    /// The URL of a file of the scratch folder on nginx.
    pub(super) fn peer(file: &str) -> String {
        format!("http://127.0.0.1:{NGINX}/{file}")
    }

    /// Writes a file that nginx serves; returns its URL.
    pub(super) fn serve(&self, name: &str, bytes: &[u8]) -> Result<String> {
        fs::write(self.scratch.path().join(name), bytes)?;
        Ok(Self::peer(name))
    }

    /// Seconds of processor time that the server has used.
    pub(super) fn our_cpu(&self) -> Result<f64> {
        cpu(self.server.id())
    }

    /// The same of the workers of nginx.
    pub(super) fn peer_cpu(&self) -> Result<f64> {
        let workers = output(Command::new("pgrep").args(["-P", &self.nginx.id().to_string()]))?;
        workers.split_whitespace().map(|id| cpu(id.parse()?)).sum()
    }
}

/// Adds an artifact with the blob to a draft, and publishes it.
pub(super) fn publish(server: &Server, image: &str, version: &str, digest: &str, size: u64) -> Result<()> {
    server.request("POST", &format!("/v1/images/{image}/versions"), Some(&json!({"version": version})))?;
    let artifact = json!({"operating_system": "linux", "architecture": "amd64", "format": "raw",
        "primary_blob_digest": digest, "primary_blob_size_bytes": size,
        "primary_media_type": "application/octet-stream"});
    server.request("POST", &format!("/v1/images/{image}/versions/{version}/artifacts"), Some(&artifact))?;
    server.publish(image, version)
}

/// Uploads a file in one part with curl, and waits until the blob is ready.
pub(super) fn upload(server: &Server, file: &Path, digest: &str, size: u64) -> Result<()> {
    let claim = json!({"expected_digest": digest, "expected_size_bytes": size});
    let (_, created) = server.request("POST", "/v1/uploads", Some(&claim))?;
    let upload = format!("/v1/uploads/{}", text(&created, "id")?);
    let url = format!("{}{upload}/parts/1", server.url);
    let part = output(curl(&url, Some(&server.token)).arg("-T").arg(file))?;
    let part: Value = serde_json::from_str(&part)?;
    server.complete(&upload, &[part])
}

/// curl, which fails on an error status and prints the response.
pub(super) fn curl(url: &str, bearer: Option<&str>) -> Command {
    let mut curl = Command::new("curl");
    curl.args(["-sSfk", url]);
    if let Some(bearer) = bearer {
        curl.args(["-H", &format!("Authorization: Bearer {bearer}")]);
    }
    curl
}

/// Writes `size` random bytes.
pub(super) fn write_random(path: &Path, size: u64) -> Result<()> {
    io::copy(&mut File::open("/dev/urandom")?.take(size), &mut File::create(path)?)?;
    Ok(())
}

/// Changes the first bytes, because a blob that is trusted is not uploaded again; returns the new digest.
pub(super) fn renew(path: &Path) -> Result<(String, u64)> {
    let mut bytes = [0; 16];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    File::options().write(true).open(path)?.write_all(&bytes)?;
    let shown = output(Command::new("openssl").args(["dgst", "-sha256", "-r"]).arg(path))?;
    let hex = shown.split(' ').next().unwrap_or_default();
    Ok((format!("sha256:{hex}"), fs::metadata(path)?.len()))
}

/// Seconds of processor time of a process.
pub(super) fn cpu(id: u32) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat"))?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks: f64 = fields.get(11..13).ok_or("no times in /proc")?.iter().filter_map(|t| t.parse::<f64>().ok()).sum();
    // The unit is USER_HZ, which is 100 on Linux.
    Ok(ticks / 100.0)
}

/// Seconds that `work` takes.
pub(super) fn seconds(work: impl FnOnce() -> Result<()>) -> Result<f64> {
    let started = Instant::now();
    work()?;
    Ok(started.elapsed().as_secs_f64())
}
