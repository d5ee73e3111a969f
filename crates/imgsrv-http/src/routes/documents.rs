//! The OpenAPI document and its browser.

use crate::{middleware::budgeted::AccountedBody, routes::problems::ReadProblems, state::AppState};
use axum::{
    Extension, Router,
    http::header,
    middleware::from_extractor_with_state,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use imgsrv_app::Caller;
use utoipa_axum::{router::OpenApiRouter, routes};
use utoipa_swagger_ui::{Config, SwaggerUi};

/// The OpenAPI document in both formats, rendered once.
#[derive(Clone)]
pub(crate) struct Documents {
    yaml: Bytes,
    json: Bytes,
}

impl Documents {
    pub(crate) fn new(document: &utoipa::openapi::OpenApi) -> Self {
        Self {
            yaml: document.to_yaml().unwrap_or_default().into(),
            json: document.to_pretty_json().unwrap_or_default().into(),
        }
    }
}

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(yaml)).routes(routes!(json))
}

/// The path of the API browser.
pub(crate) const BROWSER: &str = "/docs";

/// The API browser; its assets are in the binary.
pub(crate) fn browser(state: &AppState) -> Router {
    // The validator would be a service on the network.
    let config = Config::from(state.urls.path("/openapi/v1.json")).validator_url("none");
    let pages: Router = SwaggerUi::new(BROWSER).config(config).into();
    pages.route_layer(from_extractor_with_state::<Caller, _>(state.clone()))
}

/// Get the OpenAPI document as YAML
#[utoipa::path(get, path = "/openapi/v1.yaml", operation_id = "getOpenApiYaml", tag = "documents",
    responses((status = OK, description = "OpenAPI 3.1.", content_type = "application/yaml", body = serde_json::Value), ReadProblems))]
async fn yaml(_caller: Caller, Extension(documents): Extension<Documents>) -> Response {
    ([(header::CONTENT_TYPE, "application/yaml")], Extension(AccountedBody), documents.yaml).into_response()
}

/// Get the OpenAPI document as JSON
#[utoipa::path(get, path = "/openapi/v1.json", operation_id = "getOpenApiJson", tag = "documents",
    responses((status = OK, description = "OpenAPI 3.1.", content_type = "application/json", body = serde_json::Value), ReadProblems))]
async fn json(_caller: Caller, Extension(documents): Extension<Documents>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], Extension(AccountedBody), documents.json).into_response()
}
