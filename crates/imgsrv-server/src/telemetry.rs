//! Logging to standard error, as text or JSON.

use crate::{
    config::{LogFormat, LoggingOptions},
    options::Verbosity,
};
use imgsrv_domain::error_chain;
use std::io;
use tracing_subscriber::{EnvFilter, filter::LevelFilter, fmt};

/// Starts logging. `RUST_LOG` overrides the verbosity for the targets that it names.
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

/// Starts logging for an operator's command: warnings, and what is audited.
pub(crate) fn start_for_operator() {
    let lines = fmt().with_writer(io::stderr).with_env_filter(filter(LevelFilter::WARN)).with_target(false);
    lines.with_ansi(io::IsTerminal::is_terminal(&io::stderr())).init();
}

fn filter(level: LevelFilter) -> EnvFilter {
    // PostgreSQL sends notices on every start, such as that a table exists. The catalog logs its statements itself, within
    // their spans. Audited changes are logged at any verbosity.
    let directives = ["sqlx::postgres::notice=warn", "sqlx::query=warn", "imgsrv::audit=info"].map(str::parse);
    let filter = EnvFilter::builder().with_default_directive(level.into()).from_env_lossy();
    directives.into_iter().flatten().fold(filter, EnvFilter::add_directive)
}

/// Prints why the program cannot run, as one line.
#[expect(clippy::print_stderr, reason = "logging may not have started")]
pub(crate) fn fatal(error: &(dyn std::error::Error + 'static)) {
    eprintln!("imgsrv: {}", error_chain::text(error));
}
