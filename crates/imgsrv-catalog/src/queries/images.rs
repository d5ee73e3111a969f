//! Reads of images and aliases.

use crate::{
    core::{Connection, List, SqlCatalog, SqlDatabase, values},
    repos::{
        aliases::select as aliases,
        images::{self, select as images},
    },
};
use async_trait::async_trait;
use imgsrv_domain::{
    image::{Alias, Image},
    names::{AliasName, ImageName},
    page::{Page, PageRequest},
    ports::{CatalogError, ImageQueries, Visibility},
};

const PUBLISHED_IMAGE: &str = images!("WHERE i.name = $1 AND i.has_published");
const IMAGES: &str = images!("WHERE i.name > $1 ORDER BY i.name LIMIT $2");
const PUBLISHED_IMAGES: &str = images!("WHERE i.has_published AND i.name > $1 ORDER BY i.name LIMIT $2");
const ALIAS: &str = aliases!("JOIN images i ON i.id = a.image_id WHERE i.name = $1 AND a.name = $2");
const ALIASES: &str = aliases!("WHERE a.image_id = $1 AND a.name > $2 ORDER BY a.name LIMIT $3");
pub(crate) const STATEMENTS: &[&str] = &[PUBLISHED_IMAGE, IMAGES, PUBLISHED_IMAGES, ALIAS, ALIASES];

/// The image of that name, if visible.
pub(crate) async fn image<C: Connection>(
    connection: &mut C,
    name: &ImageName,
    see: Visibility,
) -> Result<Option<Image>, CatalogError> {
    let sql = match see {
        Visibility::Published => PUBLISHED_IMAGE,
        Visibility::All => images::GET,
    };
    connection.find(sql, values![name]).await
}

#[async_trait]
impl<D: SqlDatabase> ImageQueries for SqlCatalog<D> {
    async fn get_image(&self, name: &ImageName, see: Visibility) -> Result<Option<Image>, CatalogError> {
        image(&mut self.reader().await?, name, see).await
    }

    async fn list_images(&self, see: Visibility, page: &PageRequest) -> Result<Page<Image>, CatalogError> {
        let (sql, name) = match see {
            Visibility::Published => (PUBLISHED_IMAGES, "images:published"),
            Visibility::All => (IMAGES, "images:all"),
        };
        let list = List::open(name, page, String::new())?;
        let values = values![list.after, list.fetch];
        list.read(&mut self.reader().await?, sql, values, |image: &Image| image.name.to_string()).await
    }

    async fn get_alias(&self, image: &ImageName, name: &AliasName) -> Result<Option<Alias>, CatalogError> {
        self.reader().await?.find(ALIAS, values![image, name]).await
    }

    async fn list_aliases(
        &self,
        name: &ImageName,
        see: Visibility,
        page: &PageRequest,
    ) -> Result<Option<Page<Alias>>, CatalogError> {
        let list = List::open(format!("aliases:{name}"), page, String::new())?;
        let mut reader = self.reader().await?;
        // The list is read after the image, so that it is one of an image that existed.
        let Some(image) = image(&mut reader, name, see).await? else { return Ok(None) };
        let values = values![image.id, list.after, list.fetch];
        list.read(&mut reader, ALIASES, values, |alias: &Alias| alias.name.to_string()).await.map(Some)
    }
}
