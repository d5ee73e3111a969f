//! `imgsrv images`, `versions`, `show`, `drafts`, `alias` and `jobs`.

use crate::{download::Reference, failure::Failure, options::Session, report::size};
use clap::{Args, Subcommand};
use futures::TryStreamExt;
use imgsrv_client::{
    Client, Error, VersionFilter,
    api::{Alias, Artifact, Image, Manifest, ProblemCode, PublishJob, Version, Warning},
};
use serde_json::json;

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct DraftsOptions {
    #[command(subcommand)]
    command: Option<DraftsCommand>,
    /// Of this image alone
    image: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DraftsCommand {
    /// Delete a draft; what was uploaded for it stays
    Delete {
        /// The image
        image: String,
        /// The version
        version: String,
    },
}

#[derive(Debug, Subcommand)]
pub enum AliasCommand {
    /// Let an alias point to a published version
    Set {
        /// The image
        image: String,
        /// The alias
        alias: String,
        /// The version
        version: String,
    },
    /// Remove an alias; the version that it points to stays
    #[command(alias = "delete")]
    Rm {
        /// The image
        image: String,
        /// The alias
        alias: String,
    },
    /// List the aliases of an image
    List {
        /// The image
        image: String,
    },
}

#[derive(Debug, Subcommand)]
pub enum JobsCommand {
    /// Show how far a publish job is
    Show {
        /// The job
        job: String,
        /// Return once it has ended; a job that failed is exit code 3
        #[arg(long)]
        wait: bool,
    },
    /// Have a failed job tried again, and wait for its end
    Retry {
        /// The job
        job: String,
    },
    /// Give a failed job up: its version is a draft again
    Abandon {
        /// The job
        job: String,
    },
}

pub(crate) async fn images(all: bool, Session { report, client }: &Session) -> Result<(), Failure> {
    let images: Vec<Image> = client.images(all).try_collect().await?;
    report.rows(["NAME", "DISPLAY NAME", "DESCRIPTION"], images, |image| {
        [image.name, image.display_name.unwrap_or_default(), image.description.unwrap_or_default()]
    })
}

pub(crate) async fn versions(image: &str, all: bool, Session { report, client }: &Session) -> Result<(), Failure> {
    let filter = if all { VersionFilter::All } else { VersionFilter::Published };
    let versions: Vec<Version> = client.versions(image, filter).try_collect().await?;
    let aliases: Vec<Alias> = client.aliases(image).try_collect().await?;
    report.rows(["VERSION", "STATE", "PUBLISHED", "ALIASES"], versions, |version| {
        let names = aliases.iter().filter(|alias| alias.version_id == version.id).map(|alias| alias.alias.as_str());
        let names = names.collect::<Vec<_>>().join(", ");
        [version.version, version.state, version.published_at.unwrap_or_default(), names]
    })
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

pub(crate) async fn show(reference: &Reference, Session { report, client }: &Session) -> Result<(), Failure> {
    let manifest = find(client, reference).await?;
    report.result(&describe(&manifest), &manifest)
}

fn describe(manifest: &Manifest) -> String {
    let Manifest { image, version, artifacts, warnings } = manifest;
    let name = image.display_name.as_ref().map(|name| format!(" ({name})")).unwrap_or_default();
    let since = version.published_at.as_ref().map(|at| format!(" {at}")).unwrap_or_default();
    let mut text = format!("{}{name} {}: {}{since}\n", image.name, version.version, version.state);
    for entry in artifacts {
        let Artifact { operating_system, architecture, variant, format, inspection, .. } = &entry.artifact;
        let (bytes, digest) = (size(entry.artifact.primary_blob_size_bytes), &entry.artifact.primary_blob_digest);
        text += &format!("{operating_system} {architecture} {variant} {format}: {bytes}, {digest}\n");
        if let Some(virtual_size) = inspection.as_ref().and_then(|inspection| inspection.virtual_size_bytes) {
            text += &format!("  a disk of {}\n", size(virtual_size));
        }
        for attachment in &entry.attachments {
            let (bytes, digest) = (size(attachment.blob_size_bytes), &attachment.blob_digest);
            text += &format!("  {}: {bytes}, {digest}\n", attachment.name);
        }
    }
    text + &describe_warnings(warnings)
}

pub(crate) async fn drafts(options: DraftsOptions, Session { report, client }: &Session) -> Result<(), Failure> {
    if let Some(DraftsCommand::Delete { image, version }) = options.command {
        client.delete_version(&image, &version).await?;
        let text = format!("the draft {image} {version} is gone");
        return report.result(&text, &json!({"image": image, "version": version}));
    }
    let images: Vec<String> = match options.image {
        Some(image) => vec![image],
        None => client.images(true).map_ok(|image| image.name).try_collect().await?,
    };
    let mut drafts = Vec::new();
    for image in images {
        for filter in [VersionFilter::Draft, VersionFilter::Publishing] {
            let found: Vec<Version> = client.versions(&image, filter).try_collect().await?;
            drafts.extend(found.into_iter().map(|version| json!({"image": image, "version": version})));
        }
    }
    report.rows(["IMAGE", "VERSION", "STATE", "MADE"], drafts, |draft| {
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        let version = &draft["version"];
        [text(&draft["image"]), text(&version["version"]), text(&version["state"]), text(&version["created_at"])]
    })
}

pub(crate) async fn alias(command: AliasCommand, Session { report, client }: &Session) -> Result<(), Failure> {
    match command {
        AliasCommand::Set { image, alias, version } => {
            let set = client.set_alias(&image, &alias, &version).await?;
            report.result(&format!("{image} {alias} is {version}"), &set)
        }
        AliasCommand::Rm { image, alias } => {
            client.delete_alias(&image, &alias).await?;
            report.result(&format!("{image} {alias} is gone"), &json!({"image": image, "alias": alias}))
        }
        AliasCommand::List { image } => {
            let aliases: Vec<Alias> = client.aliases(&image).try_collect().await?;
            report.rows(["ALIAS", "VERSION", "MOVED"], aliases, |alias| [alias.alias, alias.version, alias.updated_at])
        }
    }
}

pub(crate) async fn jobs(command: JobsCommand, Session { report, client }: &Session) -> Result<(), Failure> {
    let job = match command {
        JobsCommand::Show { job, wait: false } => client.job(&job).await?,
        JobsCommand::Show { job, wait: true } => client.wait_for_job(client.job(&job).await?).await?,
        JobsCommand::Retry { job } => client.wait_for_job(client.retry_job(&job).await?).await?,
        JobsCommand::Abandon { job } => client.abandon_job(&job).await?,
    };
    report.result(&describe_job(&job), &job)
}

fn describe_job(job: &PublishJob) -> String {
    let because = |reason: &Option<String>| reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    let mut text = format!("{} {}: {}{}\n", job.image_name, job.version, job.state, because(&job.reason));
    for step in &job.steps {
        let attempts =
            if step.attempt_count > 1 { format!(" ({} attempts)", step.attempt_count) } else { String::new() };
        text += &format!("  {} {}{attempts}{}\n", step.name, step.state, because(&step.reason));
    }
    text + &describe_warnings(&job.warnings)
}

fn describe_warnings(warnings: &[Warning]) -> String {
    warnings.iter().map(|warning| format!("warning of {}: {}\n", warning.step, warning.reason)).collect()
}
