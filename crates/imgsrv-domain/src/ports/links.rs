//! Links in the catalog: the key that authenticates them, and what they refer to.

use super::{CatalogError, Timed};
use crate::{
    access::{Grants, Role},
    auth::{Principal, StoredToken},
    claims::RuleImages,
    ids::{ArtifactId, ImageId, PrincipalId, TokenId},
    link::{LinkKey, LinkedFile},
    names::{ImageName, RuleId, VersionName},
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

/// A principal that an enabled rule admits, and what the rule grants to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admittable {
    /// The principal.
    pub principal: Principal,
    /// The roles that it has by hand.
    pub by_hand: Grants,
    /// The rule.
    pub rule: RuleId,
    /// The role that it grants, and has not ended to grant.
    pub role: Role,
    /// On which images.
    pub images: RuleImages,
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
    /// The principal with that id, once for each enabled rule with a live grant for it.
    async fn list_admittable(&self, id: PrincipalId) -> Result<Vec<Admittable>, CatalogError>;
}
