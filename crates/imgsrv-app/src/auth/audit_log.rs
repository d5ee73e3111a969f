//! Reading the audit log.

use crate::{auth::caller::AuditReader, context::Context, error::Result};
use imgsrv_domain::{
    audit::{AuditFilter, AuditRecord},
    page::{Page, PageRequest},
};
use std::sync::Arc;

/// The use case of reading the audit log.
#[derive(Clone)]
pub struct AuditLogReader(pub(crate) Arc<Context>);

impl AuditLogReader {
    /// Entries, newest first.
    #[tracing::instrument(name = "audit_log.list", level = "debug", skip_all, err(level = "debug"))]
    pub async fn list(
        &self,
        _who: &AuditReader,
        filter: &AuditFilter,
        page: &PageRequest,
    ) -> Result<Page<AuditRecord>> {
        Ok(self.0.catalog.list_audit(filter, page).await?)
    }
}
