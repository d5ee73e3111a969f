//! Settings: each is a flag and an environment variable; the flag takes precedence.

mod keeping;

pub(crate) use keeping::{CollectionOptions, LifecycleOptions, ScrubOptions};

use crate::options::{
    Given, ListenAddress, Networks, Secret, Verbosity, bytes, duration, endpoint, http_url, metrics_address, networks,
    node_name, optional_duration, path, public_url, secret_file, send_buffer_bytes, text, value,
};
use crate::tls::{CertFiles, TlsError};
use clap::{ArgAction, Args, ValueEnum};
use imgsrv_app::Backoff;
use imgsrv_blobs::S3Settings;
use imgsrv_catalog::postgres::PgSettings;
use imgsrv_cli::count;
use imgsrv_domain::{
    access::Visibility,
    text::{LongText, ShortText},
};
use imgsrv_http::{PublicUrl, Site};
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
    pub(crate) collection: CollectionOptions,
    #[command(flatten)]
    pub(crate) scrub: ScrubOptions,
    #[command(flatten)]
    pub(crate) lifecycle: LifecycleOptions,
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
    /// Address of the API, as host:port; `:8080` listens on all addresses
    #[arg(long, env = "IMGSRV_LISTEN", default_value = ":8080", value_name = "ADDRESS")]
    pub(crate) listen: ListenAddress,
    /// URL at which clients reach this server, such as `https://images.example.org`. A path, as in
    /// `https://example.org/images`, is that below which a reverse proxy publishes the server
    #[arg(long, env = "IMGSRV_PUBLIC_URL", value_name = "URL", value_parser = public_url)]
    public_url: Option<Given<PublicUrl>>,
    /// Name of the site on its pages, such as `Images of Example` [default: Images]
    #[arg(long, env = "IMGSRV_SITE_TITLE", value_name = "TEXT", value_parser = text::<ShortText>)]
    site_title: Option<Given<ShortText>>,
    /// Text that every page shows below its header, such as a contact or an announcement
    #[arg(long, env = "IMGSRV_SITE_NOTICE", value_name = "TEXT", value_parser = text::<LongText>)]
    site_notice: Option<Given<LongText>>,
    /// Visibility of new images whose creation does not choose one: `public`, or `private` for callers with a role on them
    #[arg(long, env = "IMGSRV_DEFAULT_VISIBILITY", default_value = "public", value_name = "VISIBILITY")]
    pub(crate) default_visibility: Visibility,
    /// Number of the newest versions of an image that Simple Streams list for each architecture, variant and kind, beside
    /// those that aliases refer to. 0 means all
    #[arg(long, env = "IMGSRV_STREAMS_NEWEST", default_value_t = 0, value_name = "COUNT",
        value_parser = count::<u32>(0..))]
    pub(crate) streams_newest: u32,
    /// Maximum time for requests in flight to finish after SIGTERM or SIGINT
    #[arg(long, env = "IMGSRV_SHUTDOWN_TIMEOUT", default_value = "10s", value_name = "DURATION", value_parser = duration)]
    pub(crate) shutdown_timeout: Duration,
    /// Time after SIGTERM or SIGINT for which requests are still accepted while `/readyz` responds with 503, so that load
    /// balancers send requests elsewhere. A second signal ends it
    #[arg(long, env = "IMGSRV_SHUTDOWN_DELAY", default_value = "0s", value_name = "DURATION", value_parser = optional_duration)]
    pub(crate) shutdown_delay: Duration,
    /// Addresses or networks of proxies whose `Forwarded` and `X-Forwarded-For` headers are trusted, such as 10.0.0.0/8
    #[arg(long, env = "IMGSRV_TRUSTED_PROXIES", default_value = "", hide_default_value = true,
        value_name = "NETWORK,...", value_parser = networks)]
    pub(crate) trusted_proxies: Networks,
    /// Allow OIDC issuers on the loopback interface, over plain HTTP as well. For tests and labs only
    #[arg(long, env = "IMGSRV_OIDC_ALLOW_LOOPBACK", default_value_t = false, default_missing_value = "true",
        num_args = 0..=1, action = ArgAction::Set, value_name = "BOOL")]
    pub(crate) oidc_allow_loopback: bool,
    /// Maximum number of failed bearer tokens per client address and minute; further ones are answered with 429. 0
    /// means no limit
    #[arg(long, env = "IMGSRV_AUTH_FAILURE_LIMIT", default_value_t = 600, value_name = "COUNT",
        value_parser = count::<u32>(0..))]
    pub(crate) auth_failure_limit: u32,
    /// Ask anonymous clients for Basic credentials (401) where a file does not exist or is private, for clients that send
    /// them only then, such as browsers. The password is an API token
    #[arg(long, env = "IMGSRV_AUTH_CHALLENGE", default_value_t = false, default_missing_value = "true",
        num_args = 0..=1, action = ArgAction::Set, value_name = "BOOL")]
    pub(crate) auth_challenge: bool,
    /// File to write the bootstrap token to (mode 0600) [default: print it to standard output]
    #[arg(long, env = "IMGSRV_BOOTSTRAP_TOKEN_FILE", value_name = "FILE")]
    pub(crate) bootstrap_token_file: Option<PathBuf>,
}

