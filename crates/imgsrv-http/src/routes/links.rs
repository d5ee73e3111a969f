//! Links to files, and downloads by them.

use crate::{
    extract::{ArtifactPath, Fields, ImagePath, JsonBody, LinkPath, Visitor},
    request,
    response::{
        download::{DownloadRequest, NamedBy},
        problem::Result,
        wire,
    },
    routes::problems::{BodyProblems, ByteProblems, Gone, GuardedProblems, ReadProblems, WrongState},
    state::AppState,
};
use axum::{
    Json,
    extract::State,
    http::{Extensions, StatusCode, header},
    response::{IntoResponse, Response},
};
use imgsrv_api as api;
use imgsrv_app::{Caller, Delivery, Links, NewLink, UseCaseError, Writer};
use imgsrv_domain::{
    ids::AttachmentId,
    link::{InvalidLink, MAX_LINK_TTL},
    names::UrlSegment,
    retention::Span,
};
use std::time::Duration;
use utoipa_axum::{router::OpenApiRouter, routes};

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(create)).routes(routes!(revoke)).routes(routes!(open))
}

/// Make a link to a file
///
/// Anybody who has the URL can download the file of a published version until the link ends, without a token. It ends at the
/// latest with the API token that made it (`expires_at` of the response says when), and at once when that token is revoked,
/// when the provisioning rule that admitted a token of another issuer no longer grants the role on the image, when the
/// principal may no longer read the image, when all links of the image are revoked, or when the key of links is replaced.
/// Over plain HTTP, links are refused where the server has HTTPS.
#[utoipa::path(post, path = "/v1/images/{name}/versions/{version}/artifacts/{artifact_id}/links",
    operation_id = "createLink", tag = "links", security(("bearer" = [])), params(ArtifactPath),
    request_body = api::CreateLink,
    responses((status = CREATED, description = "The link.", body = api::Link), GuardedProblems, BodyProblems, Gone,
        WrongState))]
async fn create(
    links: Links,
    writer: Writer,
    path: ArtifactPath,
    visitor: Visitor,
    JsonBody(body): JsonBody<api::CreateLink>,
) -> Result<Response> {
    let mut fields = Fields::default();
    let ttl = fields.parse::<Span>("ttl", &body.ttl).map(|ttl| ttl.0);
    if ttl.is_some_and(|ttl| ttl == Duration::ZERO || ttl > MAX_LINK_TTL) {
        fields.reject("ttl", "must be at least 1s and at most 7d");
    }
    let attachment = fields.optional::<AttachmentId>("attachment_id", body.attachment_id.as_deref());
    let (ttl, attachment) = fields.finish(|| Some((ttl?, attachment?)))?;
    let made = links.create(&writer, &path.name, &path.version, path.artifact_id, attachment, ttl).await?;
    let NewLink { capability, file_name, expires_at } = made;
    let url = visitor.url(&format!("/f/{capability}/{}", UrlSegment(&file_name)));
    let headers = [(header::CACHE_CONTROL, "no-store")];
    let link = api::Link { url, expires_at: wire::time(expires_at) };
    Ok((StatusCode::CREATED, headers, Json(link)).into_response())
}

/// Revoke all links to the files of an image
///
/// They are refused from the next request on. Private Incus remotes get new ones with their next document. Links cannot be
/// revoked one by one.
#[utoipa::path(post, path = "/v1/images/{name}/links/revoke", operation_id = "revokeLinks", tag = "links",
    security(("bearer" = [])), params(ImagePath),
    responses((status = NO_CONTENT, description = "No link to a file of the image is valid."), GuardedProblems))]
async fn revoke(links: Links, writer: Writer, path: ImagePath) -> Result<StatusCode> {
    links.revoke(&writer, &path.name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Download a file by a link
///
/// Supports `HEAD`, `Range` with up to 20 ranges, `If-Range`, `If-Match`, `If-Unmodified-Since`, `If-None-Match` and
/// `If-Modified-Since`. A link that is not valid, for whatever reason, is 404. A credential adds nothing to the link, and one
/// that is not valid is 401.
#[utoipa::path(get, path = "/f/{capability}/{file}", operation_id = "getLinkedFile", tag = "links", params(LinkPath),
    responses((status = OK, description = "The content.", content_type = "*/*", body = serde_json::Value),
        ReadProblems, Gone, ByteProblems))]
async fn open(
    State(state): State<AppState>,
    _caller: Caller,
    links: Links,
    delivery: Delivery,
    path: LinkPath,
    download: DownloadRequest,
    extensions: Extensions,
) -> Result<Response> {
    let opened = links.open(&path.capability.0, &path.file.0, request::context(&extensions)).await;
    if let Err(UseCaseError::Link(InvalidLink::NotAuthentic)) = &opened {
        // A guess, which costs as much as a failed bearer does.
        state.failed_bearers.count(&extensions)?;
    }
    let found = opened.map_err(|error| download.report(error.into()))?;
    let response = download.respond(&delivery, &found, NamedBy::Link).await;
    response.map_err(|problem| download.report(problem))
}
