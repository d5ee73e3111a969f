//! Versions by version name or alias.

use crate::{
    extract::RefPath,
    public_url::Urls,
    response::{discouraged::announce, problem::Result, wire},
    routes::problems::{Gone, ReadProblems},
    state::AppState,
};
use axum::{
    Json,
    response::{IntoResponse, Response},
};
use imgsrv_api as api;
use imgsrv_app::{Caller, Versions};
use utoipa_axum::{router::OpenApiRouter, routes};

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(get))
}

/// Read the manifest of a published version, by version or alias
#[utoipa::path(get, path = "/v1/images/{name}/refs/{ref}", operation_id = "getRef", tag = "versions", security((), ("bearer" = [])), params(RefPath),
    responses((status = OK, description = "The manifest.", body = api::Manifest), ReadProblems, Gone))]
async fn get(versions: Versions, caller: Caller, urls: Urls, path: RefPath) -> Result<Response> {
    let manifest = versions.resolve(&caller, &path.name, &path.r#ref).await?;
    let mut response = Json(wire::manifest(&manifest, &urls)).into_response();
    announce(response.headers_mut(), &manifest.version.lifecycle);
    Ok(response)
}
