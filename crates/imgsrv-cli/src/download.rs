//! `imgsrv download`.

use crate::{
    failure::{Failure, plain},
    options::Session,
    recognise::host_architecture,
    reference::Reference,
    report::{bytes, size},
    retire,
};
use clap::Args;
use imgsrv_client::{
    Client,
    api::{Artifact, Manifest, ManifestEntry, ProblemCode, ReleaseFile},
};
use imgsrv_domain::{
    architecture::is_same,
    files::{artifact_file, attachment_file},
};
use serde_json::json;
use std::{
    io::{self, IsTerminal},
    path::{Path, PathBuf},
    str::FromStr,
    time::Instant,
};

#[derive(Debug, Args)]
pub struct DownloadOptions {
    /// Image and version or alias, such as debian:12.5.0 [default: the alias latest]
    #[arg(value_name = "IMAGE[:REF]")]
    reference: Reference,
    /// File or folder to write to, or `-` for standard output [default: the name of the file, in the current folder]
    #[arg(long, short, value_name = "PATH")]
    output: Option<PathBuf>,
    /// Operating system, if there are several, such as debian
    #[arg(long, value_name = "NAME")]
    os: Option<String>,
    /// Architecture, if there are several, in any usual spelling, such as amd64 or `x86_64` [default: that of this machine]
    #[arg(long, value_name = "NAME")]
    arch: Option<String>,
    /// Variant, if there are several, such as cloud
    #[arg(long, value_name = "NAME")]
    variant: Option<String>,
    /// Format, if there are several, such as qcow2
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Name of an attachment to download instead of the artifact
    #[arg(long, value_name = "NAME")]
    attachment: Option<String>,
}

impl DownloadOptions {
    /// The only artifact that matches the options; of several, the only one for this machine's architecture.
    fn choose<'a>(&self, manifest: &'a Manifest) -> Result<&'a ManifestEntry, Failure> {
        let matches = |wanted: &Option<String>, has: &str| {
            wanted.as_deref().is_none_or(|wanted| wanted.eq_ignore_ascii_case(has))
        };
        let mut matching: Vec<&ManifestEntry> = manifest
            .artifacts
            .iter()
            .filter(|ManifestEntry { artifact, .. }| {
                matches(&self.os, &artifact.operating_system)
                    && self.arch.as_deref().is_none_or(|wanted| is_same(wanted, &artifact.architecture))
                    && matches(&self.variant, &artifact.variant)
                    && matches(&self.format, &artifact.format)
            })
            .collect();
        if matching.len() > 1
            && self.arch.is_none()
            && let Some(host) = host_architecture()
            && matching.iter().any(|entry| is_same(host, &entry.artifact.architecture))
        {
            matching.retain(|entry| is_same(host, &entry.artifact.architecture));
        }
        let name = format!("{} {}", manifest.image.name, manifest.version.version);
        match matching.as_slice() {
            [only] => Ok(only),
            [] => Err(Failure::not_found(format!("{name} has no artifact that matches the options"))
                .with_advice(format!("It has:\n{}", list(&manifest.artifacts)))),
            several => Err(Failure::usage(format!("{name} has {} artifacts that match", several.len()))
                .with_advice(format!("Choose one of:\n{}", list(several.iter().copied())))),
        }
    }
}

/// The options that choose each of several artifacts.
fn list<'a>(entries: impl IntoIterator<Item = &'a ManifestEntry>) -> String {
    let line = |entry: &ManifestEntry| {
        let Artifact { operating_system, architecture, variant, format, .. } = &entry.artifact;
        format!("--os {operating_system} --arch {architecture} --variant {variant} --format {format}")
    };
    entries.into_iter().map(line).collect::<Vec<_>>().join("\n")
}

pub(crate) async fn download(options: DownloadOptions, quick: &Session, session: &Session) -> Result<(), Failure> {
    let Session { report, client } = session;
    let reference = &options.reference;
    let image = reference.image.as_str();
    let manifest = resolve(&quick.client, reference).await?;
    let version = manifest.version.version.as_str();
    let mut warning = None;
    if let Some(lifecycle) = manifest.version.lifecycle.as_ref().filter(|lifecycle| lifecycle.state != "active") {
        let text = format!("{image} {version} is {}{}", lifecycle.state, retire::words(lifecycle));
        if lifecycle.state == "revoked" {
            return Err(Failure::refused(text));
        }
        warning = Some(text);
    }
    let entry = options.choose(&manifest)?;
    // A version that was revoked before it was removed has no files, and the refusal names the revocation.
    let files = quick.client.files(image, version).await?.files;
    if let Some(warning) = warning {
        report.note(&warning);
    }
    let file = find(&files, &manifest, entry, options.attachment.as_deref())?;
    let path = match options.output.as_deref() {
        Some(to) if to == Path::new("-") => None,
        to => Some(target_path(to, &file.name)?),
    };
    let started = Instant::now();
    let (observer, name) = (report.clone(), file.name.clone());
    let download =
        client.download_file(image, version, file).on_progress(move |progress| observer.progress(&name, progress));
    match &path {
        None => check_terminal(file)?,
        Some(path) => check_space(path, file, download.partial_bytes(path))?,
    }
    match &path {
        None => download.to_writer(&mut tokio::io::stdout()).await?,
        // A device or a pipe must not be replaced by a file.
        Some(path) if path.exists() && !path.is_file() => {
            let unwritable =
                |error: io::Error| Failure::other(format!("cannot write {}: {}", path.display(), plain(&error)));
            let mut device = tokio::fs::File::options().write(true).open(path).await.map_err(unwritable)?;
            download.to_writer(&mut device).await?;
        }
        Some(path) => download.to_file(path).await?,
    }
    let (name, size, seconds) = (&file.name, size(file.size_bytes), started.elapsed().as_secs_f64());
    report.transferred(name, &format!("{name}: {size} downloaded and verified in {seconds:.1} s"));
    let Some(path) = path else { return Ok(()) };
    let result = json!({
        "image": image, "version": version, "file": file.name, "path": path.display().to_string(), "digest": file.digest,
        "size_bytes": file.size_bytes, "url": client.file_url(image, version, &file.name).as_str(),
    });
    report.result(&path.display().to_string(), &result)
}

