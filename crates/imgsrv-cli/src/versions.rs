//! `imgsrv versions`.

use crate::{
    failure::Failure,
    options::Session,
    reference::Reference,
    report::{Column, date, size},
    retire::{self, RetireCommand},
};
use clap::Subcommand;
use futures::TryStreamExt;
use imgsrv_client::{
    Client, Error, LifecycleFilter, VersionFilter,
    api::{Alias, Artifact, Manifest, ProblemCode, Version, Warning},
};

#[derive(Debug, Subcommand)]
pub enum VersionsCommand {
    /// List the versions of an image, newest first
    List {
        /// Image, such as debian
        image: String,
        /// List all versions: also those that are not published, and revoked and removed ones
        #[arg(long)]
        all: bool,
        /// List published versions by lifecycle: active, deprecated, revoked, removed or all [default: active and
        /// deprecated]
        #[arg(long, value_name = "STATE", conflicts_with = "all")]
        lifecycle: Option<LifecycleFilter>,
    },
    /// Show the artifacts and attachments of a version
    Show {
        /// Image and version or alias, such as debian:12.5.0 [default: the alias latest]
        #[arg(value_name = "IMAGE[:REF]")]
        reference: Reference,
    },
    #[command(flatten)]
    Retire(RetireCommand),
}

pub(crate) async fn run(command: VersionsCommand, session: &Session) -> Result<(), Failure> {
    let Session { report, client } = session;
    match command {
        VersionsCommand::Retire(command) => retire::run(command, session).await,
        VersionsCommand::List { image, all, lifecycle } => {
            let versions = match lifecycle {
                _ if all => client.versions_by_lifecycle(&image, VersionFilter::All, LifecycleFilter::All),
                Some(lifecycle) => client.versions_by_lifecycle(&image, VersionFilter::Published, lifecycle),
                None => client.versions(&image, VersionFilter::Published),
            };
            let versions: Vec<Version> = versions.try_collect().await.map_err(Failure::about(&image))?;
            let aliases: Vec<Alias> = client.aliases(&image).try_collect().await?;
            let visibility = client.image(&image).await?.visibility;
            if visibility != "public" {
                report.step(&format!("{image} is {visibility}"));
            }
            let cells = |version: Version| {
                let names = aliases.iter().filter(|alias| alias.version_id == version.id);
                let names = names.map(|alias| alias.alias.as_str()).collect::<Vec<_>>().join(", ");
                let published = version.published_at.as_deref().map(date).unwrap_or_default();
                let state = version.lifecycle.as_ref().map_or(version.state, retire::state);
                [
                    version.version,
                    state,
                    published,
                    names,
                    version.last_fetched_on.unwrap_or_else(|| "never".to_owned()),
                ]
            };
            let head = [
                Column::name("VERSION"),
                Column::text("STATE"),
                Column::day("PUBLISHED"),
                Column::text("ALIASES"),
                Column::day("LAST FETCHED"),
            ];
            // Only some roles see when versions were fetched.
            if versions.iter().any(|version| version.last_fetched_on.is_some()) {
                return report.list("versions", head, versions, cells);
            }
            let [version, state, published, aliases, _] = head;
            report.list("versions", [version, state, published, aliases], versions, |version| {
                let [version, state, published, names, _] = cells(version);
                [version, state, published, names]
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
    let visibility = if image.visibility == "public" { String::new() } else { format!(", {}", image.visibility) };
    let mut text = format!("{} {}{name}: {}{since}{visibility}\n", image.name, version.version, version.state);
    if let Some(lifecycle) = &version.lifecycle {
        text += &format!("{}{}\n", retire::state(lifecycle), retire::words(lifecycle));
    }
    for entry in artifacts {
        let Artifact { operating_system, architecture, variant, format, inspection, .. } = &entry.artifact;
        let (bytes, digest) = (size(entry.artifact.primary_blob_size_bytes), &entry.artifact.primary_blob_digest);
        text += &format!("\n{operating_system} {architecture} {variant} {format}, {bytes}");
        if let Some(virtual_size) = inspection.as_ref().and_then(|inspection| inspection.virtual_size_bytes) {
            text += &format!(", virtual size {}", size(virtual_size));
        }
        text += &format!("{}\n  {digest}\n", quarantine(entry.artifact.quarantined));
        for attachment in &entry.attachments {
            let (bytes, digest) = (size(attachment.blob_size_bytes), &attachment.blob_digest);
            let quarantine = quarantine(attachment.quarantined);
            text += &format!("  attachment {}, {bytes}{quarantine}\n    {digest}\n", attachment.name);
        }
    }
    text + &describe_warnings(warnings)
}

/// What follows the size of a file whose stored content is damaged.
const fn quarantine(is_quarantined: bool) -> &'static str {
    if is_quarantined { ", quarantined: not served" } else { "" }
}

pub(crate) fn describe_warnings(warnings: &[Warning]) -> String {
    warnings.iter().map(|warning| format!("warning of {}: {}\n", warning.step, warning.reason)).collect()
}
