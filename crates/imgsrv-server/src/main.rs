//! The imgsrv server: configuration, telemetry, wiring and workers.

mod config;
mod listener;
mod lock;
mod metrics;
mod operators;
mod options;
mod refusal;
mod run;
mod storage;
mod system;
mod telemetry;
mod tls;
mod workers;

use clap::Parser;
use config::{AuthCommand, Cli, Command};
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let done = runtime.map_err(run::StartError::Runtime).and_then(|runtime| {
        let done = match cli.command {
            None => runtime.block_on(run::serve(cli.serve)),
            Some(Command::Serve(options)) => runtime.block_on(run::serve(options)),
            Some(Command::Auth(command)) => runtime.block_on(async {
                telemetry::start_for_operator();
                match command {
                    AuthCommand::Bootstrap(options) => run::bootstrap(options).await,
                    AuthCommand::List(options) => operators::list(options).await,
                    AuthCommand::Revoke(options) => operators::revoke(options).await,
                }
            }),
        };
        // A copy of many gigabytes may still be running; its work was handed back, so nobody waits for it.
        runtime.shutdown_background();
        done
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            telemetry::fatal(&error);
            ExitCode::FAILURE
        }
    }
}
