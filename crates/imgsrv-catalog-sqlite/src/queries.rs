//! Reads that need no transaction of their own.

use crate::{
    SqliteCatalog, blobs,
    connection::{find, list, scalar},
    error::map,
    jobs, manifests, principals, uploads,
};
use async_trait::async_trait;
use imgsrv_catalog_sql::{
    AliasRow, BlobRow, CredentialRow, CursorKey, ImageRow, ListName, PartRow, PrincipalRow, PublishedFileRow, TokenRow,
    UploadRow, VersionRow,
};
use imgsrv_domain::{
    auth::{ApiToken, Credential, Principal, TokenKey},
    digest::Digest,
    ids::{ArtifactId, AttachmentId, JobId, PrincipalId, UploadId},
    image::{Alias, Image},
    manifest::Manifest,
    names::{AliasName, ImageName, PartNumber, RefName, VersionName},
    page::{Page, PageRequest},
    parts::Part,
    ports::{CatalogError, CatalogQueries, PublishedFile, TrustedBlob, VersionFilter, Visibility},
    publish::PublishJob,
    time::Timestamp,
    upload::UploadSession,
    version::Version,
};
use sqlx::{Sqlite, SqliteConnection, Transaction, query_as, query_scalar};
use uuid::Uuid;

const CHECK: &str = "SELECT revision FROM catalog_revision";

macro_rules! images {
    ($rest:literal) => {
        concat!("SELECT id, name, display_name, description, created_at, updated_at, revision FROM images ", $rest)
    };
}
const IMAGE: &str = images!("WHERE name = $1");
const PUBLISHED_IMAGE: &str = images!("WHERE name = $1 AND has_published = 1");
const IMAGES: &str = images!("WHERE name > $1 ORDER BY name LIMIT $2");
const PUBLISHED_IMAGES: &str = images!("WHERE has_published = 1 AND name > $1 ORDER BY name LIMIT $2");

macro_rules! versions {
    ($rest:literal) => {
        concat!(
            "SELECT v.id, v.image_id, i.name AS image_name, v.name, v.state, v.published_at, v.created_at, v.updated_at,
            v.revision FROM versions v JOIN images i ON i.id = v.image_id ",
            $rest
        )
    };
}
const VERSIONS: &str =
    versions!("WHERE v.image_id = $1 AND (v.listed_at, v.id) < ($2, $3) ORDER BY v.listed_at DESC, v.id DESC LIMIT $4");
const VERSIONS_BY_STATE: &str = versions!(
    "WHERE v.image_id = $1 AND (v.listed_at, v.id) < ($2, $3) AND v.state = $5
    ORDER BY v.listed_at DESC, v.id DESC LIMIT $4"
);
const VERSION: &str = versions!("WHERE v.image_id = $1 AND v.name = $2");
const ALIASED_VERSION: &str =
    versions!("JOIN aliases a ON a.version_id = v.id WHERE a.image_id = $1 AND a.name = $2 AND v.state = 'published'");

macro_rules! aliases {
    ($rest:literal) => {
        concat!(
            "SELECT a.id, a.image_id, a.name, a.version_id, v.name AS version_name, a.created_at, a.updated_at, a.revision
            FROM aliases a JOIN versions v ON v.id = a.version_id ",
            $rest
        )
    };
}
const ALIASES: &str = aliases!("WHERE a.image_id = $1 AND a.name > $2 ORDER BY a.name LIMIT $3");
const ALIAS: &str = aliases!("JOIN images i ON i.id = a.image_id WHERE i.name = $1 AND a.name = $2");

const PUBLISHED_BLOB: &str = "SELECT digest, size_bytes, storage_name, created_at FROM blobs
    WHERE digest = $1 AND state = 'trusted' AND (
        EXISTS (SELECT 1 FROM artifacts a JOIN versions v ON v.id = a.version_id
            WHERE a.primary_blob_digest = $1 AND v.state = 'published')
        OR EXISTS (SELECT 1 FROM attachments t JOIN versions v ON v.id = t.version_id
            WHERE t.blob_digest = $1 AND v.state = 'published'))";

