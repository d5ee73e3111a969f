//! Tasks of the repository: `cargo xtask <task>`.
#![expect(clippy::print_stdout, reason = "these are command-line tools")]

mod bench;
mod demo;
mod dist;
mod fill;
mod openapi;
mod package;
mod server;
mod services;
mod shell;
mod test;
mod tidy;
mod tools;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Tasks of the repository
#[derive(Debug, Parser)]
#[command(name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Build the release server, publish a real qcow2 through it and keep serving
    Demo(demo::Options),
    /// Write the files of a release: binaries, Debian packages, bill of materials, licenses, checksums
    Dist(dist::Options),
    /// Check that the Debian package of the debug build installs and purges
    Package,
    /// Run everything that CI runs
    #[command(alias = "ci")]
    Test,
    /// Run the tests that need PostgreSQL, an S3-compatible store or several processes
    Integration,
    /// Drive the real clients of Incus and LXD against the server, over TLS
    Incus,
    /// Write openapi/v1.yaml from the code
    Openapi {
        /// Only compare
        #[arg(long)]
        check: bool,
    },
    /// Measure the release build beside peers: nginx, docker-registry, curl and openssl
    Bench(bench::Options),
    /// Fill an empty catalog with many published versions, to see how costs grow; needs sqlite3 or psql
    Fill(fill::Options),
    /// Take the screenshots of the documentation, docs/src/img, in Chromium
    Screenshots,
    /// Check the rules of the workspace that the compiler does not
    Tidy,
}

fn main() -> ExitCode {
    let done = match Cli::parse().task {
        Task::Demo(options) => demo::run(&options),
        Task::Dist(options) => dist::build(options),
        Task::Package => package::build_and_check(),
        Task::Test => test::run(),
        Task::Integration => services::integration(),
        Task::Incus => services::incus(),
        Task::Openapi { check } => openapi::run(check),
        Task::Bench(options) => bench::run(&options),
        Task::Fill(options) => fill::fill(&options),
        Task::Screenshots => services::screenshots(),
        Task::Tidy => tidy::run(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("xtask: {error}");
            ExitCode::FAILURE
        }
    }
}
