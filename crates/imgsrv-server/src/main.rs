//! The imgsrv server: configuration, telemetry, wiring and workers.

mod config;
mod in_flight;
mod incus;
mod listener;
mod lock;
mod metrics;
mod operators;
mod options;
mod run;
mod runtimes;
mod stalled;
mod storage;
mod system;
mod telemetry;
mod tls;

use clap::{CommandFactory, Parser};
use config::{AuthCommand, Cli, Command};
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let done = runtime.map_err(run::StartError::Runtime).and_then(|runtime| {
        let done = runtime.block_on(async {
            match cli.command {
                None => run::serve(cli.serve).await.map(|()| ExitCode::SUCCESS),
                Some(Command::Serve(options)) => run::serve(options).await.map(|()| ExitCode::SUCCESS),
                Some(Command::Client(command)) => Ok(imgsrv_cli::run(command).await),
                Some(Command::Help(command)) => Ok(imgsrv_cli::help(command, Cli::command())),
                Some(Command::Auth(AuthCommand::Remote(command))) => Ok(imgsrv_cli::manage(command).await),
                Some(Command::Auth(AuthCommand::Operator(command))) => {
                    telemetry::start_for_operator();
                    operators::run(command).await.map(|()| ExitCode::SUCCESS)
                }
            }
        });
        // A blocking copy of many gigabytes may still be running. Its lease was released, so it is not waited for.
        runtime.shutdown_background();
        done
    });
    done.unwrap_or_else(|error| {
        telemetry::fatal(&error);
        ExitCode::FAILURE
    })
}