macro_rules! files {
    ($columns:literal, $join:literal) => {
        concat!(
            "SELECT a.id, a.version_id, a.operating_system, a.architecture, a.variant, a.format, a.primary_blob_digest,
            a.primary_blob_size_bytes, a.primary_media_type, a.created_at, b.digest, b.size_bytes, b.storage_name,
            v.published_at, ",
            $columns,
            " FROM images i JOIN versions v ON v.image_id = i.id JOIN artifacts a ON a.version_id = v.id ",
            $join,
            " WHERE i.name = $1 AND v.name = $2 AND v.state = 'published' AND a.id = $3 AND b.state = 'trusted'"
        )
    };
}
const ARTIFACT_FILE: &str = files!(
    "a.primary_media_type AS media_type, NULL AS attachment_name",
    "JOIN blobs b ON b.digest = a.primary_blob_digest"
);
const ATTACHMENT_FILE: &str = files!(
    "t.media_type AS media_type, t.name AS attachment_name",
    "JOIN attachments t ON t.artifact_id = a.id AND t.id = $4 JOIN blobs b ON b.digest = t.blob_digest"
);

const CREDENTIAL: &str =
    "SELECT t.id, t.principal_id, t.lookup_key, t.name, t.created_at, t.expires_at, t.last_used_at,
    t.revoked_at, t.secret_hash, p.kind, p.display_name, p.attributes, p.created_at AS principal_created_at,
    p.updated_at, p.revision,
    (SELECT group_concat(role) FROM principal_roles WHERE principal_id = p.id) AS roles
    FROM api_tokens t JOIN principals p ON p.id = t.principal_id WHERE t.lookup_key = $1";
const PRINCIPALS: &str = "SELECT id AS principal_id, kind, display_name, attributes,
    created_at AS principal_created_at, updated_at, revision,
    (SELECT group_concat(role) FROM principal_roles WHERE principal_id = principals.id) AS roles
    FROM principals WHERE id > $1 ORDER BY id LIMIT $2";
const TOKENS: &str = "SELECT id, principal_id, lookup_key, name, created_at, expires_at, last_used_at, revoked_at
    FROM api_tokens WHERE principal_id = $1 AND id > $2 ORDER BY id LIMIT $3";

pub(crate) const STATEMENTS: &[&str] = &[
    CHECK,
    IMAGE,
    PUBLISHED_IMAGE,
    IMAGES,
    PUBLISHED_IMAGES,
    VERSIONS,
    VERSIONS_BY_STATE,
    VERSION,
    ALIASED_VERSION,
    ALIASES,
    ALIAS,
    PUBLISHED_BLOB,
    ARTIFACT_FILE,
    ATTACHMENT_FILE,
    CREDENTIAL,
    PRINCIPALS,
    TOKENS,
];

const LAST: Uuid = Uuid::max();

/// One row more than the page takes, to see whether there is a next one.
const fn fetch(page: &PageRequest) -> i64 {
    page.limit.get() as i64 + 1
}

fn paged<T, K: CursorKey>(mut items: Vec<T>, page: &PageRequest, name: &ListName, key: impl Fn(&T) -> K) -> Page<T> {
    let limit = usize::from(page.limit.get());
    let more = items.len() > limit;
    items.truncate(limit);
    let next = items.last().filter(|_| more).map(|last| name.cursor(&key(last)));
    Page { items, next }
}

async fn image(
    connection: &mut SqliteConnection,
    name: &ImageName,
    see: Visibility,
) -> Result<Option<Image>, CatalogError> {
    let sql = match see {
        Visibility::Published => PUBLISHED_IMAGE,
        Visibility::All => IMAGE,
    };
    find(connection, query_as::<_, ImageRow>(sql).bind(name.as_str())).await
}

impl SqliteCatalog {
    /// A snapshot for reads that must agree with one another.
    async fn snapshot(&self) -> Result<Transaction<'static, Sqlite>, CatalogError> {
        self.readers.begin().await.map_err(map)
    }

    async fn reader(&self) -> Result<sqlx::pool::PoolConnection<Sqlite>, CatalogError> {
        self.readers.acquire().await.map_err(map)
    }
}

#[async_trait]
impl CatalogQueries for SqliteCatalog {
    async fn check(&self) -> Result<(), CatalogError> {
        scalar(&mut *self.reader().await?, query_scalar::<_, i64>(CHECK)).await.map(drop)
    }

