//! Reading the audit trail.

use crate::{auth::caller::Manager, context::Context, error::UseCaseError};
use imgsrv_domain::{
    audit::{AuditFilter, AuditRecord},
    page::{Page, PageRequest},
};
use std::sync::Arc;

/// The audit trail.
#[derive(Clone)]
pub struct Trail(pub(crate) Arc<Context>);

impl Trail {
    /// What was done, newest first.
    pub async fn list(
        &self,
        _who: &Manager,
        filter: &AuditFilter,
        page: &PageRequest,
    ) -> Result<Page<AuditRecord>, UseCaseError> {
        Ok(self.0.catalog.list_audit(filter, page).await?)
    }
}
