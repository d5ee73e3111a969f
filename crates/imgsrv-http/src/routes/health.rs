//! Whether the server serves.

use super::problems::ReadProblems;
use crate::{
    extract::MaybeCaller,
    problem::{Code, Problem},
    state::AppState,
};
use axum::{extract::State, http::StatusCode};
use imgsrv_api::FieldError;
use std::time::Duration;
use utoipa_axum::{router::OpenApiRouter, routes};

/// How long a check may take before it counts as failed.
const DEADLINE: Duration = Duration::from_secs(2);

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(healthz)).routes(routes!(readyz))
}

/// Whether the process serves
#[utoipa::path(get, path = "/healthz", operation_id = "getHealth", tag = "health",
    responses((status = NO_CONTENT, description = "It does."), ReadProblems))]
async fn healthz(_caller: MaybeCaller) -> StatusCode {
    StatusCode::NO_CONTENT
}

/// Whether the catalog and the blob store can be read
#[utoipa::path(get, path = "/readyz", operation_id = "getReadiness", tag = "health",
    responses((status = NO_CONTENT, description = "They can."), ReadProblems))]
async fn readyz(State(state): State<AppState>, _caller: MaybeCaller) -> Result<StatusCode, Problem> {
    let adapters = state.services.adapters();
    let (catalog, blobs) = tokio::join!(
        tokio::time::timeout(DEADLINE, adapters.catalog.check()),
        tokio::time::timeout(DEADLINE, adapters.blobs.check()),
    );
    let mut failed = Vec::new();
    let mut note = |field: &str, why: String| {
        tracing::warn!(check = field, why, "not ready");
        failed.push(FieldError { field: field.to_owned(), reason: "cannot be reached".to_owned() });
    };
    match catalog {
        Ok(Ok(())) => {}
        Ok(Err(error)) => note("catalog", error.to_string()),
        Err(slow) => note("catalog", slow.to_string()),
    }
    match blobs {
        Ok(Ok(())) => {}
        Ok(Err(error)) => note("blob store", error.to_string()),
        Err(slow) => note("blob store", slow.to_string()),
    }
    if failed.is_empty() {
        return Ok(StatusCode::NO_CONTENT);
    }
    Err(Problem::new(Code::Unavailable).fields(failed).retry_after(Duration::from_secs(5)))
}
