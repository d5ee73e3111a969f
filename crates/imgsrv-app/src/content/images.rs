//! Images.

use crate::{
    audit,
    auth::caller::{Caller, Writer},
    context::Context,
    error::{Existing, Missing, Result, UseCaseError, with_existing},
    nodes::seen_by_all_nodes,
    work::retry::retrying,
};
use imgsrv_domain::{
    access::{Reach, View, Visibility},
    audit::{Actor, AuditAction, Event},
    ids::ImageId,
    image::Image,
    names::ImageName,
    page::{Page, PageRequest},
    ports::{CatalogError, CatalogTx, Conflict},
    text::{LongText, ShortText},
    transition::Revision,
};
use std::sync::Arc;

/// The use cases of images.
#[derive(Clone)]
pub struct Images(pub(crate) Arc<Context>);

/// An image to be created.
#[derive(Debug, Clone)]
pub struct NewImage {
    /// Its name.
    pub name: ImageName,
    /// Its display name.
    pub display_name: Option<ShortText>,
    /// Its description.
    pub description: Option<LongText>,
    /// Who may read it; the default is a setting.
    pub visibility: Option<Visibility>,
}

/// Changes of an image's metadata; `None` leaves a field unchanged, `Some(None)` removes it.
#[derive(Debug, Clone)]
pub struct ImageMetadata {
    /// The display name.
    pub display_name: Option<Option<ShortText>>,
    /// The description.
    pub description: Option<Option<LongText>>,
    /// Who may read the image.
    pub visibility: Option<Visibility>,
}

/// Creates an image in the transaction of a use case.
pub(crate) async fn insert_image(
    context: &Context,
    tx: &mut dyn CatalogTx,
    actor: &Actor,
    new: NewImage,
) -> Result<Image, CatalogError> {
    let NewImage { name, display_name, description, visibility } = new;
    let visibility = visibility.unwrap_or(context.settings.default_visibility);
    let (id, now, revision) = (ImageId::new(context.ids.next()), tx.now(), Revision::FIRST);
    let image = Image { id, name, display_name, description, visibility, created_at: now, updated_at: now, revision };
    tx.insert_image(&image).await?;
    audit::record(tx, actor, Event::new(AuditAction::ImageCreated, &image.name)).await?;
    Ok(image)
}

impl Images {
    /// The image of that name, if it is visible to the caller.
    #[tracing::instrument(name = "image.get", level = "debug", skip_all, fields(image.name = %name), err(level = "debug"))]
    pub async fn get(&self, caller: &Caller, name: &ImageName) -> Result<Image> {
        self.0.catalog.get_image(name, caller.view(name)).await?.ok_or_else(|| Missing::Image(name.clone()).into())
    }

    /// Images that the caller sees, by name; those without a published version only if `unpublished`, and only for a caller
    /// who may write to them.
    #[tracing::instrument(name = "image.list", level = "debug", skip_all, err(level = "debug"))]
    pub async fn list(&self, caller: &Caller, unpublished: bool, page: &PageRequest) -> Result<Page<Image>> {
        let reach: Reach = caller.reach();
        let reach = if unpublished { reach } else { reach.published() };
        Ok(self.0.catalog.list_images(&reach, page).await?)
    }

    /// Creates an image. Only a content administrator may choose another visibility than the default.
    #[tracing::instrument(name = "image.create", level = "debug", skip_all, fields(image.name = %new.name), err(level = "debug"))]
    pub async fn create(&self, who: &Writer, new: NewImage) -> Result<Image> {
        let actor = match new.visibility.filter(|chosen| *chosen != self.0.settings.default_visibility) {
            None => who.creates(&new.name)?,
            Some(_) => who.creates(&new.name).and_then(|_| who.may_change_visibility(&new.name))?,
        };
        let created = retrying(|| async {
            let mut tx = self.0.catalog.begin().await?;
            let image = insert_image(&self.0, &mut *tx, actor, new.clone()).await?;
            tx.commit().await?;
            Ok(image)
        })
        .await;
        with_existing(created, async {
            let found = self.0.catalog.get_image(&new.name, View::All).await?;
            Ok(found.map(|image| Existing::Image(image.id, image.name)))
        })
        .await
    }

    /// Changes an image's metadata. Only a content administrator may change its visibility. When a private image is returned
    /// no node shows it to others any more.
    #[tracing::instrument(name = "image.update", level = "debug", skip_all, fields(image.name = %name), err(level = "debug"))]
    pub async fn update(&self, who: &Writer, name: &ImageName, metadata: ImageMetadata) -> Result<Image> {
        let actor = who.on(&self.0, name).await?;
        let image = retrying(|| async {
            let mut tx = self.0.catalog.begin().await?;
            let image = tx.lock_image(name).await?.ok_or_else(|| Missing::Image(name.clone()))?;
            let ImageMetadata { display_name, description, visibility } = metadata.clone();
            let changed = visibility.filter(|visibility| *visibility != image.visibility);
            let image = Image {
                visibility: changed.unwrap_or(image.visibility),
                display_name: display_name.unwrap_or(image.display_name),
                description: description.unwrap_or(image.description),
                updated_at: tx.now(),
                ..image
            };
            tx.update_image(&image).await?;
            let event = Event::new(AuditAction::ImageUpdated, name);
            let event = match changed {
                Some(visibility) => {
                    who.may_change_visibility(name)?;
                    event.with(format!("visibility {visibility}"))
                }
                None => event,
            };
            audit::record(&mut *tx, actor, event).await?;
            tx.bump_catalog_revision(image.id).await?;
            self.0.revision.commit(tx).await?;
            Ok::<_, UseCaseError>(image)
        })
        .await?;
        // Also when it was private before: an earlier request may not have waited until its end.
        if metadata.visibility == Some(Visibility::Private) {
            seen_by_all_nodes(&self.0).await?;
        }
        Ok(image)
    }

    /// Deletes an image without versions.
    #[tracing::instrument(name = "image.delete", level = "debug", skip_all, fields(image.name = %name), err(level = "debug"))]
    pub async fn delete(&self, who: &Writer, name: &ImageName) -> Result<()> {
        let actor = who.on(&self.0, name).await?;
        retrying(|| async {
            let mut tx = self.0.catalog.begin().await?;
            let image = tx.get_image(name).await?.ok_or_else(|| Missing::Image(name.clone()))?;
            tx.delete_image(image.id).await.map_err(|error| match error {
                CatalogError::Conflict(Conflict::ImageInUse) => UseCaseError::ImageInUse(name.clone()),
                error => error.into(),
            })?;
            Ok(audit::commit(tx, actor, Event::new(AuditAction::ImageDeleted, name)).await?)
        })
        .await
    }
}
