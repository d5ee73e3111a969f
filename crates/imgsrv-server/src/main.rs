//! The imgsrv server: configuration, telemetry, wiring and workers.

mod config;
mod listener;
mod options;
mod run;
mod system;
mod telemetry;
mod workers;

use clap::Parser;
use config::{AuthCommand, Cli, Command};
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let done = match (runtime, cli.command) {
        (Err(error), _) => Err(run::StartError::Runtime(error)),
        (Ok(runtime), None) => runtime.block_on(run::serve(cli.serve)),
        (Ok(runtime), Some(Command::Serve(options))) => runtime.block_on(run::serve(options)),
        (Ok(runtime), Some(Command::Auth(AuthCommand::Bootstrap(options)))) => {
            runtime.block_on(run::bootstrap(options))
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            telemetry::fatal(&error);
            ExitCode::FAILURE
        }
    }
}
