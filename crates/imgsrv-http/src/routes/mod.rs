//! The routes, one file per kind of resource.

mod aliases;
mod artifacts;
mod audit;
mod auth;
mod authority;
mod blobs;
mod documents;
mod files;
mod health;
mod images;
mod intakes;
mod lifecycles;
mod links;
pub(crate) mod pages;
mod problems;
mod publishing;
mod refs;
mod retention;
mod rules;
mod streams;
mod system;
mod tus;
mod uploads;
mod versions;

pub use retention::parse_retention;

use crate::{middleware::layers, response::problem, state::AppState};
use axum::{Router, http::Uri};
use problem::{Code, Problem};
use problems::Changed;
use std::collections::BTreeSet;
use utoipa::{
    IntoResponses, Modify, OpenApi,
    openapi::{
        OpenApi as OpenApiDocument, RefOr, Response as OpenApiResponse, Server,
        security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};
use utoipa_axum::router::OpenApiRouter;

/// The document without its paths.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "imgsrv",
        version = "1.0.0",
        description = "imgsrv publishes versioned disk and VM images, and serves them to the machines that boot them.\n\n\
            Every error is `application/problem+json` (RFC 9457). Lists are paged: pass `next_cursor` of one page \
            as `cursor` to get the next.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"),
    ),
    servers((url = "/")),
    tags(
        (name = "uploads", description = "Multipart uploads of content, verified by digest."),
        (name = "blobs", description = "Verified content by digest."),
        (name = "images", description = "Images and their metadata."),
        (name = "versions", description = "Drafts and published versions, with their artifacts and attachments."),
        (name = "lifecycle", description = "Deprecating, revoking, removing, restoring and holding published versions."),
        (name = "retention", description = "Which versions of an image are kept, and what happens to the others."),
        (name = "publishing", description = "Publish jobs."),
        (name = "aliases", description = "Names that point to published versions and can be moved."),
        (name = "files", description = "Files of published versions under readable URLs."),
        (name = "links", description = "URLs with which anybody can download one file for a time."),
        (name = "streams", description = "Simple Streams documents for Incus and LXD."),
        (name = "intake", description = "Publish a version with one request and one tus upload."),
        (name = "auth", description = "Principals, roles, API tokens and provisioning rules for tokens of OIDC issuers."),
        (name = "audit", description = "Log of all changes to content and access."),
        (name = "system", description = "Operation of the server: garbage collection and nodes."),
        (name = "health", description = "Health and readiness checks."),
        (name = "tls", description = "Certificate of the server's own certificate authority."),
        (name = "documents", description = "The OpenAPI document."),
    ),
    components(schemas(imgsrv_api::Problem)),
    modifiers(&Program),
)]
struct Base;

/// The program's version, and the security scheme of all operations that need a permission.
struct Program;

impl Modify for Program {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(
            "An API token (`imgsrv_at_...`), or a JWT of an OIDC issuer that has a provisioning rule.",
        ));
        let description = document.info.description.take().unwrap_or_default();
        let version = env!("CARGO_PKG_VERSION");
        document.info.description = Some(format!("The API of imgsrv {version}. {description}"));
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("bearer", SecurityScheme::Http(bearer.build()));
    }
}

fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::with_openapi(Base::openapi())
        .merge(health::router())
        .merge(documents::router())
        .merge(authority::router())
        .merge(uploads::router())
        .merge(blobs::router())
        .merge(images::router())
        .merge(versions::router())
        .merge(artifacts::router())
        .merge(lifecycles::router())
        .merge(retention::router())
        .merge(publishing::router())
        .merge(aliases::router())
        .merge(refs::router())
        .merge(files::router())
        .merge(links::router())
        .merge(streams::router())
        .merge(auth::router())
        .merge(rules::router())
        .merge(audit::router())
        .merge(system::router())
        .merge(intakes::router())
        .merge(tus::router())
}

/// The routes with their handlers, and their OpenAPI 3.1 document.
fn parts() -> (Router<AppState>, OpenApiDocument) {
    let (routes, mut document) = routes().split_for_parts();
    for operation in document.paths.paths.values_mut().filter_map(|path| path.get.as_mut()) {
        let responses = &mut operation.responses.responses;
        let is_json = matches!(responses.get("200"), Some(RefOr::T(ok)) if ok.content.contains_key("application/json"));
        // The layers add an entity tag to every JSON document.
        if is_json && !responses.contains_key("304") {
            let current = OpenApiResponse::new("The client's copy is up to date.");
            responses.insert("304".to_owned(), RefOr::T(current));
            if let Some(changed) = Changed::responses().remove("412") {
                responses.entry("412".to_owned()).or_insert(changed);
            }
        }
    }
    (routes, document)
}

/// The OpenAPI 3.1 document of the API.
pub fn openapi() -> OpenApiDocument {
    parts().1
}

/// The API over `state`.
pub fn router(state: &AppState) -> Router {
    let (routes, mut document) = parts();
    if let Some(url) = &state.urls.0 {
        document.servers = Some(vec![Server::new(url.to_string())]);
    }
    let mut roots: BTreeSet<String> = document.paths.paths.keys().filter_map(|path| root(path)).collect();
    roots.extend(root(documents::BROWSER));
    roots.extend(pages::ROOTS.map(str::to_owned));
    let routes = routes
        .merge(pages::router())
        .with_state(state.clone())
        .merge(documents::browser(state))
        .layer(axum::Extension(documents::Documents::new(&document)))
        .fallback(|url: Uri| async move { pages::not_found(&url) })
        .method_not_allowed_fallback(|| async { Problem::new(Code::MethodNotAllowed) });
    layers::wrap(routes, roots, state)
}

/// The first segment of a path.
fn root(path: &str) -> Option<String> {
    path.split('/').nth(1).map(str::to_owned)
}
