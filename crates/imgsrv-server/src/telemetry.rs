//! Logging to standard error, as text or JSON.

use crate::{
    config::{LogFormat, LoggingOptions},
    options::Verbosity,
};
use imgsrv_domain::error_chain;
use std::io::{self, IsTerminal};
use tracing_subscriber::{EnvFilter, filter::LevelFilter, fmt};

/// Starts logging. `RUST_LOG` refines the verbosity for the targets that it names.
pub(crate) fn start(options: &LoggingOptions) {
    let level = match options.verbosity {
        Verbosity::Debug => LevelFilter::DEBUG,
        Verbosity::Info => LevelFilter::INFO,
        Verbosity::Warn => LevelFilter::WARN,
        Verbosity::Error => LevelFilter::ERROR,
    };
    let lines = fmt().with_writer(io::stderr).with_env_filter(filter(level));
    match options.log_format {
        LogFormat::Text => lines.with_target(false).with_ansi(is_coloured()).init(),
        LogFormat::Json => lines.json().flatten_event(true).init(),
    }
}

/// Starts logging for an operator's command: warnings, and what is audited.
pub(crate) fn start_for_operator() {
    let lines = fmt().with_writer(io::stderr).with_env_filter(filter(LevelFilter::WARN)).with_target(false);
    lines.with_ansi(is_coloured()).init();
}

/// Whether log lines have colours: on a terminal, unless `NO_COLOR` is set (<https://no-color.org>).
fn is_coloured() -> bool {
    io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

fn filter(level: LevelFilter) -> EnvFilter {
    refined(level, &EnvFilter::builder().from_env_lossy().to_string())
}

fn refined(level: LevelFilter, directives: &str) -> EnvFilter {
    // PostgreSQL sends notices on every start, such as that a table exists. The catalog logs its statements itself, within
    // their spans.
    let quiet = ["sqlx::postgres::notice=warn", "sqlx::query=warn"];
    // Audited changes are logged at any verbosity.
    let always = ["imgsrv::audit=info"];
    let all = quiet.into_iter().chain(directives.split(',').map(str::trim)).chain(always);
    // The default directive would count only if there were no others.
    let filter = EnvFilter::default().add_directive(level.into());
    all.filter(|directive| !directive.is_empty())
        .filter_map(|one| one.parse().ok())
        .fold(filter, EnvFilter::add_directive)
}

/// Prints why the program cannot run, as one line.
#[expect(clippy::print_stderr, reason = "logging may not have started")]
pub(crate) fn fatal(error: &(dyn std::error::Error + 'static)) {
    eprintln!("imgsrv: {}", error_chain::text(error));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directives_refine_the_verbosity() {
        let directives = |given: &str| -> Vec<String> {
            refined(LevelFilter::INFO, given).to_string().split(',').map(str::to_owned).collect()
        };
        let has = |given: &str, directive: &str| directives(given).iter().any(|one| one == directive);
        assert!(has("", "info") && has("imgsrv::request=debug", "info"));
        assert!(
            has("imgsrv::request=debug, hyper=trace", "imgsrv::request=debug")
                && has("hyper=loud,sqlx=trace", "sqlx=trace")
        );
        assert!(has("debug", "debug") && !has("debug", "info"));
        assert!(has("imgsrv::audit=off", "imgsrv::audit=info"));
    }
}
