//! Health and readiness.

use crate::{
    degradation::Degradation,
    readiness::Readiness,
    response::problem::{Code, Problem, Result},
    routes::problems::ReadProblems,
    state::AppState,
};
use axum::{
    http::StatusCode,
    response::{IntoResponse, Response},
};
use imgsrv_api::FieldError;
use imgsrv_app::Caller;
use imgsrv_domain::ports::Unwritable;
use std::{sync::Arc, time::Duration};
use utoipa_axum::{router::OpenApiRouter, routes};

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(healthz)).routes(routes!(readyz))
}

/// Check whether the server is running
#[utoipa::path(get, path = "/healthz", operation_id = "getHealth", tag = "health",
    responses((status = NO_CONTENT, description = "It is running."), ReadProblems))]
async fn healthz(_caller: Caller) -> StatusCode {
    StatusCode::NO_CONTENT
}

/// Check whether the catalog and the blob store can be read
///
/// The problem names each failed check. A full or read-only disk does not make the server unready, because reads work;
/// the header `Imgsrv-Degraded` then shows why writes are refused. A server that is being stopped is not ready during
/// `--shutdown-delay`, although it serves requests. The result can be up to one second old.
#[utoipa::path(get, path = "/readyz", operation_id = "getReadiness", tag = "health",
    responses((status = NO_CONTENT, description = "Both can be read.", headers(
        ("imgsrv-degraded" = String, description = "Why writes are refused, if they are: `storage-full`, \
            `storage-read-only`, or both, separated by a comma and a space")
    )), ReadProblems))]
async fn readyz(readiness: Arc<Readiness>, degradation: Arc<Degradation>, _caller: Caller) -> Result<Response> {
    if degradation.is_stopping() {
        let stopping = FieldError { field: "server".to_owned(), reason: "is stopping".to_owned() };
        return Err(Problem::new(Code::Unavailable).fields(vec![stopping]).retry_after(Duration::from_secs(5)));
    }
    let failures = readiness.failures().await;
    if failures.is_empty() {
        let reasons: Vec<_> = degradation.reasons().into_iter().map(Unwritable::as_str).collect();
        let ready = StatusCode::NO_CONTENT;
        if reasons.is_empty() {
            return Ok(ready.into_response());
        }
        return Ok((ready, [("imgsrv-degraded", reasons.join(", "))]).into_response());
    }
    Err(Problem::new(Code::Unavailable).fields(failures).retry_after(Duration::from_secs(5)))
}
