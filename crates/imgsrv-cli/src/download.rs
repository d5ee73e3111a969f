//! `imgsrv download`.

use crate::{failure::Failure, options::Session, report::size};
use clap::Args;
use imgsrv_client::api::{Artifact, Manifest, ManifestEntry, ReleaseFile};
use imgsrv_domain::files::{artifact_file, attachment_file};
use serde_json::json;
use std::{
    path::{Path, PathBuf},
    str::FromStr,
    time::Instant,
};

#[derive(Debug, Args)]
pub struct DownloadOptions {
    /// The image and, behind a colon, the version or alias [default: latest]
    #[arg(value_name = "IMAGE[:REF]")]
    reference: Reference,
    /// Where to: a file, a folder, or `-` for standard output [default: the file's own name, here]
    #[arg(long, short, value_name = "PATH")]
    output: Option<PathBuf>,
    /// Which operating system, where there are several
    #[arg(long, value_name = "NAME")]
    os: Option<String>,
    /// Which architecture, where there are several
    #[arg(long, value_name = "NAME")]
    arch: Option<String>,
    /// Which variant, where there are several
    #[arg(long, value_name = "NAME")]
    variant: Option<String>,
    /// Which format, where there are several
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// This attachment of the artifact, not the artifact itself
    #[arg(long, value_name = "NAME")]
    attachment: Option<String>,
}

/// `IMAGE` or `IMAGE:REF`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    pub(crate) image: String,
    pub(crate) name: String,
}

impl FromStr for Reference {
    type Err = String;

    fn from_str(raw: &str) -> Result<Self, String> {
        // The name of a version may contain colons, that of an image does not.
        let (image, name) = raw.split_once(':').unwrap_or((raw, "latest"));
        if image.is_empty() || name.is_empty() {
            return Err("must be IMAGE or IMAGE:REF".to_owned());
        }
        Ok(Self { image: image.to_owned(), name: name.to_owned() })
    }
}

impl DownloadOptions {
    /// The only artifact that matches the options.
    fn choose<'a>(&self, manifest: &'a Manifest) -> Result<&'a ManifestEntry, Failure> {
        let matches = |wanted: &Option<String>, has: &str| wanted.as_deref().is_none_or(|wanted| wanted == has);
        let matching: Vec<&ManifestEntry> = manifest
            .artifacts
            .iter()
            .filter(|ManifestEntry { artifact, .. }| {
                matches(&self.os, &artifact.operating_system)
                    && matches(&self.arch, &artifact.architecture)
                    && matches(&self.variant, &artifact.variant)
                    && matches(&self.format, &artifact.format)
            })
            .collect();
        let name = format!("{} {}", manifest.image.name, manifest.version.version);
        match matching.as_slice() {
            [only] => Ok(only),
            [] => Err(Failure::not_found(format!("{name} has nothing like that"))
                .with_advice(format!("it has:\n  {}", list(&manifest.artifacts)))),
            several => Err(Failure::usage(format!("which one of {name}?"))
                .with_advice(format!("say one of:\n  {}", list(several.iter().copied())))),
        }
    }
}

/// The options that choose each of several artifacts.
fn list<'a>(entries: impl IntoIterator<Item = &'a ManifestEntry>) -> String {
    let line = |entry: &ManifestEntry| {
        let Artifact { operating_system, architecture, variant, format, .. } = &entry.artifact;
        format!("--os {operating_system} --arch {architecture} --variant {variant} --format {format}")
    };
    entries.into_iter().map(line).collect::<Vec<_>>().join("\n  ")
}

pub(crate) async fn download(options: DownloadOptions, Session { report, client }: &Session) -> Result<(), Failure> {
    let image = options.reference.image.as_str();
    let manifest = client.resolve(image, &options.reference.name).await?;
    if manifest.image.name != image {
        return Err(Failure::refused(format!("the server answered with another image: {:?}", manifest.image.name)));
    }
    let version = manifest.version.version.as_str();
    let entry = options.choose(&manifest)?;
    let files = client.files(image, version).await?.files;
    let file = find(&files, &manifest, entry, options.attachment.as_deref())?;
    let started = Instant::now();
    let (observer, name) = (report.clone(), file.name.clone());
    let download =
        client.download_file(image, version, file).on_progress(move |progress| observer.progress(&name, progress));
    let path = match options.output.as_deref() {
        Some(to) if to == Path::new("-") => None,
        to => Some(target_path(to, &file.name)?),
    };
    match &path {
        None => download.to_writer(&mut tokio::io::stdout()).await?,
        // A device or a pipe must not be replaced by a file.
        Some(path) if path.exists() && !path.is_file() => {
            let unwritable = |error| Failure::other(format!("{} could not be written: {error}", path.display()));
            let mut device = tokio::fs::File::options().write(true).open(path).await.map_err(unwritable)?;
            download.to_writer(&mut device).await?;
        }
        Some(path) => download.to_file(path).await?,
    }
    let (name, size, seconds) = (&file.name, size(file.size_bytes), started.elapsed().as_secs_f64());
    report.transferred(name, &format!("{name}: {size} received and verified in {seconds:.1} s"));
    let Some(path) = path else { return Ok(()) };
    let result = json!({
        "image": image, "version": version, "file": file.name, "path": path.display().to_string(), "digest": file.digest,
        "size_bytes": file.size_bytes,
    });
    report.result(&path.display().to_string(), &result)
}

/// The file to download to: `to` itself, or a file called `name` in it if it is a folder. A folder whose name ends in a
/// slash is created.
fn target_path(to: Option<&Path>, name: &str) -> Result<PathBuf, Failure> {
    let Some(to) = to else { return Ok(PathBuf::from(name)) };
    let is_folder = to.as_os_str().as_encoded_bytes().ends_with(b"/");
    if is_folder {
        std::fs::create_dir_all(to)
            .map_err(|error| Failure::usage(format!("{} could not be made: {error}", to.display())))?;
    }
    let path = if to.is_dir() { to.join(name) } else { to.to_owned() };
    // The target of a symbolic link is replaced, not the link.
    Ok(std::fs::canonicalize(&path).unwrap_or(path))
}

/// The file of an artifact, or of one of its attachments.
fn find<'a>(
    files: &'a [ReleaseFile],
    manifest: &Manifest,
    entry: &ManifestEntry,
    attachment: Option<&str>,
) -> Result<&'a ReleaseFile, Failure> {
    let (image, version, artifact) = (&manifest.image.name, &manifest.version.version, &entry.artifact);
    let (architecture, variant) = (parse(&artifact.architecture)?, parse(&artifact.variant)?);
    let mut name = artifact_file(&parse(image)?, &parse(version)?, &architecture, &variant, parse(&artifact.format)?);
    if let Some(attachment) = attachment {
        name = attachment_file(&name, &parse(attachment)?);
    }
    files.iter().find(|file| file.name == name).ok_or_else(|| {
        let known = entry.attachments.iter().map(|attachment| attachment.name.as_str()).collect::<Vec<_>>().join(", ");
        let failure = Failure::not_found(format!("{image} {version} has no file {name}"));
        if attachment.is_some() { failure.with_advice(format!("its attachments are: {known}")) } else { failure }
    })
}

/// A part of a file's name. Since it becomes a path on this machine, the server must not choose it freely.
fn parse<T: FromStr>(part: &str) -> Result<T, Failure> {
    part.parse().map_err(|_| Failure::refused(format!("{part:?} is no name for a file")))
}
