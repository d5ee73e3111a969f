//! `imgsrv publish` and `imgsrv upload`.

use crate::{
    failure::Failure,
    files::{AttachmentSpec, Defaults, FileSpec, format},
    options::{OutputOptions, ServerOptions},
    report::{Report, bytes, size},
};
use clap::Args;
use imgsrv_client::{Blob, Event, Publication, Source, Stage, api};
use serde_json::json;
use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Mutex, PoisonError},
    time::Instant,
};

#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "they are flags")]
pub struct PublishOptions {
    /// The image; it is made if it is not there
    image: String,
    /// The version
    version: String,
    /// What it is made of. What is said of one file alone stands behind it:
    /// `disk.qcow2,arch=arm64,variant=cloud,attach=sbom.json=./sbom.json`
    #[arg(required = true, value_name = "FILE")]
    files: Vec<FileSpec>,
    /// Let this alias point to the version once it is published
    #[arg(long, value_name = "NAME")]
    alias: Vec<String>,
    /// What boots, of every file [default: linux]
    #[arg(long, value_name = "NAME")]
    os: Option<String>,
    /// On what it boots [default: as the file's name has it, else as this machine]
    #[arg(long, value_name = "NAME")]
    arch: Option<String>,
    /// Which of several alike [default: default]
    #[arg(long, value_name = "NAME")]
    variant: Option<String>,
    /// The format [default: what the bytes are]
    #[arg(long, value_name = "FORMAT", value_parser = format)]
    format: Option<String>,
    /// Attach a file, such as a signature or an SBOM
    #[arg(long, value_name = "NAME=FILE")]
    attach: Vec<AttachmentSpec>,
    /// Have the server make the metadata that Incus needs
    #[arg(long)]
    incus: bool,
    /// The image's name for people, if it is made
    #[arg(long, value_name = "TEXT")]
    display_name: Option<String>,
    /// Put this content in the place of what a draft of that version holds
    #[arg(long)]
    replace: bool,
    /// Return once it is published; so it is unless --no-wait is given
    #[arg(long, overrides_with = "no_wait")]
    wait: bool,
    /// Return as soon as the server has taken it on
    #[arg(long, conflicts_with = "alias")]
    no_wait: bool,
    /// Parts of a file that are sent at once, at most; more than one where a single connection is slow
    #[arg(long, default_value_t = 4, value_name = "COUNT", value_parser = clap::value_parser!(u8).range(1..=64))]
    parallel: u8,
    #[command(flatten)]
    server: ServerOptions,
    #[command(flatten)]
    output: OutputOptions,
}

#[derive(Debug, Args)]
pub struct UploadOptions {
    /// What to upload
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Parts of a file that are sent at once, at most; more than one where a single connection is slow
    #[arg(long, default_value_t = 4, value_name = "COUNT", value_parser = clap::value_parser!(u8).range(1..=64))]
    parallel: u8,
    #[command(flatten)]
    server: ServerOptions,
    #[command(flatten)]
    output: OutputOptions,
}

/// Tells of transfers by the names of their files.
struct Transfers {
    report: Report,
    began: Mutex<HashMap<String, Instant>>,
}

impl Transfers {
    fn new(report: &Report) -> Self {
        Self { report: report.clone(), began: Mutex::default() }
    }

    fn progress(&self, source: &Source, progress: imgsrv_client::Progress) {
        let name = source.file_name().unwrap_or("data");
        if progress.stage == Stage::Sending {
            let mut began = self.began.lock().unwrap_or_else(PoisonError::into_inner);
            began.entry(name.to_owned()).or_insert_with(Instant::now);
        }
        self.report.transfer(name, progress);
    }

    fn done(&self, source: &Source, blob: &Blob) {
        let name = source.file_name().unwrap_or("data");
        let began = self.began.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
        let how = match began {
            _ if blob.was_there => "was there already".to_owned(),
            Some(began) => format!("sent in {:.1} s", began.elapsed().as_secs_f64()),
            None => "sent".to_owned(),
        };
        self.report.transferred(name, &format!("{name}: {}, {how}, {}", size(blob.size_bytes), blob.digest));
    }
}