    async fn get_image(&self, name: &ImageName, see: Visibility) -> Result<Option<Image>, CatalogError> {
        image(&mut *self.reader().await?, name, see).await
    }

    async fn list_images(&self, see: Visibility, page: &PageRequest) -> Result<Page<Image>, CatalogError> {
        let (sql, list_name) = match see {
            Visibility::Published => (PUBLISHED_IMAGES, ListName("images:published".to_owned())),
            Visibility::All => (IMAGES, ListName("images:all".to_owned())),
        };
        let after: String = list_name.key(page.after.as_ref(), String::new())?;
        let select = query_as::<_, ImageRow>(sql).bind(after).bind(fetch(page));
        let images: Vec<Image> = list(&mut *self.reader().await?, select).await?;
        Ok(paged(images, page, &list_name, |image| image.name.to_string()))
    }

    async fn list_versions(
        &self,
        name: &ImageName,
        see: Visibility,
        filter: VersionFilter,
        page: &PageRequest,
    ) -> Result<Option<Page<Version>>, CatalogError> {
        let state = match (see, filter) {
            (Visibility::Published, _) | (Visibility::All, VersionFilter::Published) => Some("published"),
            (Visibility::All, VersionFilter::Draft) => Some("draft"),
            (Visibility::All, VersionFilter::Publishing) => Some("publishing"),
            (Visibility::All, VersionFilter::All) => None,
        };
        let list_name = ListName(format!("versions:{name}:{}", state.unwrap_or("all")));
        let (before, id): (i64, Uuid) = list_name.key(page.after.as_ref(), (i64::MAX, LAST))?;
        let mut snapshot = self.snapshot().await?;
        let Some(image) = image(&mut snapshot, name, see).await? else { return Ok(None) };
        let bind = |sql| query_as::<_, VersionRow>(sql).bind(image.id.uuid()).bind(before).bind(id).bind(fetch(page));
        let select = match state {
            Some(state) => bind(VERSIONS_BY_STATE).bind(state),
            None => bind(VERSIONS),
        };
        let versions: Vec<Version> = list(&mut snapshot, select).await?;
        let key = |version: &Version| {
            let listed_at = version.state.published_at().unwrap_or(version.created_at);
            (listed_at.micros(), version.id.uuid())
        };
        Ok(Some(paged(versions, page, &list_name, key)))
    }

    async fn get_manifest(
        &self,
        name: &ImageName,
        version: &VersionName,
        see: Visibility,
    ) -> Result<Option<Manifest>, CatalogError> {
        let mut snapshot = self.snapshot().await?;
        let Some(image) = image(&mut snapshot, name, see).await? else { return Ok(None) };
        let select = query_as::<_, VersionRow>(VERSION).bind(image.id.uuid()).bind(version.as_str());
        let version: Option<Version> = find(&mut snapshot, select).await?;
        let visible = |version: &Version| see == Visibility::All || version.state.published_at().is_some();
        let Some(version) = version.filter(visible) else { return Ok(None) };
        let entries = manifests::entries(&mut snapshot, version.id).await?;
        Ok(Some(Manifest { image, version, entries }))
    }

    async fn get_ref(&self, name: &ImageName, reference: &RefName) -> Result<Option<Manifest>, CatalogError> {
        let mut snapshot = self.snapshot().await?;
        let Some(image) = image(&mut snapshot, name, Visibility::Published).await? else { return Ok(None) };
        let mut found = None;
        for sql in [VERSION, ALIASED_VERSION] {
            let select = query_as::<_, VersionRow>(sql).bind(image.id.uuid()).bind(reference.as_str());
            found = find::<_, Version>(&mut snapshot, select).await?.filter(|v| v.state.published_at().is_some());
            if found.is_some() {
                break;
            }
        }
        let Some(version) = found else { return Ok(None) };
        let entries = manifests::entries(&mut snapshot, version.id).await?;
        Ok(Some(Manifest { image, version, entries }))
    }

    async fn list_aliases(
        &self,
        name: &ImageName,
        see: Visibility,
        page: &PageRequest,
    ) -> Result<Option<Page<Alias>>, CatalogError> {
        let list_name = ListName(format!("aliases:{name}"));
        let after: String = list_name.key(page.after.as_ref(), String::new())?;
        let mut snapshot = self.snapshot().await?;
        let Some(image) = image(&mut snapshot, name, see).await? else { return Ok(None) };
        let select = query_as::<_, AliasRow>(ALIASES).bind(image.id.uuid()).bind(after).bind(fetch(page));
        let aliases: Vec<Alias> = list(&mut snapshot, select).await?;
        Ok(Some(paged(aliases, page, &list_name, |alias| alias.name.to_string())))
    }

