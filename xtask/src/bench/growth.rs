//! How the cost of requests grows with the catalog: the same requests to servers whose catalogs have few and many versions.
//!
//! The servers of one database take turns, so that the factor between two catalogs does not depend on what else the machine
//! does.

mod catalogs;
mod changes;
mod client;
mod reads;
mod rows;

use super::Options;
use crate::{bench::latency::machine, shell::Result, tools};
pub(super) use catalogs::Database;
pub(super) use changes::{draft, request_publish, wait};
pub(super) use client::Client;

use catalogs::Filled;
use rows::Growth;
use serde_json::json;
use std::fs;

/// Which catalogs are measured, and how often.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Catalogs {
    /// Published versions of the catalogs of the group `growth`, from few to many
    #[arg(long, value_delimiter = ',', default_value = "1000,100000,1000000", value_name = "COUNTS")]
    versions: Vec<u32>,
    /// Database of the groups `growth` and `publishes`, both if none is given, and of the load, SQLite if none is given
    #[arg(long)]
    pub(super) catalog: Option<Database>,
    /// Requests of each kind and catalog of the group `growth`
    #[arg(long, default_value_t = 200)]
    requests: usize,
}

/// Measures every request on every catalog, and prints one table.
pub(super) fn run(options: &Options) -> Result<()> {
    tools::from_debian(&[("initdb", "postgresql"), ("sqlite3", "sqlite3")])?;
    let Catalogs { versions, catalog, requests } = &options.catalogs;
    let before = machine()?;
    let mut measured: Vec<Growth> = Vec::new();
    for database in Database::chosen(*catalog) {
        let started: Result<Vec<Filled>> =
            versions.iter().enumerate().map(|(at, count)| Filled::start(database, *count, at)).collect();
        let mut filled = started?;
        let mut rows = reads::all(&filled, *requests)?;
        rows.extend(changes::all(&mut filled, *requests)?);
        for row in &mut rows {
            row.database = Some(database);
        }
        println!("\n{}", rows::markdown(versions, &rows));
        measured.extend(rows);
    }
    let after = machine()?;
    println!("\n{before}\n{after}\n\n{}", rows::markdown(versions, &measured));
    if let Some(path) = &options.json {
        let rows: Vec<_> = measured.iter().map(|row| row.json(versions)).collect();
        fs::write(path, serde_json::to_string_pretty(&json!({"machine": before, "after": after, "rows": rows}))?)?;
    }
    Ok(())
}
