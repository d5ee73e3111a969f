//! Settings: each is a flag and an environment variable; the flag takes precedence.

use crate::options::{
    Given, ListenAddress, Networks, PublicUrl, Secret, Verbosity, bytes, duration, endpoint, metrics_address, networks,
    node_name, path, public_url, secret_file, send_buffer_bytes, value,
};
use crate::tls::{CertFiles, TlsError};
use clap::{ArgAction, Args, ValueEnum};
use imgsrv_app::Backoff;
use imgsrv_blobs::S3Settings;
use imgsrv_catalog::postgres::PgSettings;
use secrecy::ExposeSecret;
use std::{path::PathBuf, time::Duration};

#[derive(Debug, Args)]
pub(crate) struct ServeOptions {
    #[command(flatten)]
    pub(crate) api: ApiOptions,
    #[command(flatten)]
    pub(crate) tls: TlsOptions,
    #[command(flatten)]
    pub(crate) limits: LimitOptions,
    #[command(flatten)]
    pub(crate) storage: StorageOptions,
    #[command(flatten)]
    pub(crate) uploads: UploadOptions,
    #[command(flatten)]
    pub(crate) workers: WorkerOptions,
    #[command(flatten)]
    pub(crate) metrics: MetricsOptions,
    #[command(flatten)]
    pub(crate) logging: LoggingOptions,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "API")]
pub(crate) struct ApiOptions {
    /// Where the API listens, as host:port; `:port` is every address
    #[arg(long, env = "IMGSRV_LISTEN", default_value = ":8080", value_name = "ADDRESS")]
    pub(crate) listen: ListenAddress,
    /// Where people and clients reach this server, such as `https://images.example.org`
    #[arg(long, env = "IMGSRV_PUBLIC_URL", value_name = "URL", value_parser = public_url)]
    public_url: Option<Given<PublicUrl>>,
    /// How long requests in flight may take to finish after SIGTERM or SIGINT
    #[arg(long, env = "IMGSRV_SHUTDOWN_TIMEOUT", default_value = "10s", value_name = "DURATION", value_parser = duration)]
    pub(crate) shutdown_timeout: Duration,
    /// Proxies that are believed about where a request comes from (`Forwarded`, `X-Forwarded-For`), as addresses or
    /// networks
    #[arg(long, env = "IMGSRV_TRUSTED_PROXIES", default_value = "", hide_default_value = true,
        value_name = "NETWORK,...", value_parser = networks)]
    pub(crate) trusted_proxies: Networks,
    /// Accept OIDC issuers on the loopback interface, there even over plain HTTP: for tests and labs
    #[arg(long, env = "IMGSRV_OIDC_ALLOW_LOOPBACK", default_value_t = false, default_missing_value = "true",
        num_args = 0..=1, action = ArgAction::Set, value_name = "BOOL")]
    pub(crate) oidc_allow_loopback: bool,
    /// Failed bearer tokens a minute and address before further ones are answered 429; 0 is no limit
    #[arg(long, env = "IMGSRV_AUTH_FAILURE_LIMIT", default_value_t = 600, value_name = "COUNT")]
    pub(crate) auth_failure_limit: u32,
    /// Write the bootstrap token to this file (mode 0600) instead of standard output
    #[arg(long, env = "IMGSRV_BOOTSTRAP_TOKEN_FILE", value_name = "FILE")]
    pub(crate) bootstrap_token_file: Option<PathBuf>,
}

impl ApiOptions {
    pub(crate) fn public_url(&self) -> Option<PublicUrl> {
        value(self.public_url.as_ref())
    }
}

#[derive(Debug, Args)]
#[command(next_help_heading = "TLS")]
#[expect(clippy::struct_field_names, reason = "fields are named like their flags")]
pub(crate) struct TlsOptions {
    /// The certificate with its chain, in PEM: the API is HTTPS then, and shows a new one when the file changes
    #[arg(long, env = "IMGSRV_TLS_CERT", value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<Given<PathBuf>>,
    /// The certificate's private key, in PEM
    #[arg(long, env = "IMGSRV_TLS_KEY", value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<Given<PathBuf>>,
    /// Make and keep a certificate authority and a certificate in the folder `tls` of the data folder, and tell how
    /// Incus comes to trust them
    #[arg(long, env = "IMGSRV_TLS_SELF_SIGNED", default_value_t = false, default_missing_value = "true",
        num_args = 0..=1, action = ArgAction::Set, value_name = "BOOL")]
    pub(crate) tls_self_signed: bool,
}

