//! Retiring published versions: deprecating, revoking, removing, restoring and holding them.

mod moves;
mod purge;
mod replacements;

pub use moves::AliasMoves;
pub use purge::{PurgeRequest, Purged};
pub use replacements::WantedWords;

use crate::{
    audit,
    auth::caller::{Caller, ContentAdmin},
    content::drafts,
    context::Context,
    error::{Missing, Result, UseCaseError},
    nodes::seen_by_all_nodes,
    work::retry::retrying,
};
use imgsrv_domain::{
    audit::{Actor, Event},
    ids::VersionId,
    lifecycle::{Changed, Drain, LifecycleRefusal, Words},
    names::{ImageName, VersionName},
    ports::{Catalog, CatalogTx, View},
    text::LongText,
    time::{Day, Timestamp},
    transition::Revision,
    version::Version,
};
use moves::move_aliases;
use replacements::resolve;
use std::sync::Arc;

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
    /// A published version of an image that the caller may read, with its lifecycle, also if it is a tombstone.
    #[tracing::instrument(name = "lifecycle.get", level = "debug", skip_all, err(level = "debug"),
        fields(image.name = %image, version.name = %version))]
    pub async fn get(&self, caller: &Caller, image: &ImageName, version: &VersionName) -> Result<Version> {
        let see = caller.view(image).min(View::Published);
        let found = self.0.catalog.resolve_version(image, version, see).await?;
        let found = found.ok_or_else(|| Missing::Version(image.clone(), version.clone()))?;
        Ok(found.version.as_of(self.0.clock.now()))
    }

    /// Changes the lifecycle of a published version, and its aliases with it. When it returns, no node serves a version that is
    /// revoked, or a version that is removed without a drain, any more.
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
        let changed = retrying(|| async {
            let mut tx = self.0.catalog.begin().await?;
            let version = self.lock(&mut *tx, image, name, precondition).await?;
            let have_moved = match change {
                LifecycleChange::Revoke { aliases, .. } | LifecycleChange::Remove { aliases, .. } => {
                    // Before any alias is moved, so that a hold or an illegal state is reported first.
                    self.change_to(&version, change, Words::default(), tx.now())?;
                    move_aliases(&self.0, &mut *tx, actor, &version, aliases).await?
                }
                _ => false,
            };
            // Afterwards: a replacement may name one of the aliases.
            let words = match change.words() {
                Some(words) => resolve(&mut *tx, who, &version, words).await?,
                None => Words::default(),
            };
            let (lifecycle, action) = self.change_to(&version, change, words, tx.now())?;
            if action.is_none() && !have_moved {
                return Ok(version.as_of(tx.now()));
            }
            if let Some(action) = action {
                let event = Event::new(action, version.path());
                let event = match change.reason() {
                    Some(reason) => event.with(reason),
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
            Ok::<_, UseCaseError>(stored.as_of(now))
        })
        .await?;
        if matches!(change, LifecycleChange::Revoke { .. } | LifecycleChange::Remove { .. }) {
            seen_by_all_nodes(&self.0).await?;
        }
        Ok(changed)
    }

    /// The published version, locked with its image, so that its lifecycle is current.
    async fn lock(
        &self,
        tx: &mut dyn CatalogTx,
        image: &ImageName,
        name: &VersionName,
        precondition: &LifecyclePrecondition,
    ) -> Result<Version> {
        tx.lock_image(image).await?.ok_or_else(|| Missing::Version(image.clone(), name.clone()))?;
        let version = drafts::lock_version(tx, image, name).await?;
        if version.state.published_at().is_none() {
            return Err(UseCaseError::Unpublished(version.path()));
        }
        check(precondition, &version)?;
        Ok(version)
    }

    /// The lifecycle that a change leads to, with these words.
    fn change_to(&self, version: &Version, change: &LifecycleChange, words: Words, now: Timestamp) -> Result<Changed> {
        let (lifecycle, settings) = (version.lifecycle.clone(), &self.0.settings);
        let changed: Result<Changed, LifecycleRefusal> = match change {
            LifecycleChange::Deprecate { end_of_life, .. } => lifecycle.deprecate(words, *end_of_life, now),
            LifecycleChange::Revoke { .. } => lifecycle.revoke(words, now),
            LifecycleChange::Remove { drain, .. } => {
                lifecycle.remove(words, drain.unwrap_or(settings.removal_drain), now)
            }
            LifecycleChange::Restore { .. } => lifecycle.restore(now),
            LifecycleChange::Hold { reason, until } => lifecycle.hold(reason.clone(), *until, now),
            LifecycleChange::Release => Ok(lifecycle.release(settings.hold_cooldown, now)),
        };
        changed.map_err(|refusal| UseCaseError::Lifecycle { version: version.path(), refusal })
    }
}

impl LifecycleChange {
    /// The reason and the replacement that readers see.
    const fn words(&self) -> Option<&WantedWords> {
        match self {
            Self::Deprecate { words, .. } | Self::Revoke { words, .. } | Self::Remove { words, .. } => Some(words),
            Self::Restore { .. } | Self::Hold { .. } | Self::Release => None,
        }
    }

    /// The reason, for the audit log.
    fn reason(&self) -> Option<&LongText> {
        match self {
            Self::Restore { reason } => reason.as_ref(),
            Self::Hold { reason, .. } => Some(reason),
            Self::Deprecate { .. } | Self::Revoke { .. } | Self::Remove { .. } | Self::Release => {
                self.words()?.reason.as_ref()
            }
        }
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
