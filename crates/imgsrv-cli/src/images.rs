//! `imgsrv images`.

use crate::{
    failure::Failure,
    options::Session,
    report::{Column, date, indent},
};
use clap::{Args, Subcommand};
use futures::TryStreamExt;
use imgsrv_client::{
    VersionFilter,
    api::{Alias, Image, UpdateImage, Version},
};
use serde_json::json;

#[derive(Debug, Subcommand)]
pub enum ImagesCommand {
    /// List images
    List {
        /// List images without a published version as well
        #[arg(long)]
        all: bool,
    },
    /// Show an image with its published versions and aliases
    Show {
        /// Image, such as debian
        image: String,
    },
    /// Change the display name or description of an image
    #[command(override_usage = "imgsrv images set <IMAGE> [--display-name <TEXT>] [--description <TEXT>]")]
    Set(SetOptions),
    /// Delete an image that has no versions
    Delete {
        /// Image, such as debian
        image: String,
    },
}

#[derive(Debug, Args)]
pub struct SetOptions {
    /// Image, such as debian
    image: String,
    #[command(flatten)]
    metadata: Metadata,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
struct Metadata {
    /// Display name; an empty text removes it
    #[arg(long, value_name = "TEXT")]
    display_name: Option<String>,
    /// Description; an empty text removes it
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
}

pub(crate) async fn run(command: ImagesCommand, session: &Session) -> Result<(), Failure> {
    let Session { report, client } = session;
    match command {
        ImagesCommand::List { all } => {
            let images: Vec<Image> = client.images(all).try_collect().await?;
            let head =
                [Column::name("NAME"), Column::cut("DISPLAY NAME"), Column::cut("DESCRIPTION"), Column::day("CHANGED")];
            report.list("images", head, images, |image| {
                let changed = date(&image.updated_at);
                [image.name, image.display_name.unwrap_or_default(), image.description.unwrap_or_default(), changed]
            })
        }
        ImagesCommand::Show { image } => show(&image, session).await,
        ImagesCommand::Set(SetOptions { image, metadata: Metadata { display_name, description } }) => {
            let text = |text: String| Some(text).filter(|text| !text.is_empty());
            let change = UpdateImage { display_name: display_name.map(text), description: description.map(text) };
            let changed = client.update_image(&image, &change).await.map_err(Failure::about(&image))?;
            report.result(&describe(&changed), &changed)
        }
        ImagesCommand::Delete { image } => {
            client.delete_image(&image).await.map_err(Failure::about(&image))?;
            report.result(&format!("deleted the image {image}"), &json!({"image": image, "deleted": true}))
        }
    }
}

async fn show(name: &str, Session { report, client }: &Session) -> Result<(), Failure> {
    let image = client.image(name).await.map_err(Failure::about(name))?;
    let versions: Vec<Version> = client.versions(name, VersionFilter::Published).try_collect().await?;
    let aliases: Vec<Alias> = client.aliases(name).try_collect().await?;
    let mut text = describe(&image);
    for version in &versions {
        let names = aliases.iter().filter(|alias| alias.version_id == version.id).map(|alias| alias.alias.as_str());
        let names = names.collect::<Vec<_>>().join(", ");
        let published = version.published_at.as_deref().map(date).unwrap_or_default();
        text += format!("\n  {}  {published}  {names}", version.version).trim_end();
    }
    if versions.is_empty() {
        text += &indent("\nno published versions");
    }
    report.result(&text, &json!({"image": image, "versions": versions, "aliases": aliases}))
}

fn describe(image: &Image) -> String {
    let display_name = image.display_name.as_ref().map(|text| format!(" ({text})")).unwrap_or_default();
    let description = image.description.as_ref().map(|text| format!("\n  {text}")).unwrap_or_default();
    format!("{}{display_name}{description}", image.name)
}
