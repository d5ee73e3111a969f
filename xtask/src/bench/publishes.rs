//! How many publishes a second a server completes for several writers, and what bounds it.

use super::{
    growth::{Client, Database, draft, request_publish, wait},
    latency::median,
    site::{LISTEN, cpu},
    table::{self, PER_SECOND, Row, Target},
};
use crate::{
    demo::digest,
    server::Server,
    shell::{Result, output},
    tools,
};
use imgsrv_testkit::services::LocalPostgres;
use serde_json::json;
use std::{
    collections::BTreeMap,
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

/// Interval of looking at what the sessions of PostgreSQL wait for.
const LOOK: Duration = Duration::from_millis(50);
/// Sessions that do something, by what they wait for; those that use a processor wait for nothing.
const WAITS: &str =
    "SELECT coalesce(wait_event_type || ' ' || wait_event, 'nothing') || ' ' || count(*) FROM pg_stat_activity
    WHERE state = 'active' AND backend_type = 'client backend' AND pid <> pg_backend_pid()
    GROUP BY wait_event_type, wait_event";

/// Who publishes, and how much.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Publishers {
    /// Concurrent writers of the group `publishes`
    #[arg(long, default_value_t = 8)]
    writers: u32,
    /// Versions that each writer publishes in a round of the group `publishes`
    #[arg(long, default_value_t = 100)]
    each: u32,
}

pub(super) fn run(publishers: &Publishers, database: Option<Database>, rounds: usize) -> Result<()> {
    tools::from_debian(&[("initdb", "postgresql")])?;
    let mut rows = Vec::new();
    for database in Database::chosen(database) {
        rows.extend(measure(publishers, database, rounds)?);
    }
    println!("\n{}", table::markdown(&rows));
    Ok(())
}

fn measure(publishers: &Publishers, database: Database, rounds: usize) -> Result<Vec<Row>> {
    let Publishers { writers, each } = *publishers;
    let scratch = tempfile::TempDir::with_prefix("imgsrv-bench-")?;
    let postgres = (database == Database::Postgres).then(LocalPostgres::start_durable);
    let environment: Vec<_> = postgres.iter().map(|postgres| ("IMGSRV_POSTGRES_URL", postgres.url())).collect();
    let server = Server::start(scratch.path(), LISTEN, &environment)?;
    let (digest, size) = digest(&b"content"[..])?;
    server.upload(&digest, size, &b"content"[..])?;
    for writer in 0..writers {
        server.request("POST", "/v1/images", Some(&json!({"name": format!("writer-{writer}")})))?;
    }
    let (mut drafts, mut published, mut waits) = (Vec::new(), Vec::new(), BTreeMap::new());
    let mut used = Vec::new();
    for round in 0..rounds {
        let rate = |took: Duration| f64::from(writers * each) / took.as_secs_f64();
        let first = round * usize::try_from(each)?;
        let took = concurrently(writers, &|writer| {
            let client = Client::new(&server.url);
            let image = format!("writer-{writer}");
            (first..)
                .zip(0..each)
                .try_for_each(|(number, _)| draft(&client, &server.token, &image, number, &digest, size))
        })?;
        drafts.push(rate(took));
        let (is_over, before) = (AtomicBool::new(false), cpu(server.id())?);
        let took = thread::scope(|scope| {
            let watching = scope.spawn(|| postgres.as_ref().map(|postgres| watch(postgres, &is_over)));
            let took = concurrently(writers, &|writer| {
                let client = Client::new(&server.url);
                let image = format!("writer-{writer}");
                let numbers = (first..).zip(0..each);
                let jobs = numbers.map(|(number, _)| request_publish(&client, &server.token, &image, number));
                let jobs: Vec<String> = jobs.collect::<Result<_>>()?;
                jobs.iter().try_for_each(|job| wait(&client, &server.token, job, "succeeded"))
            });
            is_over.store(true, Ordering::Relaxed);
            let seen = watching.join().map_err(|_| "the watcher failed")?;
            for (wait, count) in seen.transpose()?.unwrap_or_default() {
                *waits.entry(wait).or_insert(0_u64) += count;
            }
            took
        })?;
        published.push(rate(took));
        used.push(1000.0 * (cpu(server.id())? - before) / f64::from(writers * each));
    }
    println!("\nprocessor time of the server for each publish: {:.1} ms", median(used));
    if !waits.is_empty() {
        println!("sessions of PostgreSQL that did something, by what they waited for: {waits:?}");
    }
    let row = |what: &str, ours, least| Row {
        what: format!("{what}, {writers} writers, {database}"),
        unit: PER_SECOND,
        ours,
        peer: Vec::new(),
        target: Target::Limit(least),
    };
    Ok(vec![row("drafts with an artifact", drafts, 500.0), row("publishes", published, 500.0)])
}

/// Runs the work of each writer at once; returns how long all of them took.
fn concurrently(writers: u32, work: &(dyn Fn(u32) -> Result<()> + Sync)) -> Result<Duration> {
    let started = Instant::now();
    thread::scope(|scope| {
        let threads: Vec<_> =
            (0..writers).map(|writer| scope.spawn(move || work(writer).map_err(|error| error.to_string()))).collect();
        threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| "a writer failed".to_owned())?)
    })?;
    Ok(started.elapsed())
}

/// What sessions waited for, until it is over: how often each was seen.
fn watch(postgres: &LocalPostgres, is_over: &AtomicBool) -> std::result::Result<BTreeMap<String, u64>, String> {
    let mut seen = BTreeMap::new();
    while !is_over.load(Ordering::Relaxed) {
        let mut psql = Command::new("psql");
        let looked = output(psql.args(["-AtX", "-c", WAITS]).arg(postgres.url())).map_err(|error| error.to_string())?;
        for line in looked.lines() {
            let (wait, count) = line.rsplit_once(' ').unwrap_or((line, "1"));
            *seen.entry(wait.to_owned()).or_insert(0) += count.parse().unwrap_or(1);
        }
        thread::sleep(LOOK);
    }
    Ok(seen)
}
