//! Images and their aliases.

use crate::{
    ids::{AliasId, ImageId, VersionId},
    names::{AliasName, ImageName, VersionName},
    text::{LongText, ShortText},
    time::Timestamp,
    transition::Revision,
};

/// A named series of versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Its id.
    pub id: ImageId,
    /// Its unique name.
    pub name: ImageName,
    /// Its name for people.
    pub display_name: Option<ShortText>,
    /// A description for people.
    pub description: Option<LongText>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When its metadata last changed.
    pub updated_at: Timestamp,
    /// Its revision.
    pub revision: Revision,
}

/// A name that points to one published version of its image and may be moved to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alias {
    /// Its id, which stays when it moves.
    pub id: AliasId,
    /// Its image.
    pub image_id: ImageId,
    /// Its name, unique in the image together with the versions.
    pub name: AliasName,
    /// The version it points to.
    pub version_id: VersionId,
    /// The name of that version.
    pub version: VersionName,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it last moved.
    pub updated_at: Timestamp,
    /// Its revision.
    pub revision: Revision,
}
