//! `imgsrv link` and `imgsrv links`.

use crate::{
    download::{parse, resolve},
    failure::Failure,
    options::Session,
    reference::Reference,
    report::date,
};
use clap::{Args, Subcommand};
use imgsrv_client::api::{CreateLink, Manifest};
use imgsrv_domain::files::{artifact_file, attachment_file};
use serde_json::json;

#[derive(Debug, Args)]
pub struct LinkOptions {
    /// Image and version or alias, such as debian:12.5.0 [default: the alias latest]
    #[arg(value_name = "IMAGE[:REF]")]
    reference: Reference,
    /// Name of the file, as the version lists it [default: the only artifact]
    file: Option<String>,
    /// How long the link is valid, such as 12h; at most 7d
    #[arg(long, default_value = "24h", value_name = "DURATION")]
    ttl: String,
}

#[derive(Debug, Subcommand)]
pub enum LinksCommand {
    /// Revoke all links to the files of an image with immediate effect
    Revoke {
        /// Image, such as debian
        image: String,
    },
}

/// A file of a version that a link can be made to.
struct LinkableFile {
    name: String,
    artifact: String,
    attachment: Option<String>,
}

/// The files of a version: artifacts, each followed by its attachments.
fn files(manifest: &Manifest) -> Result<Vec<LinkableFile>, Failure> {
    let (image, version) = (parse(&manifest.image.name)?, parse(&manifest.version.version)?);
    let mut files = Vec::new();
    for entry in &manifest.artifacts {
        let artifact = &entry.artifact;
        let (architecture, variant) = (parse(&artifact.architecture)?, parse(&artifact.variant)?);
        let own = artifact_file(&image, &version, &architecture, &variant, parse(&artifact.format)?);
        let file = |name, attachment| LinkableFile { name, artifact: artifact.id.clone(), attachment };
        files.push(file(own.clone(), None));
        for attachment in &entry.attachments {
            files.push(file(attachment_file(&own, &parse(&attachment.name)?), Some(attachment.id.clone())));
        }
    }
    Ok(files)
}

/// Makes a link, and prints its URL.
pub(crate) async fn link(options: LinkOptions, Session { report, client }: &Session) -> Result<(), Failure> {
    let manifest = resolve(client, &options.reference).await?;
    let name = format!("{} {}", manifest.image.name, manifest.version.version);
    let files = files(&manifest)?;
    let list = || files.iter().map(|file| file.name.as_str()).collect::<Vec<_>>().join("\n");
    let file = match &options.file {
        Some(wanted) => files.iter().find(|file| file.name == *wanted).ok_or_else(|| {
            Failure::not_found(format!("{name} has no file {wanted}")).with_advice(format!("It has:\n{}", list()))
        })?,
        None => {
            let mut artifacts = files.iter().filter(|file| file.attachment.is_none());
            match (artifacts.next(), artifacts.next()) {
                (Some(only), None) => only,
                _ => {
                    let failure = Failure::usage(format!("{name} does not have exactly one artifact"));
                    return Err(failure.with_advice(format!("Name one of its files:\n{}", list())));
                }
            }
        }
    };
    let (image, version) = (&manifest.image.name, &manifest.version.version);
    let new = CreateLink { ttl: options.ttl, attachment_id: file.attachment.clone() };
    let link = client.create_link(image, version, &file.artifact, &new).await?;
    report.step(&format!("link to {}, valid until {}", file.name, date(&link.expires_at)));
    // The URL alone, for files and shell variables.
    let json = json!({
        "image": image, "version": version, "file": file.name, "url": link.url, "expires_at": link.expires_at,
    });
    report.result(&link.url, &json)
}

pub(crate) async fn run(command: LinksCommand, Session { report, client }: &Session) -> Result<(), Failure> {
    match command {
        LinksCommand::Revoke { image } => {
            client.revoke_links(&image).await.map_err(Failure::about(&image))?;
            let text = format!("revoked all links to the files of {image}");
            report.result(&text, &json!({"image": image, "links_revoked": true}))
        }
    }
}
