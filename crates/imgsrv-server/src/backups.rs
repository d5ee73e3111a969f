//! `imgsrv admin export` and `imgsrv admin import`.

use crate::{
    commands::{ExportOptions, ImportOptions},
    config::StorageOptions,
    error::StartError,
    output::print_result,
    storage::{Locks, OpenCatalog, blob_store},
    system::UuidIds,
};
use imgsrv_backup::{Exported, Imported, Site, Verified, require_backup, verify};
use imgsrv_blobs::Unobserved;
use imgsrv_domain::digest::Digest;
use serde_json::json;
use std::{
    io::{self, Write},
    process::ExitCode,
    sync::Arc,
};

/// Writes a backup, beside a running server, or verifies one.
pub(crate) async fn export(options: ExportOptions) -> Result<ExitCode, StartError> {
    if options.verify {
        return verify_backup(&options);
    }
    let (_lock, catalog) = OpenCatalog::open_beside_server(&options.common.storage).await?;
    let site = site(&options.common.storage, &catalog)?;
    let wanted =
        imgsrv_backup::ExportOptions { with_blobs: !options.no_blobs, rate: options.rate, prune: options.prune };
    let exported = imgsrv_backup::export(&site, &options.dir, &wanted).await;
    catalog.close().await;
    let Exported { revision, records, blobs, blob_bytes, copied, copied_bytes, unreadable, purged, pruned } = exported?;
    let mut text = format!(
        "exported revision {revision} to {}: {records} records, {blobs} blobs ({blob_bytes} bytes)",
        options.dir.display()
    );
    text += &if wanted.with_blobs {
        format!(", {copied} of them copied now ({copied_bytes} bytes)\n")
    } else {
        ", whose bytes are not in the backup\n".to_owned()
    };
    if wanted.prune {
        text += &format!("deleted {pruned} files that the backup does not need\n");
    }
    let value = json!({
        "revision": revision, "records": records, "blobs": blobs, "blob_bytes": blob_bytes, "copied": copied,
        "copied_bytes": copied_bytes, "pruned": pruned, "purged": texts(&purged), "unreadable": texts(&unreadable),
    });
    print_result(options.common.json, &text, &value)?;
    complain(
        purged.iter().map(|digest| format!("blob {digest} was purged during the export and is not in the backup")),
    )?;
    complain(unreadable.iter().map(|digest| format!("blob {digest} is damaged or missing and is not in the backup")))?;
    Ok(exit_code(unreadable.is_empty()))
}

fn verify_backup(options: &ExportOptions) -> Result<ExitCode, StartError> {
    let Verified { revision, taken_at, records, blobs, blob_bytes, has_blobs, problems } = verify(&options.dir)?;
    let mut text = format!("backup of revision {revision}, taken at {taken_at}: {records} records");
    text += &if has_blobs {
        format!(", {blobs} blobs ({blob_bytes} bytes)\n")
    } else {
        ", without the bytes of blobs\n".to_owned()
    };
    text += if problems.is_empty() { "the backup is complete\n" } else { "the backup is damaged\n" };
    let value = json!({
        "revision": revision, "taken_at": taken_at, "records": records, "blobs": blobs, "blob_bytes": blob_bytes,
        "has_blobs": has_blobs, "problems": problems,
    });
    print_result(options.common.json, &text, &value)?;
    complain(problems.iter().cloned())?;
    Ok(exit_code(problems.is_empty()))
}

/// Restores a backup. No server uses the catalog meanwhile.
pub(crate) async fn import(options: ImportOptions) -> Result<ExitCode, StartError> {
    // Before anything is created.
    require_backup(&options.dir)?;
    let locks = Locks::acquire(&options.common.storage)?;
    let catalog = OpenCatalog::open_to_import(&options.common.storage).await?;
    let site = site(&options.common.storage, &catalog)?;
    let wanted = imgsrv_backup::ImportOptions { existing_store: options.existing_store };
    let imported = imgsrv_backup::import(&site, &options.dir, wanted).await;
    catalog.close().await;
    drop(locks);
    let Imported { revision, was_done, blobs, copied, copied_bytes, missing, purged } = imported?;
    let text = if was_done {
        format!("revision {revision} was imported already, and nothing has changed since then\n")
    } else {
        format!("imported revision {revision}: {blobs} blobs, {copied} of them copied now ({copied_bytes} bytes)\n")
    };
    let value = json!({
        "revision": revision, "was_imported_before": was_done, "blobs": blobs, "copied": copied,
        "copied_bytes": copied_bytes, "missing": texts(&missing), "purged": texts(&purged),
    });
    print_result(options.common.json, &text, &value)?;
    complain(purged.iter().map(|digest: &Digest| {
        format!("blob {digest} was purged during the export; remove its versions with --purge again")
    }))?;
    complain(missing.iter().map(|digest: &Digest| {
        format!("blob {digest} is missing or damaged in the backup; it is quarantined until it is uploaded again")
    }))?;
    Ok(exit_code(missing.is_empty()))
}

fn site(options: &StorageOptions, catalog: &OpenCatalog) -> Result<Site, StartError> {
    let blobs = blob_store(options, Arc::new(Unobserved))?;
    Ok(Site { catalog: catalog.port(), backups: catalog.backups(), blobs, ids: Arc::new(UuidIds) })
}

fn texts(digests: &[Digest]) -> Vec<String> {
    digests.iter().map(ToString::to_string).collect()
}

fn complain(lines: impl Iterator<Item = String>) -> Result<(), StartError> {
    let mut to = io::stderr().lock();
    lines.into_iter().try_for_each(|line| writeln!(to, "imgsrv: {line}")).map_err(StartError::Output)
}

fn exit_code(is_clean: bool) -> ExitCode {
    if is_clean { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