/// The manifest of a published version.
pub(crate) async fn resolve(client: &Client, reference: &Reference) -> Result<Manifest, Failure> {
    let manifest = match client.resolve(&reference.image, &reference.name).await {
        Err(error) if error.code() == Some(ProblemCode::NotFound) => {
            return Err(reference.not_found(client, error).await);
        }
        manifest => manifest?,
    };
    if manifest.image.name != reference.image {
        let message = format!("the server answered with another image: {:?}", manifest.image.name);
        return Err(Failure::refused(message));
    }
    Ok(manifest)
}

/// Refuses to write bytes that are not text to a terminal.
fn check_terminal(file: &ReleaseFile) -> Result<(), Failure> {
    let is_text = file.media_type.starts_with("text/") || file.media_type.contains("json");
    if is_text || !io::stdout().is_terminal() {
        return Ok(());
    }
    Err(Failure::usage(format!("{} is not text, and standard output is a terminal", file.name))
        .with_advice("Redirect it to a file or a program, or use -o FILE."))
}

/// Refuses to fill a disk. A file that is replaced stays until its replacement is verified.
fn check_space(path: &Path, file: &ReleaseFile, partial: u64) -> Result<(), Failure> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let (Ok(disk), Ok(size)) = (rustix::fs::statvfs(folder), u64::try_from(file.size_bytes)) else { return Ok(()) };
    // A pseudo file system has no blocks at all.
    let is_device = disk.f_blocks == 0 || (path.exists() && !path.is_file());
    let (needed, free) = (size.saturating_sub(partial), disk.f_bavail.saturating_mul(disk.f_frsize));
    if needed <= free || is_device || is_complete(path, size) {
        return Ok(());
    }
    let message =
        format!("{} needs {}, but only {} are free in {}", file.name, bytes(needed), bytes(free), folder.display());
    Err(Failure::other(message).with_advice("Free space, or choose another folder: -o FOLDER/"))
}

/// Whether a file may be the downloaded one already, which needs no more space.
fn is_complete(path: &Path, size: u64) -> bool {
    path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.len() == size)
}

/// The file to download to: `to` itself, or a file called `name` in it if it is a folder. A folder whose name ends in a
/// slash is created.
fn target_path(to: Option<&Path>, name: &str) -> Result<PathBuf, Failure> {
    let Some(to) = to else { return Ok(PathBuf::from(name)) };
    let is_folder = to.as_os_str().as_encoded_bytes().ends_with(b"/");
    if is_folder {
        std::fs::create_dir_all(to)
            .map_err(|error| Failure::usage(format!("cannot create {}: {}", to.display(), plain(&error))))?;
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
        match attachment {
            Some(_) if known.is_empty() => failure.with_advice("It has no attachments."),
            Some(_) => failure.with_advice(format!("Its attachments are {known}.")),
            None => failure,
        }
    })
}

/// A part of a file's name. Since it becomes a path on this machine, the server must not choose it freely.
pub(crate) fn parse<T: FromStr>(part: &str) -> Result<T, Failure> {
    part.parse()
        .map_err(|_| Failure::refused(format!("the server sent {part:?}, which cannot be part of the name of a file")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_that_is_too_small_is_noticed_before_the_download() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("disk.qcow2");
        let file = |size_bytes| ReleaseFile {
            name: "disk.qcow2".to_owned(),
            size_bytes,
            digest: String::new(),
            media_type: "application/x-qemu-disk".to_owned(),
            url: String::new(),
            quarantined: false,
        };
        let refused = check_space(&path, &file(i64::MAX), 0).expect_err("too large").text();
        assert!(refused.contains("disk.qcow2 needs 8.00 EiB, but only"), "{refused}");
        assert!(check_space(&path, &file(i64::MAX), i64::MAX.unsigned_abs()).is_ok(), "all of it is there");
        assert!(check_space(&path, &file(1), 0).is_ok());
    }
}