impl ApiOptions {
    pub(crate) fn public_url(&self) -> Option<PublicUrl> {
        value(self.public_url.as_ref())
    }

    /// The branding of pages.
    pub(crate) fn site(&self) -> Site {
        Site { title: value(self.site_title.as_ref()), notice: value(self.site_notice.as_ref()) }
    }
}

#[derive(Debug, Args)]
#[command(next_help_heading = "TLS")]
#[expect(clippy::struct_field_names, reason = "fields are named like their flags")]
pub(crate) struct TlsOptions {
    /// Certificate with its chain, in PEM format. The API then uses HTTPS; the file is reloaded when it changes
    #[arg(long, env = "IMGSRV_TLS_CERT", value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<Given<PathBuf>>,
    /// Private key of the certificate, in PEM format
    #[arg(long, env = "IMGSRV_TLS_KEY", value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<Given<PathBuf>>,
    /// Generate a certificate authority and a certificate, store them in the folder `tls` of the data folder, and print
    /// the command with which Incus trusts them
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
    /// Maximum number of open connections; further ones wait to be accepted
    #[arg(long, env = "IMGSRV_MAX_CONNECTIONS", default_value_t = 4096, value_name = "COUNT",
        value_parser = count::<u32>(1..=1_000_000))]
    pub(crate) max_connections: u32,
    /// Maximum number of open connections per client address (for IPv6, per /64 network); further ones are closed.
    /// Trusted proxies are not limited. 0 means no limit
    #[arg(long, env = "IMGSRV_MAX_CONNECTIONS_PER_ADDRESS", default_value_t = 1024, value_name = "COUNT",
        value_parser = count::<u32>(0..))]
    pub(crate) max_connections_per_address: u32,
    /// Maximum number of concurrent requests on one HTTP/2 connection; further ones are refused
    #[arg(long, env = "IMGSRV_MAX_STREAMS_PER_CONNECTION", default_value_t = 100, value_name = "COUNT",
        value_parser = count::<u32>(1..=10_000))]
    pub(crate) max_streams_per_connection: u32,
    /// Maximum memory for response data that clients have not received yet, at least 1MiB. One client address can use
    /// half of it. When it is used up, downloads wait and JSON documents are answered with 503
    #[arg(long, env = "IMGSRV_MAX_SEND_BUFFER_BYTES", default_value = "256MiB", value_name = "BYTES",
        value_parser = send_buffer_bytes)]
    pub(crate) max_send_buffer_bytes: u32,
    /// Maximum time for a client to send the headers of a request
    #[arg(long, env = "IMGSRV_HEADER_TIMEOUT", default_value = "20s", value_name = "DURATION", value_parser = duration)]
    pub(crate) header_timeout: Duration,
    /// Maximum size of the headers of a request, from 4096 to 131072 bytes
    #[arg(long, env = "IMGSRV_MAX_HEADER_BYTES", default_value_t = 32 << 10, value_name = "BYTES",
        value_parser = clap::value_parser!(u32).range(4096..=128 << 10))]
    pub(crate) max_header_bytes: u32,
    /// Maximum time without data from a client that sends a request body; a JSON body must be complete within this time
    #[arg(long, env = "IMGSRV_BODY_TIMEOUT", default_value = "1m", value_name = "DURATION", value_parser = duration)]
    pub(crate) body_timeout: Duration,
    /// Minimum throughput of a request body in bytes per second, averaged over `--body-timeout`. 0 means no limit
    #[arg(long, env = "IMGSRV_MIN_BODY_RATE", default_value_t = 1024, value_name = "BYTES")]
    pub(crate) min_body_rate: u64,
    /// Minimum throughput of a response in bytes per second, averaged over `--body-timeout`. 0 means no limit
    #[arg(long, env = "IMGSRV_MIN_SEND_RATE", default_value_t = 1024, value_name = "BYTES")]
    pub(crate) min_send_rate: u64,
    /// Maximum time in which a client receives no data of a response, per connection or HTTP/2 stream
    #[arg(long, env = "IMGSRV_SEND_TIMEOUT", default_value = "1m", value_name = "DURATION", value_parser = duration)]
    pub(crate) send_timeout: Duration,
    /// Time after which an idle connection is closed; closing can take up to twice as long
    #[arg(long, env = "IMGSRV_IDLE_TIMEOUT", default_value = "1m", value_name = "DURATION", value_parser = duration)]
    pub(crate) idle_timeout: Duration,
    /// Maximum number of parts that are received concurrently; further ones are answered with 429
    #[arg(long, env = "IMGSRV_MAX_RECEIVING_PARTS", default_value_t = 256, value_name = "COUNT",
        value_parser = count::<u32>(1..=100_000))]
    pub(crate) max_receiving_parts: u32,
    /// Maximum number of open uploads in the catalog; further ones are answered with 429. 0 means no limit
    #[arg(long, env = "IMGSRV_MAX_OPEN_UPLOADS", default_value_t = 1000, value_name = "COUNT",
        value_parser = count::<u32>(0..))]
    pub(crate) max_open_uploads: u32,
    /// Maximum number of open uploads of one principal; further ones are answered with 429. 0 means no limit
    #[arg(long, env = "IMGSRV_MAX_OPEN_UPLOADS_PER_PRINCIPAL", default_value_t = 100, value_name = "COUNT",
        value_parser = count::<u32>(0..))]
    pub(crate) max_open_uploads_per_principal: u32,
    /// Maximum total declared size of unfinished uploads, such as 500GiB; further ones are answered with 507. 0 means
    /// no limit
    #[arg(long, env = "IMGSRV_MAX_STAGED_BYTES", default_value = "0", value_name = "BYTES", value_parser = bytes)]
    pub(crate) max_staged_bytes: u64,
    /// Maximum total declared size of the unfinished uploads of one principal, such as 200GiB; further ones are answered
    /// with 507. 0 means no limit
    #[arg(long, env = "IMGSRV_MAX_STAGED_BYTES_PER_PRINCIPAL", default_value = "0", value_name = "BYTES",
        value_parser = bytes)]
    pub(crate) max_staged_bytes_per_principal: u64,
    /// Minimum free space on the disks of the blob store and of the embedded catalog; requests that would use it are
    /// answered with 507. 0 means no limit
    #[arg(long, env = "IMGSRV_MIN_FREE_BYTES", default_value = "1GiB", value_name = "BYTES", value_parser = bytes)]
    pub(crate) min_free_bytes: u64,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Storage")]
