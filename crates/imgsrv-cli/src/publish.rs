//! `imgsrv publish` and `imgsrv upload`.

use crate::{
    failure::Failure,
    file_spec::{AttachmentSpec, FileSpec},
    options::Session,
    report::{Report, bytes},
};
use clap::Args;
use imgsrv_client::{Blob, Event, Format, Publication, Source, Stage, api};
use serde_json::json;
use std::{
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
    /// Files of the version. Options of a single file follow its name:
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
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,
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
    #[command(flatten)]
    transfer: TransferOptions,
}

#[derive(Debug, Args)]
pub struct UploadOptions {
    /// What to upload
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    transfer: TransferOptions,
}

#[derive(Debug, Args)]
struct TransferOptions {
    /// Parts of a file that are sent at once, at most; more than one where a single connection is slow
    #[arg(long, default_value_t = 4, value_name = "COUNT", value_parser = clap::value_parser!(u8).range(1..=64))]
    parallel: u8,
}

/// The name under which a source is shown.
fn shown(source: &Source) -> &str {
    source.file_name().unwrap_or("data")
}

pub(crate) async fn publish(options: PublishOptions, Session { report, client }: &Session) -> Result<(), Failure> {
    let publication = publication(&options, report).await?;
    let (image, version) = (publication.image.clone(), publication.version.clone());
    let (observer, sending_since) = (report.clone(), Mutex::new(None));
    let publishing =
        client.publish(publication).parallel(options.transfer.parallel.into()).on_event(move |event| match event {
            Event::Transfer(source, progress) => {
                if progress.stage == Stage::Sending {
                    sending_since.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(Instant::now);
                }
                observer.progress(shown(source), progress);
            }
            Event::Uploaded(source, blob) => {
                let (name, size, digest) = (shown(source), bytes(blob.size.get()), blob.digest);
                let how = match sending_since.lock().unwrap_or_else(PoisonError::into_inner).take() {
                    _ if blob.already_stored => "was there already".to_owned(),
                    Some(started) => format!("sent in {:.1} s", started.elapsed().as_secs_f64()),
                    None => "sent".to_owned(),
                };
                observer.transferred(name, &format!("{name}: {size}, {how}, {digest}"));
            }
            Event::Drafted => observer.step("drafted"),
            Event::Publishing(job) => observer.step(&format!("publishing, by job {job}")),
            _ => {}
        });
    let publishing = if options.no_wait { publishing.without_waiting() } else { publishing };
    let published = publishing.run().await?;
    let job = published.job.as_ref();
    for warning in job.into_iter().flat_map(|job| &job.warnings) {
        report.note(&format!("warning of {}: {}", warning.step, warning.reason));
    }
    let state = match published.version.state.as_str() {
        "published" if published.already_published => "was published already, with this very content",
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
    let result = json!({
        "image": image, "version": published.version, "aliases": options.alias, "job": job,
        "was_published": published.already_published,
        "digests": published.blobs.iter().map(|blob| blob.digest.to_string()).collect::<Vec<_>>(),
        "url": format!("{}/images/{image}/{version}/", client.url().as_str().trim_end_matches('/')),
    });
    report.result(&text, &result)
}

async fn publication(options: &PublishOptions, report: &Report) -> Result<Publication, Failure> {
    let mut files = options.files.clone();
    match files.as_mut_slice() {
        [only] => only.attachments.extend(options.attach.clone()),
        _ if options.attach.is_empty() => {}
        _ => return Err(Failure::usage("to which file? With several, say FILE,attach=NAME=FILE")),
    }
    let mut artifacts = Vec::new();
    for mut file in files {
        file.os = file.os.or_else(|| options.os.clone());
        file.arch = file.arch.or_else(|| options.arch.clone());
        file.variant = file.variant.or_else(|| options.variant.clone());
        file.format = file.format.or(options.format);
        for attachment in &file.attachments {
            if !attachment.path.is_file() {
                return Err(Failure::usage(format!("{} is not a file", attachment.path.display())));
            }
        }
        let mut recognised = file.recognise().await?;
        report.step(&format!("{}: {}", file.path.display(), recognised.description));
        recognised.artifact.incus = options.incus.then(api::CreateIncusMetadata::default);
        artifacts.push(recognised.artifact);
    }
    let mut publication = Publication::new(&options.image, &options.version, artifacts);
    publication.aliases.clone_from(&options.alias);
    publication.display_name.clone_from(&options.display_name);
    publication.replace_draft = options.replace;
    Ok(publication)
}

pub(crate) async fn upload(options: UploadOptions, Session { report, client }: &Session) -> Result<(), Failure> {
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
        let how = if already_stored { "was there already" } else { "uploaded" };
        let line = format!("{name}: {} {how} after {:.1} s", bytes(size.get()), started.elapsed().as_secs_f64());
        report.transferred(name, &line);
        let (digest, size) = (digest.to_string(), size.get());
        let json = json!({"file": file, "digest": digest, "size_bytes": size, "was_there": already_stored});
        report.result(&format!("{digest}  {file}"), &json)?;
    }
    Ok(())
}
