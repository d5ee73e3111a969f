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
    let lines = fmt().with_writer(io::stderr).with_env_filter(filter(level));
    match options.log_format {
        LogFormat::Text => lines.with_target(false).with_ansi(io::IsTerminal::is_terminal(&io::stderr())).init(),
        LogFormat::Json => lines.json().flatten_event(true).init(),
    }
}

/// Starts logging of what a command of an operator changes.
pub(crate) fn start_for_operator() {
    let lines = fmt().with_writer(io::stderr).with_env_filter(filter(LevelFilter::WARN)).with_target(false);
    lines.with_ansi(io::IsTerminal::is_terminal(&io::stderr())).init();
}

fn filter(level: LevelFilter) -> EnvFilter {
    // What PostgreSQL notices on every start, such as a table that is there already, is no news. What is audited is
    // told however little else is.
    let directives = ["sqlx::postgres::notice=warn", "imgsrv::audit=info"].map(str::parse);
    let filter = EnvFilter::builder().with_default_directive(level.into()).from_env_lossy();
    directives.into_iter().flatten().fold(filter, EnvFilter::add_directive)
}

/// Tells why the program cannot run, in one line.
#[expect(clippy::print_stderr, reason = "logging may not have started")]
pub(crate) fn fatal(error: &dyn std::error::Error) {
    eprintln!("imgsrv: {error}");
}
