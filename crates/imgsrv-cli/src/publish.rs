//! `imgsrv publish`.

use crate::{
    failure::Failure,
    file_spec::{AttachmentSpec, FileSpec},
    options::{ServerOptions, Session},
    report::{Report, bytes, server_of},
    shell::quoted,
    systems,
    upload::{TransferOptions, shown},
};
use clap::Args;
use imgsrv_client::{Client, Event, Format, Publication, Published, Stage, api};
use imgsrv_domain::files::INCUS_METADATA;
use serde_json::json;
use std::{
    sync::{Mutex, PoisonError},
    time::Instant,
};

#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "they are flags")]
pub struct PublishOptions {
    /// Image, such as debian; it is created if it does not exist
    image: String,
    /// Version, such as 12.5.0; once published it never changes
    version: String,
    /// Files of the version. Options for a single file follow its name:
    /// `disk.qcow2,arch=arm64,variant=cloud,attach=sbom.json=./sbom.json`
    #[arg(required = true, value_name = "FILE")]
    files: Vec<FileSpec>,
    /// Alias to point to the version once it is published, such as latest. Repeat the option for several
    #[arg(long, value_name = "NAME")]
    alias: Vec<String>,
    /// Move existing aliases even if the version was published by an earlier run
    #[arg(long)]
    move_aliases: bool,
    /// Operating system of every file, such as debian [default: linux]
    #[arg(long, value_name = "NAME")]
    os: Option<String>,
    /// Release of the operating system for Incus, such as bookworm [default: the version]
    #[arg(long, value_name = "TEXT")]
    release: Option<String>,
    /// Architecture of every file, in any usual spelling, such as amd64 or `x86_64` [default: from the name of the file,
    /// else that of this machine]
    #[arg(long, value_name = "NAME")]
    arch: Option<String>,
    /// Variant of every file, such as cloud [default: default]
    #[arg(long, value_name = "NAME")]
    variant: Option<String>,
    /// Format of every file, such as qcow2 or raw.xz [default: detected]
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,
    /// File to attach, such as a signature or an SBOM
    #[arg(long, value_name = "NAME=FILE")]
    attach: Vec<AttachmentSpec>,
    /// Have the server generate the metadata that Incus needs
    #[arg(long)]
    incus: bool,
    /// Display name of the image; that of an existing image is changed
    #[arg(long, value_name = "TEXT")]
    display_name: Option<String>,
    /// Description of the image; that of an existing image is changed
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Create the image as a private one; publishing to an existing image that is public fails
    #[arg(long)]
    private: bool,
    /// Replace the content of an existing draft of this version
    #[arg(long)]
    replace: bool,
    /// Publish an empty file, an unknown architecture or operating system, or bytes in another format than declared
    #[arg(long)]
    force: bool,
    /// Return once the version is published (default)
    #[arg(long, overrides_with = "no_wait")]
    wait: bool,
    /// Return once the publish job is queued
    #[arg(long, conflicts_with = "alias")]
    no_wait: bool,
    #[command(flatten)]
    transfer: TransferOptions,
}

pub(crate) async fn publish(options: PublishOptions, server: &ServerOptions, session: &Session) -> Result<(), Failure> {
    let Session { report, client } = session;
    let publication = publication(&options, report).await?;
    let (observer, sending_since) = (report.clone(), Mutex::new(None::<Instant>));
    let publishing = client.publish(publication).parallel(options.transfer.parallel.into());
    let publishing = publishing.on_event(move |event| match event {
        Event::Transfer(source, progress) => {
            if progress.stage == Stage::Sending {
                sending_since.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(Instant::now);
            }
            observer.progress(shown(source), progress);
        }
        Event::Uploaded(source, blob) => {
            let (name, size, digest) = (shown(source), bytes(blob.size.get()), blob.digest);
            let how = match sending_since.lock().unwrap_or_else(PoisonError::into_inner).take() {
                _ if blob.already_stored => "stored already".to_owned(),
                Some(started) => format!("uploaded in {:.1} s", started.elapsed().as_secs_f64()),
                None => "uploaded".to_owned(),
            };
            observer.transferred(name, &format!("{name}: {size}, {how}, {digest}"));
        }
        Event::Drafted => observer.step("the draft is complete"),
        Event::Publishing(job) => observer.step(&format!("publish job {job}")),
        _ => {}
    });
    let publishing = if options.no_wait { publishing.without_waiting() } else { publishing };
    let published = publishing.run().await?;
    for warning in published.job.iter().flat_map(|job| &job.warnings) {
        report.note(&format!("warning of {}: {}", warning.step, warning.reason));
    }
    for alias in &published.kept_aliases {
        let (image, version) = (&options.image, &options.version);
        report.note(&format!(
            "{image}:{} stays at {}, because {version} was published before; --move-aliases moves it",
            alias.alias, alias.version
        ));
    }
    print(&options, &published, server, session).await
}

/// The usual media type of a disk that Incus boots as a virtual machine.
const DISK: &str = "application/x-qemu-disk";

