//! Figures of the server beside those of peers in the same run, as a table and as JSON.
//!
//! Ours and the peer take turns, with the same bytes in the page cache unless a row is about something else, so that both ran under
//! the same load. A ratio above 1 is better than the peer.

mod bulk;
mod checks;
mod client;
mod growth;
mod latency;
mod load;
mod products;
mod publishes;
mod registry;
mod scale_out;
mod site;
mod small;
mod table;
mod tls;
mod wrk;

use crate::{
    server::{build, use_binary},
    shell::Result,
    tools,
};
use growth::Database;
use site::Site;
use std::{fs, path::PathBuf};
use table::Row;

/// A group of rows that are measured together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Group {
    /// Downloads of the whole file
    Download,
    /// The same over TLS
    Tls,
    /// A download of a file that is not in the page cache
    Cold,
    /// Ranges at random offsets
    Ranges,
    /// Manifests by version and by alias
    Manifest,
    /// The documents of Simple Streams
    Streams,
    /// Uploads to `ready`
    Upload,
    /// The commands of the client
    Client,
    /// Times of small operations
    Latency,
    /// Memory of the server
    Memory,
    /// Small requests to catalogs of few and of many versions, only if it is named
    Growth,
    /// Publishes a second of several writers, only if it is named
    Publishes,
}

/// The options of the benchmark.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Groups of rows to measure; all if none is given
    groups: Vec<Group>,
    /// Size of the file in MiB
    #[arg(long, default_value_t = 1024)]
    mib: u64,
    /// Rounds of each row
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Duration of the load of small requests in a round, in seconds
    #[arg(long = "seconds", value_name = "SECONDS", default_value_t = 3)]
    round_seconds: u64,
    /// Products in the documents of Simple Streams
    #[arg(long, default_value_t = 10_000)]
    products: usize,
    /// Write the figures to this file, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Use the release build as it is
    #[arg(long)]
    no_build: bool,
    /// Measure this program instead of the release build
    #[arg(long, value_name = "PATH")]
    binary: Option<PathBuf>,
    /// On PostgreSQL and Garage, beside `aws s3 cp` to the same Garage
    #[arg(long)]
    scale_out: bool,
    /// With and without verifying what is read
    #[arg(long)]
    checks: bool,
    #[command(flatten)]
    load: load::Load,
    #[command(flatten)]
    catalogs: growth::Catalogs,
    #[command(flatten)]
    publishers: publishes::Publishers,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    match &options.binary {
        Some(binary) => use_binary(binary.clone()),
        None if !options.no_build => build()?,
        None => {}
    }
    match options.groups[..] {
        [Group::Growth] => return growth::run(options),
        [Group::Publishes] => return publishes::run(&options.publishers, options.catalogs.catalog, options.rounds),
        _ => {}
    }
    tools::from_debian(&[
        ("curl", "curl"),
        ("docker-registry", "docker-registry"),
        ("nginx", "nginx-light"),
        ("openssl", "openssl"),
        ("wrk", "wrk"),
    ])?;
    if options.checks {
        return checks::run(options.mib);
    }
    if options.scale_out {
        return scale_out::run(options.mib, options.rounds);
    }
    if let Some(duration) = options.load.duration() {
        return load::run(&options.load, duration, options.catalogs.catalog.unwrap_or(Database::Sqlite));
    }
    let machine = latency::machine()?;
    let site = Site::start(options.mib)?;
    let mut rows: Vec<Row> = Vec::new();
    let all = [
        Group::Ranges,
        Group::Manifest,
        Group::Latency,
        Group::Download,
        Group::Tls,
        Group::Cold,
        Group::Client,
        Group::Upload,
        Group::Streams,
        // Last, because the disk is busy with the large file for a while.
        Group::Memory,
    ];
    if options.groups.iter().any(|group| matches!(group, Group::Growth | Group::Publishes)) {
        return Err(
            "the groups growth and publishes are measured without others: they have servers of their own".into()
        );
    }
    for group in all.into_iter().filter(|group| options.groups.is_empty() || options.groups.contains(group)) {
        let measured = match group {
            Group::Download => bulk::downloads(&site, options),
            Group::Tls => tls::downloads(options),
            Group::Cold => bulk::cold(&site, options),
            Group::Ranges => small::ranges(&site, options),
            Group::Manifest => small::manifests(&site, options),
            Group::Streams => products::documents(&site, options),
            Group::Upload => bulk::uploads(&site, options),
            Group::Client => client::commands(&site, options),
            Group::Latency => latency::latencies(&site, options),
            Group::Memory => latency::memory(&site),
            // Measured above.
            Group::Growth | Group::Publishes => Ok(Vec::new()),
        }?;
        println!("\n{}", table::markdown(&measured));
        rows.extend(measured);
    }
    println!("\n{machine}\n\n{}", table::markdown(&rows));
    if let Some(path) = &options.json {
        fs::write(path, table::json(&rows, &machine)?)?;
    }
    Ok(())
}