pub(crate) struct StorageOptions {
    /// URL of the PostgreSQL catalog, as `postgres://user:password@host/database` [default: the catalog is a SQLite
    /// file]
    #[arg(long, env = "IMGSRV_POSTGRES_URL", hide_env_values = true, value_name = "URL")]
    postgres_url: Option<Secret>,
    /// File that contains the PostgreSQL URL
    #[arg(long, env = "IMGSRV_POSTGRES_URL_FILE", value_name = "FILE", value_parser = secret_file)]
    postgres_url_file: Option<Secret>,
    /// Maximum number of connections to PostgreSQL; one more is used for notifications
    #[arg(long, env = "IMGSRV_POSTGRES_MAX_CONNECTIONS", default_value_t = 16, value_name = "COUNT",
        value_parser = count::<u32>(2..))]
    postgres_max_connections: u32,
    /// Folder of the embedded catalog (catalog.db)
    #[arg(long, env = "IMGSRV_DATA_DIR", default_value = ".imgsrv", value_name = "FOLDER")]
    pub(crate) data_dir: PathBuf,
    /// Folder for blobs, if no bucket is set [default: the folder `storage` of the data folder]
    #[arg(long, env = "IMGSRV_STORAGE_DIR", value_name = "FOLDER")]
    storage_dir: Option<Given<PathBuf>>,
    /// S3 bucket for blobs [default: blobs are stored in the storage folder]
    #[arg(long, env = "IMGSRV_S3_BUCKET", value_name = "NAME")]
    s3_bucket: Option<Given<String>>,
    /// Address of the S3-compatible store, as host:port [default: AWS]
    #[arg(long, env = "IMGSRV_S3_ENDPOINT", value_name = "ADDRESS", value_parser = endpoint)]
    s3_endpoint: Option<Given<String>>,
    /// S3 access key id [default: from `AWS_...` variables, a web identity token or the metadata service]
    #[arg(long, env = "IMGSRV_S3_ACCESS_KEY_ID", value_name = "KEY")]
    s3_access_key_id: Option<Given<String>>,
    /// S3 secret access key
    #[arg(long, env = "IMGSRV_S3_SECRET_ACCESS_KEY", hide_env_values = true, value_name = "KEY")]
    s3_secret_access_key: Option<Secret>,
    /// File that contains the S3 secret access key
    #[arg(long, env = "IMGSRV_S3_SECRET_ACCESS_KEY_FILE", value_name = "FILE", value_parser = secret_file)]
    s3_secret_access_key_file: Option<Secret>,
    /// S3 session token of temporary keys
    #[arg(long, env = "IMGSRV_S3_SESSION_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    s3_session_token: Option<Secret>,
    /// File that contains the S3 session token
    #[arg(long, env = "IMGSRV_S3_SESSION_TOKEN_FILE", value_name = "FILE", value_parser = secret_file)]
    s3_session_token_file: Option<Secret>,
    /// S3 region that requests are signed for [default: us-east-1]
    #[arg(long, env = "IMGSRV_S3_REGION", value_name = "REGION")]
    s3_region: Option<Given<String>>,
    /// Use TLS for the S3 endpoint; it is always used for AWS
    #[arg(long, env = "IMGSRV_S3_USE_TLS", default_value_t = false, default_missing_value = "true", num_args = 0..=1,
        action = ArgAction::Set, value_name = "BOOL")]
    s3_use_tls: bool,
    /// Use path-style S3 URLs (endpoint/bucket/key) instead of virtual-hosted ones (bucket.endpoint/key). An endpoint that
    /// is an IP address is always used so
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

    /// The catalog, as shown to operators.
    pub(crate) fn catalog(&self) -> String {
        match self.postgres() {
            Some(settings) => format!("in the PostgreSQL database at {}", settings.shown()),
            None => {
                let path = self.catalog_file();
                std::path::absolute(&path).unwrap_or(path).display().to_string()
            }
        }
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
    /// Address of the metrics endpoint, as host:port; empty turns it off
    #[arg(long, env = "IMGSRV_METRICS_LISTEN", default_value = "127.0.0.1:9464", value_name = "ADDRESS",
        value_parser = metrics_address)]
    pub(crate) metrics_listen: Given<ListenAddress>,
    /// Path of the metrics endpoint
    #[arg(long, env = "IMGSRV_METRICS_PATH", default_value = "/metrics", value_name = "PATH", value_parser = path)]
    pub(crate) metrics_path: String,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Uploads")]
