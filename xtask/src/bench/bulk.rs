//! Large files: downloads beside nginx, uploads beside one hash pass and one write, and beside a registry.

use super::{
    Options,
    registry::Registry,
    site::{Site, curl, renew, seconds, upload, write_random},
    table::{CPU_PER_GIB, MIB_PER_SECOND, Row, Target},
};
use crate::{
    server::{Server, text},
    shell::{Result, output},
};
use serde_json::{Value, json};
use std::{
    fs::{self, File},
    io::{Read, Seek, SeekFrom},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
};
use ureq::{Agent, SendBody};

/// The peer of uploads that have the machine for themselves.
const SLOWER: &str = "slower of one hash pass and one write with fsync";
/// The option of curl for HTTP/1.1.
pub(super) const HTTP_1: &str = "--http1.1";
/// Bytes of a part of a multipart upload.
const PART: u64 = 16 << 20;

#[expect(clippy::cast_precision_loss, reason = "shown without digits")]
pub(super) fn mib(bytes: u64) -> f64 {
    bytes as f64 / 1_048_576.0
}

/// Downloads of the whole file, from the page cache.
pub(super) fn downloads(site: &Site, options: &Options) -> Result<Vec<Row>> {
    let (ours, peer) = (site.published(), Site::peer("file"));
    let mut rows = Vec::new();
    for connections in [1, 8] {
        let what = format!("download of {} MiB, {connections} at once, cached", site.size >> 20);
        let row = |unit, least| Row {
            what: what.clone(),
            unit,
            ours: Vec::new(),
            peer: Vec::new(),
            target: Target::Peer("nginx", least),
        };
        let (mut rate, mut cpu) = (row(MIB_PER_SECOND, 1.4), row(CPU_PER_GIB, 1.0 / 1.3));
        let total = mib(site.size * connections);
        for _ in 0..options.rounds {
            let before = site.our_cpu()?;
            rate.ours.push(total / seconds(|| download(&ours, connections, HTTP_1))?);
            cpu.ours.push((site.our_cpu()? - before) * 1024.0 / total);
            let before = site.peer_cpu()?;
            rate.peer.push(total / seconds(|| download(&peer, connections, HTTP_1))?);
            cpu.peer.push((site.peer_cpu()? - before) * 1024.0 / total);
        }
        rows.extend([rate, cpu]);
    }
    Ok(rows)
}

/// A download of a file that is not in the page cache, beside reading that file.
pub(super) fn cold(site: &Site, options: &Options) -> Result<Vec<Row>> {
    let stored =
        output(Command::new("find").arg(site.scratch.path().join("data")).args(["-size", "+1000k", "-path", "*cas*"]))?;
    let stored = stored.lines().next().ok_or("the blob is not in the folder")?.to_owned();
    let (mut ours, mut peer) = (Vec::new(), Vec::new());
    for _ in 0..options.rounds {
        forget(Path::new(&stored))?;
        ours.push(mib(site.size) / seconds(|| download(&site.published(), 1, HTTP_1))?);
        forget(Path::new(&stored))?;
        let mut read = Command::new("dd");
        read.args([&format!("if={stored}"), "of=/dev/null", "bs=1M", "status=none"]);
        peer.push(mib(site.size) / seconds(|| output(&mut read).map(drop))?);
    }
    let what = "download from a cold cache".to_owned();
    Ok(vec![Row { what, unit: MIB_PER_SECOND, ours, peer, target: Target::Peer("reading the file", 0.95) }])
}

/// Drops a file from the page cache.
fn forget(path: &Path) -> Result<()> {
    let file = format!("of={}", path.display());
    output(Command::new("dd").args([&file, "oflag=nocache", "conv=notrunc,fdatasync", "count=0", "status=none"]))?;
    Ok(())
}

/// Downloads with so many processes of curl at once, which get `protocol` as an option.
pub(super) fn download(url: &str, connections: u64, protocol: &str) -> Result<()> {
    let start = || curl(url, None).args([protocol, "-o", "/dev/null"]).stderr(Stdio::inherit()).spawn();
    let children: Vec<Child> = (0..connections).map(|_| start()).collect::<std::io::Result<_>>()?;
    for mut child in children {
        if !child.wait()?.success() {
            return Err(format!("cannot download {url}").into());
        }
    }
    Ok(())
}

