//! Moving aliases away from a version that is retired, in the same transaction.

use crate::{
    audit,
    content::aliases::{self, require_active},
    context::Context,
    error::{Existing, Result, UseCaseError},
};
use imgsrv_domain::{
    audit::{Actor, AuditAction, Event},
    names::{AliasName, VersionName},
    ports::{CatalogTx, Conflict},
    version::Version,
};
use std::collections::{BTreeMap, BTreeSet};

/// The versions that aliases are moved to; an alias with `None` is deleted.
pub type AliasMoves = BTreeMap<AliasName, Option<VersionName>>;

/// Moves and deletes aliases; returns whether any has changed. None of them points to `version` afterwards, or the change
/// is refused.
pub(super) async fn move_aliases(
    context: &Context,
    tx: &mut dyn CatalogTx,
    actor: &Actor,
    version: &Version,
    moves: &AliasMoves,
) -> Result<bool> {
    let targets = lock_targets(tx, version, moves).await?;
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
                aliases::point(context, tx, alias, target).await?;
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

/// The versions that aliases are moved to, by name, locked: versions are locked before aliases. An alias that has the name
/// of a version is refused.
async fn lock_targets(
    tx: &mut dyn CatalogTx,
    version: &Version,
    moves: &AliasMoves,
) -> Result<BTreeMap<VersionName, Version>> {
    let wanted = moves.iter().filter_map(|(alias, target)| Some((alias, target.as_ref()?)));
    let names_of_aliases: BTreeSet<VersionName> = wanted.filter_map(|(alias, _)| alias.as_str().parse().ok()).collect();
    let names: BTreeSet<&VersionName> = moves.values().flatten().chain(&names_of_aliases).collect();
    let mut targets = BTreeMap::new();
    for name in names {
        let found =
            if *name == version.name { Some(version.clone()) } else { tx.lock_version(&version.image, name).await? };
        if let Some(found) = &found
            && names_of_aliases.contains(name)
        {
            let existing = Existing::Version(found.id, version.image.clone(), name.clone());
            return Err(UseCaseError::taken(Conflict::RefName, Some(existing)));
        }
        let is_target = moves.values().flatten().any(|target| target == name);
        match found {
            _ if !is_target || *name == version.name => {}
            None => return Err(UseCaseError::invalid("aliases", format!("the version {name} does not exist"))),
            Some(target) if target.state.published_at().is_none() => {
                return Err(UseCaseError::invalid("aliases", format!("the version {name} is not published")));
            }
            Some(target) => drop(targets.insert(name.clone(), target)),
        }
    }
    Ok(targets)
}
