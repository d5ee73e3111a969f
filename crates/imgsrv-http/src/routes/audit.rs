//! The audit log.

use crate::{
    extract::AuditQuery,
    response::{page::page_response, problem::Result, wire},
    routes::problems::GuardedProblems,
    state::AppState,
};
use axum::{http::Uri, response::Response};
use imgsrv_api as api;
use imgsrv_app::{AuditLogReader, Manager};
use utoipa_axum::{router::OpenApiRouter, routes};

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(list))
}

/// Read the audit trail
///
/// Every change to content and to who may change it, newest first: what was done, on what, by whom, when, in which
/// request and from where. Rows are written together with the change and never altered.
#[utoipa::path(get, path = "/v1/audit", operation_id = "listAuditTrail", tag = "audit", security(("bearer" = [])),
    params(AuditQuery),
    responses((status = OK, description = "A page of the trail.", body = api::AuditPage), GuardedProblems))]
async fn list(audit_log: AuditLogReader, manager: Manager, query: AuditQuery, uri: Uri) -> Result<Response> {
    let request = query.page()?;
    let page = audit_log.list(&manager, &query.filter()?, &request).await?;
    Ok(page_response(&uri, &page, wire::audit, |entries, next_cursor| api::AuditPage { entries, next_cursor }))
}
