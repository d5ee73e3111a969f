//! Images.

use crate::{
    audit,
    auth::caller::{Caller, Writer},
    context::Context,
    error::{Existing, Missing, UseCaseError},
    work::retry::retrying,
};
use imgsrv_domain::{
    audit::{AuditAction, Event},
    ids::ImageId,
    image::Image,
    names::ImageName,
    page::{Page, PageRequest},
    ports::Visibility,
    text::{LongText, ShortText},
    transition::Revision,
};
use std::sync::Arc;

/// The use cases of images.
#[derive(Clone)]
pub struct Images(pub(crate) Arc<Context>);

/// An image to be made.
#[derive(Debug, Clone)]
pub struct NewImage {
    /// Its name.
    pub name: ImageName,
    /// Its name for people.
    pub display_name: Option<ShortText>,
    /// What it is.
    pub description: Option<LongText>,
}

/// Texts to change; `None` leaves a text as it is, `Some(None)` removes it.
#[derive(Debug, Clone)]
pub struct ImageTexts {
    /// The name for people.
    pub display_name: Option<Option<ShortText>>,
    /// What it is.
    pub description: Option<Option<LongText>>,
}

impl Images {
    /// The image of that name, if the caller sees it.
    pub async fn get(&self, caller: &Caller, name: &ImageName) -> Result<Image, UseCaseError> {
        let found = self.0.catalog.get_image(name, caller.visibility()).await?;
        found.ok_or(UseCaseError::NotFound(Missing::Image))
    }

    /// Images by name; those with nothing published only when a writer asks for them.
    pub async fn list(&self, see: Visibility, page: &PageRequest) -> Result<Page<Image>, UseCaseError> {
        Ok(self.0.catalog.list_images(see, page).await?)
    }

    /// Makes an image.
    pub async fn create(&self, who: &Writer, new: NewImage) -> Result<Image, UseCaseError> {
        let made = retrying(|| self.create_once(who, new.clone())).await;
        match made {
            Err(error @ UseCaseError::Taken { .. }) => {
                let found = self.0.catalog.get_image(&new.name, Visibility::All).await?;
                Err(error.with_existing(found.map(|image| Existing::Image(image.id, image.name))))
            }
            done => done,
        }
    }

    async fn create_once(&self, who: &Writer, new: NewImage) -> Result<Image, UseCaseError> {
        let mut tx = self.0.catalog.begin().await?;
        let image = Image {
            id: ImageId::new(self.0.ids.next()),
            name: new.name,
            display_name: new.display_name,
            description: new.description,
            created_at: tx.now(),
            updated_at: tx.now(),
            revision: Revision::FIRST,
        };
        tx.insert_image(&image).await?;
        audit::record(&mut *tx, who.actor(), Event::new(AuditAction::ImageCreated, &image.name)).await?;
        tx.commit().await?;
        Ok(image)
    }

    /// Changes an image's texts.
    pub async fn update(&self, who: &Writer, name: &ImageName, texts: ImageTexts) -> Result<Image, UseCaseError> {
        retrying(|| async {
            let mut tx = self.0.catalog.begin().await?;
            let image = tx.lock_image(name).await?.ok_or(UseCaseError::NotFound(Missing::Image))?;
            let ImageTexts { display_name, description } = texts.clone();
            let image = Image {
                display_name: display_name.unwrap_or(image.display_name),
                description: description.unwrap_or(image.description),
                updated_at: tx.now(),
                ..image
            };
            tx.update_image(&image).await?;
            tx.bump_catalog_revision(image.id).await?;
            audit::record(&mut *tx, who.actor(), Event::new(AuditAction::ImageUpdated, name)).await?;
            tx.commit().await?;
            Ok(image)
        })
        .await
    }

    /// Deletes an image without versions.
    pub async fn delete(&self, who: &Writer, name: &ImageName) -> Result<(), UseCaseError> {
        retrying(|| async {
            let mut tx = self.0.catalog.begin().await?;
            let image = tx.get_image(name).await?.ok_or(UseCaseError::NotFound(Missing::Image))?;
            tx.delete_image(image.id).await?;
            audit::record(&mut *tx, who.actor(), Event::new(AuditAction::ImageDeleted, name)).await?;
            tx.commit().await?;
            Ok(())
        })
        .await
    }
}
