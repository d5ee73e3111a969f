//! `imgsrv admin config check`: what a server would do with its settings, found without changing anything.

use crate::{
    commands::CheckOptions,
    config::{ServeOptions, StorageOptions},
    disk::{free_bytes, why_unwritable},
    error::StartError,
    metrics::ProcessMetrics,
    options::ListenAddress,
    output::{print, time},
    storage::{StorageError, blob_store, folders, inspect},
    system::{SystemClock, require_regular},
    tls::{Tls, TlsError},
};
use imgsrv_app::BindError;
use imgsrv_catalog::Inspection;
use imgsrv_cli::{Certificate, Diagnosis};
use imgsrv_domain::{error_chain, ports::Clock};
use std::{
    io,
    net::{SocketAddr, TcpListener},
    path::Path,
    process::ExitCode,
    sync::Arc,
    time::Duration,
};
use tokio::net::{TcpStream, lookup_host};

/// How long a connection attempt to an address of the server may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(1);
/// Remaining life of a certificate below which the check notes it.
const SOON: Duration = Duration::from_hours(14 * 24);

/// Runs the command.
pub(crate) async fn run(CheckOptions { json, settings }: &CheckOptions) -> Result<ExitCode, StartError> {
    let mut diagnosis = Diagnosis::default();
    let catalog = catalog(&settings.storage, &mut diagnosis).await;
    let is_new = catalog.is_none() && diagnosis.problems() == 0;
    blobs(&settings.storage, catalog, &mut diagnosis).await;
    token_file(settings, is_new, &mut diagnosis);
    space(settings, &mut diagnosis);
    tls(settings, &mut diagnosis);
    let (listen, metrics) = (&settings.api.listen, settings.metrics.metrics_listen.0.as_ref());
    address("listener", listen, is_new, &mut diagnosis).await;
    match metrics {
        Some(metrics) if conflict(listen, metrics) => {
            diagnosis.problem("metrics", format!("the API listens on port {} as well", metrics.port));
        }
        Some(metrics) => address("metrics", metrics, is_new, &mut diagnosis).await,
        None => {}
    }
    if let Some(collector) = settings.logging.otlp_endpoint() {
        traces(&collector, &mut diagnosis).await;
    }
    print(&if *json { format!("{}\n", diagnosis.json()) } else { diagnosis.text() })?;
    Ok(if diagnosis.problems() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What a server would fail with.
fn problem(diagnosis: &mut Diagnosis, part: &'static str, error: &(dyn std::error::Error + 'static)) {
    diagnosis.problem(part, error_chain::text(error));
}

async fn catalog(options: &StorageOptions, diagnosis: &mut Diagnosis) -> Option<Inspection> {
    const PART: &str = "catalog";
    let shown = options.catalog();
    match inspect(options).await {
        Ok(None) if options.postgres().is_none() && !can_be_folder(&options.data_dir) => {
            diagnosis.problem(PART, format!("{} is not a folder", options.data_dir.display()));
            None
        }
        Ok(None) => {
            diagnosis
                .note(PART, format!("there is none {shown}; a server would create it and print a bootstrap token"));
            None
        }
        Ok(Some(found)) => {
            match found.pending {
                0 => diagnosis.ok(PART, format!("{shown}; its schema is current")),
                count => diagnosis.note(PART, format!("{shown}; a server would apply {count} migrations")),
            }
            Some(found)
        }
        Err(error) => {
            problem(diagnosis, PART, &error);
            None
        }
    }
}

async fn blobs(options: &StorageOptions, catalog: Option<Inspection>, diagnosis: &mut Diagnosis) {
    const PART: &str = "blob store";
    let shown = options.blob_store();
    if options.s3().is_none() && !options.storage_dir().join("cas").is_dir() {
        if catalog.is_some_and(|found| found.identity.store.is_some()) {
            return problem(diagnosis, PART, &StorageError::Bind { store: shown, source: BindError::OtherStore });
        }
        if !can_be_folder(&options.storage_dir()) {
            return diagnosis.problem(PART, format!("{shown} is not a folder"));
        }
        return diagnosis.note(PART, format!("there is none at {shown}; a server would create it"));
    }
    let reaching = async {
        let failed = |source| StorageError::Blobs { store: shown.clone(), source };
        let store = blob_store(options, Arc::new(ProcessMetrics::new()))?;
        store.probe().await.map_err(failed)?;
        store.owners().await.map_err(failed)
    };
    let owners = match reaching.await {
        Ok(owners) => owners,
        Err(error) => return problem(diagnosis, PART, &error),
    };
    let bound = catalog.and_then(|found| found.identity.store);
    let is_foreign = |id| owners.iter().any(|owner| owner.catalog != id);
    let wrong = match catalog.map(|found| found.identity.catalog) {
        Some(id)
            if bound.is_some_and(|store| owners.iter().any(|owner| owner.store == store && owner.catalog == id)) =>
        {
            return diagnosis.ok(PART, format!("{shown}; it accepts writes and belongs to the catalog"));
        }
        Some(id) if is_foreign(id) => BindError::OtherCatalog,
        Some(_) if bound.is_some() => BindError::OtherStore,
        None if !owners.is_empty() => BindError::OtherCatalog,
        Some(_) | None => return diagnosis.note(PART, format!("{shown}; it accepts writes; a server would claim it")),
    };
    problem(diagnosis, PART, &StorageError::Bind { store: shown, source: wrong });
}

/// Whether there is a folder at `path`, or one can be created.
fn can_be_folder(path: &Path) -> bool {
    path.ancestors().find(|path| path.exists()).is_none_or(Path::is_dir)
}

/// Whether a new server could write its bootstrap token. The data folder is created before the token.
fn token_file(settings: &ServeOptions, is_new: bool, diagnosis: &mut Diagnosis) {
    const PART: &str = "bootstrap token";
    let Some(path) = &settings.api.bootstrap_token_file else { return };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if let Err(error) = require_regular(path) {
        problem(diagnosis, PART, &error);
    } else if is_new && !folder.is_dir() && !settings.storage.data_dir.starts_with(folder) {
        diagnosis.problem(PART, format!("cannot be written: {} is not a folder", folder.display()));
    }
}

/// Whether two listeners need the same port.
fn conflict(one: &ListenAddress, other: &ListenAddress) -> bool {
    let is_any = |address: &ListenAddress| address.host.as_deref().is_none_or(crate::incus::is_wildcard);
    one.port != 0 && one.port == other.port && (one.host == other.host || is_any(one) || is_any(other))
}

/// The folders that exist, and those that would be created.
fn space(settings: &ServeOptions, diagnosis: &mut Diagnosis) {
    const PART: &str = "disk";
    for folder in folders(&settings.storage) {
        let Some(existing) = folder.ancestors().find(|path| path.is_dir() || *path == Path::new("")) else { continue };
        let existing = if existing == Path::new("") { Path::new(".") } else { existing };
        let shown = folder.display();
        if existing == folder
            && let Some(why) = why_unwritable(&folder)
        {
            diagnosis.note(PART, format!("{shown} accepts no writes, because {why}; a server would serve reads alone"));
            continue;
        }
        match free_bytes(existing) {
            Ok(free) if free < settings.limits.min_free_bytes => {
                diagnosis.note(PART, format!(
                    "{shown} has {free} bytes free, which is less than --min-free-bytes; a server would refuse uploads"
                ));
            }
            Ok(free) => diagnosis.ok(PART, format!("{shown} has {free} bytes free")),
            Err(error) => {
                problem(diagnosis, PART, &io::Error::new(error.kind(), format!("cannot examine {shown}: {error}")));
            }
        }
    }
}

fn tls(settings: &ServeOptions, diagnosis: &mut Diagnosis) {
    const PART: &str = "certificate";
    let files = match settings.tls.files() {
        Err(error) => return problem(diagnosis, PART, &error),
        Ok(None) if settings.tls.tls_self_signed => {
            let folder = settings.storage.data_dir.join("tls");
            let verb = if folder.join("server.crt").exists() { "uses" } else { "would create" };
            return diagnosis.ok(PART, format!("a server {verb} its own authority in {}", folder.display()));
        }
        Ok(None) => return diagnosis.ok(PART, "none; the API is served over plain HTTP"),
        Ok(Some(files)) => files,
    };
    let path = files.cert.display().to_string();
    let certificate = match Tls::new(files) {
        Err(error) => return problem(diagnosis, PART, &error),
        Ok(tls) => tls.certificate(),
    };
    let Some(Certificate { names, ends_at }) = certificate else {
        return problem(diagnosis, PART, &TlsError::Undecodable { path });
    };
    let (names, end) = (names.join(", "), time(ends_at));
    let left = ends_at.since(SystemClock.now());
    if left.is_zero() {
        diagnosis.note(PART, format!("{path} for {names} ended at {end}; clients refuse it"));
    } else if left < SOON {
        diagnosis.note(PART, format!("{path} for {names} ends soon, at {end}"));
    } else {
        diagnosis.ok(PART, format!("{path} for {names} is valid until {end}"));
    }
}

/// Whether the collector of traces accepts connections; a server starts without it.
async fn traces(collector: &str, diagnosis: &mut Diagnosis) {
    const PART: &str = "traces";
    let url = reqwest::Url::parse(collector).ok();
    let Some((host, port)) = url.as_ref().and_then(|url| url.host_str().zip(url.port_or_known_default())) else {
        return;
    };
    let host = host.trim_matches(['[', ']']);
    match tokio::time::timeout(CONNECT_LIMIT, TcpStream::connect((host, port))).await {
        Ok(Ok(_)) => diagnosis.ok(PART, format!("{collector} accepts connections")),
        Ok(Err(error)) => diagnosis.note(PART, format!("{collector} cannot be reached: {error}; traces would be lost")),
        Err(_elapsed) => diagnosis.note(PART, format!("{collector} does not respond; traces would be lost")),
    }
}

/// Whether something listens at an address already, found by connecting to it. The port itself is not bound. Nothing can
/// be the server of a catalog that does not exist.
async fn address(part: &'static str, address: &ListenAddress, is_new: bool, diagnosis: &mut Diagnosis) {
    let ListenAddress { host, port } = address;
    let shown = format!("{}:{port}", host.as_deref().unwrap_or_default());
    let host = host.as_deref().filter(|host| !crate::incus::is_wildcard(host)).unwrap_or("127.0.0.1");
    // Any other port shows whether one of the addresses is one of this machine.
    let found = lookup_host((host, *port)).await;
    let found = found.map(|found| found.map(|address| SocketAddr::new(address.ip(), 0)).collect::<Vec<_>>());
    let local = found.and_then(|found| TcpListener::bind(&*found));
    if let Err(error) = local {
        return problem(diagnosis, part, &io::Error::new(error.kind(), format!("cannot listen on {shown}: {error}")));
    }
    let connecting = tokio::time::timeout(CONNECT_LIMIT, TcpStream::connect((host, *port)));
    if *port != 0 && connecting.await.is_ok_and(|connected| connected.is_ok()) {
        if is_new {
            return diagnosis.problem(part, format!("{shown} is in use by another program"));
        }
        return diagnosis.note(part, format!("{shown} is in use, as it is while the server runs"));
    }
    diagnosis.ok(part, format!("{shown} is free"));
}