/// Uploads until the blob is ready: beside the slower of one hash pass and one write, in parts, and beside a registry.
pub(super) fn uploads(site: &Site, options: &Options) -> Result<Vec<Row>> {
    let file = site.scratch.path().join("upload");
    write_random(&file, site.size)?;
    let [mut slower, mut whole, mut parts, mut parallel, mut beside, mut registry] = <[Vec<f64>; 6]>::default();
    let _registry = Registry::start(site.scratch.path())?;
    let rate = |took: f64| mib(site.size) / took;
    for _ in 0..options.rounds {
        let mut digest = String::new();
        let hashing = seconds(|| {
            digest = renew(&file)?.0;
            Ok(())
        })?;
        slower.push(rate(hashing.max(seconds(|| write(&file, site.scratch.path()))?)));
        whole.push(rate(seconds(|| upload(&site.server, &file, &digest, site.size))?));
        digest = renew(&file)?.0;
        parts.push(rate(seconds(|| multipart(&site.server, &file, &digest, 1))?));
        digest = renew(&file)?.0;
        parallel.push(rate(seconds(|| multipart(&site.server, &file, &digest, 8))?));
        digest = renew(&file)?.0;
        registry.push(rate(seconds(|| Registry::upload(&file, &digest))?));
        beside.push(rate(seconds(|| upload(&site.server, &file, &digest, site.size))?));
    }
    let row = |what: &str, ours: Vec<f64>, peer: Vec<f64>, name, least| Row {
        what: what.to_owned(),
        unit: MIB_PER_SECOND,
        ours,
        peer,
        target: Target::Peer(name, least),
    };
    Ok(vec![
        row("upload to ready, one part", whole, slower.clone(), SLOWER, 0.9),
        row("upload to ready, parts of 16 MiB in order", parts.clone(), slower, SLOWER, 0.9),
        row("upload to ready, 8 parts at once, out of order", parallel, parts, "in order", 0.7),
        row("upload to ready, one part, alternating", beside, registry, "docker-registry", 3.0),
    ])
}

fn write(file: &Path, scratch: &Path) -> Result<()> {
    let mut write = Command::new("dd");
    write.arg(format!("if={}", file.display()));
    output(write.args(["of=written", "bs=1M", "conv=fsync", "status=none"]).current_dir(scratch))?;
    fs::remove_file(scratch.join("written"))?;
    Ok(())
}

/// Uploads a file in parts, `at_once` at the same time; several are sent last first.
fn multipart(server: &Server, file: &Path, digest: &str, at_once: usize) -> Result<()> {
    let size = fs::metadata(file)?.len();
    let claim = json!({"expected_digest": digest, "expected_size_bytes": size});
    let (_, created) = server.request("POST", "/v1/uploads", Some(&claim))?;
    let upload = format!("/v1/uploads/{}", text(&created, "id")?);
    let count = size.div_ceil(PART);
    // A sender keeps its connection, as clients do.
    let send = |agent: &Agent, number: u64| -> std::result::Result<Value, String> {
        let offset = (number - 1) * PART;
        let send = || -> Result<Value> {
            let length = PART.min(size - offset);
            let mut file = File::open(file)?;
            file.seek(SeekFrom::Start(offset))?;
            let put = agent
                .put(format!("{}{upload}/parts/{number}", server.url))
                .header("Authorization", format!("Bearer {}", server.token))
                .header("Content-Length", length.to_string());
            Ok(put.send(SendBody::from_reader(&mut file.take(length)))?.body_mut().read_json()?)
        };
        send().map_err(|error| error.to_string())
    };
    let mut parts = if at_once == 1 {
        let agent = Agent::new_with_defaults();
        (1..=count).map(|number| send(&agent, number)).collect::<std::result::Result<Vec<_>, _>>()?
    } else {
        thread::scope(|scope| {
            let sent: Vec<_> = (0..at_once as u64)
                .map(|first| {
                    let numbers = (1..=count).rev().filter(move |number| number % at_once as u64 == first);
                    scope.spawn(move || {
                        let agent = Agent::new_with_defaults();
                        numbers.map(|number| send(&agent, number)).collect::<std::result::Result<Vec<_>, _>>()
                    })
                })
                .collect();
            let sent: std::result::Result<Vec<_>, _> =
                sent.into_iter().map(|sent| sent.join().map_err(|_| "a sender failed".to_owned())?).collect();
            sent.map(|parts| parts.concat())
        })?
    };
    parts.sort_by_key(|part| part["part_number"].as_u64());
    server.complete(&upload, &parts)
}
