//! The Simple Streams documents, for Incus and LXD.

use crate::{
    response::problem::Result,
    routes::problems::{Changed, ReadProblems},
    state::AppState,
    streams::{Document, StreamDocuments},
};
use axum::{http::HeaderMap, response::Response};
use imgsrv_app::Caller;
use std::sync::Arc;
use utoipa_axum::{router::OpenApiRouter, routes};

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(index)).routes(routes!(images))
}

/// Read the Simple Streams index
///
/// It refers to the products document. Supports `HEAD` and the content encodings `zstd` and `gzip`.
#[utoipa::path(get, path = "/streams/v1/index.json", operation_id = "getStreamsIndex", tag = "streams",
    responses((status = OK, description = "The index.", content_type = "application/json", body = serde_json::Value),
        (status = 304, description = "The client's copy is up to date."), Changed, ReadProblems))]
async fn index(documents: Arc<StreamDocuments>, _caller: Caller, headers: HeaderMap) -> Result<Response> {
    documents.respond(Document::Index, &headers).await
}

/// Read the Simple Streams products
///
/// Contains a product for each published artifact with valid Incus metadata, attached as `incus.tar.xz` or in itself (a
/// unified image), with the current aliases. Supports `HEAD` and the content encodings `zstd` and `gzip`.
#[utoipa::path(get, path = "/streams/v1/images.json", operation_id = "getStreamsImages", tag = "streams",
    responses((status = OK, description = "The products.", content_type = "application/json", body = serde_json::Value),
        (status = 304, description = "The client's copy is up to date."), Changed, ReadProblems))]
async fn images(documents: Arc<StreamDocuments>, _caller: Caller, headers: HeaderMap) -> Result<Response> {
    documents.respond(Document::Images, &headers).await
}
