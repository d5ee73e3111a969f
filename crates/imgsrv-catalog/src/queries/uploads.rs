//! Reads of upload sessions, their parts and intakes.

use crate::{
    core::{
        catalog::{SqlCatalog, SqlDatabase},
        list::List,
        value::values,
    },
    repos::{intakes, uploads},
    rows::{IntakeRow, PartRow, UploadRow},
};
use async_trait::async_trait;
use imgsrv_domain::{
    digest::Digest,
    ids::{PrincipalId, UploadId},
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
        self.find::<UploadRow, _>(uploads::GET, values![id.uuid()]).await
    }

    async fn list_open_uploads(
        &self,
        by: PrincipalId,
        digest: Option<&Digest>,
        page: &PageRequest,
    ) -> Result<Page<UploadSession>, CatalogError> {
        let digest = digest.map(ToString::to_string);
        let name = format!("uploads:{by}:{}", digest.as_deref().unwrap_or("all"));
        let list = List::open(name, page, Uuid::max())?;
        let values = values![by.uuid(), list.after, digest, list.fetch];
        let key = |session: &UploadSession| session.id.uuid();
        list.read::<UploadRow, _, _>(&mut self.reader().await?, uploads::LIST_OPEN, values, key).await
    }

    async fn list_parts(&self, id: UploadId, after: Option<PartNumber>, limit: u16) -> Result<Vec<Part>, CatalogError> {
        let values = values![id.uuid(), after.map_or(0, PartNumber::get), limit];
        self.list::<PartRow, _>(uploads::LIST_PARTS, values).await
    }

    async fn get_intake(&self, id: UploadId) -> Result<Option<Intake>, CatalogError> {
        self.find::<IntakeRow, _>(intakes::GET, values![id.uuid()]).await
    }
}
