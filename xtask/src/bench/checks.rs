//! The cost of verifying every block that is read: downloads of a blob, compared with those of another one whose checksums
//! were deleted, which is served without.

use super::site::LISTEN;
use crate::{
    demo::digest,
    server::Server,
    shell::{Result, output},
};
use std::{
    fs::{self, File},
    io::{self, Read},
    path::Path,
    process::Command,
    time::{Duration, Instant},
};
use ureq::Agent;

const ROUNDS: usize = 5;
const RANGES: u64 = 4000;
const RANGE: u64 = 64 << 10;

/// The duration of the requests of a round, and the processor time that the server used for them.
#[derive(Debug, Clone, Copy)]
struct Cost {
    took: Duration,
    cpu: Duration,
}

pub(super) fn run(mib: u64) -> Result<()> {
    let scratch = tempfile::TempDir::with_prefix("imgsrv-bench-")?;
    let (file, other) = (scratch.path().join("file"), scratch.path().join("other"));
    // Nothing but the requests uses the processor, and nothing restores the checksums.
    let server = Server::start(scratch.path(), LISTEN, &[("IMGSRV_SCRUB_RATE", "0".to_owned())])?;
    let mut paths = Vec::new();
    for file in [&file, &other] {
        io::copy(&mut File::open("/dev/urandom")?.take(mib << 20), &mut File::create(file)?)?;
        let (digest, size) = digest(File::open(file)?)?;
        server.upload(&digest, size, File::open(file)?)?;
        paths.push(format!("/v1/blobs/{digest}"));
    }
    let size = mib << 20;
    forget_checksums(&scratch.path().join("data/catalog.db"), &paths[1])?;
    let (with, without) = (measure(&server, &paths[0], size)?, measure(&server, &paths[1], size)?);

    let what = [format!("{mib} MiB at once"), format!("{RANGES} ranges of {} KiB", RANGE >> 10)];
    for (what, (with, without)) in what.into_iter().zip(with.into_iter().zip(without)) {
        println!("\n{what}, cached, median of {ROUNDS}");
        for (name, cost) in [("with checks", with), ("without checks", without)] {
            println!("  {name:16} {:7.0} ms, processor of the server {:7.0} ms", millis(cost.took), millis(cost.cpu));
        }
        let ratio = |with: Duration, without: Duration| with.as_secs_f64() / without.as_secs_f64();
        println!(
            "  ratio: {:.2}, of the processor time: {:.2}",
            ratio(with.took, without.took),
            ratio(with.cpu, without.cpu)
        );
    }
    Ok(())
}

/// Downloads a blob whole, and in ranges.
fn measure(server: &Server, path: &str, size: u64) -> Result<[Cost; 2]> {
    let (url, id) = (format!("{}{path}", server.url), server.id());
    let token = Some(&*server.token);
    Ok([
        rounds(|| whole(&url, token), || processor_time(id))?,
        rounds(|| ranges(&url, token, size), || processor_time(id))?,
    ])
}

/// Medians of several rounds, after one that warms caches up.
fn rounds(mut request: impl FnMut() -> Result<()>, cpu: impl Fn() -> Result<Duration>) -> Result<Cost> {
    request()?;
    let (mut took, mut used) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let (started, before) = (Instant::now(), cpu()?);
        request()?;
        took.push(started.elapsed());
        used.push(cpu()?.saturating_sub(before));
    }
    Ok(Cost { took: median(took), cpu: median(used) })
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

fn whole(url: &str, token: Option<&str>) -> Result<()> {
    fetch(&Agent::new_with_defaults(), url, token, None).map(drop)
}

/// Ranges all over a file of `size` bytes, one after another on one connection.
fn ranges(url: &str, token: Option<&str>, size: u64) -> Result<()> {
    let agent = Agent::new_with_defaults();
    for request in 0..RANGES {
        // A step that is no multiple of the size of a block.
        let start = request * 7_654_321 % (size - RANGE);
        if fetch(&agent, url, token, Some(start))? != RANGE {
            return Err("a range of another size".into());
        }
    }
    Ok(())
}

/// Reads a response to its end; returns its size.
fn fetch(agent: &Agent, url: &str, token: Option<&str>, range: Option<u64>) -> Result<u64> {
    let mut request = agent.get(url);
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    if let Some(start) = range {
        request = request.header("range", format!("bytes={start}-{}", start + RANGE - 1));
    }
    let (mut response, mut buffer, mut size) = (request.call()?, vec![0; 256 << 10], 0);
    let mut body = response.body_mut().with_config().limit(u64::MAX).reader();
    loop {
        match body.read(&mut buffer)? {
            0 => return Ok(size),
            read => size += read as u64,
        }
    }
}

/// The processor time of a process.
fn processor_time(id: u32) -> Result<Duration> {
    let text = fs::read_to_string(format!("/proc/{id}/stat"))?;
    // Fields 14 and 15, in ticks of 10 ms; the second field is a name in parentheses.
    let fields = text.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks: u64 = fields.skip(11).take(2).map(str::parse::<u64>).sum::<std::result::Result<_, _>>()?;
    Ok(Duration::from_millis(ticks * 10))
}

/// Leaves no checksum of a blob that was not read yet: a server caches them.
fn forget_checksums(catalog: &Path, path: &str) -> Result<()> {
    let script = "import sqlite3, sys; db = sqlite3.connect(sys.argv[1], timeout=30); \
                  name = '%' + sys.argv[2].rpartition(':')[2] + '%'; \
                  changed = db.execute(\"UPDATE block_checksums SET checksums = x'' WHERE storage_name LIKE ?\", [name]); \
                  assert changed.rowcount > 0; db.commit()";
    output(Command::new("python3").args(["-c", script]).arg(catalog).arg(path)).map(drop)
}

#[expect(clippy::cast_precision_loss, reason = "shown without digits")]
fn millis(time: Duration) -> f64 {
    time.as_millis() as f64
}