impl TlsOptions {
    /// The configured certificate and key: both or neither, and neither with `--tls-self-signed`.
    pub(crate) fn files(&self) -> Result<Option<CertFiles>, TlsError> {
        match (value(self.tls_cert.as_ref()), value(self.tls_key.as_ref())) {
            (None, None) => Ok(None),
            (Some(_), Some(_)) if self.tls_self_signed => Err(TlsError::Both),
            (Some(cert), Some(key)) => Ok(Some(CertFiles { cert, key })),
            (Some(_), None) | (None, Some(_)) => Err(TlsError::Half),
        }
    }
}

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Limits")]
pub(crate) struct LimitOptions {
    /// Connections held at once; further ones wait to be accepted
    #[arg(long, env = "IMGSRV_MAX_CONNECTIONS", default_value_t = 4096, value_name = "COUNT",
        value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) max_connections: u32,
    /// Connections held of one address, or of one IPv6 network of 64 bits; further ones are closed. Trusted proxies
    /// are not limited; 0 is no limit
    #[arg(long, env = "IMGSRV_MAX_CONNECTIONS_PER_ADDRESS", default_value_t = 1024, value_name = "COUNT")]
    pub(crate) max_connections_per_address: u32,
    /// Concurrent requests of one HTTP/2 connection; further ones are refused
    #[arg(long, env = "IMGSRV_MAX_STREAMS_PER_CONNECTION", default_value_t = 100, value_name = "COUNT",
        value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) max_streams_per_connection: u32,
    /// Bytes of responses that the server holds in memory until clients receive them, at least 1MiB. One client address
    /// uses at most half. Beyond that, downloads wait and JSON documents are answered 503
    #[arg(long, env = "IMGSRV_MAX_SEND_BUFFER_BYTES", default_value = "256MiB", value_name = "BYTES",
        value_parser = send_buffer_bytes)]
    pub(crate) max_send_buffer_bytes: u32,
    /// How long a client may take to send the headers of a request
    #[arg(long, env = "IMGSRV_HEADER_TIMEOUT", default_value = "20s", value_name = "DURATION", value_parser = duration)]
    pub(crate) header_timeout: Duration,
    /// The most bytes in the header fields of a request, at most 131072
    #[arg(long, env = "IMGSRV_MAX_HEADER_BYTES", default_value_t = 32 << 10, value_name = "BYTES",
        value_parser = clap::value_parser!(u32).range(4096..=128 << 10))]
    pub(crate) max_header_bytes: u32,
    /// How long a request body may be silent; a JSON body must be whole within it
    #[arg(long, env = "IMGSRV_BODY_TIMEOUT", default_value = "1m", value_name = "DURATION", value_parser = duration)]
    pub(crate) body_timeout: Duration,
    /// The least bytes a second that a request body must come with, over as long as it may be silent; 0 is no limit
    #[arg(long, env = "IMGSRV_MIN_BODY_RATE", default_value_t = 1024, value_name = "BYTES")]
    pub(crate) min_body_rate: u64,
    /// The least bytes a second that an answer must be taken with, over as long as a request body may be silent; 0 is
    /// no limit
    #[arg(long, env = "IMGSRV_MIN_SEND_RATE", default_value_t = 1024, value_name = "BYTES")]
    pub(crate) min_send_rate: u64,
    /// How long a client may take none of the bytes that are sent to it: on a connection, or on a stream of HTTP/2
    #[arg(long, env = "IMGSRV_SEND_TIMEOUT", default_value = "1m", value_name = "DURATION", value_parser = duration)]
    pub(crate) send_timeout: Duration,
    /// How long a connection is kept without a request; it is closed within twice that
    #[arg(long, env = "IMGSRV_IDLE_TIMEOUT", default_value = "1m", value_name = "DURATION", value_parser = duration)]
    pub(crate) idle_timeout: Duration,
    /// Parts that are received at once; further ones are answered 429
    #[arg(long, env = "IMGSRV_MAX_RECEIVING_PARTS", default_value_t = 256, value_name = "COUNT",
        value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) max_receiving_parts: u32,
    /// Uploads that are open at once, in all of the catalog; further ones are answered 429; 0 is no limit
    #[arg(long, env = "IMGSRV_MAX_OPEN_UPLOADS", default_value_t = 1000, value_name = "COUNT")]
    pub(crate) max_open_uploads: u32,
    /// Bytes that uploads which are not done may have in all, as they are announced; further ones are answered 507; 0 is
    /// no limit
    #[arg(long, env = "IMGSRV_MAX_STAGED_BYTES", default_value = "0", value_name = "BYTES", value_parser = bytes)]
    pub(crate) max_staged_bytes: u64,
    /// Bytes that must stay free on the disks of the blob store and of the embedded catalog; what would take them is
    /// answered 507; 0 is no limit
    #[arg(long, env = "IMGSRV_MIN_FREE_BYTES", default_value = "1GiB", value_name = "BYTES", value_parser = bytes)]
    pub(crate) min_free_bytes: u64,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Storage")]
