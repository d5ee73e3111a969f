//! The audit log.

use crate::{
    extract::AuditQuery,
    response::{page::page_response, problem::Result, wire},
    routes::problems::GuardedProblems,
    state::AppState,
};
use axum::{http::Uri, response::Response};
use imgsrv_api as api;
use imgsrv_app::{AuditLogReader, AuditReader};
use utoipa_axum::{router::OpenApiRouter, routes};

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(list))
}

/// Read the audit log
///
/// Lists every change to content and access, newest first, with action, subject, actor, time, request id and client
/// address. Entries are written in the transaction of the change and are never altered.
#[utoipa::path(get, path = "/v1/audit", operation_id = "listAuditLog", tag = "audit", security(("bearer" = [])),
    params(AuditQuery),
    responses((status = OK, description = "A page of the audit log.", body = api::AuditPage), GuardedProblems))]
async fn list(audit_log: AuditLogReader, reader: AuditReader, query: AuditQuery, uri: Uri) -> Result<Response> {
    let request = query.page()?;
    let page = audit_log.list(&reader, &query.filter()?, &request).await?;
    Ok(page_response(&uri, &page, wire::audit, |entries, next_cursor| api::AuditPage { entries, next_cursor }))
}
