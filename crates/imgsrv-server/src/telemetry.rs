//! Logs: on standard error, as text or JSON.

use crate::{
    config::{LogFormat, LoggingOptions},
    options::Verbosity,
};
use std::io;
use tracing_subscriber::{EnvFilter, filter::LevelFilter, fmt};

/// Starts logging. `RUST_LOG` adds to the verbosity, target by target.
pub(crate) fn start(options: &LoggingOptions) {
    let level = match options.verbosity {
        Verbosity::Debug => LevelFilter::DEBUG,
        Verbosity::Info => LevelFilter::INFO,
        Verbosity::Warn => LevelFilter::WARN,
        Verbosity::Error => LevelFilter::ERROR,
    };
    let filter = EnvFilter::builder().with_default_directive(level.into()).from_env_lossy();
    // What PostgreSQL notices on every start, such as a table that is there already, is no news.
    let filter = match "sqlx::postgres::notice=warn".parse() {
        Ok(quiet) => filter.add_directive(quiet),
        Err(_) => filter,
    };
    let lines = fmt().with_writer(io::stderr).with_env_filter(filter).with_target(false);
    match options.log_format {
        LogFormat::Text => lines.with_ansi(io::IsTerminal::is_terminal(&io::stderr())).init(),
        LogFormat::Json => lines.json().flatten_event(true).init(),
    }
}

/// Tells why the program cannot run, in one line.
#[expect(clippy::print_stderr, reason = "logging may not have started")]
pub(crate) fn fatal(error: &dyn std::error::Error) {
    eprintln!("imgsrv: {error}");
}
