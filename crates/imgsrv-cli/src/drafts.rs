//! `imgsrv drafts`.

use crate::{
    failure::Failure,
    options::Session,
    report::{Column, date},
};
use clap::Subcommand;
use futures::TryStreamExt;
use imgsrv_client::{Client, VersionFilter, api::Version};
use serde::Serialize;
use serde_json::json;

#[derive(Debug, Subcommand)]
pub enum DraftsCommand {
    /// List versions that are not published yet
    List {
        /// Image [default: all images]
        image: Option<String>,
    },
    /// Delete a draft; its uploaded files stay
    Delete {
        /// Image, such as debian
        image: String,
        /// Version, such as 12.5.0
        version: String,
    },
}

/// A version that is not published, with the name of its image.
#[derive(Serialize)]
struct Unpublished {
    image: String,
    version: Version,
}

pub(crate) async fn run(command: DraftsCommand, Session { report, client }: &Session) -> Result<(), Failure> {
    match command {
        DraftsCommand::List { image } => {
            let drafts = unpublished(client, image).await?;
            let head = [Column::name("IMAGE"), Column::name("VERSION"), Column::cut("STATE"), Column::day("CREATED")];
            report.list("drafts", head, drafts, |Unpublished { image, version }| {
                let created = date(&version.created_at);
                [image, version.version, version.state, created]
            })
        }
        DraftsCommand::Delete { image, version } => {
            let deleted = client.delete_version(&image, &version).await;
            deleted.map_err(Failure::about(format_args!("{image} {version}")))?;
            let json = json!({"image": image, "version": version, "deleted": true});
            report.result(&format!("deleted the draft {image} {version}"), &json)
        }
    }
}

/// The versions that are not published, of one image or of all.
async fn unpublished(client: &Client, image: Option<String>) -> Result<Vec<Unpublished>, Failure> {
    let images: Vec<String> = match image {
        Some(image) => vec![image],
        None => client.images(true).map_ok(|image| image.name).try_collect().await?,
    };
    let mut found = Vec::new();
    let is_one = images.len() == 1;
    for image in images {
        for state in [VersionFilter::Draft, VersionFilter::Publishing] {
            let versions: Vec<Version> = match client.versions(&image, state).try_collect().await {
                // Of all images, those to which the caller cannot write are left out.
                Err(error) if error.status() == Some(403) && !is_one => break,
                versions => versions.map_err(Failure::about(&image))?,
            };
            found.extend(versions.into_iter().map(|version| Unpublished { image: image.clone(), version }));
        }
    }
    Ok(found)
}
