//! Retiring published versions: deprecating, revoking, removing, restoring and holding them.

use crate::{
    audit,
    auth::caller::ContentAdmin,
    content::{
        aliases::{self, require_active},
        drafts,
    },
    context::Context,
    error::{Missing, Result, UseCaseError},
    work::retry::retrying,
};
use imgsrv_domain::{
    audit::{Actor, AuditAction, Event},
    ids::VersionId,
    lifecycle::{Changed, Drain, LifecycleState, Replacement, WantedReplacement, Words},
    names::{AliasName, ImageName, VersionName},
    ports::{Catalog, CatalogTx, Visibility},
    text::LongText,
    time::{Day, Timestamp},
    transition::Revision,
    version::Version,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// How many replacements of replacements are followed to find that one leads back.
const MAX_HOPS: usize = 16;

/// The use cases of lifecycles.
#[derive(Clone)]
pub struct Lifecycles(pub(crate) Arc<Context>);

/// The precondition of a change (RFC 9110, section 13.1.1): the states that the lifecycle may be in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LifecyclePrecondition {
    /// Any state.
    None,
    /// One of these.
    AnyOf(Vec<(VersionId, Revision)>),
}

/// The reason and the replacement that a request gives.
#[derive(Debug, Clone, Default)]
pub struct WantedWords {
    /// The reason.
    pub reason: Option<LongText>,
    /// What to use instead.
    pub replacement: Option<WantedReplacement>,
}

/// The versions that aliases are moved to; an alias with `None` is deleted.
pub type AliasMoves = BTreeMap<AliasName, Option<VersionName>>;

/// A change of the lifecycle of a version.
#[derive(Debug, Clone)]
pub enum LifecycleChange {
    /// Deprecates it, or replaces the words of its deprecation.
    Deprecate {
        /// Reason and replacement.
        words: WantedWords,
        /// The day on which its support ends.
        end_of_life: Option<Day>,
    },
    /// Revokes it, or replaces the words of its revocation.
    Revoke {
        /// Reason and replacement.
        words: WantedWords,
        /// Aliases to move or delete.
        aliases: AliasMoves,
    },
    /// Removes it, or replaces the words of its removal.
    Remove {
        /// Reason and replacement.
        words: WantedWords,
        /// Aliases to move or delete.
        aliases: AliasMoves,
        /// How long its files are served; the default is a setting.
        drain: Option<Drain>,
    },
    /// Undoes the last of these.
    Restore {
        /// The reason, for the audit log.
        reason: Option<LongText>,
    },
    /// Holds it.
    Hold {
        /// The reason.
        reason: LongText,
        /// When the hold ends by itself.
        until: Option<Timestamp>,
    },
    /// Releases the hold after the cooldown.
    Release,
}

impl Lifecycles {
    /// A published version with its lifecycle, also if it is a tombstone.
    #[tracing::instrument(name = "lifecycle.get", level = "debug", skip_all, err(level = "debug"),
        fields(image.name = %image, version.name = %version))]
    pub async fn get(&self, image: &ImageName, version: &VersionName) -> Result<Version> {
        let found = self.0.catalog.resolve_version(image, version, Visibility::Published).await?;
        let found = found.ok_or_else(|| Missing::Version(image.clone(), version.clone()))?;
        Ok(found.version.as_of(self.0.clock.now()))
    }

    /// Changes the lifecycle of a published version, and its aliases with it.
    #[tracing::instrument(name = "lifecycle.change", level = "debug", skip_all, err(level = "debug"),
        fields(image.name = %image, version.name = %name))]
    pub async fn change(
        &self,
        who: &ContentAdmin,
        image: &ImageName,
        name: &VersionName,
        precondition: &LifecyclePrecondition,
        change: &LifecycleChange,
    ) -> Result<Version> {
        let actor = who.on(&self.0, image).await?;
        retrying(|| async {
            let mut tx = self.0.catalog.begin().await?;
            // In the order of locks. With its image locked, the lifecycle is current.
            tx.lock_image(image).await?.ok_or_else(|| Missing::Version(image.clone(), name.clone()))?;
            let version = drafts::lock_version(&mut *tx, image, name).await?;
            if version.state.published_at().is_none() {
                return Err(UseCaseError::Unpublished(version.path()));
            }
            check(precondition, &version)?;
            let (lifecycle, action) = self.apply(&mut *tx, &version, change).await?;
            let have_moved = match change {
                LifecycleChange::Revoke { aliases, .. } | LifecycleChange::Remove { aliases, .. } => {
                    self.move_aliases(&mut *tx, actor, &version, aliases).await?
                }
                _ => false,
            };
            if action.is_none() && !have_moved {
                return Ok(version.as_of(tx.now()));
            }
            if let Some(action) = action {
                let event = Event::new(action, version.path());
                let event = match detail(change) {
                    Some(detail) => event.with(detail),
                    None => event,
                };
                audit::record(&mut *tx, actor, event).await?;
            }
            tx.bump_catalog_revision(version.image_id).await?;
            if action.is_some() {
                tx.update_lifecycle(&version.clone().with_lifecycle(lifecycle)).await?;
            }
            let now = tx.now();
            let stored = tx.lock_version_by_id(version.id).await?.unwrap_or(version);
            self.0.revision.commit(tx).await?;
            Ok(stored.as_of(now))
        })
        .await
    }

    async fn apply(&self, tx: &mut dyn CatalogTx, version: &Version, change: &LifecycleChange) -> Result<Changed> {
        let (lifecycle, now) = (version.lifecycle.clone(), tx.now());
        let settings = &self.0.settings;
        let changed = match change {
            LifecycleChange::Deprecate { words, end_of_life } => {
                lifecycle.deprecate(resolve(tx, version, words).await?, *end_of_life, now)
            }
            LifecycleChange::Revoke { words, .. } => lifecycle.revoke(resolve(tx, version, words).await?, now),
            LifecycleChange::Remove { words, drain, .. } => {
                let words = resolve(tx, version, words).await?;
                lifecycle.remove(words, drain.unwrap_or(settings.removal_drain), now)
            }
            LifecycleChange::Restore { .. } => lifecycle.restore(now),
            LifecycleChange::Hold { reason, until } => lifecycle.hold(reason.clone(), *until, now),
            LifecycleChange::Release => Ok(lifecycle.release(settings.hold_cooldown, now)),
        };
        changed.map_err(|refusal| UseCaseError::Lifecycle { version: version.path(), refusal })
    }

    /// Moves and deletes aliases; returns whether any has changed. None of them points to `version` afterwards, or the
    /// change is refused.
    async fn move_aliases(
        &self,
        tx: &mut dyn CatalogTx,
        actor: &Actor,
        version: &Version,
        moves: &AliasMoves,
    ) -> Result<bool> {
        // Versions are locked before aliases.
        let names: BTreeSet<&VersionName> = moves.values().flatten().collect();
        let mut targets = BTreeMap::new();
        for name in names.into_iter().filter(|name| **name != version.name) {
            let Some(target) = tx.lock_version(&version.image, name).await? else {
                return Err(UseCaseError::invalid("aliases", format!("the version {name} does not exist")));
            };
            if target.state.published_at().is_none() {
                return Err(UseCaseError::invalid("aliases", format!("the version {name} is not published")));
            }
            targets.insert(name.clone(), target);
        }
        let mut have_moved = false;
        for (alias, target) in moves {
            let current = tx.lock_alias(version.image_id, alias).await?;
            let subject = format!("{}/{alias}", version.image);
            let event = match (target, current) {
                (None, Some(current)) => {
                    tx.delete_alias(current.id).await?;
                    Event::new(AuditAction::AliasDeleted, subject)
                }
                (Some(name), current) => {
                    let Some(target) = targets.get(name) else { continue };
                    if current.is_some_and(|current| current.version_id == target.id) {
                        continue;
                    }
                    require_active(target)?;
                    aliases::point(&self.0, tx, alias, target).await?;
                    Event::new(AuditAction::AliasSet, subject).with(name)
                }
                (None, None) => continue,
            };
            have_moved = true;
            audit::record(tx, actor, event).await?;
        }
        let mut left: BTreeSet<_> = tx.list_aliases_of(version.id).await?.into_iter().map(|alias| alias.name).collect();
        left.extend(moves.iter().filter(|(_, to)| to.as_ref() == Some(&version.name)).map(|(alias, _)| alias.clone()));
        if left.is_empty() { Ok(have_moved) } else { Err(UseCaseError::AliasesInUse(left.into_iter().collect())) }
    }
}

