//! `imgsrv upload`.

use crate::{count::count, failure::Failure, options::Session, report::bytes};
use clap::Args;
use imgsrv_client::{Blob, Source};
use serde_json::json;
use std::{path::PathBuf, time::Instant};

#[derive(Debug, Args)]
pub struct UploadOptions {
    /// Files to upload
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    transfer: TransferOptions,
}

#[derive(Debug, Args)]
pub(crate) struct TransferOptions {
    /// Maximum number of parts of a file that are sent in parallel, where a single connection is slow
    #[arg(long, default_value_t = 4, value_name = "COUNT", value_parser = count::<u8>(1..=64))]
    pub(crate) parallel: u8,
}

/// The name under which a source is shown.
pub(crate) fn shown(source: &Source) -> &str {
    source.file_name().unwrap_or("data")
}

pub(crate) async fn upload(options: UploadOptions, Session { report, client }: &Session) -> Result<(), Failure> {
    let mut uploads = Vec::new();
    for path in &options.files {
        let (source, started) = (Source::File(path.clone()), Instant::now());
        let (observer, observed) = (report.clone(), source.clone());
        let mut upload = client.upload(source.clone()).parallel(options.transfer.parallel.into());
        if let Some(name) = source.file_name() {
            upload = upload.file_name(name);
        }
        let upload = upload.on_progress(move |progress| observer.progress(shown(&observed), progress));
        let Blob { digest, size, already_stored, .. } = upload.send().await?;
        let (name, file) = (shown(&source), path.display().to_string());
        let line = if already_stored {
            format!("{name}: the server has these {} already", bytes(size.get()))
        } else {
            format!("{name}: {} uploaded in {:.1} s", bytes(size.get()), started.elapsed().as_secs_f64())
        };
        report.transferred(name, &line);
        let (digest, size) = (digest.to_string(), size.get());
        report.part(&format!("{digest}  {file}"))?;
        uploads.push(json!({"file": file, "digest": digest, "size_bytes": size, "already_stored": already_stored}));
    }
    if report.is_json() { report.result("", &json!({"uploads": uploads})) } else { Ok(()) }
}
