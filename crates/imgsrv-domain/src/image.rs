//! Images and their aliases.

use crate::{
    ids::{AliasId, ImageId, VersionId},
    names::{AliasName, ImageName, VersionName},
    text::{LongText, ShortText},
    time::Timestamp,
    transition::Revision,
};

/// A named line of versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Its identity.
    pub id: ImageId,
    /// Its unique name.
    pub name: ImageName,
    /// A name for people.
    pub display_name: Option<ShortText>,
    /// What it is.
    pub description: Option<LongText>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When its texts last changed.
    pub updated_at: Timestamp,
    /// Counts its changes.
    pub revision: Revision,
}

/// A name that points to one published version of its image and may be moved to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alias {
    /// Its identity, kept when it moves.
    pub id: AliasId,
    /// Its image.
    pub image_id: ImageId,
    /// Its name, unique in the image together with the versions.
    pub name: AliasName,
    /// Where it points.
    pub version_id: VersionId,
    /// The name of that version.
    pub version: VersionName,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last moved.
    pub updated_at: Timestamp,
    /// Counts its moves.
    pub revision: Revision,
}
