//! The audit trail.

use crate::{
    extract::{AuditQuery, ManagerOnly},
    response::{problem::Problem, wire},
    state::AppState,
};
use crate::{response::page::page, routes::problems::GuardedProblems};
use axum::{extract::State, http::Uri, response::Response};
use imgsrv_api as api;
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
async fn list(
    State(state): State<AppState>,
    ManagerOnly(manager): ManagerOnly,
    query: AuditQuery,
    uri: Uri,
) -> Result<Response, Problem> {
    let wanted = query.page()?;
    let found = state.services.audit_log().list(&manager, &query.filter()?, &wanted).await?;
    let body = api::AuditPage {
        entries: found.items.iter().map(wire::audit).collect(),
        next_cursor: found.next.as_ref().map(|cursor| cursor.0.clone()),
    };
    Ok(page(&uri, found.next.as_ref(), body))
}
