//! Aliases.

use crate::{
    audit,
    auth::caller::{Caller, Writer},
    content::drafts,
    context::Context,
    error::{Existing, Missing, Result, UseCaseError},
    work::retry::retrying,
};
use imgsrv_domain::{
    audit::{AuditAction, Event},
    ids::AliasId,
    image::Alias,
    lifecycle::LifecycleState,
    names::{AliasName, ImageName, VersionName},
    page::{Page, PageRequest},
    ports::{CatalogError, CatalogTx, Conflict, View},
    transition::Revision,
    version::Version,
};
use std::sync::Arc;

/// The use cases of aliases.
#[derive(Clone)]
pub struct Aliases(pub(crate) Arc<Context>);

/// The precondition of a request that changes an alias (RFC 9110, section 13).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Precondition {
    /// No precondition.
    None,
    /// The alias exists.
    Exists,
    /// It does not exist.
    Absent,
    /// It is in one of these states.
    AnyOf(Vec<(AliasId, Revision)>),
}

impl Precondition {
    fn check(&self, image: &ImageName, name: &AliasName, alias: Option<&Alias>) -> Result<()> {
        let holds = match self {
            Self::None => true,
            Self::Exists => alias.is_some(),
            Self::Absent => alias.is_none(),
            Self::AnyOf(states) => alias.is_some_and(|alias| states.contains(&(alias.id, alias.revision))),
        };
        if holds { Ok(()) } else { Err(UseCaseError::PreconditionFailed(format!("{image}/{name}"))) }
    }
}

/// Refuses a version to which no alias may newly point. Its image is locked.
pub(crate) fn require_active(version: &Version) -> Result<()> {
    match version.lifecycle.stored_state() {
        LifecycleState::Active => Ok(()),
        state @ (LifecycleState::Deprecated
        | LifecycleState::Revoked
        | LifecycleState::Removed
        | LifecycleState::Tombstone) => Err(UseCaseError::NotActive { version: version.name.clone(), state }),
    }
}

/// Points an alias to a published version; creates the alias if it does not exist.
pub(crate) async fn point(
    context: &Context,
    tx: &mut dyn CatalogTx,
    name: &AliasName,
    version: &Version,
) -> Result<Alias, CatalogError> {
    let published = version.state.published_at().unwrap_or(version.created_at);
    let moved = |previous, now| Alias::time_of_move(previous, published, now);
    let Some(current) = tx.lock_alias(version.image_id, name).await? else {
        let deleted = tx.get_last_move(version.image_id, name).await?;
        let alias = Alias {
            id: AliasId::new(context.ids.next()),
            image_id: version.image_id,
            name: name.clone(),
            version_id: version.id,
            version: version.name.clone(),
            created_at: tx.now(),
            updated_at: moved(deleted, tx.now()),
            revision: Revision::FIRST,
        };
        tx.insert_alias(&alias).await?;
        return Ok(alias);
    };
    if current.version_id == version.id {
        return Ok(current);
    }
    let updated_at = moved(Some(current.updated_at), tx.now());
    tx.update_alias(&Alias { version_id: version.id, updated_at, ..current.clone() }).await?;
    Ok(tx.lock_alias(version.image_id, name).await?.unwrap_or(current))
}

fn missing(image: &ImageName, name: &AliasName) -> Missing {
    Missing::Alias(image.clone(), name.clone())
}

impl Aliases {
    /// Aliases of an image that is visible to the caller, by name.
    #[tracing::instrument(name = "alias.list", level = "debug", skip_all, fields(image.name = %image), err(level = "debug"))]
    pub async fn list(&self, caller: &Caller, image: &ImageName, page: &PageRequest) -> Result<Page<Alias>> {
        self.0
            .catalog
            .list_aliases(image, caller.view(image), page)
            .await?
            .ok_or_else(|| Missing::Image(image.clone()).into())
    }

