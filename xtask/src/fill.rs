//! `cargo xtask fill`: fills an empty catalog with many published versions, so that it can be seen how costs grow.

use crate::shell::{Result, run};
use clap::Args;
use std::{io::Write, path::Path, process::Command, time::Instant};
use tempfile::NamedTempFile;

/// How many versions each of the large images has.
const LARGE: u32 = 5_000;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The file of a SQLite catalog, or the URL of a PostgreSQL database. The server has created its tables, and does not run
    #[arg(value_name = "CATALOG")]
    catalog: String,
    /// How many versions to publish, on up to 10,000 images. From 10,000 on, half of them are versions of images that have
    /// 5,000 each
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(10..=10_000_000))]
    versions: u32,
}

/// Fills the catalog with the tools of its database. The versions have no content in a store: their blobs are records only.
pub(crate) fn fill(options: &Options) -> Result<()> {
    let Options { catalog, versions } = options;
    let is_postgres = ["postgres://", "postgresql://"].iter().any(|scheme| catalog.starts_with(scheme));
    let template = if is_postgres { include_str!("fill/postgres.sql") } else { include_str!("fill/sqlite.sql") };
    if !is_postgres && !Path::new(catalog).exists() {
        return Err(format!("{catalog} does not exist: start the server once, so that it creates the catalog").into());
    }
    let large = versions / (2 * LARGE);
    let mut script = NamedTempFile::new()?;
    let images = (versions / 10).min(10_000);
    let sql = template
        .replace("{versions}", &versions.to_string())
        .replace("{images}", &images.to_string())
        .replace("{large}", &large.to_string());
    script.write_all(sql.as_bytes())?;
    let began = Instant::now();
    if is_postgres {
        run(Command::new("psql").args(["--quiet", "--no-psqlrc", "--file"]).arg(script.path()).arg(catalog))?;
    } else {
        run(Command::new("sqlite3").arg(catalog).arg(format!(".read {}", script.path().display())))?;
    }
    println!("{versions} versions of {images} images, {large} of which have {LARGE}, in {:?}", began.elapsed());
    Ok(())
}
