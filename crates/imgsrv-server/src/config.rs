//! Every setting: a flag and an environment variable. The flag wins.

use crate::options::{ListenAddress, Verbosity, duration, node_name};
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use imgsrv_domain::retry::Backoff;
use std::{path::PathBuf, time::Duration};

/// Publishes disk and VM images, and hands them to the machines that boot them.
#[derive(Debug, Parser)]
#[command(name = "imgsrv", version, args_conflicts_with_subcommands = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) serve: ServeOptions,
}

#[derive(Debug, Subcommand)]
#[expect(clippy::large_enum_variant, reason = "made once")]
pub(crate) enum Command {
    /// Run the server (also without any subcommand)
    #[command(alias = "start")]
    Serve(ServeOptions),
    /// Manage authentication with direct access to the catalog
    #[command(subcommand)]
    Auth(AuthCommand),
}

#[derive(Debug, Subcommand)]
pub(crate) enum AuthCommand {
    /// Mint a token that can manage authentication: the way back in after a lock-out
    Bootstrap(StorageOptions),
}

#[derive(Debug, Args)]
pub(crate) struct ServeOptions {
    #[command(flatten)]
    pub(crate) api: ApiOptions,
    #[command(flatten)]
    pub(crate) storage: StorageOptions,
    #[command(flatten)]
    pub(crate) uploads: UploadOptions,
    #[command(flatten)]
    pub(crate) workers: WorkerOptions,
    #[command(flatten)]
    pub(crate) logging: LoggingOptions,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "API")]
pub(crate) struct ApiOptions {
    /// Where the API listens, as host:port; `:port` is every address
    #[arg(long, env = "IMGSRV_LISTEN", default_value = ":8080", value_name = "ADDRESS")]
    pub(crate) listen: ListenAddress,
    /// How long requests in flight may take to finish after SIGTERM or SIGINT
    #[arg(long, env = "IMGSRV_SHUTDOWN_TIMEOUT", default_value = "10s", value_name = "DURATION", value_parser = duration)]
    pub(crate) shutdown_timeout: Duration,
    /// Failed bearer tokens a minute and address before further ones are answered 429; 0 is no limit
    #[arg(long, env = "IMGSRV_AUTH_FAILURE_LIMIT", default_value_t = 600, value_name = "COUNT")]
    pub(crate) auth_failure_limit: u32,
    /// Write the bootstrap token to this file (mode 0600) instead of standard output
    #[arg(long, env = "IMGSRV_BOOTSTRAP_TOKEN_FILE", value_name = "FILE")]
    pub(crate) bootstrap_token_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Storage")]
pub(crate) struct StorageOptions {
    /// Where the embedded catalog (catalog.db) lies
    #[arg(long, env = "IMGSRV_DATA_DIR", default_value = ".imgsrv", value_name = "FOLDER")]
    pub(crate) data_dir: PathBuf,
    /// Where blobs lie; the folder `storage` of the data folder when not given
    #[arg(long, env = "IMGSRV_STORAGE_DIR", value_name = "FOLDER")]
    storage_dir: Option<PathBuf>,
}

impl StorageOptions {
    pub(crate) fn storage_dir(&self) -> PathBuf {
        self.storage_dir.clone().unwrap_or_else(|| self.data_dir.join("storage"))
    }
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Uploads")]
pub(crate) struct UploadOptions {
    /// How long an unfinished upload waits for its next part
    #[arg(long, env = "IMGSRV_UPLOAD_TTL", default_value = "24h", value_name = "DURATION", value_parser = duration)]
    pub(crate) upload_ttl: Duration,
    /// The most bytes an upload may have; 0 is no limit
    #[arg(long, env = "IMGSRV_MAX_UPLOAD_BYTES", default_value_t = 0, value_name = "BYTES")]
    pub(crate) max_upload_bytes: u64,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Workers")]
pub(crate) struct WorkerOptions {
    /// Prefix of this process's name in leases [default: the host name]
    #[arg(long, env = "IMGSRV_NODE_NAME", default_value_t = node_name(), hide_default_value = true, value_name = "NAME")]
    pub(crate) node_name: String,
    /// Make completed uploads trusted in this process
    #[arg(long, env = "IMGSRV_CAS_PROMOTION_ENABLED", default_value_t = true, default_missing_value = "true",
        num_args = 0..=1, action = ArgAction::Set, value_name = "BOOL")]
    pub(crate) cas_promotion_enabled: bool,
    /// How often to look for completed uploads nobody was woken for
    #[arg(long, env = "IMGSRV_CAS_PROMOTION_POLL_INTERVAL", default_value = "5s", value_name = "DURATION", value_parser = duration)]
    pub(crate) cas_promotion_poll_interval: Duration,
    /// Delay after a failure of the catalog or the blob store; it doubles with each further one
    #[arg(long, env = "IMGSRV_CAS_PROMOTION_ERROR_BACKOFF", default_value = "5s", value_name = "DURATION", value_parser = duration)]
    cas_promotion_error_backoff: Duration,
    /// The longest such delay
    #[arg(long, env = "IMGSRV_CAS_PROMOTION_ERROR_BACKOFF_MAX", default_value = "1m", value_name = "DURATION", value_parser = duration)]
    cas_promotion_error_backoff_max: Duration,
    /// Failures in a row after which a worker pauses
    #[arg(long, env = "IMGSRV_CAS_PROMOTION_CIRCUIT_BREAKER_FAILURES", default_value_t = 10, value_name = "COUNT",
        value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) cas_promotion_circuit_breaker_failures: u32,
    /// How long it pauses
    #[arg(long, env = "IMGSRV_CAS_PROMOTION_CIRCUIT_BREAKER_COOLDOWN", default_value = "1m", value_name = "DURATION", value_parser = duration)]
    pub(crate) cas_promotion_circuit_breaker_cooldown: Duration,
    /// Run publish jobs in this process
    #[arg(long, env = "IMGSRV_PUBLISH_ENABLED", default_value_t = true, default_missing_value = "true",
        num_args = 0..=1, action = ArgAction::Set, value_name = "BOOL")]
    pub(crate) publish_enabled: bool,
    /// How long a worker holds work without renewing; at least 1s
    #[arg(long, env = "IMGSRV_LEASE_TERM", default_value = "30s", value_name = "DURATION", value_parser = lease_term)]
    pub(crate) lease_term: Duration,
}

