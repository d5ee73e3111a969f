//! Health and readiness.

use crate::{
    readiness::Readiness,
    response::problem::{Code, Problem, Result},
    routes::problems::ReadProblems,
    state::AppState,
};
use axum::http::StatusCode;
use imgsrv_app::Caller;
use std::{sync::Arc, time::Duration};
use utoipa_axum::{router::OpenApiRouter, routes};

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(healthz)).routes(routes!(readyz))
}

/// Whether the process serves
#[utoipa::path(get, path = "/healthz", operation_id = "getHealth", tag = "health",
    responses((status = NO_CONTENT, description = "It does."), ReadProblems))]
async fn healthz(_caller: Caller) -> StatusCode {
    StatusCode::NO_CONTENT
}

/// Whether the catalog and the blob store can be read
///
/// A problem names each check that failed. A store that cannot be written does not make a server unready: downloads go
/// on. The answer may be a second old.
#[utoipa::path(get, path = "/readyz", operation_id = "getReadiness", tag = "health",
    responses((status = NO_CONTENT, description = "They can."), ReadProblems))]
async fn readyz(readiness: Arc<Readiness>, _caller: Caller) -> Result<StatusCode> {
    let failures = readiness.failures().await;
    if failures.is_empty() {
        return Ok(StatusCode::NO_CONTENT);
    }
    Err(Problem::new(Code::Unavailable).fields(failures).retry_after(Duration::from_secs(5)))
}
