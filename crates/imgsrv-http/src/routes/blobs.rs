//! Blobs.

use crate::{
    extract::{BlobPath, CasPath, PageQuery},
    public_url::Urls,
    response::{
        download::{DownloadRequest, NamedBy},
        page::page_response,
        problem::{Code, Problem, Result},
        wire,
    },
    routes::problems::{ByteProblems, Gone, GuardedProblems, ReadProblems},
    state::AppState,
};
use axum::{http::Uri, response::Response};
use imgsrv_api as api;
use imgsrv_app::{Blocks, Caller, ContentAdmin, Delivery};
use imgsrv_domain::version::Version;
use utoipa_axum::{router::OpenApiRouter, routes};

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(get)).routes(routes!(versions)).routes(routes!(get_sharded))
}

/// Download a blob
///
/// Blobs of published versions are public; other blobs require `content.write`. Supports `HEAD`, `Range` with up
/// to 20 ranges, `If-Range`, `If-Match`, `If-Unmodified-Since`, `If-None-Match` and `If-Modified-Since`.
#[utoipa::path(get, path = "/v1/blobs/{digest}", operation_id = "getBlob", tag = "blobs", security((), ("bearer" = [])), params(BlobPath),
    responses((status = OK, description = "The content.", content_type = "*/*", body = serde_json::Value),
        ReadProblems, Gone, ByteProblems))]
async fn get(delivery: Delivery, caller: Caller, path: BlobPath, request: DownloadRequest) -> Result<Response> {
    let download = delivery.blob(&caller, &path.digest).await?;
    request.respond(&delivery, &download, NamedBy::Digest).await
}

/// List the published versions that have a digest
///
/// Tombstones are left out. Requires `content.retire`.
#[utoipa::path(get, path = "/v1/blobs/{digest}/versions", operation_id = "listVersionsOfBlob", tag = "blobs",
    security(("bearer" = [])), params(BlobPath, PageQuery),
    responses((status = OK, description = "A page of versions.", body = api::VersionOfImageList), GuardedProblems))]
async fn versions(
    blocks: Blocks,
    admin: ContentAdmin,
    urls: Urls,
    path: BlobPath,
    query: PageQuery,
    uri: Uri,
) -> Result<Response> {
    let page = blocks.versions_of(&admin, &path.digest, &query.page()?).await?;
    let version = |version: &Version| api::VersionOfImage {
        image_name: version.image.to_string(),
        version: wire::version(version, &urls),
    };
    Ok(page_response(&uri, &page, version, |versions, next_cursor| api::VersionOfImageList { versions, next_cursor }))
}

/// Download a blob by a path with the algorithm
///
/// Returns the same content as the URL with the digest. Responds with 404 if the first two digits are not those of the
/// digest.
#[utoipa::path(get, path = "/cas/sha256/{shard}/{hex}", operation_id = "getCasBlob", tag = "blobs", params(CasPath),
    responses((status = OK, description = "The content.", content_type = "*/*", body = serde_json::Value),
        ReadProblems, Gone, ByteProblems))]
async fn get_sharded(delivery: Delivery, caller: Caller, path: CasPath, request: DownloadRequest) -> Result<Response> {
    let digest = path.hex.0;
    if !digest.hex().starts_with(&path.shard.0) {
        return Err(Problem::new(Code::NotFound).detail(format!(
            "{} is not the first two digits of {digest}; they are {}",
            path.shard.0,
            &digest.hex()[..2]
        )));
    }
    get(delivery, caller, BlobPath { digest }, request).await
}