    async fn get_alias(&self, image: &ImageName, name: &AliasName) -> Result<Option<Alias>, CatalogError> {
        let select = query_as::<_, AliasRow>(ALIAS).bind(image.as_str()).bind(name.as_str());
        find(&mut *self.reader().await?, select).await
    }

    async fn get_blob(&self, digest: &Digest, see: Visibility) -> Result<Option<TrustedBlob>, CatalogError> {
        let sql = match see {
            Visibility::Published => PUBLISHED_BLOB,
            Visibility::All => blobs::FIND,
        };
        find(&mut *self.reader().await?, query_as::<_, BlobRow>(sql).bind(digest.to_string())).await
    }

    async fn get_published_file(
        &self,
        image: &ImageName,
        version: &VersionName,
        artifact: ArtifactId,
        attachment: Option<AttachmentId>,
    ) -> Result<Option<PublishedFile>, CatalogError> {
        let bind = |sql| {
            query_as::<_, PublishedFileRow>(sql).bind(image.as_str()).bind(version.as_str()).bind(artifact.uuid())
        };
        let select = match attachment {
            Some(attachment) => bind(ATTACHMENT_FILE).bind(attachment.uuid()),
            None => bind(ARTIFACT_FILE),
        };
        find(&mut *self.reader().await?, select).await
    }

    async fn get_upload(&self, id: UploadId) -> Result<Option<UploadSession>, CatalogError> {
        find(&mut *self.reader().await?, query_as::<_, UploadRow>(uploads::FIND).bind(id.uuid())).await
    }

    async fn get_parts(&self, id: UploadId, after: Option<PartNumber>, limit: u16) -> Result<Vec<Part>, CatalogError> {
        let select = query_as::<_, PartRow>(uploads::LIST_PARTS)
            .bind(id.uuid())
            .bind(after.map_or(0, PartNumber::get))
            .bind(limit);
        list(&mut *self.reader().await?, select).await
    }

    async fn get_job(&self, id: JobId) -> Result<Option<PublishJob>, CatalogError> {
        let mut snapshot = self.snapshot().await?;
        jobs::find_with_steps(&mut snapshot, query_as(jobs::FIND).bind(id.uuid())).await
    }

    async fn get_credential(&self, key: &TokenKey) -> Result<Option<Credential>, CatalogError> {
        find(&mut *self.reader().await?, query_as::<_, CredentialRow>(CREDENTIAL).bind(key.as_str())).await
    }

    async fn list_principals(&self, page: &PageRequest) -> Result<Page<Principal>, CatalogError> {
        let list_name = ListName("principals".to_owned());
        let after: Uuid = list_name.key(page.after.as_ref(), Uuid::nil())?;
        let select = query_as::<_, PrincipalRow>(PRINCIPALS).bind(after).bind(fetch(page));
        let principals: Vec<Principal> = list(&mut *self.reader().await?, select).await?;
        Ok(paged(principals, page, &list_name, |principal| principal.id.uuid()))
    }

    async fn get_principal(&self, id: PrincipalId) -> Result<Option<Principal>, CatalogError> {
        find(&mut *self.reader().await?, query_as::<_, PrincipalRow>(principals::FIND).bind(id.uuid())).await
    }

    async fn list_tokens(&self, principal: PrincipalId, page: &PageRequest) -> Result<Page<ApiToken>, CatalogError> {
        let list_name = ListName(format!("tokens:{principal}"));
        let after: Uuid = list_name.key(page.after.as_ref(), Uuid::nil())?;
        let select = query_as::<_, TokenRow>(TOKENS).bind(principal.uuid()).bind(after).bind(fetch(page));
        let tokens: Vec<ApiToken> = list(&mut *self.reader().await?, select).await?;
        Ok(paged(tokens, page, &list_name, |token| token.id.uuid()))
    }

    async fn catalog_time(&self) -> Result<Timestamp, CatalogError> {
        Ok(self.clock.now())
    }
}
