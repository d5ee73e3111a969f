//! Starting the server in order, running it, and stopping it without losing anything.

use crate::{
    config::{FormatCheckOption, ServeOptions, StorageOptions},
    incus,
    listener::{self, Limits},
    metrics::{self, ProcessMetrics, Scrape},
    options::{ListenAddress, PublicUrl, node_name},
    runtimes::{Connections, handled_here},
    storage::{self, Locks, OpenCatalog, StorageError},
    system::{UuidIds, worker_id, write_file},
    telemetry,
    tls::{SelfSigned, Tls, TlsError},
};
use imgsrv_app::{Bootstrap, FormatCheck, Schedule, Services, Settings, UseCaseError, WorkError};
use imgsrv_auth::OidcVerifier;
use imgsrv_blobs::Observer;
use imgsrv_domain::{
    breaker::Breaker,
    work::{WorkKind, WorkerId},
};
use imgsrv_http::{AppState, HttpSettings, router};
use std::{
    io::{self, Write},
    net::SocketAddr,
    path::Path,
    sync::Arc,
    time::Duration,
};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Concurrent ingests of one process: a small one need not wait for a huge one.
const INGEST_SLOTS: usize = 4;
/// Concurrent publish jobs of one process.
const PUBLISH_SLOTS: usize = 2;
/// Ended uploads that one process clears at once.
const CLEAR_SLOTS: usize = 2;
/// Interval of the sweep for expired uploads and orphaned staged bytes.
const SWEEP_INTERVAL: Duration = Duration::from_mins(1);
/// Interval of storing the last use of tokens.
const USAGE_INTERVAL: Duration = Duration::from_secs(10);
/// Timeout of workers to release their leases, and of the catalog's connections to close.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(5);

