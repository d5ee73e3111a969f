//! References to versions on the command line: `IMAGE`, `IMAGE:REF` or `IMAGE/REF`.

use crate::{failure::Failure, report::server_of};
use futures::TryStreamExt;
use imgsrv_client::{Client, Error, VersionFilter, api::Version};
use std::{fmt, str::FromStr};

/// Names that are shown where one was not found, at most.
const MAX_SHOWN: usize = 8;

/// An image, and the name of a version or alias of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    pub(crate) image: String,
    pub(crate) name: String,
}

impl FromStr for Reference {
    type Err = String;

    fn from_str(raw: &str) -> Result<Self, String> {
        // The name of a version may contain colons; that of an image contains neither colons nor slashes.
        let (image, name) = raw.split_once([':', '/']).unwrap_or((raw, "latest"));
        if image.is_empty() || name.is_empty() {
            return Err("must be IMAGE or IMAGE:REF, such as debian or debian:12.5.0".to_owned());
        }
        Ok(Self { image: image.to_owned(), name: name.to_owned() })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.image, self.name)
    }
}

impl Reference {
    /// The failure that nothing has this name, with the names that exist.
    pub(crate) async fn not_found(&self, client: &Client, error: Error) -> Failure {
        let Self { image, name } = self;
        let Ok(Some(found)) = names(client, image).await else {
            let message = format!("{} has no image {image} with a published version", server_of(client));
            return Failure::from(error).with_message(message).with_advice(match images(client).await {
                images if images.is_empty() => {
                    "No image there is visible to this login; private images need the role content-reader.".to_owned()
                }
                images => format!("It has {images}; imgsrv images list shows all."),
            });
        };
        let message = format!("{image} at {} has no version or alias {name}", server_of(client));
        let found = if found.is_empty() {
            format!(
                "{image} has no version that is offered; imgsrv versions list {image} --all shows all versions and their \
                 states."
            )
        } else {
            format!("It has {found}; imgsrv versions list {image} shows all.")
        };
        Failure::from(error).with_message(message).with_advice(found)
    }
}

/// Aliases and published versions of an image; `None` if there is no such image.
async fn names(client: &Client, image: &str) -> Result<Option<String>, Error> {
    if let Err(error) = client.image(image).await {
        return if error.status() == Some(404) { Ok(None) } else { Err(error) };
    }
    let aliases: Vec<String> = client.aliases(image).map_ok(|alias| alias.alias).try_collect().await?;
    let versions: Vec<Version> = client.versions(image, VersionFilter::Published).try_collect().await?;
    Ok(Some(shown(aliases.into_iter().chain(versions.into_iter().map(|version| version.version)))))
}

async fn images(client: &Client) -> String {
    let images: Result<Vec<String>, Error> = client.images(false).map_ok(|image| image.name).try_collect().await;
    shown(images.unwrap_or_default())
}

/// The first of some names.
pub(crate) fn shown(names: impl IntoIterator<Item = String>) -> String {
    let mut names: Vec<String> = names.into_iter().collect();
    if names.len() > MAX_SHOWN {
        names.truncate(MAX_SHOWN);
        names.push("...".to_owned());
    }
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_separated_by_a_colon_or_a_slash() {
        for (raw, image, name) in [
            ("debian", "debian", "latest"),
            ("debian:12", "debian", "12"),
            ("debian/12", "debian", "12"),
            ("debian:2026:01", "debian", "2026:01"),
        ] {
            let parsed: Reference = raw.parse().expect("a reference");
            assert_eq!((&*parsed.image, &*parsed.name), (image, name));
        }
        for bad in ["", ":1", "debian:", "debian/"] {
            assert!(bad.parse::<Reference>().is_err(), "{bad}");
        }
    }
}
