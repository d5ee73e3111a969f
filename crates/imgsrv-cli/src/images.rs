//! `imgsrv images`.

use crate::{
    failure::Failure,
    options::Session,
    report::{date, indent},
};
use clap::{Args, Subcommand};
use futures::TryStreamExt;
use imgsrv_client::{
    VersionFilter,
    api::{Alias, CreateImage, Image, UpdateImage, Version},
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
    /// Create an image without versions
    Create {
        /// Image, such as debian
        image: String,
        /// Display name
        #[arg(long, value_name = "TEXT")]
        display_name: Option<String>,
        /// Description
        #[arg(long, value_name = "TEXT")]
        description: Option<String>,
        /// Hide the image from everybody without a role on it
        #[arg(long, conflicts_with = "public")]
        private: bool,
        /// Let everybody read the published versions
        #[arg(long)]
        public: bool,
    },
    /// Change the display name, the description or the visibility of an image
    #[command(
        override_usage = "imgsrv images set <IMAGE> [--display-name <TEXT>] [--description <TEXT>] [--private | --public]"
    )]
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

/// The visibility that the options choose.
fn chosen(private: bool, public: bool) -> Option<String> {
    let chosen = [(private, "private"), (public, "public")];
    chosen.iter().find(|(is_chosen, _)| *is_chosen).map(|(_, visibility)| (*visibility).to_owned())
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
    /// Hide the image from everybody without a role on it
    #[arg(long, conflicts_with = "public")]
    private: bool,
    /// Let everybody read the published versions
    #[arg(long)]
    public: bool,
}

pub(crate) async fn run(command: ImagesCommand, session: &Session) -> Result<(), Failure> {
    let Session { report, client } = session;
    match command {
        ImagesCommand::List { all } => {
            let images: Vec<Image> = client.images(all).try_collect().await?;
            report.list("images", ["NAME", "VISIBILITY", "DISPLAY NAME", "DESCRIPTION", "CHANGED"], images, |image| {
                let Image { name, visibility, display_name, description, updated_at, .. } = image;
                let (display_name, description) = (display_name.unwrap_or_default(), description.unwrap_or_default());
                [name, visibility, display_name, description, date(&updated_at)]
            })
        }
        ImagesCommand::Show { image } => show(&image, session).await,
        ImagesCommand::Create { image, display_name, description, private, public } => {
            let visibility = chosen(private, public);
            let new = CreateImage { name: image.clone(), display_name, description, visibility };
            let created = client.create_image(&new).await.map_err(Failure::about(&image))?;
            report.result(&describe(&created), &created)
        }
        ImagesCommand::Set(SetOptions { image, metadata: Metadata { display_name, description, private, public } }) => {
            let text = |text: String| Some(text).filter(|text| !text.is_empty());
            let change = UpdateImage {
                display_name: display_name.map(text),
                description: description.map(text),
                visibility: chosen(private, public),
            };
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
    let visibility = if image.visibility == "public" { String::new() } else { format!(", {}", image.visibility) };
    format!("{}{display_name}{visibility}{description}", image.name)
}
