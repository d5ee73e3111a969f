//! Versions by version name or alias.

use crate::{
    extract::RefPath,
    response::{manifests::Manifests, problem::Result},
    routes::problems::{Gone, ReadProblems},
    state::AppState,
};
use axum::response::Response;
use imgsrv_api as api;
use imgsrv_app::{Caller, Versions};
use std::sync::Arc;
use utoipa_axum::{router::OpenApiRouter, routes};

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(get))
}

/// Read the manifest of a published version, by version or alias
#[utoipa::path(get, path = "/v1/images/{name}/refs/{ref}", operation_id = "getRef", tag = "versions", security((), ("bearer" = [])), params(RefPath),
    responses((status = OK, description = "The manifest.", body = api::Manifest), ReadProblems, Gone))]
async fn get(versions: Versions, caller: Caller, manifests: Arc<Manifests>, path: RefPath) -> Result<Response> {
    manifests.respond(&versions.resolve(&caller, &path.name, &path.r#ref).await?)
}
