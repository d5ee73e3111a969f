//! What is published: a version with its artifacts, attachments and aliases.

use crate::transfer::Source;
use imgsrv_api::{CreateIncusMetadata, usual_media_type};
use imgsrv_domain::names::{Format, Variant};

/// A version to be published.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Publication {
    /// The image; it is created if it does not exist.
    pub image: String,
    /// The version.
    pub version: String,
    /// Its artifacts, at least one.
    pub artifacts: Vec<NewArtifact>,
    /// Aliases that are set to the version once it is published. If the version was published before, only those that do
    /// not exist are set, unless `move_aliases`: otherwise, repeating an old publication would move them back.
    pub aliases: Vec<String>,
    /// Whether existing aliases are moved although the version was published before.
    pub move_aliases: bool,
    /// The display name of the image; that of an existing image is changed.
    pub display_name: Option<String>,
    /// The description of the image; that of an existing image is changed.
    pub description: Option<String>,
    /// Whether the image is private. A new image is created so; an existing one that is public is refused.
    pub private: bool,
    /// Whether other content of an existing draft is removed, also of a draft whose publish job has failed. Otherwise it
    /// is a conflict.
    pub replace_draft: bool,
}

/// An artifact to be published.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct NewArtifact {
    /// Its bytes.
    pub source: Source,
    /// The operating system.
    pub operating_system: String,
    /// The architecture.
    pub architecture: String,
    /// The variant.
    pub variant: String,
    /// The format of its bytes.
    pub format: Format,
    /// The media type as which it is served.
    pub media_type: String,
    /// Its attachments.
    pub attachments: Vec<NewAttachment>,
    /// Has the server generate and attach Incus metadata.
    pub incus: Option<CreateIncusMetadata>,
}

/// An attachment to be published.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct NewAttachment {
    /// Its name, unique in the artifact.
    pub name: String,
    /// The media type as which it is served.
    pub media_type: String,
    /// Its bytes.
    pub source: Source,
}

impl Publication {
    /// A version of `image` with these artifacts.
    pub fn new(
        image: impl Into<String>,
        version: impl Into<String>,
        artifacts: impl IntoIterator<Item = NewArtifact>,
    ) -> Self {
        Self {
            image: image.into(),
            version: version.into(),
            artifacts: artifacts.into_iter().collect(),
            aliases: Vec::new(),
            move_aliases: false,
            display_name: None,
            description: None,
            private: false,
            replace_draft: false,
        }
    }

    /// Adds an alias.
    #[must_use]
    pub fn alias(mut self, alias: impl Into<String>) -> Self {
        self.aliases.push(alias.into());
        self
    }
}

impl NewArtifact {
    /// An artifact for Linux of the default variant, without attachments, with the usual media type of its format.
    pub fn new(source: impl Into<Source>, format: Format, architecture: impl Into<String>) -> Self {
        Self {
            source: source.into(),
            operating_system: "linux".to_owned(),
            architecture: architecture.into(),
            variant: Variant::default().to_string(),
            media_type: usual_media_type(format.as_str()).to_owned(),
            format,
            attachments: Vec::new(),
            incus: None,
        }
    }
}

impl NewAttachment {
    /// An attachment that is served as `media_type`.
    pub fn new(name: impl Into<String>, media_type: impl Into<String>, source: impl Into<Source>) -> Self {
        Self { name: name.into(), media_type: media_type.into(), source: source.into() }
    }
}
