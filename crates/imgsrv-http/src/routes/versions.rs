//! Versions.

use crate::{
    extract::{Fields, ImagePath, JsonBody, VersionPath, VersionsQuery},
    public_url::Urls,
    response::{manifests::Manifests, page::page_response, problem::Result, wire},
    routes::problems::{BodyProblems, Gone, GuardedProblems, ReadProblems, Taken, WrongState},
    state::AppState,
};
use axum::{
    Json,
    http::{StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use imgsrv_api as api;
use imgsrv_app::{Caller, Drafts, Versions, Writer};
use imgsrv_domain::version::{Version, VersionFilter};
use std::sync::Arc;
use utoipa_axum::{router::OpenApiRouter, routes};

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(get, delete))
}

/// List the versions of an image
///
/// Newest first: published versions by time of publication, others by time of creation. Revoked and removed versions are
/// listed only with `lifecycle`.
#[utoipa::path(get, path = "/v1/images/{name}/versions", operation_id = "listVersions", tag = "versions",
    params(ImagePath, VersionsQuery),
    responses((status = OK, description = "A page of versions.", body = api::VersionList), GuardedProblems))]
async fn list(
    versions: Versions,
    caller: Caller,
    urls: Urls,
    path: Result<ImagePath>,
    query: VersionsQuery,
    uri: Uri,
) -> Result<Response> {
    let filter = query.filter();
    if filter.as_ref().is_ok_and(|filter| *filter != VersionFilter::Published) {
        caller.writer()?;
    }
    let (path, filter, lifecycle) = (path?, filter?, query.lifecycle()?);
    let page = versions.list(&caller, &path.name, filter, lifecycle, &query.page()?).await?;
    let fetched = versions.last_fetches(&caller, &path.name, &page.items).await?;
    let version = |version: &Version| {
        let last_fetched_on = fetched.get(&version.id).map(ToString::to_string);
        api::Version { last_fetched_on, ..wire::version(version, &urls) }
    };
    Ok(page_response(&uri, &page, version, |versions, next_cursor| api::VersionList { versions, next_cursor }))
}

/// Create a draft
#[utoipa::path(post, path = "/v1/images/{name}/versions", operation_id = "createVersion", tag = "versions",
    security(("bearer" = [])), params(ImagePath), request_body = api::CreateVersion,
    responses((status = CREATED, description = "The draft.", body = api::Version), GuardedProblems, BodyProblems, Taken))]
async fn create(
    drafts: Drafts,
    writer: Writer,
    urls: Urls,
    path: ImagePath,
    JsonBody(body): JsonBody<api::CreateVersion>,
) -> Result<Response> {
    let mut fields = Fields::default();
    let name = fields.parse("version", &body.version);
    let name = fields.finish(|| name)?;
    let version = drafts.create(&writer, &path.name, &name).await?;
    let location = [(header::LOCATION, format!("/v1/images/{}/versions/{}", path.name, version.name.in_url()))];
    Ok((StatusCode::CREATED, location, Json(wire::version(&version, &urls))).into_response())
}

/// Read the manifest of a version
#[utoipa::path(get, path = "/v1/images/{name}/versions/{version}", operation_id = "getManifest", tag = "versions", security((), ("bearer" = [])),
    params(VersionPath),
    responses((status = OK, description = "The manifest.", body = api::Manifest), ReadProblems, Gone))]
async fn get(versions: Versions, caller: Caller, manifests: Arc<Manifests>, path: VersionPath) -> Result<Response> {
    manifests.respond(&versions.manifest(&caller, &path.name, &path.version).await?)
}

/// Delete a draft
#[utoipa::path(delete, path = "/v1/images/{name}/versions/{version}", operation_id = "deleteVersion", tag = "versions",
    security(("bearer" = [])), params(VersionPath),
    responses((status = NO_CONTENT, description = "The draft is deleted."), GuardedProblems, WrongState))]
async fn delete(drafts: Drafts, writer: Writer, path: VersionPath) -> Result<StatusCode> {
    drafts.delete(&writer, &path.name, &path.version).await?;
    Ok(StatusCode::NO_CONTENT)
}
