//! Logging to standard error, as text or JSON, and traces to a collector.

use crate::{
    config::{LogFormat, LoggingOptions},
    options::Verbosity,
    traces::{Traces, TracesError},
};
use imgsrv_domain::error_chain;
use std::io::{self, IsTerminal};
use tracing::Subscriber;
use tracing_subscriber::{
    EnvFilter, Layer,
    filter::{LevelFilter, Targets, filter_fn},
    fmt,
    fmt::{MakeWriter, writer::MakeWriterExt},
    layer::SubscriberExt,
    registry,
    registry::LookupSpan,
    util::SubscriberInitExt,
};

/// Starts logging, and sending traces if a collector is configured; `node` names this node there. `RUST_LOG` refines the
/// verbosity for the targets that it names.
pub(crate) fn start(options: &LoggingOptions, node: &str) -> Result<Option<Traces>, TracesError> {
    let level = match options.verbosity {
        Verbosity::Debug => LevelFilter::DEBUG,
        Verbosity::Info => LevelFilter::INFO,
        Verbosity::Warn => LevelFilter::WARN,
        Verbosity::Error => LevelFilter::ERROR,
    };
    let Some(endpoint) = options.otlp_endpoint() else {
        registry().with(filter(level, options.access_log)).with(lines(options.log_format, io::stderr)).init();
        return Ok(None);
    };
    let traces = Traces::start(&endpoint, node)?;
    // Spans of use cases, of the catalog and of the blob store, whatever is logged. Filters of single layers would be simpler,
    // but lose events: sqlx asks whether events are enabled that it does not send.
    let targets: Targets = filter(level, options.access_log).to_string().split(',').filter_map(target).collect();
    let written = targets.clone();
    let is_recorded = filter_fn(move |metadata| {
        let is_own = metadata.is_span() && metadata.target().starts_with("imgsrv");
        is_own || targets.would_enable(metadata.target(), metadata.level())
    });
    let writer = io::stderr.with_filter(move |metadata| written.would_enable(metadata.target(), metadata.level()));
    registry().with(is_recorded).with(lines(options.log_format, writer)).with(traces.layer()).init();
    Ok(Some(traces))
}

/// The layer that writes log lines.
fn lines<S: Subscriber + for<'s> LookupSpan<'s>>(
    format: LogFormat,
    writer: impl for<'w> MakeWriter<'w> + Send + Sync + 'static,
) -> Box<dyn Layer<S> + Send + Sync> {
    let lines = fmt::layer().with_writer(writer);
    match format {
        LogFormat::Text => lines.with_target(false).with_ansi(is_coloured()).boxed(),
        // `spans` has the current span as well.
        LogFormat::Json => lines.json().flatten_event(true).with_current_span(false).boxed(),
    }
}

/// A directive for a target; `None` for one that selects spans. One without a target is for all.
fn target(directive: &str) -> Option<(String, LevelFilter)> {
    let (target, level) = directive.split_once('=').unwrap_or(("", directive));
    Some((target.to_owned(), level.parse().ok()?))
}

/// Starts logging for an operator's command: warnings, and what is audited.
pub(crate) fn start_for_operator() {
    let lines = fmt().with_writer(io::stderr).with_env_filter(filter(LevelFilter::WARN, false)).with_target(false);
    lines.with_ansi(is_coloured()).init();
}

/// Whether log lines have colours: on a terminal, unless `NO_COLOR` is set (<https://no-color.org>).
fn is_coloured() -> bool {
    io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

fn filter(level: LevelFilter, access_log: bool) -> EnvFilter {
    refined(level, &EnvFilter::builder().from_env_lossy().to_string(), access_log)
}

fn refined(level: LevelFilter, directives: &str, access_log: bool) -> EnvFilter {
    // PostgreSQL sends notices on every start, such as that a table exists. The catalog logs its statements itself, within
    // their spans.
    let quiet = ["sqlx::postgres::notice=warn", "sqlx::query=warn", "imgsrv::access=off"];
    // Audited changes are logged at any verbosity, and so are requests if that is configured.
    let always = ["imgsrv::audit=info"].into_iter().chain(access_log.then_some("imgsrv::access=info"));
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
        let of = |given: &str, access_log: bool| -> Vec<String> {
            refined(LevelFilter::INFO, given, access_log).to_string().split(',').map(str::to_owned).collect()
        };
        let has = |given: &str, directive: &str| of(given, false).iter().any(|one| one == directive);
        assert!(has("", "info") && has("imgsrv::request=debug", "info"));
        assert!(
            has("imgsrv::request=debug, hyper=trace", "imgsrv::request=debug")
                && has("hyper=loud,sqlx=trace", "sqlx=trace")
        );
        assert!(has("debug", "debug") && !has("debug", "info"));
        assert!(has("imgsrv::audit=off", "imgsrv::audit=info"));
        assert!(has("", "imgsrv::access=off") && of("", true).iter().any(|one| one == "imgsrv::access=info"));
    }
}
