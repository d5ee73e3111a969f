//! The imgsrv server: configuration, telemetry, wiring and workers.

mod backups;
mod banner;
mod commands;
mod config;
mod config_check;
mod config_show;
mod degraded;
mod disk;
mod error;
mod fsck;
mod in_flight;
mod incus;
mod listener;
mod lock;
mod metrics;
mod operators;
mod options;
mod output;
mod run;
mod runtimes;
mod stalled;
mod startup;
mod storage;
mod system;
mod telemetry;
mod tls;
mod traces;
mod turns;

#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

use clap::{CommandFactory, FromArgMatches};
use commands::{Cli, Command};
use imgsrv_domain::error_chain;
use std::{
    ffi::OsString,
    io::{self, IsTerminal},
    process::ExitCode,
};

fn main() -> ExitCode {
    let mut arguments: Vec<OsString> = std::env::args_os().collect();
    let mut command = imgsrv_cli::with_examples(Cli::command());
    if arguments.len() < 2 {
        if !serves_without_arguments() {
            // Without arguments, the command prints its help; that is not an error.
            let _ = command.print_help();
            return ExitCode::SUCCESS;
        }
        arguments.push("serve".into());
    }
    let is_json = arguments.iter().any(|argument| argument == "--json");
    let parsed = imgsrv_cli::parse(&command, arguments).and_then(|matches| Cli::from_arg_matches(&matches));
    match parsed {
        Ok(cli) => run(cli.command, command, is_json),
        Err(error) => imgsrv_cli::usage_error(&error, is_json),
    }
}

/// Whether `imgsrv` alone is the server: in a container or a unit that only sets variables, without a terminal.
fn serves_without_arguments() -> bool {
    let cli = Cli::command();
    let settings = cli.find_subcommand("serve").into_iter().flat_map(clap::Command::get_arguments);
    let names: Vec<OsString> = settings.filter_map(|argument| argument.get_env().map(OsString::from)).collect();
    let is_set = std::env::vars_os().any(|(name, _)| names.contains(&name));
    is_set && !io::stdin().is_terminal() && !io::stdout().is_terminal()
}

fn run(command: Command, cli: clap::Command, is_json: bool) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let done = runtime.map_err(error::StartError::Runtime).and_then(|runtime| {
        let done = runtime.block_on(async {
            match command {
                Command::Serve(options) => run::serve(options).await.map(|()| ExitCode::SUCCESS),
                Command::Client(command) => Ok(imgsrv_cli::run(command).await),
                Command::Help(command) => Ok(imgsrv_cli::help(command, cli)),
                Command::Admin(command) => {
                    telemetry::start_for_operator();
                    Ok(operators::run(command).await.unwrap_or_else(|error| {
                        imgsrv_cli::operator_failure(&error_chain::text(&error), error.exit_code(), is_json)
                    }))
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