pub(crate) struct StorageOptions {
    /// The PostgreSQL catalog, as `postgres://user:password@host/database`; without it the catalog is a SQLite file
    #[arg(long, env = "IMGSRV_POSTGRES_URL", hide_env_values = true, value_name = "URL")]
    postgres_url: Option<Secret>,
    /// A file with the PostgreSQL URL, instead of the URL itself
    #[arg(long, env = "IMGSRV_POSTGRES_URL_FILE", value_name = "FILE", value_parser = secret_file)]
    postgres_url_file: Option<Secret>,
    /// The most connections to PostgreSQL that this process holds, one more for listening aside
    #[arg(long, env = "IMGSRV_POSTGRES_MAX_CONNECTIONS", default_value_t = 16, value_name = "COUNT",
        value_parser = clap::value_parser!(u32).range(2..))]
    postgres_max_connections: u32,
    /// Where the embedded catalog (catalog.db) lies
    #[arg(long, env = "IMGSRV_DATA_DIR", default_value = ".imgsrv", value_name = "FOLDER")]
    pub(crate) data_dir: PathBuf,
    /// Where blobs lie, unless in a bucket; the folder `storage` of the data folder when not given
    #[arg(long, env = "IMGSRV_STORAGE_DIR", value_name = "FOLDER")]
    storage_dir: Option<Given<PathBuf>>,
    /// The bucket that blobs lie in; without it they lie in the storage folder
    #[arg(long, env = "IMGSRV_S3_BUCKET", value_name = "NAME")]
    s3_bucket: Option<Given<String>>,
    /// Where the S3-compatible store listens, as host:port; AWS when not given
    #[arg(long, env = "IMGSRV_S3_ENDPOINT", value_name = "ADDRESS", value_parser = endpoint)]
    s3_endpoint: Option<Given<String>>,
    /// The access key; without keys they come from `AWS_...` variables, a web identity token or the metadata service
    #[arg(long, env = "IMGSRV_S3_ACCESS_KEY_ID", value_name = "KEY")]
    s3_access_key_id: Option<Given<String>>,
    /// The secret key
    #[arg(long, env = "IMGSRV_S3_SECRET_ACCESS_KEY", hide_env_values = true, value_name = "KEY")]
    s3_secret_access_key: Option<Secret>,
    /// A file with the secret key, instead of the key itself
    #[arg(long, env = "IMGSRV_S3_SECRET_ACCESS_KEY_FILE", value_name = "FILE", value_parser = secret_file)]
    s3_secret_access_key_file: Option<Secret>,
    /// The token of temporary keys
    #[arg(long, env = "IMGSRV_S3_SESSION_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    s3_session_token: Option<Secret>,
    /// A file with the token of temporary keys, instead of the token itself
    #[arg(long, env = "IMGSRV_S3_SESSION_TOKEN_FILE", value_name = "FILE", value_parser = secret_file)]
    s3_session_token_file: Option<Secret>,
    /// What requests to the store are signed for [default: us-east-1]
    #[arg(long, env = "IMGSRV_S3_REGION", value_name = "REGION")]
    s3_region: Option<Given<String>>,
    /// Speak TLS to the endpoint; AWS always does
    #[arg(long, env = "IMGSRV_S3_USE_TLS", default_value_t = false, default_missing_value = "true", num_args = 0..=1,
        action = ArgAction::Set, value_name = "BOOL")]
    s3_use_tls: bool,
    /// Ask for endpoint/bucket/key instead of bucket.endpoint/key
    #[arg(long, env = "IMGSRV_S3_PATH_STYLE", default_value_t = false, default_missing_value = "true",
        num_args = 0..=1, action = ArgAction::Set, value_name = "BOOL")]
    s3_path_style: bool,
}

