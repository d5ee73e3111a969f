//! The replacements of retired versions.

use crate::{
    auth::caller::ContentAdmin,
    error::{Result, UseCaseError},
};
use imgsrv_domain::{
    access::Visibility,
    ids::VersionId,
    lifecycle::{LifecycleState, Replacement, WantedReplacement, Words},
    ports::CatalogTx,
    text::LongText,
    version::Version,
};
use std::collections::HashSet;

/// How many replacements of replacements are followed to find that one leads back. More than an image has by chance, since
/// each release may replace the one before.
const MAX_HOPS: usize = 1_000;

/// The reason and the replacement that a request gives.
#[derive(Debug, Clone, Default)]
pub struct WantedWords {
    /// The reason.
    pub reason: Option<LongText>,
    /// What to use instead.
    pub replacement: Option<WantedReplacement>,
}

/// The words with the replacement that exists, or why it cannot be used.
/// One in another image must be in a public one: not every reader of the version may read a private one. For a caller who
/// may not read its image it does not exist.
pub(super) async fn resolve(
    tx: &mut dyn CatalogTx,
    who: &ContentAdmin,
    version: &Version,
    wanted: &WantedWords,
) -> Result<Words> {
    let reason = wanted.reason.clone();
    let Some(given) = &wanted.replacement else { return Ok(Words { reason, replacement: None }) };
    let refused = |why| UseCaseError::Replacement { replacement: given.clone(), why };
    for candidate in given.candidates(&version.image) {
        let Some(found) = tx.get_replacement(&candidate).await? else { continue };
        if found.image_id != version.image_id {
            match tx.get_image(&found.image).await?.filter(|image| who.may_read(image)) {
                None => continue,
                Some(image) if image.visibility == Visibility::Private => return Err(refused("is in a private image")),
                Some(_) => {}
            }
        }
        if found.id == version.id {
            return Err(refused("is the version itself"));
        }
        match found.lifecycle.stored_state() {
            LifecycleState::Active | LifecycleState::Deprecated => {}
            LifecycleState::Revoked => return Err(refused("is revoked")),
            LifecycleState::Removed | LifecycleState::Tombstone => return Err(refused("is removed")),
        }
        if leads_to(tx, found, version.id).await? {
            return Err(refused("is itself replaced by this version"));
        }
        return Ok(Words { reason, replacement: Some(candidate) });
    }
    Err(refused("does not exist"))
}

/// Whether the replacements of a version, and theirs, lead to the version with that id.
async fn leads_to(tx: &mut dyn CatalogTx, mut from: Version, to: VersionId) -> Result<bool> {
    // Aliases that have moved may have made a cycle of other versions.
    let mut seen = HashSet::new();
    while seen.len() < MAX_HOPS && seen.insert(from.id) {
        let Some(next): Option<Replacement> = from.lifecycle.replacement().cloned() else { return Ok(false) };
        let Some(found) = tx.get_replacement(&next).await? else { return Ok(false) };
        if found.id == to {
            return Ok(true);
        }
        from = found;
    }
    Ok(false)
}
