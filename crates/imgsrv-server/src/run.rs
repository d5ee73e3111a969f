//! Starting the server in order, running it, and stopping it without losing anything.

use crate::{
    banner::{self, deliver_token},
    commands::CatalogOptions,
    config::{FormatCheckOption, ServeOptions},
    degraded::Monitor,
    error::StartError,
    incus,
    listener::{self, Limits},
    metrics::{self, MachineMetrics, ProcessMetrics, Scrape},
    options::{ListenAddress, node_name},
    output::print,
    runtimes::{Connections, handled_here},
    startup::{Stage, Startup},
    storage::{self, Locks, OpenCatalog},
    system::{UuidIds, worker_id},
    telemetry,
    tls::{SelfSigned, Tls, TlsError},
};
use imgsrv_app::{Bootstrap, FormatCheck, Services, Settings};
use imgsrv_auth::OidcVerifier;
use imgsrv_blobs::Observer;
use imgsrv_domain::{error_chain, work::WorkerId};
use imgsrv_http::{AppState, HttpSettings, PublicUrl, router};
use rustix::process::Signal;
use serde_json::json;
use std::{
    net::SocketAddr,
    num::NonZeroU32,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Interval of the sweep for expired uploads and orphaned staged bytes.
const SWEEP_INTERVAL: Duration = Duration::from_mins(1);
/// Timeout of workers to release their leases, and of the catalog's connections to close.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(5);

pub(crate) fn settings(options: &ServeOptions, worker: WorkerId) -> Settings {
    Settings {
        default_visibility: options.api.default_visibility,
        upload_ttl: options.uploads.upload_ttl,
        max_upload_bytes: Some(options.uploads.max_upload_bytes).filter(|limit| *limit > 0),
        max_open_uploads: Some(options.limits.max_open_uploads).filter(|limit| *limit > 0),
        max_open_uploads_per_principal: Some(options.limits.max_open_uploads_per_principal).filter(|limit| *limit > 0),
        max_staged_bytes: Some(options.limits.max_staged_bytes).filter(|limit| *limit > 0),
        max_staged_bytes_per_principal: Some(options.limits.max_staged_bytes_per_principal).filter(|limit| *limit > 0),
        min_free_bytes: Some(options.limits.min_free_bytes).filter(|limit| *limit > 0),
        lease_term: options.workers.lease_term,
        work_attempts: options.workers.work_attempts,
        sweep_interval: SWEEP_INTERVAL.min(options.uploads.upload_ttl),
        collection: options.collection.settings(),
        scrub: options.scrub.settings(),
        removal_drain: options.lifecycle.removal_drain,
        hold_cooldown: options.lifecycle.hold_cooldown,
        default_retention: options.lifecycle.default_retention(),
        retention_interval: options.lifecycle.retention_interval,
        backoff: options.workers.backoff(),
        format_check: match options.uploads.format_check {
            FormatCheckOption::Warn => FormatCheck::Warn,
            FormatCheckOption::Enforce => FormatCheck::Enforce,
        },
        streams_newest: NonZeroU32::new(options.api.streams_newest),
        worker,
    }
}

/// Runs `imgsrv admin bootstrap`: creates a bootstrap token and prints it. Works beside a running server.
pub(crate) async fn bootstrap(CatalogOptions { json, storage }: CatalogOptions) -> Result<(), StartError> {
    let (_lock, catalog) = OpenCatalog::open_beside_server(&storage).await?;
    let token = Bootstrap::new(catalog.port(), Arc::new(UuidIds)).force().await?;
    if json {
        print(&format!("{}\n", json!({"plaintext": token})))?;
    } else {
        deliver_token(&token, None).map_err(StartError::BootstrapOutput)?;
    }
    catalog.close().await;
    Ok(())
}

/// Runs the server until SIGTERM or SIGINT.
pub(crate) async fn serve(options: ServeOptions) -> Result<(), StartError> {
    let traces = telemetry::start(&options.logging, &options.workers.node_name)?;
    survive_file_size_limit()?;
    let Stopping { signalled, stop } = stop_on_signals(options.api.shutdown_delay)?;
    let connections = Connections::start().map_err(StartError::Runtime)?;
    let given = options.tls.files()?;
    let locks = Arc::new(Mutex::new(Locks::acquire(&options.storage)?));
    let self_signed = self_signed(&options)?;
    let files = self_signed.as_ref().map(SelfSigned::files).or(given);
    let tls = files.map(Tls::new).transpose()?.map(Arc::new);
    let metrics = Arc::new(ProcessMetrics::new());
    let worker = worker_id(&options.workers.node_name)?;
    let workers_stop = CancellationToken::new();
    let opening = async {
        let catalog = OpenCatalog::open_to_serve(&options.storage).await?;
        let oidc = OidcVerifier::new(options.api.oidc_allow_loopback);
        let adapters = storage::adapters(&options.storage, oidc, &catalog, Arc::clone(&metrics) as Arc<dyn Observer>)?;
        let services = Services::new(adapters, settings(&options, worker.clone()), workers_stop.clone());
        storage::check_blobs(&options.storage, &services).await?;
        Ok::<_, StartError>((catalog, services))
    };
    // This may wait for a long time: for a node that migrates the catalog, or for a store that does not respond.
    let opened = signalled.run_until_cancelled(opening).await;
    let Some(opened) = opened else { return Ok(()) };
    let (catalog, services) = opened?;
    let options = Arc::new(options);
    let tasks = TaskTracker::new();
    let mut startup = Startup {
        options: Arc::clone(&options),
        catalog: catalog.clone(),
        services: services.clone(),
        metrics: Arc::clone(&metrics),
        locks: Arc::clone(&locks),
        tasks: tasks.clone(),
        workers_stop: workers_stop.clone(),
        worker: worker.clone(),
        stage: Stage::default(),
        is_new: false,
    };
    // Before there is a bootstrap token: one that a server printed that does not start would be lost.
    let (listener, address) = listen(&options.api.listen, "--listen").await?;
    let metrics_listener = match &options.metrics.metrics_listen.0 {
        Some(address) => Some(listen(address, "--metrics-listen; an empty value turns it off").await?),
        None => None,
    };
    match startup.begin().await {
        // The monitor retries.
        Err(error) if error.unwritable().is_some() || catalog.is_read_only().await => {}
        begun => begun?,
    }
    tracing::info!(
        %address, version = env!("CARGO_PKG_VERSION"), worker = %worker,
        data_dir = %options.storage.data_dir.display(), blobs = options.storage.blob_store(), "server started"
    );
    let authority_file = self_signed.as_ref().map(SelfSigned::authority);
    warn_of_scarce_space(&services, options.limits.min_free_bytes).await;
    banner::started(&options, address, tls.is_some(), authority_file.as_deref(), startup.users().await);
    let authority = self_signed.as_ref().map(SelfSigned::authority_pem).transpose()?;
    if let Some(pem) = &authority {
        incus::print_command(pem, &options, address.port());
    }

    let http = HttpSettings { authority: authority.map(Into::into), ..http_settings(&options) };
    let limits = Limits {
        unlimited: options.api.trusted_proxies.0.clone(),
        grace: options.api.shutdown_timeout,
        configured: options.limits.clone(),
    };
    let state = AppState::new(services.clone(), http).observed_by(Arc::clone(&metrics) as _);
    let app = router(&state);
    end_in_steps(&tasks, Stopping { signalled, stop: stop.clone() }, &state, services.clone());
    let mut monitor = Monitor::new(storage::folders(&options.storage), state.degradation(), startup);
    monitor.look().await;
    let monitoring = workers_stop.clone();
    tasks.spawn(async move { monitor.run(&monitoring).await });
    if let Some((listener, address)) = metrics_listener {
        tracing::info!(metrics.address = %address, metrics.path = options.metrics.metrics_path, "metrics listener started");
        let machine = MachineMetrics { min_free_bytes: options.limits.min_free_bytes, tls: tls.clone() };
        let scrape = metrics::router(
            &options.metrics.metrics_path,
            Scrape::new(metrics, catalog.clone(), services.clone(), state.send_budget(), state.degradation(), machine),
        );
        let workers_stop = workers_stop.clone();
        // Served until the workers stop, so that the shutdown can be observed.
        let limits = Limits { grace: Duration::ZERO, ..limits.clone() };
        tasks.spawn(async move { listener::serve(listener, scrape, None, &workers_stop, &limits).await });
    }
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
    end(&tasks, &services, &catalog).await;
    // Held until nothing uses the folders any more.
    drop(locks);
    tracing::info!("server stopped");
    if let Some(traces) = traces {
        traces.end().await;
    }
    Ok(())
}

/// Warns of disks on which uploads are refused from the start.
async fn warn_of_scarce_space(services: &Services, min_free_bytes: u64) {
    for (disk, free_bytes) in metrics::free_bytes(services.adapters()).await {
        if free_bytes < min_free_bytes {
            tracing::warn!(
                disk,
                free_bytes,
                min_free_bytes,
                "free space is below --min-free-bytes; uploads are refused until there is more"
            );
        }
    }
}

/// Waits for the workers to release their leases, and closes the catalog.
async fn end(tasks: &TaskTracker, services: &Services, catalog: &OpenCatalog) {
    tasks.close();
    if tokio::time::timeout(RELEASE_TIMEOUT, tasks.wait()).await.is_err() {
        tracing::warn!("workers did not stop in time; their leases will expire");
    }
    if let Err(error) = services.auth().flush_usage().await {
        tracing::warn!(error = error_chain::text(&error), "token usage could not be stored");
    }
    if let Err(error) = services.retention().flush_fetches().await {
        tracing::warn!(error = error_chain::text(&error), "fetches of versions could not be stored");
    }
    if tokio::time::timeout(RELEASE_TIMEOUT, catalog.close()).await.is_err() {
        tracing::warn!("catalog connections did not close in time");
    }
}

fn http_settings(options: &ServeOptions) -> HttpSettings {
    HttpSettings {
        auth_failure_limit: Some(options.api.auth_failure_limit).filter(|limit| *limit > 0),
        max_header_bytes: usize::try_from(options.limits.max_header_bytes).unwrap_or(usize::MAX),
        body_timeout: options.limits.body_timeout,
        min_body_rate: options.limits.min_body_rate,
        min_send_rate: options.limits.min_send_rate,
        max_send_buffer_bytes: options.limits.max_send_buffer_bytes,
        max_receiving_parts: usize::try_from(options.limits.max_receiving_parts).unwrap_or(usize::MAX),
        trusted_proxies: options.api.trusted_proxies.0.clone(),
        public_url: options.api.public_url(),
        auth_challenge: options.api.auth_challenge,
        site: options.api.site(),
        ..HttpSettings::default()
    }
}

/// The server's own certificate authority, if it is wanted, with a certificate for this host's name, loopback and the
/// public name.
fn self_signed(options: &ServeOptions) -> Result<Option<SelfSigned>, TlsError> {
    if !options.tls.tls_self_signed {
        return Ok(None);
    }
    let mut names = vec![node_name(), "localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    names.extend(options.api.public_url().as_ref().and_then(PublicUrl::host).map(str::to_owned));
    names.extend(options.api.listen.host.clone().filter(|host| !incus::is_wildcard(host)));
    names.sort();
    names.dedup();
    SelfSigned::ensure(options.storage.data_dir.join("tls"), names).map(Some)
}

/// The end of the server, in two steps.
struct Stopping {
    /// Cancelled by the first signal: load balancers learn that the server will stop.
    signalled: CancellationToken,
    /// Cancelled after the delay, or by a second signal: the server accepts no further requests.
    stop: CancellationToken,
}

/// Ends readiness at the first step of the end, and append requests at the second.
fn end_in_steps(tasks: &TaskTracker, Stopping { signalled, stop }: Stopping, state: &AppState, services: Services) {
    let degradation = state.degradation();
    tasks.spawn(async move {
        signalled.cancelled().await;
        degradation.stop();
        stop.cancelled().await;
        services.end_appends();
    });
}

/// Stops the server on SIGTERM and SIGINT.
fn stop_on_signals(delay: Duration) -> Result<Stopping, StartError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(StartError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(StartError::Signals)?;
    let (signalled, stop) = (CancellationToken::new(), CancellationToken::new());
    let stopping = Stopping { signalled: signalled.clone(), stop: stop.clone() };
    tokio::spawn(async move {
        let mut signal = async || {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        signal().await;
        tracing::info!("shutdown started");
        signalled.cancel();
        if !delay.is_zero() {
            let _ = tokio::time::timeout(delay, signal()).await;
        }
        stop.cancel();
    });
    Ok(stopping)
}

/// Lets a write beyond the process's limit of file sizes fail, instead of ending the process.
fn survive_file_size_limit() -> Result<(), StartError> {
    // The handler stays when the stream is dropped.
    signal(SignalKind::from_raw(Signal::XFSZ.as_raw())).map(drop).map_err(StartError::Signals)
}

/// Listens on `address`, which `option` sets; returns the one that it became as well.
async fn listen(address: &ListenAddress, option: &'static str) -> Result<(TcpListener, SocketAddr), StartError> {
    let bound = listener::bind(address).await;
    let bound = bound.and_then(|listener| listener.local_addr().map(|address| (listener, address)));
    let shown = || format!("{}:{}", address.host.as_deref().unwrap_or_default(), address.port);
    bound.map_err(|source| StartError::Listen { address: shown(), option, source })
}