pub(crate) async fn publish(options: PublishOptions) -> Result<(), Failure> {
    let report = options.output.report();
    let client = options.server.client(&report)?;
    let publication = recognise(&options, &report).await?;
    let (image, version) = (publication.image.clone(), publication.version.clone());
    let transfers = Transfers::new(&report);
    let told = report.clone();
    let publishing =
        client.publish(publication).at_once(options.parallel.into()).observed_by(move |event| match event {
            Event::Transfer(source, progress) => transfers.progress(source, progress),
            Event::Uploaded(source, blob) => transfers.done(source, blob),
            Event::Drafted => told.step("drafted"),
            Event::Publishing(job) => told.step(&format!("publishing, by job {job}")),
            _ => {}
        });
    let publishing = if options.no_wait { publishing.without_waiting() } else { publishing };
    let published = publishing.run().await?;
    let job = published.job.as_ref();
    for warning in job.into_iter().flat_map(|job| &job.warnings) {
        report.note(&format!("warning of {}: {}", warning.step, warning.reason));
    }
    let state = match published.version.state.as_str() {
        "published" if published.was_there => "was published already, with this very content",
        "published" => "is published",
        _ => "is being published",
    };
    let mut text = format!("{image} {version} {state}");
    if published.version.state != "published"
        && let Some(job) = job
    {
        text += &format!("; imgsrv jobs show {} --wait tells the end", job.id);
    }
    for alias in &options.alias {
        text += &format!("\n{image} {alias} is {version}");
    }
    let outcome = json!({
        "image": image, "version": published.version, "aliases": options.alias, "job": job,
        "was_published": published.was_there,
        "digests": published.blobs.iter().map(|blob| &blob.digest).collect::<Vec<_>>(),
        "url": format!("{}/images/{image}/{version}/", client.url().as_str().trim_end_matches('/')),
    });
    report.outcome(&text, &outcome)
}

async fn recognise(options: &PublishOptions, report: &Report) -> Result<Publication, Failure> {
    let defaults = Defaults {
        os: options.os.clone(),
        arch: options.arch.clone(),
        variant: options.variant.clone(),
        format: options.format.clone(),
    };
    let mut files = options.files.clone();
    match files.as_mut_slice() {
        [only] => only.attachments.extend(options.attach.clone()),
        _ if options.attach.is_empty() => {}
        _ => return Err(Failure::usage("to which file? With several, say FILE,attach=NAME=FILE")),
    }
    let mut artifacts = Vec::new();
    for file in &files {
        for attachment in &file.attachments {
            if !attachment.path.is_file() {
                return Err(Failure::usage(format!("{} is not a file", attachment.path.display())));
            }
        }
        let mut found = file.recognise(&defaults).await?;
        report.step(&format!("{}: {}", file.path.display(), found.told));
        found.artifact.incus = options.incus.then(api::CreateIncusMetadata::default);
        artifacts.push(found.artifact);
    }
    let mut publication = Publication::new(&options.image, &options.version, artifacts);
    publication.aliases.clone_from(&options.alias);
    publication.display_name.clone_from(&options.display_name);
    publication.replace_draft = options.replace;
    Ok(publication)
}

pub(crate) async fn upload(options: UploadOptions) -> Result<(), Failure> {
    let report = options.output.report();
    let client = options.server.client(&report)?;
    for path in &options.files {
        let source = Source::File(path.clone());
        let transfers = Transfers::new(&report);
        let (watched, began) = (source.clone(), Instant::now());
        let mut upload = client.upload(source.clone()).at_once(options.parallel.into());
        if let Some(name) = source.file_name() {
            upload = upload.file_name(name);
        }
        let blob = upload.observed_by(move |progress| transfers.progress(&watched, progress)).send().await?;
        let name = source.file_name().unwrap_or("data");
        let how = if blob.was_there { "was there already" } else { "uploaded" };
        let line = format!("{name}: {} {how} after {:.1} s", size(blob.size_bytes), began.elapsed().as_secs_f64());
        report.transferred(name, &line);
        let json = json!({"file": path.display().to_string(), "digest": blob.digest, "size_bytes": blob.size_bytes, "was_there": blob.was_there});
        report.outcome(&format!("{}  {}", blob.digest, path.display()), &json)?;
    }
    Ok(())
}

/// How many bytes, for a line that tells of a download.
pub(crate) fn received(name: &str, count: i64, began: Instant) -> String {
    let (count, seconds) = (u64::try_from(count).unwrap_or(0), began.elapsed().as_secs_f64());
    format!("{name}: {} received and verified in {seconds:.1} s", bytes(count))
}
