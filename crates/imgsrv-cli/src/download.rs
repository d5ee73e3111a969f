//! `imgsrv download`.

use crate::{
    failure::Failure,
    options::{OutputOptions, ServerOptions},
    publish::received,
};
use clap::Args;
use imgsrv_client::api::{Manifest, ManifestEntry, ReleaseFile};
use serde_json::json;
use std::{
    path::{Path, PathBuf},
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
    #[command(flatten)]
    server: ServerOptions,
    #[command(flatten)]
    report: OutputOptions,
}

/// `IMAGE` or `IMAGE:REF`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reference {
    pub(crate) image: String,
    pub(crate) name: Option<String>,
}

impl std::str::FromStr for Reference {
    type Err = String;

    fn from_str(raw: &str) -> Result<Self, String> {
        // A version may have colons in it, an image's name has none.
        let (image, name) = match raw.split_once(':') {
            Some((image, name)) => (image, Some(name.to_owned())),
            None => (raw, None),
        };
        if image.is_empty() || name.as_deref() == Some("") {
            return Err("must be IMAGE or IMAGE:REF".to_owned());
        }
        Ok(Self { image: image.to_owned(), name })
    }
}

impl Reference {
    pub(crate) fn name(&self) -> &str {
        self.name.as_deref().unwrap_or("latest")
    }
}

impl DownloadOptions {
    /// The one artifact that is wanted.
    fn choose<'a>(&self, manifest: &'a Manifest) -> Result<&'a ManifestEntry, Failure> {
        let fits = |wanted: &Option<String>, has: &str| wanted.as_deref().is_none_or(|wanted| wanted == has);
        let fitting: Vec<&ManifestEntry> = manifest
            .artifacts
            .iter()
            .filter(|entry| {
                let artifact = &entry.artifact;
                fits(&self.os, &artifact.operating_system)
                    && fits(&self.arch, &artifact.architecture)
                    && fits(&self.variant, &artifact.variant)
                    && fits(&self.format, &artifact.format)
            })
            .collect();
        let list = |entries: &[&ManifestEntry]| {
            let line = |entry: &&ManifestEntry| {
                let artifact = &entry.artifact;
                format!(
                    "--os {} --arch {} --variant {} --format {}",
                    artifact.operating_system, artifact.architecture, artifact.variant, artifact.format
                )
            };
            entries.iter().map(line).collect::<Vec<_>>().join("\n  ")
        };
        match fitting.as_slice() {
            [only] => Ok(only),
            [] => {
                let all: Vec<&ManifestEntry> = manifest.artifacts.iter().collect();
                let what = format!("{} {} has nothing like that", manifest.image.name, manifest.version.version);
                Err(Failure::not_found(what).advising(format!("it has:\n  {}", list(&all))))
            }
            several => {
                let what = format!("which one of {} {}?", manifest.image.name, manifest.version.version);
                Err(Failure::usage(what).advising(format!("say one of:\n  {}", list(several))))
            }
        }
    }
}

pub(crate) async fn download(options: DownloadOptions) -> Result<(), Failure> {
    let report = options.report.report();
    let client = options.server.client(&report)?;
    let image = options.reference.image.as_str();
    let manifest = client.resolve(image, options.reference.name()).await?;
    if manifest.image.name != image {
        return Err(Failure::refused(format!("the server answered with another image: {:?}", manifest.image.name)));
    }
    let version = manifest.version.version.as_str();
    let entry = options.choose(&manifest)?;
    let files = client.files(image, version).await?.files;
    let file = find(&files, &manifest, entry, options.attachment.as_deref())?;
    let began = Instant::now();
    let told = report.clone();
    let name = file.name.clone();
    let shown = name.clone();
    let download = client.download_file(image, version, file);
    let download = download.observed_by(move |progress| told.transfer(&shown, progress));
    let to = options.output.as_deref();
    if to == Some(Path::new("-")) {
        download.to_writer(&mut tokio::io::stdout()).await?;
        report.transferred(&name, &received(&name, file.size_bytes, began));
        return Ok(());
    }
    let path = place(to, &name)?;
    match std::fs::metadata(&path) {
        // A device or a pipe is written to, not replaced.
        Ok(there) if !there.is_file() => {
            let unwritable = |error| Failure::other(format!("{} could not be written: {error}", path.display()));
            let mut device = tokio::fs::File::options().write(true).open(&path).await.map_err(unwritable)?;
            download.to_writer(&mut device).await?;
        }
        _ => download.to_file(&path).await?,
    }
    report.transferred(&name, &received(&name, file.size_bytes, began));
    let outcome = json!({
        "image": image, "version": version, "file": file.name, "path": path.display().to_string(), "digest": file.digest,
        "size_bytes": file.size_bytes,
    });
    report.outcome(&path.display().to_string(), &outcome)
}

/// Where a download goes: into the folder that is named, making it if its name ends in a slash, or to what is named itself,
/// wherever that leads.
fn place(to: Option<&Path>, name: &str) -> Result<PathBuf, Failure> {
    let Some(to) = to else { return Ok(PathBuf::from(name)) };
    let is_folder = to.as_os_str().as_encoded_bytes().ends_with(b"/");
    if is_folder {
        std::fs::create_dir_all(to)
            .map_err(|error| Failure::usage(format!("{} could not be made: {error}", to.display())))?;
    }
    let path = if to.is_dir() { to.join(name) } else { to.to_owned() };
    // What a link leads to is replaced, not the link.
    Ok(std::fs::canonicalize(&path).unwrap_or(path))
}

/// The file that an artifact, or one of its attachments, is called.
fn find<'a>(
    files: &'a [ReleaseFile],
    manifest: &Manifest,
    entry: &ManifestEntry,
    attachment: Option<&str>,
) -> Result<&'a ReleaseFile, Failure> {
    let artifact = &entry.artifact;
    let variant = if artifact.variant == "default" { String::new() } else { format!("-{}", artifact.variant) };
    let (image, version) = (&manifest.image.name, &manifest.version.version);
    let mut name = format!("{image}-{version}-{}{variant}.{}", artifact.architecture, artifact.format);
    if let Some(attachment) = attachment {
        name += &format!(".{attachment}");
    }
    // It becomes a path on this machine: a server must not choose where to.
    let is_plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._+:-".contains(&b)) && !name.starts_with('.');
    if !is_plain {
        return Err(Failure::refused(format!("{name:?} is no name for a file")));
    }
    files.iter().find(|file| file.name == name).ok_or_else(|| {
        let known = entry.attachments.iter().map(|attachment| attachment.name.as_str()).collect::<Vec<_>>().join(", ");
        let failure = Failure::not_found(format!("{image} {version} has no file {name}"));
        if attachment.is_some() { failure.advising(format!("its attachments are: {known}")) } else { failure }
    })
}
