//! Reads of images and aliases.

use crate::{
    core::{Connection, Corrupt, Dialects, List, Listed, Row, SqlCatalog, SqlDatabase, Stored, values},
    repos::{
        aliases::select as aliases,
        images::{self, Bound, bindings, select as images},
    },
};
use async_trait::async_trait;
use imgsrv_domain::{
    access::ImageScope,
    claims::Binding,
    ids::ImageId,
    image::{Alias, Image},
    names::{AliasName, ImageName},
    page::{Page, PageRequest},
    ports::{CatalogError, ImageQueries, Visibility},
};
use sqlx::types::Json;

const PUBLISHED_IMAGE: &str = images!("WHERE i.name = $1 AND i.has_published");
const IMAGES: &str = images!("WHERE i.name > $1 ORDER BY i.name LIMIT $2");
const PUBLISHED_IMAGES: &str = images!("WHERE i.has_published AND i.name > $1 ORDER BY i.name LIMIT $2");
const IMAGES_IN: Dialects = Dialects {
    sqlite: images!(
        "WHERE i.name > $1 AND (i.has_published OR (EXISTS (SELECT 1 FROM json_each($3) p WHERE i.name GLOB p.value)
            AND EXISTS (SELECT 1 FROM json_each($4) p WHERE i.name GLOB p.value)))
        ORDER BY i.name LIMIT $2"
    ),
    // The only character of patterns that LIKE gives a meaning to is `_`.
    postgres: images!(
        "WHERE i.name > $1 AND (i.has_published OR (EXISTS (SELECT 1 FROM jsonb_array_elements_text($3) p (value)
                WHERE i.name LIKE replace(replace(p.value, '_', '\\_'), '*', '%'))
            AND EXISTS (SELECT 1 FROM jsonb_array_elements_text($4) p (value)
                WHERE i.name LIKE replace(replace(p.value, '_', '\\_'), '*', '%'))))
        ORDER BY i.name LIMIT $2"
    ),
};
/// The images whose names begin with one of the texts of `$1`. `~` is greater than every character of names.
const BINDINGS: Dialects = Dialects {
    sqlite: bindings!("json_each($1) p CROSS JOIN images i ON i.name >= p.value AND i.name < p.value || '~'"),
    postgres: bindings!(
        "jsonb_array_elements_text($1) p (value)
        JOIN images i ON i.name >= p.value COLLATE \"C\" AND i.name < (p.value || '~') COLLATE \"C\""
    ),
};
const ALIAS: &str = aliases!("JOIN images i ON i.id = a.image_id WHERE i.name = $1 AND a.name = $2");
pub(crate) const ALIASES: &str = aliases!("WHERE a.image_id = $1 AND a.name > $2 ORDER BY a.name LIMIT $3");
const PUBLISHED_ID: &str = "SELECT id FROM images WHERE name = $1 AND has_published";
const ID: &str = "SELECT id FROM images WHERE name = $1";
pub(crate) const STATEMENTS: &[&str] = &[PUBLISHED_IMAGE, IMAGES, PUBLISHED_IMAGES, ALIAS, ALIASES, PUBLISHED_ID, ID];
pub(crate) const SQLITE: &[&str] = &[IMAGES_IN.sqlite, BINDINGS.sqlite];
pub(crate) const POSTGRES: &[&str] = &[IMAGES_IN.postgres, BINDINGS.postgres];

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

/// The id of the image of that name, if visible. Its other columns need not be decodable.
pub(crate) async fn image_id<C: Connection>(
    connection: &mut C,
    name: &ImageName,
    see: Visibility,
) -> Result<Option<ImageId>, CatalogError> {
    let sql = match see {
        Visibility::Published => PUBLISHED_ID,
        Visibility::All => ID,
    };
    connection.find(sql, values![name]).await
}

#[async_trait]
impl<D: SqlDatabase> ImageQueries for SqlCatalog<D> {
    async fn get_image(&self, name: &ImageName, see: Visibility) -> Result<Option<Image>, CatalogError> {
        image(&mut self.reader().await?, name, see).await
    }

    async fn list_images(
        &self,
        unpublished: &[ImageScope; 2],
        page: &PageRequest,
    ) -> Result<Page<Image>, CatalogError> {
        let mut reader = self.reader().await?;
        let open = |name: &str| List::open(format!("images:{name}"), page, String::new());
        if unpublished.iter().all(|scope| *scope == ImageScope::Every) {
            return open("all")?.read(&mut reader, IMAGES, |after, limit| values![after, limit]).await;
        }
        if unpublished.contains(&ImageScope::none()) {
            return open("published")?.read(&mut reader, PUBLISHED_IMAGES, |after, limit| values![after, limit]).await;
        }
        let [first, second] = unpublished.each_ref().map(Stored::encode);
        let list = open(&format!("{first}:{second}"))?;
        let [first, second] = [first, second].map(|patterns| Json(patterns.split(' ').collect::<serde_json::Value>()));
        list.read(&mut reader, IMAGES_IN, |after, limit| values![after, limit, first, second]).await
    }

    async fn get_binding(&self, image: &ImageName) -> Result<Option<Option<Binding>>, CatalogError> {
        let found: Option<Bound> = self.reader().await?.find(images::GET_BINDING, values![image]).await?;
        Ok(found.map(|bound| bound.to))
    }

    async fn list_bindings(&self, images: &ImageScope) -> Result<Vec<(ImageName, Option<Binding>)>, CatalogError> {
        let prefix = |pattern: &str| serde_json::Value::from(pattern.split('*').next().unwrap_or_default());
        let prefixes: Vec<_> = match images.patterns() {
            Some(patterns) => patterns.iter().map(|pattern| prefix(pattern.as_str())).collect(),
            None => vec![prefix("*")],
        };
        let found: Vec<Bound> =
            self.reader().await?.list(BINDINGS, values![Json(serde_json::Value::from(prefixes))]).await?;
        Ok(found.into_iter().map(|Bound { image, to }| (image, to)).collect())
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
