//! Links in the catalog: the key that authenticates them, and what they refer to.

use super::{CatalogError, Timed};
use crate::{
    auth::StoredToken,
    ids::{ArtifactId, ImageId, TokenId},
    link::{LinkKey, LinkedFile},
    names::{ImageName, VersionName},
};
use async_trait::async_trait;

/// Where the file of a link is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkTarget {
    /// The image.
    pub image: ImageName,
    /// The version.
    pub version: VersionName,
    /// The artifact.
    pub artifact: ArtifactId,
    /// The generation of the links of the image: those of an earlier one are revoked.
    pub generation: u32,
}

/// The key of links, and the generations of the links of images.
#[async_trait]
pub trait LinkRepo: Send {
    /// The key; if there is none, the first one, with `secret`.
    async fn ensure_link_key(&mut self, secret: &[u8; 32]) -> Result<LinkKey, CatalogError>;
    /// Replaces the key by the next one, with `secret`.
    async fn replace_link_key(&mut self, secret: &[u8; 32]) -> Result<LinkKey, CatalogError>;
    /// Raises the generation of the links of an image, which revokes those that exist.
    async fn revoke_links(&mut self, image: ImageId) -> Result<(), CatalogError>;
}

/// Reads of links.
#[async_trait]
pub trait LinkQueries: Send + Sync {
    /// The key, and the time on the catalog's clock; absent before the first link.
    async fn get_link_key(&self) -> Result<Option<Timed<LinkKey>>, CatalogError>;
    /// Where a file is.
    async fn get_link_target(&self, file: LinkedFile) -> Result<Option<LinkTarget>, CatalogError>;
    /// The token with that id, with its principal.
    async fn get_token_by_id(&self, id: TokenId) -> Result<Option<Timed<StoredToken>>, CatalogError>;
}