/// Why the server cannot start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error("cannot start the runtime: {0}")]
    Runtime(io::Error),
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error("cannot manage authentication")]
    Auth(#[from] UseCaseError),
    #[error("cannot queue the work that recurs")]
    Work(#[from] WorkError),
    #[error("cannot write to standard output: {0}")]
    Output(io::Error),
    #[error("cannot write the bootstrap token: {0}")]
    BootstrapOutput(io::Error),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("cannot listen on {address}: {source}")]
    Listen { address: String, source: io::Error },
    #[error("cannot listen for signals: {0}")]
    Signals(io::Error),
    #[error("the system gives no random bytes: {0}")]
    Randomness(#[from] getrandom::Error),
}

fn settings(options: &ServeOptions, worker: WorkerId) -> Settings {
    Settings {
        upload_ttl: options.uploads.upload_ttl,
        max_upload_bytes: Some(options.uploads.max_upload_bytes).filter(|limit| *limit > 0),
        max_open_uploads: Some(options.limits.max_open_uploads).filter(|limit| *limit > 0),
        max_staged_bytes: Some(options.limits.max_staged_bytes).filter(|limit| *limit > 0),
        min_free_bytes: Some(options.limits.min_free_bytes).filter(|limit| *limit > 0),
        lease_term: options.workers.lease_term,
        work_attempts: options.workers.work_attempts,
        sweep_interval: SWEEP_INTERVAL.min(options.uploads.upload_ttl),
        backoff: options.workers.backoff(),
        format_check: match options.uploads.format_check {
            FormatCheckOption::Warn => FormatCheck::Warn,
            FormatCheckOption::Enforce => FormatCheck::Enforce,
        },
        worker,
    }
}

/// Runs `imgsrv auth bootstrap`: creates a bootstrap token and prints it. Works beside a running server.
pub(crate) async fn bootstrap(options: StorageOptions) -> Result<(), StartError> {
    let catalog = OpenCatalog::open(&options).await?;
    let token = Bootstrap::new(catalog.port(), Arc::new(UuidIds)).force().await?;
    deliver_token(&token, None)?;
    catalog.close().await;
    Ok(())
}

/// Runs the server until SIGTERM or SIGINT.
pub(crate) async fn serve(options: ServeOptions) -> Result<(), StartError> {
    telemetry::start(&options.logging);
    let stop = stop_on_signals()?;
    let connections = Connections::start().map_err(StartError::Runtime)?;
    let given = options.tls.files()?;
    let _locks = Locks::acquire(&options.storage)?;
    let self_signed = self_signed(&options)?;
    let files = self_signed.as_ref().map(SelfSigned::files).or(given);
    let tls = files.map(Tls::new).transpose()?.map(Arc::new);
    let metrics = Arc::new(ProcessMetrics::new());
    let worker = worker_id(&options.workers.node_name)?;
    let workers_stop = CancellationToken::new();
    let opening = async {
        let catalog = OpenCatalog::open(&options.storage).await?;
        let oidc = OidcVerifier::new(options.api.oidc_allow_loopback);
        let adapters = storage::adapters(&options.storage, oidc, &catalog, Arc::clone(&metrics) as Arc<dyn Observer>)?;
        let services = Services::new(adapters, settings(&options, worker.clone()), workers_stop.clone());
        storage::check_blobs(&options.storage, &services).await?;
        Ok::<_, StartError>((catalog, services))
    };
    // This may wait for a long time: for a node that migrates the catalog, or for a store that does not respond.
    let opened = stop.run_until_cancelled(opening).await;
    let Some(opened) = opened else { return Ok(()) };
    let (catalog, services) = opened?;
    let token_file = options.api.bootstrap_token_file.as_deref();
    if let Some(path) = token_file {
        // Checked before a token exists: one that cannot be written would be lost.
        write_file(path, "\n", 0o600).map_err(StartError::BootstrapOutput)?;
    }
    match services.bootstrap().ensure().await? {
        Some(token) => deliver_token(&token, token_file)?,
        None => token_file.map_or(Ok(()), std::fs::remove_file).map_err(StartError::BootstrapOutput)?,
    }
    services.enqueue_recurring().await?;
    let (listener, address) = listen(&options.api.listen).await?;
    let metrics_listener = match &options.metrics.metrics_listen.0 {
        Some(address) => Some(listen(address).await?),
        None => None,
    };
    tracing::info!(%address, version = env!("CARGO_PKG_VERSION"), worker = %worker, "server started");
    let authority = self_signed.as_ref().map(SelfSigned::authority_pem).transpose()?;
    if let Some(pem) = &authority {
        incus::print_command(pem, &options, address.port());
    }

    let tasks = TaskTracker::new();
    start_workers(&tasks, &options, &services, &metrics, &workers_stop);
    let http = HttpSettings {
        auth_failure_limit: Some(options.api.auth_failure_limit).filter(|limit| *limit > 0),
        max_header_bytes: usize::try_from(options.limits.max_header_bytes).unwrap_or(usize::MAX),
        body_timeout: options.limits.body_timeout,
        min_body_rate: options.limits.min_body_rate,
        min_send_rate: options.limits.min_send_rate,
        max_send_buffer_bytes: options.limits.max_send_buffer_bytes,
        max_receiving_parts: usize::try_from(options.limits.max_receiving_parts).unwrap_or(usize::MAX),
        trusted_proxies: options.api.trusted_proxies.0.clone(),
        authority: authority.map(Into::into),
        ..HttpSettings::default()
    };
    let limits = Limits {
        unlimited: options.api.trusted_proxies.0.clone(),
        grace: options.api.shutdown_timeout,
        configured: options.limits.clone(),
    };
    let state = AppState::new(services.clone(), http).observed_by(Arc::clone(&metrics) as _);
    let app = router(&state);
    if let Some((listener, address)) = metrics_listener {
        tracing::info!(metrics.address = %address, metrics.path = options.metrics.metrics_path, "metrics listener started");
        let scrape =
            metrics::router(&options.metrics.metrics_path, Scrape::new(metrics, catalog.clone(), state.send_budget()));
        let workers_stop = workers_stop.clone();
        // Served until the workers stop, so that the shutdown can be observed.
        let limits = Limits { grace: Duration::ZERO, ..limits.clone() };
        tasks.spawn(async move { listener::serve(listener, scrape, None, &workers_stop, &limits).await });
    }
    let (streams, stopping) = (services.clone(), stop.clone());
    tasks.spawn(async move {
        stopping.cancelled().await;
        streams.end_appends();
    });
    if let Some(tls) = &tls {
        let (tls, stop) = (Arc::clone(tls), stop.clone());
        tasks.spawn(async move { tls.reload(self_signed, &stop).await });
    }
    let (app, stopping) = (handled_here(app), stop.clone());
    let serving = async move {
        listener::serve(listener, app, tls.as_ref().map(|tls| &tls.acceptor), &stopping, &limits).await;
    };
    connections.run(serving).await;

    workers_stop.cancel();
    tasks.close();
    if tokio::time::timeout(RELEASE_TIMEOUT, tasks.wait()).await.is_err() {
        tracing::warn!("workers did not stop in time; their leases will expire");
    }
    if let Err(error) = services.auth().flush_usage().await {
        tracing::warn!(%error, "token usage was not stored");
    }
    if tokio::time::timeout(RELEASE_TIMEOUT, catalog.close()).await.is_err() {
        tracing::warn!("the catalog's connections did not close in time");
    }
    tracing::info!("server stopped");
    Ok(())
}

/// The server's own certificate authority, if it is wanted, with a certificate for this host's name, loopback and the
/// public name.
fn self_signed(options: &ServeOptions) -> Result<Option<SelfSigned>, TlsError> {
    if !options.tls.tls_self_signed {
        return Ok(None);
    }
    let mut names = vec![node_name(), "localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    names.extend(options.api.public_url().as_ref().and_then(PublicUrl::host));
    names.extend(options.api.listen.host.clone().filter(|host| !incus::is_wildcard(host)));
    names.sort();
    names.dedup();
    SelfSigned::ensure(options.storage.data_dir.join("tls"), names).map(Some)
}

/// A token that SIGTERM and SIGINT cancel.
fn stop_on_signals() -> Result<CancellationToken, StartError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(StartError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(StartError::Signals)?;
    let stop = CancellationToken::new();
    let stopping = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("shutdown started");
        stopping.cancel();
    });
    Ok(stop)
}