    /// The alias of that name, if its image is visible to the caller.
    #[tracing::instrument(name = "alias.get", level = "debug", skip_all, fields(image.name = %image, alias.name = %name), err(level = "debug"))]
    pub async fn get(&self, caller: &Caller, image: &ImageName, name: &AliasName) -> Result<Alias> {
        let found = self.0.catalog.get_alias(image, name, caller.view(image)).await?;
        found.ok_or_else(|| missing(image, name).into())
    }

    /// Creates an alias, or moves it to another published version.
    #[tracing::instrument(name = "alias.set", level = "debug", skip_all, err(level = "debug"),
        fields(image.name = %image, alias.name = %name, version.name = %version))]
    pub async fn set(
        &self,
        who: &Writer,
        image: &ImageName,
        name: &AliasName,
        version: &VersionName,
        precondition: &Precondition,
    ) -> Result<Alias> {
        let actor = who.on(&self.0, image).await?;
        retrying(|| async {
            let mut tx = self.0.catalog.begin().await?;
            // So that the lifecycle of the version is current.
            tx.lock_image(image).await?.ok_or_else(|| Missing::Version(image.clone(), version.clone()))?;
            let version = drafts::lock_version(&mut *tx, image, version).await?;
            let current = tx.lock_alias(version.image_id, name).await?;
            precondition.check(image, name, current.as_ref())?;
            if version.state.published_at().is_none() {
                return Err(UseCaseError::NotPublished {
                    alias: format!("{image}/{name}"),
                    version: version.path(),
                    state: version.state.name(),
                });
            }
            if let Some(alias) = current.filter(|alias| alias.version_id == version.id) {
                return Ok(alias);
            }
            require_active(&version)?;
            let pointed = point(&self.0, &mut *tx, name, &version).await;
            if let Err(CatalogError::Conflict(Conflict::RefName)) = pointed {
                drop(tx);
                return Err(self.taken(image, name).await?);
            }
            let alias = pointed?;
            let event = Event::new(AuditAction::AliasSet, format!("{image}/{name}")).with(&alias.version);
            audit::record(&mut *tx, actor, event).await?;
            tx.bump_catalog_revision(version.image_id).await?;
            self.0.revision.commit(tx).await?;
            Ok(alias)
        })
        .await
    }

    /// Why the name of an alias is taken: by a version of the image, or by the same alias, which a concurrent request has
    /// just created.
    async fn taken(&self, image: &ImageName, name: &AliasName) -> Result<UseCaseError> {
        let Ok(version) = name.as_str().parse() else { return Ok(UseCaseError::taken(Conflict::RefName, None)) };
        Ok(match self.0.catalog.resolve_version(image, &version, View::All).await? {
            Some(found) => {
                let existing = Existing::Version(found.version.id, image.clone(), version);
                UseCaseError::taken(Conflict::RefName, Some(existing))
            }
            None => UseCaseError::Catalog(CatalogError::Conflict(Conflict::StaleRevision)),
        })
    }

    /// Deletes an alias; the version it points to stays.
    #[tracing::instrument(name = "alias.delete", level = "debug", skip_all, fields(image.name = %image, alias.name = %name), err(level = "debug"))]
    pub async fn delete(
        &self,
        who: &Writer,
        image: &ImageName,
        name: &AliasName,
        precondition: &Precondition,
    ) -> Result<()> {
        let actor = who.on(&self.0, image).await?;
        retrying(|| async {
            let mut tx = self.0.catalog.begin().await?;
            let image_row = tx.get_image(image).await?.ok_or_else(|| Missing::Image(image.clone()))?;
            let alias = tx.lock_alias(image_row.id, name).await?.ok_or_else(|| missing(image, name))?;
            precondition.check(image, name, Some(&alias))?;
            tx.delete_alias(alias.id).await?;
            let event = Event::new(AuditAction::AliasDeleted, format!("{image}/{name}"));
            audit::record(&mut *tx, actor, event).await?;
            tx.bump_catalog_revision(image_row.id).await?;
            Ok(self.0.revision.commit(tx).await?)
        })
        .await
    }
}
