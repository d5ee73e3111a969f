//! Filled catalogs: each is filled once and kept in the cache; a copy of it is measured.

use crate::{
    fill::{self, Shape},
    server::{Server, binary},
    shell::{Result, output, run},
};
use imgsrv_testkit::{
    services::{LocalPostgres, cache_dir},
    token_with_roles,
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::{fmt, fs, path::Path, path::PathBuf, process::Command, time::Duration};
use tempfile::TempDir;

/// The port of the first server; others follow.
const PORT: u16 = 8110;
/// The least blobs to which nothing refers: more than a dry run of garbage collection counts.
const LEAST_UNREFERENCED: u32 = 3_000;
/// The schema of the server that is built from this checkout; another binary must have the same.
const SCHEMAS: [&str; 4] = [
    include_str!("../../../../migrations/sqlite/0001_initial.sql"),
    include_str!("../../../../migrations/postgres/0001_initial.sql"),
    fill::SQLITE,
    fill::POSTGRES,
];

/// A database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(in crate::bench) enum Database {
    Sqlite,
    Postgres,
}

impl Database {
    /// The one that was chosen, or both.
    pub(in crate::bench) fn chosen(choice: Option<Self>) -> Vec<Self> {
        choice.map_or_else(|| vec![Self::Sqlite, Self::Postgres], |one| vec![one])
    }
}

impl fmt::Display for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sqlite => "SQLite",
            Self::Postgres => "PostgreSQL",
        })
    }
}

/// A server over a copy of a filled catalog.
pub(super) struct Filled {
    pub(super) shape: Shape,
    /// A token of an administrator of content who also operates the server.
    pub(super) admin: String,
    // In this order, because the server must end before its database, and that before its folder is removed.
    server: Option<Server>,
    postgres: Option<LocalPostgres>,
    scratch: TempDir,
    listen: String,
    writer: String,
}

impl Filled {
    /// Starts a server, number `at`, over a copy of the catalog with so many versions, which is filled if it is not cached.
    pub(super) fn start(database: Database, versions: u32, at: usize) -> Result<Self> {
        let listen = format!("127.0.0.1:{}", PORT + u16::try_from(at)?);
        let folder = folder(database, versions)?;
        if !folder.exists() {
            make(database, versions, &listen, &folder)?;
        }
        let scratch = TempDir::with_prefix("imgsrv-growth-")?;
        copy(&folder.join("data"), &scratch.path().join("data"))?;
        let postgres = (database == Database::Postgres).then(|| LocalPostgres::restore(&folder.join("postgres")));
        // Otherwise the first syncs of the larger catalogs would also write their copies.
        run(&mut Command::new("sync"))?;
        let tokens: Value = serde_json::from_str(&fs::read_to_string(folder.join("tokens.json"))?)?;
        let token = |name: &str| tokens[name].as_str().map(str::to_owned).ok_or("no token in the cache");
        let (writer, admin) = (token("writer")?, token("admin")?);
        let shape = Shape::of(versions);
        let mut filled = Self { shape, admin, server: None, postgres, scratch, listen, writer };
        filled.restart("0s")?;
        Ok(filled)
    }

    /// Stops the server and starts it again, with that grace of garbage collection; returns how long it took until it was
    /// ready. Nothing is collected unless that is requested, and nothing verifies blobs that have no content.
    pub(super) fn restart(&mut self, grace: &str) -> Result<Duration> {
        self.server = None;
        let mut environment = environment(self.postgres.as_ref());
        environment.push(("IMGSRV_GC_GRACE", grace.to_owned()));
        let (server, took) = Server::resume(self.scratch.path(), &self.listen, &environment, &self.writer)?;
        self.server = Some(server);
        Ok(took)
    }

    /// The server, which requests content with the token of a writer.
    pub(super) fn server(&self) -> Result<&Server> {
        self.server.as_ref().ok_or_else(|| "the server does not run".into())
    }
}

fn environment(postgres: Option<&LocalPostgres>) -> Vec<(&'static str, String)> {
    let mut environment = vec![("IMGSRV_GC_INTERVAL", "0".to_owned()), ("IMGSRV_SCRUB_RATE", "0".to_owned())];
    environment.extend(postgres.map(|postgres| ("IMGSRV_POSTGRES_URL", postgres.url())));
    environment
}

/// Where the catalog is cached. The name has the digest of what it is made from; catalogs of other digests are removed.
fn folder(database: Database, versions: u32) -> Result<PathBuf> {
    let digest = Sha256::digest(SCHEMAS.concat());
    let key: String = digest.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    let all = cache_dir().join("fill");
    fs::create_dir_all(&all)?;
    for entry in fs::read_dir(&all)? {
        let entry = entry?;
        if entry.file_name() != *key {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(all.join(key).join(format!("{database}-{versions}").to_lowercase()))
}

/// Creates the catalog with a server, fills it, and moves it to the cache.
fn make(database: Database, versions: u32, listen: &str, folder: &Path) -> Result<()> {
    println!("\nfilling the {database} catalog of {versions} versions with {}", binary().display());
    let scratch = TempDir::with_prefix("imgsrv-fill-")?;
    let postgres = (database == Database::Postgres).then(LocalPostgres::start);
    let server = Server::start_new(scratch.path(), listen, &environment(postgres.as_ref()))?;
    let token = |roles: &[&str]| token_with_roles(&server.url, &server.token, roles);
    let tokens = json!({"writer": token(&["content-writer"]), "admin": token(&["content-admin", "operator"])});
    drop(server);
    let part = folder.with_extension("part");
    if part.exists() {
        fs::remove_dir_all(&part)?;
    }
    fs::create_dir_all(&part)?;
    let file = scratch.path().join("data/catalog.db");
    let catalog = postgres.as_ref().map_or_else(|| file.display().to_string(), LocalPostgres::url);
    fill::fill_catalog(&catalog, versions, versions.max(LEAST_UNREFERENCED))?;
    if let Some(postgres) = postgres {
        postgres.save(&part.join("postgres"));
    }
    copy(&scratch.path().join("data"), &part.join("data"))?;
    fs::write(part.join("tokens.json"), tokens.to_string())?;
    output(Command::new("du").arg("-sh").arg(&part)).map(|size| print!("{size}"))?;
    fs::rename(part, folder)?;
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    run(Command::new("cp").args(["-a", "--reflink=auto"]).arg(from).arg(to))
}
