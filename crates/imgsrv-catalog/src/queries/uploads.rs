//! Reads of upload sessions, their parts and intakes.

use crate::{
    core::{Connection, Corrupt, List, Listed, Row, SqlCatalog, SqlDatabase, values},
    repos::{intakes, uploads},
};
use async_trait::async_trait;
use imgsrv_domain::{
    access::Sender,
    digest::Digest,
    ids::UploadId,
    intake::Intake,
    names::PartNumber,
    page::{Page, PageRequest},
    parts::Part,
    ports::{CatalogError, UploadQueries},
    upload::UploadSession,
};
use uuid::Uuid;

#[async_trait]
impl<D: SqlDatabase> UploadQueries for SqlCatalog<D> {
    async fn get_upload(&self, id: UploadId) -> Result<Option<UploadSession>, CatalogError> {
        self.reader().await?.find(uploads::GET, values![id]).await
    }

    async fn list_open_uploads(
        &self,
        by: Option<&Sender>,
        digest: Option<&Digest>,
        page: &PageRequest,
    ) -> Result<Page<UploadSession>, CatalogError> {
        let digest = digest.map(ToString::to_string);
        let of = by.map(|by| by.principal.to_string());
        let name = format!("uploads:{}:{}", of.as_deref().unwrap_or("all"), digest.as_deref().unwrap_or("all"));
        let list = List::open(name, page, Uuid::max())?;
        let mut reader = self.reader().await?;
        match by {
            Some(Sender { principal, images }) => {
                let values = |after: &Uuid, limit: i64| values![principal, after, digest, limit, images];
                list.read(&mut reader, uploads::LIST_OPEN, values).await
            }
            None => list.read(&mut reader, uploads::LIST_ALL_OPEN, |after, limit| values![after, digest, limit]).await,
        }
    }

    async fn list_hashed_parts(&self, id: UploadId) -> Result<Vec<Part>, CatalogError> {
        self.reader().await?.list(uploads::LIST_HASHED_PARTS, values![id]).await
    }

    async fn list_parts(&self, id: UploadId, after: Option<PartNumber>, limit: u16) -> Result<Vec<Part>, CatalogError> {
        let values = values![id, after.map_or(0, PartNumber::get), limit];
        self.reader().await?.list(uploads::LIST_PARTS, values).await
    }

    async fn get_intake(&self, id: UploadId) -> Result<Option<Intake>, CatalogError> {
        self.reader().await?.find(intakes::GET, values![id]).await
    }
}

impl Listed for UploadSession {
    type Key = Uuid;

    fn key(row: &Row<'_>) -> Result<Uuid, Corrupt> {
        row.get("id")
    }
}