impl WorkerOptions {
    pub(crate) fn backoff(&self) -> Backoff {
        let max = self.cas_promotion_error_backoff_max.max(self.cas_promotion_error_backoff);
        Backoff { first: self.cas_promotion_error_backoff, max }
    }
}

fn lease_term(raw: &str) -> Result<Duration, String> {
    let term = duration(raw)?;
    if term < Duration::from_secs(1) { Err("must be at least 1s".to_owned()) } else { Ok(term) }
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Logging")]
pub(crate) struct LoggingOptions {
    /// The form of log lines on standard error
    #[arg(long, env = "IMGSRV_LOG_FORMAT", default_value = "text", value_name = "FORMAT")]
    pub(crate) log_format: LogFormat,
    /// What is logged; `RUST_LOG` refines it
    #[arg(long, env = "IMGSRV_VERBOSITY", default_value = "info", value_name = "LEVEL")]
    pub(crate) verbosity: Verbosity,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people
    Text,
    /// For machines, a JSON object a line
    Json,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn switches_take_an_explicit_value() {
        for (arguments, expected) in [
            (vec!["imgsrv"], true),
            (vec!["imgsrv", "serve", "--cas-promotion-enabled", "true"], true),
            (vec!["imgsrv", "start", "--cas-promotion-enabled"], true),
            (vec!["imgsrv", "start", "--cas-promotion-enabled=false"], false),
        ] {
            let cli = Cli::try_parse_from(&arguments).expect("valid arguments");
            let options = match cli.command {
                Some(Command::Serve(options)) => options,
                _ => cli.serve,
            };
            assert_eq!(options.workers.cas_promotion_enabled, expected, "{arguments:?}");
        }
    }

    #[test]
    fn a_bad_value_names_flag_value_and_what_is_allowed() {
        for (arguments, parts) in [
            (["imgsrv", "--upload-ttl", "soon"], ["--upload-ttl", "soon", "24h"]),
            (["imgsrv", "--lease-term", "10ms"], ["--lease-term", "10ms", "at least 1s"]),
            (["imgsrv", "--listen", "nowhere"], ["--listen", "nowhere", "host:port"]),
            (["imgsrv", "--verbosity", "loud"], ["--verbosity", "loud", "debug"]),
        ] {
            let error = Cli::try_parse_from(arguments).expect_err("a bad value").to_string();
            assert!(parts.iter().all(|part| error.contains(part)), "{error}");
        }
    }

    /// Every setting of `imgsrv serve` as a table, by group.
    fn reference() -> String {
        let mut page = String::from(REFERENCE_HEAD);
        let command = Cli::command();
        let serve = command.find_subcommand("serve").expect("the command");
        let mut group = "";
        for argument in serve.get_arguments().filter(|argument| argument.get_long() != Some("help")) {
            let heading = argument.get_help_heading().unwrap_or_default();
            if heading != group {
                group = heading;
                page += &format!("\n## {heading}\n\n| flag | variable | default | what |\n| --- | --- | --- | --- |\n");
            }
            let default: Vec<_> = argument.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
            let default = match default.first() {
                Some(default) if !argument.is_hide_default_value_set() => format!("`{default}`"),
                Some(_) | None => String::new(),
            };
            let variable = argument.get_env().map(|name| name.to_string_lossy()).unwrap_or_default();
            let what = argument.get_help().map(ToString::to_string).unwrap_or_default();
            page +=
                &format!("| `--{}` | `{variable}` | {default} | {what} |\n", argument.get_long().unwrap_or_default());
        }
        page
    }

    const REFERENCE_HEAD: &str = "# Configuration

With no subcommand, or `serve` (alias `start`), `imgsrv` runs the server. Every setting is a flag and an environment
variable; the flag wins. Durations are written `500ms`, `5s`, `1m`, `24h`. A bad value is refused before anything is
opened. Logs go to standard error; standard output has the bootstrap token and nothing else.

`imgsrv auth bootstrap` takes the storage settings and mints a token that can manage authentication, also beside a
running server.
";

    #[test]
    #[expect(clippy::disallowed_methods, reason = "it may be asked to write the page instead")]
    fn the_reference_page_lists_every_setting() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/src/reference/configuration.md");
        if std::env::var("IMGSRV_UPDATE_DOCS").is_ok() {
            std::fs::write(path, reference()).expect("written");
        }
        let page = std::fs::read_to_string(path).unwrap_or_default();
        assert!(page == reference(), "run IMGSRV_UPDATE_DOCS=1 cargo test -p imgsrv-server the_reference_page");
    }
}