/// Listens on `address`; returns the one that it became as well.
async fn listen(address: &ListenAddress) -> Result<(TcpListener, SocketAddr), StartError> {
    let bound = listener::bind(address).await;
    let bound = bound.and_then(|listener| listener.local_addr().map(|address| (listener, address)));
    let shown = || format!("{}:{}", address.host.as_deref().unwrap_or_default(), address.port);
    bound.map_err(|source| StartError::Listen { address: shown(), source })
}

fn start_workers(
    tasks: &TaskTracker,
    options: &ServeOptions,
    services: &Services,
    metrics: &Arc<ProcessMetrics>,
    stop: &CancellationToken,
) {
    let workers = &options.workers;
    let breaker =
        Breaker::new(workers.cas_promotion_circuit_breaker_failures, workers.cas_promotion_circuit_breaker_cooldown);
    for kind in WorkKind::ALL.iter().copied() {
        let slots = match kind {
            WorkKind::Ingest if workers.cas_promotion_enabled => INGEST_SLOTS,
            WorkKind::Publish if workers.publish_enabled => PUBLISH_SLOTS,
            WorkKind::Ingest | WorkKind::Publish => continue,
            WorkKind::Clear => CLEAR_SLOTS,
            WorkKind::Sweep => 1,
        };
        let poll = workers.cas_promotion_poll_interval;
        let schedule = Schedule { slots, poll, backoff: workers.backoff(), breaker: breaker.clone() };
        let (worker, metrics) = (services.worker(kind), Arc::clone(metrics));
        tasks.spawn(async move { worker.run(schedule, metrics).await });
    }

    let (relayed, stopping) = (services.clone(), stop.clone());
    tasks.spawn(async move { stopping.run_until_cancelled(relayed.relay_wakeups()).await });
    let (auth, stop) = (services.auth(), stop.clone());
    tasks.spawn(async move {
        while stop.run_until_cancelled(tokio::time::sleep(USAGE_INTERVAL)).await.is_some() {
            if let Err(error) = auth.flush_usage().await {
                tracing::warn!(%error, "token usage was not stored");
            }
        }
    });
}

/// Gives the bootstrap token to the operator: in a file that only its owner can read, or on standard output.
fn deliver_token(token: &str, file: Option<&Path>) -> Result<(), StartError> {
    let written = match file {
        Some(path) => write_file(path, &format!("{token}\n"), 0o600),
        None => writeln!(io::stdout().lock(), "imgsrv bootstrap token (one-time): {token}"),
    };
    written.map_err(StartError::BootstrapOutput)
}