/// A secret that is configured directly or in a file.
fn either(secret: Option<&Secret>, file: Option<&Secret>) -> Option<String> {
    value(secret).or_else(|| value(file)).map(|secret| secret.expose_secret().to_owned())
}

impl StorageOptions {
    pub(crate) fn storage_dir(&self) -> PathBuf {
        value(self.storage_dir.as_ref()).unwrap_or_else(|| self.data_dir.join("storage"))
    }

    /// The embedded catalog.
    pub(crate) fn catalog_file(&self) -> PathBuf {
        self.data_dir.join("catalog.db")
    }

    /// The settings of the PostgreSQL catalog, if one is configured.
    pub(crate) fn postgres(&self) -> Option<PgSettings> {
        let url = either(self.postgres_url.as_ref(), self.postgres_url_file.as_ref())?;
        Some(PgSettings { url, max_connections: self.postgres_max_connections })
    }

    /// The settings of the bucket, if one is configured.
    pub(crate) fn s3(&self) -> Option<S3Settings> {
        let endpoint = value(self.s3_endpoint.as_ref());
        Some(S3Settings {
            bucket: value(self.s3_bucket.as_ref())?,
            region: value(self.s3_region.as_ref()),
            access_key_id: value(self.s3_access_key_id.as_ref()),
            secret_access_key: either(self.s3_secret_access_key.as_ref(), self.s3_secret_access_key_file.as_ref()),
            session_token: either(self.s3_session_token.as_ref(), self.s3_session_token_file.as_ref()),
            tls: self.s3_use_tls || endpoint.is_none(),
            path_style: self.s3_path_style,
            endpoint,
        })
    }

    /// The blob store, as shown to operators.
    pub(crate) fn blob_store(&self) -> String {
        self.s3().map_or_else(
            || self.storage_dir().display().to_string(),
            |s3| format!("s3://{} at {}", s3.bucket, s3.endpoint.as_deref().unwrap_or("AWS")),
        )
    }
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Metrics")]
pub(crate) struct MetricsOptions {
    /// Where metrics listen, as host:port; empty turns them off
    #[arg(long, env = "IMGSRV_METRICS_LISTEN", default_value = "127.0.0.1:9464", value_name = "ADDRESS",
        value_parser = metrics_address)]
    pub(crate) metrics_listen: Given<ListenAddress>,
    /// The path of the metrics
    #[arg(long, env = "IMGSRV_METRICS_PATH", default_value = "/metrics", value_name = "PATH", value_parser = path)]
    pub(crate) metrics_path: String,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Uploads")]
pub(crate) struct UploadOptions {
    /// How long an unfinished upload waits for its next part
    #[arg(long, env = "IMGSRV_UPLOAD_TTL", default_value = "24h", value_name = "DURATION", value_parser = duration)]
    pub(crate) upload_ttl: Duration,
    /// The most bytes an upload may have; 0 is no limit
    #[arg(long, env = "IMGSRV_MAX_UPLOAD_BYTES", default_value = "0", value_name = "BYTES", value_parser = bytes)]
    pub(crate) max_upload_bytes: u64,
    /// What becomes of a publish whose artifacts are not in the format that they are declared as
    #[arg(long, env = "IMGSRV_FORMAT_CHECK", default_value = "warn", value_name = "CHECK")]
    pub(crate) format_check: FormatCheckOption,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum FormatCheckOption {
    /// It goes on; the job and the manifest have a warning
    Warn,
    /// It fails
    Enforce,
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
    /// Attempts in a row at a piece of work that may crash the worker or its process before the work is parked
    #[arg(long, env = "IMGSRV_WORK_ATTEMPTS", default_value_t = 5, value_name = "COUNT",
        value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) work_attempts: u32,
}

impl WorkerOptions {
    pub(crate) fn backoff(&self) -> Backoff {
        let max = self.cas_promotion_error_backoff_max.max(self.cas_promotion_error_backoff);
        Backoff::new(self.cas_promotion_error_backoff, max)
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
mod tests;
