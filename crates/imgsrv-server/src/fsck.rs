//! `imgsrv admin fsck`.

use crate::{
    commands::FsckArguments,
    config::{ServeOptions, StorageOptions},
    error::{FsckError, StartError},
    run::settings,
    storage::{self, OpenCatalog},
};
use clap::{Args, Command, FromArgMatches};
use imgsrv_app::{Fault, FsckOptions, FsckReport, Services};
use imgsrv_auth::OidcVerifier;
use imgsrv_blobs::Unobserved;
use imgsrv_domain::{digest::Digest, work::WorkerId};
use serde_json::json;
use std::{
    io::{self, Write},
    process::ExitCode,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};
use tokio_util::sync::CancellationToken;

/// Exit status when something was found.
const FAULTY: u8 = 1;

/// Interval of lines about the progress.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(10);

/// Checks the catalog against the blob store. Works beside a running server.
pub(crate) async fn run(arguments: FsckArguments) -> Result<ExitCode, StartError> {
    let report = check(&arguments).await?;
    let text = if arguments.common.json { format!("{}\n", as_json(&report)) } else { as_text(&report, &arguments) };
    io::stdout().lock().write_all(text.as_bytes()).map_err(StartError::Output)?;
    Ok(if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::from(FAULTY) })
}

async fn check(arguments: &FsckArguments) -> Result<FsckReport, FsckError> {
    let (_lock, catalog) = OpenCatalog::open_beside_server(&arguments.common.storage).await?;
    require_blob_store(&arguments.common.storage)?;
    let services = services(&arguments.common.storage, &catalog)?;
    let FsckArguments { bytes, after, repair, delete_unknown, .. } = *arguments;
    let options = FsckOptions { bytes, after, repair, delete_unknown };
    let last = Mutex::new(Instant::now());
    let hashed = |digest: &Digest| {
        let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.elapsed() >= PROGRESS_INTERVAL {
            *last = Instant::now();
            let _ = writeln!(io::stderr().lock(), "hashed all blobs up to {digest}; --after {digest} continues there");
        }
    };
    let report = services.fsck(options, hashed).await?;
    catalog.close().await;
    Ok(report)
}

/// Opening a folder that does not exist would create it.
fn require_blob_store(storage: &StorageOptions) -> Result<(), FsckError> {
    let folder = storage.storage_dir();
    if storage.s3().is_some() || folder.exists() {
        return Ok(());
    }
    Err(FsckError::NoBlobs(folder.display().to_string()))
}

/// The use cases with the settings of the server, as far as its environment has them.
fn services(storage: &StorageOptions, catalog: &OpenCatalog) -> Result<Services, FsckError> {
    let adapters = storage::adapters(storage, OidcVerifier::new(false), catalog, Arc::new(Unobserved))?;
    let matches = ServeOptions::augment_args(Command::new("imgsrv")).try_get_matches_from(["imgsrv"]);
    let serve = matches.and_then(|matches| ServeOptions::from_arg_matches(&matches))?;
    Ok(Services::new(adapters, settings(&serve, WorkerId::new("fsck".to_owned())), CancellationToken::new()))
}

const fn name(fault: Fault) -> &'static str {
    match fault {
        Fault::Missing => "missing",
        Fault::WrongBytes => "wrong-bytes",
        Fault::Quarantined => "quarantined",
    }
}

fn as_text(report: &FsckReport, arguments: &FsckArguments) -> String {
    let mut text = String::new();
    for (digest, fault) in &report.faults {
        let what = match fault {
            Fault::Missing => "its stored bytes are missing, or their number is wrong",
            Fault::WrongBytes => "its stored bytes do not have its digest",
            Fault::Quarantined if arguments.bytes => "it was quarantined; its stored bytes are right",
            Fault::Quarantined => "it is quarantined; --bytes hashes its stored bytes",
        };
        text += &format!("blob {digest}: {what}\n");
    }
    for (name, size) in &report.unknown {
        text += &format!("stored bytes cas/{name} ({size} bytes) belong to nothing that the catalog knows\n");
    }
    for id in &report.unknown_sessions {
        text += &format!("staged bytes of upload {id} belong to no upload\n");
    }
    for counter in &report.counters {
        text += &format!("counter: {counter}\n");
    }
    text += &format!(
        "{} blobs with {} bytes in the catalog; {} bytes in the store, {} of them unknown; {} blobs hashed\n",
        report.blobs,
        report.blob_bytes,
        report.stored_bytes,
        report.unknown_bytes(),
        report.hashed
    );
    if arguments.repair {
        text += &format!("damaged blobs are quarantined; {} unknown objects deleted\n", report.deleted);
    }
    if let Some(why) = &report.not_deleted {
        text += &format!("nothing unknown was deleted: {why}\n");
    }
    text + if report.is_clean() { "clean\n" } else { "not clean\n" }
}

fn as_json(report: &FsckReport) -> serde_json::Value {
    let faults =
        report.faults.iter().map(|(digest, fault)| json!({"digest": digest.to_string(), "fault": name(*fault)}));
    let unknown = report.unknown.iter().map(|(name, size)| json!({"name": format!("cas/{name}"), "size_bytes": size}));
    let mut json = json!({
        "clean": report.is_clean(),
        "blobs": {"count": report.blobs, "bytes": report.blob_bytes, "hashed": report.hashed},
        "stored_bytes": report.stored_bytes,
        "faults": faults.collect::<Vec<_>>(),
        "unknown": unknown.collect::<Vec<_>>(), "unknown_bytes": report.unknown_bytes(), "deleted": report.deleted,
        "unknown_sessions": report.unknown_sessions.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "counters": report.counters,
    });
    if let Some(why) = &report.not_deleted {
        json["not_deleted"] = why.as_str().into();
    }
    json
}