/// Prints what was published, and where it is.
async fn print(
    options: &PublishOptions,
    published: &Published,
    server: &ServerOptions,
    Session { report, client }: &Session,
) -> Result<(), Failure> {
    let PublishOptions { image, version, alias, .. } = options;
    let is_published = published.version.state == "published";
    let mut text = match &published.job {
        _ if is_published && !published.repaired.is_empty() => {
            let count = published.repaired.len();
            let (noun, were) = if count == 1 { ("file", "was") } else { ("files", "were") };
            format!(
                "{image} {version} was published before; {count} damaged {noun} of it {were} uploaded again, with the same \
                 content"
            )
        }
        _ if is_published && published.already_published => {
            format!("{image} {version} was published before, with the same content")
        }
        _ if is_published => format!("{image} {version} is published"),
        Some(job) => format!("{image} {version} is being published; imgsrv jobs show {} --wait waits for it", job.id),
        None => format!("{image} {version} is being published"),
    };
    let is_kept = |name: &str| published.kept_aliases.iter().any(|kept| kept.alias == name);
    let set: Vec<&String> = alias.iter().filter(|name| !is_kept(name)).collect();
    for name in &set {
        text += &format!("\n{image}:{name} points to {version}");
    }
    let files = if is_published { client.files(image, version).await?.files } else { Vec::new() };
    let urls: Vec<String> = files.iter().map(|file| client.file_url(image, version, &file.name).into()).collect();
    let result = json!({
        "image": image, "version": published.version, "aliases": set, "kept_aliases": published.kept_aliases,
        "job": published.job, "already_published": published.already_published,
        "repaired": published.repaired.iter().map(|blob| blob.digest.to_string()).collect::<Vec<_>>(),
        "digests": published.blobs.iter().map(|blob| blob.digest.to_string()).collect::<Vec<_>>(),
        "url": client.file_url(image, version, "").as_str(), "files": urls,
    });
    report.result(&text, &result)?;
    if urls.is_empty() {
        return Ok(());
    }
    let reference = set.first().map_or(version, |name| *name);
    // If that is unknown, what works in both cases.
    let is_public = client.image(image).await.is_ok_and(|image| image.visibility == "public");
    let mut hints = format!("\n  imgsrv download {image}:{reference}\n");
    if is_public {
        let is_for_people = |url: &&String| !url.ends_with(INCUS_METADATA);
        let curl = curl(server, client)?;
        hints.extend(urls.iter().filter(is_for_people).filter_map(|url| Some(format!("  {}{url}\n", curl.as_ref()?))));
    } else {
        hints += &format!("  imgsrv link {image}:{version}\n");
    }
    if options.incus {
        hints += &if !server_of(client).starts_with("https:") {
            "  Incus needs HTTPS: start the server with --tls-self-signed or --tls-cert.\n".to_owned()
        } else if is_public {
            let kind = if files.iter().any(|file| file.media_type == DISK) { " --vm" } else { "" };
            format!("  incus launch imgsrv:{image}/{reference}{kind}\n")
        } else {
            "  imgsrv incus-remote\n".to_owned()
        };
    }
    report.hints(&hints)
}

/// The command to which the URL of a file is added; `None` if only the stored login has the authority, which curl needs in
/// a file.
fn curl(server: &ServerOptions, client: &Client) -> Result<Option<String>, Failure> {
    if let Some(file) = server.ca_file() {
        return Ok(Some(format!("curl -fLO --cacert {} ", quoted(&file.display().to_string()))));
    }
    let authority = server.authority_of(server_of(client))?;
    Ok(authority.is_none().then(|| "curl -fLO ".to_owned()))
}

async fn publication(options: &PublishOptions, report: &Report) -> Result<Publication, Failure> {
    if options.release.is_some() && !options.incus {
        return Err(Failure::usage("--release sets what Incus shows, but --incus is not given")
            .with_advice("Add --incus, or leave out --release."));
    }
    let mut files = options.files.clone();
    match files.as_mut_slice() {
        [only] => only.attachments.extend(options.attach.clone()),
        _ if options.attach.is_empty() => {}
        _ => {
            return Err(Failure::usage("--attach does not say to which of several files")
                .with_advice("Write FILE,attach=NAME=FILE instead."));
        }
    }
    let mut artifacts = Vec::new();
    for mut file in files {
        file.os = file.os.or_else(|| options.os.clone());
        file.arch = file.arch.or_else(|| options.arch.clone());
        file.variant = file.variant.or_else(|| options.variant.clone());
        file.format = file.format.or(options.format);
        for attachment in &file.attachments {
            if !attachment.path.is_file() {
                return Err(Failure::usage(format!("the attachment {} is not a file", attachment.path.display())));
            }
        }
        let mut recognised = file.recognise(options.force).await?;
        report.step(&format!("{}: {}", file.path.display(), recognised.description));
        recognised.artifact.incus = options.incus.then(|| api::CreateIncusMetadata {
            os: systems::display_name(&recognised.artifact.operating_system).map(str::to_owned),
            release: options.release.clone(),
            ..api::CreateIncusMetadata::default()
        });
        artifacts.push(recognised.artifact);
    }
    let mut publication = Publication::new(&options.image, &options.version, artifacts);
    publication.aliases.clone_from(&options.alias);
    publication.move_aliases = options.move_aliases;
    publication.display_name.clone_from(&options.display_name);
    publication.description.clone_from(&options.description);
    publication.private = options.private;
    publication.replace_draft = options.replace;
    Ok(publication)
}
