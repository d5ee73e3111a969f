//! Blobs.

use super::problems::{ByteProblems, ReadProblems};
use crate::{
    bytes::{Address, serve},
    extract::{BlobPath, MaybeCaller},
    problem::Problem,
    state::AppState,
};
use axum::{
    extract::State,
    http::{HeaderMap, Method},
    response::Response,
};
use utoipa_axum::{router::OpenApiRouter, routes};

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(get))
}

/// Download a blob
///
/// Anybody may have a blob that a published version refers to; `content.write` may have every trusted one. Takes
/// `Range` with one range, `If-Range`, `If-None-Match` and `If-Modified-Since`. `HEAD` works as well.
#[utoipa::path(get, path = "/v1/blobs/{digest}", operation_id = "getBlob", tag = "blobs", params(BlobPath),
    responses((status = OK, description = "The bytes.", content_type = "application/octet-stream", body = String),
        (status = 206, description = "A range of the bytes.", content_type = "application/octet-stream", body = String),
        ReadProblems, ByteProblems))]
async fn get(
    State(state): State<AppState>,
    MaybeCaller(caller): MaybeCaller,
    path: BlobPath,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let download = state.services.delivery().blob(&caller, &path.digest).await?;
    serve(&state, &method, &headers, &download, Address::Digest).await
}
