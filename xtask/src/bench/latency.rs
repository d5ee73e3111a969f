//! How long small operations take from the client's view, and how much memory the server uses.

use super::{
    Options,
    site::{Site, curl, publish, seconds, upload},
    table::{MIB, MILLISECONDS, Row, Target},
};
use crate::{
    demo::digest,
    server::text,
    shell::{Result, output},
};
use serde_json::{Value, json};
use std::{
    fs::{self, File},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

/// Operations of each kind: the figure of a round is their median.
const OPERATIONS: usize = 25;
const SLOW_DOWNLOADS: usize = 256;
/// How many times as large as the published file the large one is, which is sparse.
const LARGE: u64 = 16;

/// From completion to `ready`, publishing a small version, and beginning an upload of a trusted digest.
pub(super) fn latencies(site: &Site, options: &Options) -> Result<Vec<Row>> {
    let server = &site.server;
    let file = site.scratch.path().join("small");
    server.request("POST", "/v1/images", Some(&json!({"name": "latency"})))?;
    let [mut completed, mut published, mut begun] = <[Vec<f64>; 3]>::default();
    for round in 0..options.rounds {
        let [mut complete, mut publishing, mut begin] = <[Vec<f64>; 3]>::default();
        for operation in 0..OPERATIONS {
            super::site::write_random(&file, 4096)?;
            let (digest, size) = super::site::renew(&file)?;
            let claim = json!({"expected_digest": digest, "expected_size_bytes": size});
            let (_, created) = server.request("POST", "/v1/uploads", Some(&claim))?;
            let id = format!("/v1/uploads/{}", text(&created, "id")?);
            let url = format!("{}{id}/parts/1", server.url);
            let part: Value = serde_json::from_str(&output(curl(&url, Some(&server.token)).arg("-T").arg(&file))?)?;
            complete.push(1000.0 * seconds(|| server.complete(&id, &[part]))?);
            begin.push(1000.0 * seconds(|| server.request("POST", "/v1/uploads", Some(&claim)).map(drop))?);
            let version = format!("{round}.{operation}");
            publishing.push(1000.0 * seconds(|| publish(server, "latency", &version, &digest, size))?);
        }
        for (figures, of) in [(&mut completed, complete), (&mut published, publishing), (&mut begun, begin)] {
            figures.push(median(of));
        }
    }
    let row = |what: &str, ours, limit| Row {
        what: what.to_owned(),
        unit: MILLISECONDS,
        ours,
        peer: Vec::new(),
        target: Target::Limit(limit),
    };
    Ok(vec![
        row("complete to ready, small, p50", completed, 10.0),
        row("draft, artifact, publish to succeeded, small, p50", published, 10.0),
        row("begin an upload of a trusted digest, p50", begun, 2.0),
    ])
}

pub(super) fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// Anonymous memory: while nothing happens, with many slow downloads, and while a large file is uploaded.
pub(super) fn memory(site: &Site) -> Result<Vec<Row>> {
    let idle = anonymous(site)?;
    let uploading = while_uploading(site)?;
    let slow = || {
        let mut curl = curl(&site.published(), None);
        curl.args(["--limit-rate", "64k", "-o", "/dev/null"]).stderr(Stdio::null()).spawn()
    };
    let mut readers: Vec<Child> = (0..SLOW_DOWNLOADS).map(|_| slow()).collect::<std::io::Result<_>>()?;
    thread::sleep(Duration::from_secs(10));
    let busy = anonymous(site);
    for reader in &mut readers {
        reader.kill()?;
        reader.wait()?;
    }
    let row = |what: String, ours, limit| Row {
        what,
        unit: MIB,
        ours: vec![ours],
        peer: Vec::new(),
        target: Target::Limit(limit),
    };
    Ok(vec![
        row("anonymous memory, idle after the rows above".to_owned(), idle, 32.0),
        row(format!("anonymous memory, {SLOW_DOWNLOADS} slow downloads"), busy?, 128.0),
        row(format!("anonymous memory, upload of {} MiB", (LARGE * site.size) >> 20), uploading, 64.0),
    ])
}

/// The most anonymous memory of the server while it receives a large file.
fn while_uploading(site: &Site) -> Result<f64> {
    let file = site.scratch.path().join("large");
    File::create(&file)?.set_len(LARGE * site.size)?;
    let (digest, size) = digest(File::open(&file)?)?;
    let is_over = AtomicBool::new(false);
    let most = thread::scope(|scope| {
        let watching = scope.spawn(|| {
            let mut most = 0.0_f64;
            while !is_over.load(Ordering::Relaxed) {
                most = most.max(anonymous(site).map_err(|error| error.to_string())?);
                thread::sleep(Duration::from_millis(50));
            }
            Ok::<_, String>(most)
        });
        let uploaded = upload(&site.server, &file, &digest, size);
        is_over.store(true, Ordering::Relaxed);
        let most = watching.join().map_err(|_| "the watcher failed")?;
        uploaded.and(Ok(most?))
    });
    fs::remove_file(file)?;
    most
}

/// The anonymous memory of the server in MiB.
fn anonymous(site: &Site) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{}/status", site.server.id()))?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).ok_or("no RssAnon")?;
    let kib: f64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib / 1024.0)
}

/// What the figures depend on: processors, memory, and the load when the run began.
pub(super) fn machine() -> Result<Value> {
    let cpus = fs::read_to_string("/proc/cpuinfo")?;
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let load = fs::read_to_string("/proc/loadavg")?;
    Ok(json!({
        "processors": thread::available_parallelism()?.get(),
        "model": model.trim_start_matches([' ', '\t', ':']),
        "kernel": output(Command::new("uname").arg("-r"))?.trim(),
        "load_average_before": load.split(' ').next(),
    }))
}
