//! Reads of images and aliases.

use crate::{
    core::{Connection, Corrupt, Dialects, List, Listed, Row, SqlCatalog, SqlDatabase, values},
    repos::{
        aliases::select as aliases,
        images::{self, select as images},
    },
    rows::reach::{self, required, visible},
};
use async_trait::async_trait;
use imgsrv_domain::{
    access::{Reach, View},
    ids::ImageId,
    image::{Alias, Image},
    names::{AliasName, ImageName},
    page::{Page, PageRequest},
    ports::{CatalogError, ImageQueries},
};

const PUBLISHED_IMAGE: &str = images!("WHERE i.name = $1 AND i.has_published AND ($2 = '' OR i.visibility = $2)");
const IMAGES: &str = images!("WHERE i.name > $1 ORDER BY i.name LIMIT $2");
const PUBLIC_IMAGES: &str =
    images!("WHERE i.has_published AND i.visibility = 'public' AND i.name > $1 ORDER BY i.name LIMIT $2");
macro_rules! images_in {
    ($dialect:ident) => {
        images!("WHERE i.name > $1 AND ", visible!($dialect, "$3", "$4", "$5", "$6"), " ORDER BY i.name LIMIT $2")
    };
}
const IMAGES_IN: Dialects = Dialects { sqlite: images_in!(sqlite), postgres: images_in!(postgres) };
const ALIAS: &str =
    aliases!("JOIN images i ON i.id = a.image_id WHERE i.name = $1 AND a.name = $2 AND ($3 = '' OR i.visibility = $3)");
pub(crate) const ALIASES: &str = aliases!("WHERE a.image_id = $1 AND a.name > $2 ORDER BY a.name LIMIT $3");
const PUBLISHED_ID: &str = "SELECT id FROM images WHERE name = $1 AND has_published AND ($2 = '' OR visibility = $2)";
const ID: &str = "SELECT id FROM images WHERE name = $1";
pub(crate) const STATEMENTS: &[&str] = &[PUBLISHED_IMAGE, IMAGES, PUBLIC_IMAGES, ALIAS, ALIASES, PUBLISHED_ID, ID];
pub(crate) const SQLITE: &[&str] = &[IMAGES_IN.sqlite];
pub(crate) const POSTGRES: &[&str] = &[IMAGES_IN.postgres];

/// The image of that name, if visible.
pub(crate) async fn image<C: Connection>(
    connection: &mut C,
    name: &ImageName,
    see: View,
) -> Result<Option<Image>, CatalogError> {
    match see {
        View::Public | View::Published => connection.find(PUBLISHED_IMAGE, values![name, *required(see)]).await,
        View::All => connection.find(images::GET, values![name]).await,
    }
}

/// The id of the image of that name, if visible. Its other columns need not be decodable.
pub(crate) async fn image_id<C: Connection>(
    connection: &mut C,
    name: &ImageName,
    see: View,
) -> Result<Option<ImageId>, CatalogError> {
    match see {
        View::Public | View::Published => connection.find(PUBLISHED_ID, values![name, *required(see)]).await,
        View::All => connection.find(ID, values![name]).await,
    }
}

#[async_trait]
impl<D: SqlDatabase> ImageQueries for SqlCatalog<D> {
    async fn get_image(&self, name: &ImageName, see: View) -> Result<Option<Image>, CatalogError> {
        image(&mut self.reader().await?, name, see).await
    }

    async fn list_images(&self, reach: &Reach, page: &PageRequest) -> Result<Page<Image>, CatalogError> {
        let mut reader = self.reader().await?;
        let list = List::open(format!("images:{}", reach::name(reach)), page, String::new())?;
        if reach.write == Reach::ALL.write {
            return list.read(&mut reader, IMAGES, |after, limit| values![after, limit]).await;
        }
        if reach.is_public() {
            return list.read(&mut reader, PUBLIC_IMAGES, |after, limit| values![after, limit]).await;
        }
        let scopes = reach::scopes(reach);
        list.read(&mut reader, IMAGES_IN, |after, limit| [values![after, limit], scopes.clone()].concat()).await
    }

    async fn get_alias(&self, image: &ImageName, name: &AliasName, see: View) -> Result<Option<Alias>, CatalogError> {
        self.reader().await?.find(ALIAS, values![image, name, *required(see)]).await
    }

    async fn list_aliases(
        &self,
        name: &ImageName,
        see: View,
        page: &PageRequest,
    ) -> Result<Option<Page<Alias>>, CatalogError> {
        let list = List::open(format!("aliases:{name}"), page, String::new())?;
        let mut reader = self.reader().await?;
        // The list is read after the image, so that it is one of an image that existed.
        let Some(image) = image_id(&mut reader, name, see).await? else { return Ok(None) };
        list.read(&mut reader, ALIASES, |after, limit| values![image, after, limit]).await.map(Some)
    }
}

impl Listed for Image {
    type Key = String;

    fn key(row: &Row<'_>) -> Result<String, Corrupt> {
        row.get("image_name")
    }
}

impl Listed for Alias {
    type Key = String;

    fn key(row: &Row<'_>) -> Result<String, Corrupt> {
        row.get("name")
    }
}
