//! The Simple Streams documents, for Incus and LXD.

use crate::{
    extract::{RemotePath, accepted},
    middleware::credential_guard,
    request,
    response::problem::Result,
    routes::problems::{Changed, ReadProblems},
    state::AppState,
    streams::{Document, RemoteDocuments, StreamDocuments},
};
use axum::{
    extract::State,
    http::{HeaderMap, request::Parts},
    response::Response,
};
use imgsrv_app::{Caller, Denied, Exposure, UseCaseError};
use std::sync::Arc;
use utoipa_axum::{router::OpenApiRouter, routes};

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(index))
        .routes(routes!(images))
        .routes(routes!(remote_index))
        .routes(routes!(remote_images))
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

/// Read the Simple Streams index of a private remote
///
/// `https://HOST/t/{token}` is the URL of a remote for Incus and LXD with all images that the token may read, public ones
/// too. The token must be limited to `content-reader`, or belong to a principal with that role alone. Only over HTTPS. A
/// credential in a header adds nothing: an invalid one is 401, and Basic is 400, because clients also send it in plaintext.
#[utoipa::path(get, path = "/t/{token}/streams/v1/index.json", operation_id = "getRemoteIndex", tag = "streams",
    params(RemotePath),
    responses((status = OK, description = "The index.", content_type = "application/json", body = serde_json::Value),
        (status = 304, description = "The client's copy is up to date."), Changed, ReadProblems))]
async fn remote_index(
    State(state): State<AppState>,
    _caller: Caller,
    remotes: Arc<RemoteDocuments>,
    path: RemotePath,
    request: Parts,
) -> Result<Response> {
    remote(&state, &remotes, Document::Index, &path.token.0, &request).await
}

/// Read the Simple Streams products of a private remote
///
/// The paths of files are links that end within three hours and do not contain the token.
#[utoipa::path(get, path = "/t/{token}/streams/v1/images.json", operation_id = "getRemoteImages", tag = "streams",
    params(RemotePath),
    responses((status = OK, description = "The products.", content_type = "application/json", body = serde_json::Value),
        (status = 304, description = "The client's copy is up to date."), Changed, ReadProblems))]
async fn remote_images(
    State(state): State<AppState>,
    _caller: Caller,
    remotes: Arc<RemoteDocuments>,
    path: RemotePath,
    request: Parts,
) -> Result<Response> {
    remote(&state, &remotes, Document::Images, &path.token.0, &request).await
}

async fn remote(
    state: &AppState,
    remotes: &RemoteDocuments,
    document: Document,
    token: &str,
    request: &Parts,
) -> Result<Response> {
    let auth = state.services.auth();
    let authenticated = auth.authenticate_api_token(token, request::context(&request.extensions)).await;
    let caller = accepted(authenticated, &request.extensions, state)?;
    match remotes.edition(&caller).await {
        Ok(edition) => remotes.respond(document, edition, &request.headers).await,
        Err(error) => {
            if matches!(error, UseCaseError::Denied(Denied::NotReadOnly)) {
                credential_guard::note(&auth, token, Exposure::RemoteUrl, request).await;
            }
            Err(error.into())
        }
    }
}