/// Releases the hold of a version at once, for an operator with direct access to the catalog; returns whether one was in
/// force.
pub async fn release_hold(catalog: &dyn Catalog, image: &ImageName, name: &VersionName) -> Result<bool> {
    retrying(|| async {
        let mut tx = catalog.begin().await?;
        tx.lock_image(image).await?.ok_or_else(|| Missing::Version(image.clone(), name.clone()))?;
        let version = drafts::lock_version(&mut *tx, image, name).await?;
        let (lifecycle, action) = version.lifecycle.clone().release_now(tx.now());
        let Some(action) = action else { return Ok(false) };
        audit::record(&mut *tx, &Actor::Operator, Event::new(action, version.path()).with("without cooldown")).await?;
        tx.bump_catalog_revision(version.image_id).await?;
        tx.update_lifecycle(&version.with_lifecycle(lifecycle)).await?;
        tx.commit().await?;
        Ok(true)
    })
    .await
}

fn check(precondition: &LifecyclePrecondition, version: &Version) -> Result<()> {
    match precondition {
        LifecyclePrecondition::AnyOf(states) if !states.contains(&(version.id, version.lifecycle.revision)) => {
            Err(UseCaseError::LifecycleChanged(version.path()))
        }
        LifecyclePrecondition::None | LifecyclePrecondition::AnyOf(_) => Ok(()),
    }
}

/// The reason of a change, for the audit log.
fn detail(change: &LifecycleChange) -> Option<String> {
    let reason = match change {
        LifecycleChange::Deprecate { words, .. }
        | LifecycleChange::Revoke { words, .. }
        | LifecycleChange::Remove { words, .. } => words.reason.as_ref(),
        LifecycleChange::Restore { reason } => reason.as_ref(),
        LifecycleChange::Hold { reason, .. } => Some(reason),
        LifecycleChange::Release => None,
    };
    reason.map(ToString::to_string)
}

/// The words with the replacement that exists, or why it cannot be used.
async fn resolve(tx: &mut dyn CatalogTx, version: &Version, wanted: &WantedWords) -> Result<Words> {
    let reason = wanted.reason.clone();
    let Some(given) = &wanted.replacement else { return Ok(Words { reason, replacement: None }) };
    let refused = |why| UseCaseError::Replacement { replacement: given.clone(), why };
    for candidate in given.candidates(&version.image) {
        let Some(found) = tx.get_replacement(&candidate).await? else { continue };
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
    for _ in 0..MAX_HOPS {
        let Some(next): Option<Replacement> = from.lifecycle.replacement().cloned() else { return Ok(false) };
        let Some(found) = tx.get_replacement(&next).await? else { return Ok(false) };
        if found.id == to {
            return Ok(true);
        }
        from = found;
    }
    Ok(false)
}
