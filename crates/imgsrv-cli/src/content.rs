//! `imgsrv images`, `versions`, `show`, `drafts`, `alias` and `jobs`.

use crate::{download::Reference, failure::Failure, options::CommonOptions, report::size};
use clap::{Args, Subcommand};
use futures::TryStreamExt;
use imgsrv_client::{
    Client, Error, VersionFilter,
    api::{Manifest, ProblemCode, PublishJob, Version},
};
use serde_json::json;

#[derive(Debug, Args)]
pub struct ImagesOptions {
    /// Also those with nothing published
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    common: CommonOptions,
}

#[derive(Debug, Args)]
pub struct VersionsOptions {
    /// The image
    image: String,
    /// Also those that are not published
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    common: CommonOptions,
}

#[derive(Debug, Args)]
pub struct ShowOptions {
    /// The image and, behind a colon, the version or alias [default: latest]
    #[arg(value_name = "IMAGE[:REF]")]
    reference: Reference,
    #[command(flatten)]
    common: CommonOptions,
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct DraftsOptions {
    #[command(subcommand)]
    command: Option<DraftsCommand>,
    /// Of this image alone
    image: Option<String>,
    #[command(flatten)]
    common: CommonOptions,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DraftsCommand {
    /// Delete a draft; what was uploaded for it stays
    Delete {
        /// The image
        image: String,
        /// The version
        version: String,
        #[command(flatten)]
        common: CommonOptions,
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
        #[command(flatten)]
        common: CommonOptions,
    },
    /// Remove an alias; the version that it points to stays
    #[command(alias = "delete")]
    Rm {
        /// The image
        image: String,
        /// The alias
        alias: String,
        #[command(flatten)]
        common: CommonOptions,
    },
    /// List the aliases of an image
    List {
        /// The image
        image: String,
        #[command(flatten)]
        common: CommonOptions,
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
        #[command(flatten)]
        common: CommonOptions,
    },
    /// Have a failed job tried again, and wait for its end
    Retry {
        /// The job
        job: String,
        #[command(flatten)]
        common: CommonOptions,
    },
    /// Give a failed job up: its version is a draft again
    Abandon {
        /// The job
        job: String,
        #[command(flatten)]
        common: CommonOptions,
    },
}

pub(crate) async fn images(options: ImagesOptions) -> Result<(), Failure> {
    let (report, client) = options.common.start()?;
    let images: Vec<_> = client.images(options.all).try_collect().await?;
    report.rows(["NAME", "DISPLAY NAME", "DESCRIPTION"], &images, |image| {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        [image.name.clone(), text(&image.display_name), text(&image.description)]
    })
}

pub(crate) async fn versions(options: VersionsOptions) -> Result<(), Failure> {
    let (report, client) = options.common.start()?;
    let filter = if options.all { VersionFilter::All } else { VersionFilter::Published };
    let versions: Vec<Version> = client.versions(&options.image, filter).try_collect().await?;
    let aliases: Vec<_> = client.aliases(&options.image).try_collect().await?;
    report.rows(["VERSION", "STATE", "PUBLISHED", "ALIASES"], &versions, |version| {
        let names = aliases.iter().filter(|alias| alias.version_id == version.id).map(|alias| alias.alias.as_str());
        let published = version.published_at.clone().unwrap_or_default();
        [version.version.clone(), version.state.clone(), published, names.collect::<Vec<_>>().join(", ")]
    })
}

/// The manifest of the version with this name or alias; a draft, if the caller may see it.
async fn find(client: &Client, reference: &Reference) -> Result<Manifest, Error> {
    match client.resolve(&reference.image, reference.name()).await {
        Err(error) if error.code() == Some(ProblemCode::NotFound) => {
            client.manifest(&reference.image, reference.name()).await.map_err(|_| error)
        }
        resolved => resolved,
    }
}

pub(crate) async fn show(options: ShowOptions) -> Result<(), Failure> {
    let (report, client) = options.common.start()?;
    let manifest = find(&client, &options.reference).await?;
    report.result(&describe(&manifest), &manifest)
}

fn describe(manifest: &Manifest) -> String {
    let Manifest { image, version, artifacts, warnings } = manifest;
    let name = image.display_name.as_ref().map(|name| format!(" ({name})")).unwrap_or_default();
    let since = version.published_at.as_ref().map(|at| format!(" {at}")).unwrap_or_default();
    let mut text = format!("{}{name} {}: {}{since}\n", image.name, version.version, version.state);
    for entry in artifacts {
        let artifact = &entry.artifact;
        text += &format!(
            "{} {} {} {}: {}, {}\n",
            artifact.operating_system,
            artifact.architecture,
            artifact.variant,
            artifact.format,
            size(artifact.primary_blob_size_bytes),
            artifact.primary_blob_digest
        );
        if let Some(virtual_size) = artifact.inspection.as_ref().and_then(|inspection| inspection.virtual_size_bytes) {
            text += &format!("  a disk of {}\n", size(virtual_size));
        }
        for attachment in &entry.attachments {
            let (bytes, digest) = (size(attachment.blob_size_bytes), &attachment.blob_digest);
            text += &format!("  {}: {bytes}, {digest}\n", attachment.name);
        }
    }
    for warning in warnings {
        text += &format!("warning of {}: {}\n", warning.step, warning.reason);
    }
    text
}

pub(crate) async fn drafts(options: DraftsOptions) -> Result<(), Failure> {
    if let Some(DraftsCommand::Delete { image, version, common }) = options.command {
        let (report, client) = common.start()?;
        client.delete_version(&image, &version).await?;
        return report
            .result(&format!("the draft {image} {version} is gone"), &json!({"image": image, "version": version}));
    }
    let (report, client) = options.common.start()?;
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
    report.rows(["IMAGE", "VERSION", "STATE", "MADE"], &drafts, |draft| {
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        let version = &draft["version"];
        [text(&draft["image"]), text(&version["version"]), text(&version["state"]), text(&version["created_at"])]
    })
}

pub(crate) async fn alias(command: AliasCommand) -> Result<(), Failure> {
    match command {
        AliasCommand::Set { image, alias, version, common } => {
            let (report, client) = common.start()?;
            let set = client.set_alias(&image, &alias, &version).await?;
            report.result(&format!("{image} {alias} is {version}"), &set)
        }
        AliasCommand::Rm { image, alias, common } => {
            let (report, client) = common.start()?;
            client.delete_alias(&image, &alias).await?;
            report.result(&format!("{image} {alias} is gone"), &json!({"image": image, "alias": alias}))
        }
        AliasCommand::List { image, common } => {
            let (report, client) = common.start()?;
            let aliases: Vec<_> = client.aliases(&image).try_collect().await?;
            report.rows(["ALIAS", "VERSION", "MOVED"], &aliases, |alias| {
                [alias.alias.clone(), alias.version.clone(), alias.updated_at.clone()]
            })
        }
    }
}

pub(crate) async fn jobs(command: JobsCommand) -> Result<(), Failure> {
    let (job, report) = match command {
        JobsCommand::Show { job, wait, common } => {
            let (report, client) = common.start()?;
            let job = client.job(&job).await?;
            (if wait { client.wait_for_job(job).await? } else { job }, report)
        }
        JobsCommand::Retry { job, common } => {
            let (report, client) = common.start()?;
            let job = client.retry_job(&job).await?;
            (client.wait_for_job(job).await?, report)
        }
        JobsCommand::Abandon { job, common } => {
            let (report, client) = common.start()?;
            (client.abandon_job(&job).await?, report)
        }
    };
    report.result(&describe_job(&job), &job)
}

fn describe_job(job: &PublishJob) -> String {
    let reason = job.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    let mut text = format!("{} {}: {}{reason}\n", job.image_name, job.version, job.state);
    for step in &job.steps {
        let reason = step.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
        let attempts =
            if step.attempt_count > 1 { format!(" ({} attempts)", step.attempt_count) } else { String::new() };
        text += &format!("  {} {}{attempts}{reason}\n", step.name, step.state);
    }
    for warning in &job.warnings {
        text += &format!("warning of {}: {}\n", warning.step, warning.reason);
    }
    text
}
