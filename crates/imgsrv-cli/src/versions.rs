//! `imgsrv versions`.

use crate::{
    failure::Failure,
    options::Session,
    reference::Reference,
    report::{date, size},
};
use clap::Subcommand;
use futures::TryStreamExt;
use imgsrv_client::{
    Client, Error, VersionFilter,
    api::{Alias, Artifact, Manifest, ProblemCode, Version, Warning},
};

#[derive(Debug, Subcommand)]
pub enum VersionsCommand {
    /// List the versions of an image, newest first
    List {
        /// Image, such as debian
        image: String,
        /// List versions that are not published as well
        #[arg(long)]
        all: bool,
    },
    /// Show the artifacts and attachments of a version
    Show {
        /// Image and version or alias, such as debian:12.5.0 [default: the alias latest]
        #[arg(value_name = "IMAGE[:REF]")]
        reference: Reference,
    },
}

pub(crate) async fn run(command: VersionsCommand, session: &Session) -> Result<(), Failure> {
    let Session { report, client } = session;
    match command {
        VersionsCommand::List { image, all } => {
            let filter = if all { VersionFilter::All } else { VersionFilter::Published };
            let versions: Vec<Version> =
                client.versions(&image, filter).try_collect().await.map_err(Failure::about(&image))?;
            let aliases: Vec<Alias> = client.aliases(&image).try_collect().await?;
            report.list("versions", ["VERSION", "STATE", "PUBLISHED", "ALIASES"], versions, |version| {
                let names = aliases.iter().filter(|alias| alias.version_id == version.id);
                let names = names.map(|alias| alias.alias.as_str()).collect::<Vec<_>>().join(", ");
                let published = version.published_at.as_deref().map(date).unwrap_or_default();
                [version.version, version.state, published, names]
            })
        }
        VersionsCommand::Show { reference } => {
            let manifest = match find(client, &reference).await {
                Err(error) if error.code() == Some(ProblemCode::NotFound) => {
                    return Err(reference.not_found(client, error).await);
                }
                found => found?,
            };
            report.result(&describe(&manifest), &manifest)
        }
    }
}

/// The manifest of the version with this name or alias; a draft, if the caller may see it.
async fn find(client: &Client, reference: &Reference) -> Result<Manifest, Error> {
    match client.resolve(&reference.image, &reference.name).await {
        Err(error) if error.code() == Some(ProblemCode::NotFound) => {
            client.manifest(&reference.image, &reference.name).await.map_err(|_| error)
        }
        resolved => resolved,
    }
}

fn describe(manifest: &Manifest) -> String {
    let Manifest { image, version, artifacts, warnings } = manifest;
    let name = image.display_name.as_ref().map(|name| format!(" ({name})")).unwrap_or_default();
    let since = version.published_at.as_ref().map(|at| format!(" {}", date(at))).unwrap_or_default();
    let mut text = format!("{} {}{name}: {}{since}\n", image.name, version.version, version.state);
    for entry in artifacts {
        let Artifact { operating_system, architecture, variant, format, inspection, .. } = &entry.artifact;
        let (bytes, digest) = (size(entry.artifact.primary_blob_size_bytes), &entry.artifact.primary_blob_digest);
        text += &format!("\n{operating_system} {architecture} {variant} {format}, {bytes}");
        if let Some(virtual_size) = inspection.as_ref().and_then(|inspection| inspection.virtual_size_bytes) {
            text += &format!(", virtual size {}", size(virtual_size));
        }
        text += &format!("\n  {digest}\n");
        for attachment in &entry.attachments {
            let (bytes, digest) = (size(attachment.blob_size_bytes), &attachment.blob_digest);
            text += &format!("  attachment {}, {bytes}\n    {digest}\n", attachment.name);
        }
    }
    text + &describe_warnings(warnings)
}

pub(crate) fn describe_warnings(warnings: &[Warning]) -> String {
    warnings.iter().map(|warning| format!("warning of {}: {}\n", warning.step, warning.reason)).collect()
}
