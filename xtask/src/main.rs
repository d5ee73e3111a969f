//! Tasks of the repository: `cargo xtask <task>`.
#![expect(clippy::print_stdout, reason = "these are command-line tools")]

mod bench;
mod demo;
mod openapi;
#[expect(unreachable_pub, reason = "it is public in the crate it is shared with")]
#[path = "../../crates/imgsrv-testkit/src/qcow2.rs"]
mod qcow2;
mod server;
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
    /// Run everything that CI runs
    #[command(alias = "ci")]
    Test,
    /// Write openapi/v1.yaml from the code
    Openapi {
        /// Only compare
        #[arg(long)]
        check: bool,
    },
    /// Measure uploads and downloads beside openssl, a plain write and nginx
    Bench(bench::Options),
    /// Check the rules of the workspace that the compiler does not
    Tidy,
}

fn main() -> ExitCode {
    let done = match Cli::parse().task {
        Task::Demo(options) => demo::run(&options),
        Task::Test => test::run(),
        Task::Openapi { check } => openapi::run(check),
        Task::Bench(options) => bench::run(&options),
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