pub(crate) struct UploadOptions {
    /// Time after which an upload that receives no further part expires
    #[arg(long, env = "IMGSRV_UPLOAD_TTL", default_value = "24h", value_name = "DURATION", value_parser = duration)]
    pub(crate) upload_ttl: Duration,
    /// Maximum size of an upload, such as 100GiB. 0 means no limit
    #[arg(long, env = "IMGSRV_MAX_UPLOAD_BYTES", default_value = "0", value_name = "BYTES", value_parser = bytes)]
    pub(crate) max_upload_bytes: u64,
    /// Handling of artifacts whose content is not in the declared format
    #[arg(long, env = "IMGSRV_FORMAT_CHECK", default_value = "warn", value_name = "CHECK")]
    pub(crate) format_check: FormatCheckOption,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum FormatCheckOption {
    /// Publish them, with a warning in the job and the manifest
    Warn,
    /// Fail the publish job
    Enforce,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Workers")]
pub(crate) struct WorkerOptions {
    /// Name of this node, a prefix of its worker names in leases and logs [default: the host name]
    #[arg(long, env = "IMGSRV_NODE_NAME", default_value_t = node_name(), hide_default_value = true, value_name = "NAME")]
    pub(crate) node_name: String,
    /// Ingest completed uploads in this process
    #[arg(long, env = "IMGSRV_CAS_PROMOTION_ENABLED", default_value_t = true, default_missing_value = "true",
        num_args = 0..=1, action = ArgAction::Set, value_name = "BOOL")]
    pub(crate) cas_promotion_enabled: bool,
    /// Interval at which workers poll for completed uploads whose notification was missed
    #[arg(long, env = "IMGSRV_CAS_PROMOTION_POLL_INTERVAL", default_value = "5s", value_name = "DURATION", value_parser = duration)]
    pub(crate) cas_promotion_poll_interval: Duration,
    /// Initial backoff after a failure of the catalog or the blob store; it doubles with each further failure
    #[arg(long, env = "IMGSRV_CAS_PROMOTION_ERROR_BACKOFF", default_value = "5s", value_name = "DURATION", value_parser = duration)]
    cas_promotion_error_backoff: Duration,
    /// Maximum backoff after a failure
    #[arg(long, env = "IMGSRV_CAS_PROMOTION_ERROR_BACKOFF_MAX", default_value = "1m", value_name = "DURATION", value_parser = duration)]
    cas_promotion_error_backoff_max: Duration,
    /// Number of consecutive failures after which workers pause
    #[arg(long, env = "IMGSRV_CAS_PROMOTION_CIRCUIT_BREAKER_FAILURES", default_value_t = 10, value_name = "COUNT",
        value_parser = count::<u32>(1..))]
    pub(crate) cas_promotion_circuit_breaker_failures: u32,
    /// Length of that pause
    #[arg(long, env = "IMGSRV_CAS_PROMOTION_CIRCUIT_BREAKER_COOLDOWN", default_value = "1m", value_name = "DURATION", value_parser = duration)]
    pub(crate) cas_promotion_circuit_breaker_cooldown: Duration,
    /// Run publish jobs in this process
    #[arg(long, env = "IMGSRV_PUBLISH_ENABLED", default_value_t = true, default_missing_value = "true",
        num_args = 0..=1, action = ArgAction::Set, value_name = "BOOL")]
    pub(crate) publish_enabled: bool,
    /// Term of a worker's lease; it expires if it is not renewed in time. At least 1s
    #[arg(long, env = "IMGSRV_LEASE_TERM", default_value = "30s", value_name = "DURATION", value_parser = lease_term)]
    pub(crate) lease_term: Duration,
    /// Maximum number of consecutive attempts that crash the worker or its process before the work item is parked
    #[arg(long, env = "IMGSRV_WORK_ATTEMPTS", default_value_t = 5, value_name = "COUNT",
        value_parser = count::<u32>(1..))]
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
    /// Format of the log on standard error
    #[arg(long, env = "IMGSRV_LOG_FORMAT", default_value = "text", value_name = "FORMAT")]
    pub(crate) log_format: LogFormat,
    /// Minimum level of log events; `RUST_LOG` can refine it
    #[arg(long, env = "IMGSRV_VERBOSITY", default_value = "info", value_name = "LEVEL")]
    pub(crate) verbosity: Verbosity,
    /// Log every request, with method, route, status, bytes, duration, principal and request id
    #[arg(long, env = "IMGSRV_ACCESS_LOG", default_value_t = false, default_missing_value = "true", num_args = 0..=1,
        action = ArgAction::Set, value_name = "BOOL")]
    pub(crate) access_log: bool,
    /// URL of a collector of traces (OTLP over HTTP), such as `http://127.0.0.1:4318` [default: traces are not sent]
    #[arg(long, env = "IMGSRV_OTLP_ENDPOINT", value_name = "URL", value_parser = http_url)]
    otlp_endpoint: Option<Given<String>>,
}

impl LoggingOptions {
    /// The URL of the collector of traces, if one is configured.
    pub(crate) fn otlp_endpoint(&self) -> Option<String> {
        value(self.otlp_endpoint.as_ref())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For reading
    Text,
    /// For programs: one JSON object per line
    Json,
}

#[cfg(test)]
mod tests;
