//! The routes, one file per kind of resource.

mod aliases;
mod artifacts;
mod audit;
mod auth;
mod blobs;
mod documents;
mod files;
mod health;
mod images;
mod intakes;
mod problems;
mod publishing;
mod refs;
mod rules;
mod streams;
mod tus;
mod uploads;
mod versions;

use crate::{middleware::layers, response::problem, state::AppState};
use axum::Router;
use problem::{Code, Problem};
use utoipa::{
    OpenApi,
    openapi::{
        ComponentsBuilder, InfoBuilder, LicenseBuilder, OpenApiBuilder, ServerBuilder,
        security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
        tag::TagBuilder,
    },
};
use utoipa_axum::router::OpenApiRouter;

#[derive(OpenApi)]
#[openapi(components(schemas(imgsrv_api::Problem)))]
struct SharedSchemas;

fn base() -> utoipa::openapi::OpenApi {
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some("An API token (`imgsrv_at_...`), or a JWT of an issuer that a provisioning rule names."))
        .build();
    let license = LicenseBuilder::new().name("MIT OR Apache-2.0").identifier(Some("MIT OR Apache-2.0")).build();
    let info = InfoBuilder::new()
        .title("imgsrv")
        .version("1.0.0")
        .description(Some(
            "Publishes disk and VM images, and hands them to the machines that boot them.\n\n\
             Every error is `application/problem+json` (RFC 9457). Lists are paged: pass `next_cursor` of one page \
             as `cursor` to get the next.",
        ))
        .contact(None::<utoipa::openapi::Contact>)
        .license(Some(license))
        .build();
    let tag = |(name, what)| TagBuilder::new().name(name).description(Some(what)).build();
    let tags = [
        ("uploads", "Bytes on their way in: claimed, received in parts, verified."),
        ("blobs", "Verified bytes by digest."),
        ("images", "Named lines of versions."),
        ("versions", "Drafts and published versions, and what they are made of."),
        ("publishing", "The durable jobs that publish."),
        ("aliases", "Names that move between published versions."),
        ("files", "Published versions as folders of files, for tools that fetch by URL."),
        ("streams", "Published versions as Incus and LXD list them."),
        ("intake", "A version in one request: what it is first, then its bytes by tus."),
        ("auth", "Principals, roles, API tokens, and whose tokens of other issuers are admitted."),
        ("audit", "Who changed what."),
        ("health", "Whether the server serves."),
        ("documents", "This contract."),
    ];
    let mut document = OpenApiBuilder::new()
        .info(info)
        .servers(Some([ServerBuilder::new().url("/").build()]))
        .tags(Some(tags.map(tag)))
        .components(Some(ComponentsBuilder::new().security_scheme("bearer", SecurityScheme::Http(bearer)).build()))
        .build();
    document.merge(SharedSchemas::openapi());
    document
}

fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::with_openapi(base())
        .merge(health::router())
        .merge(documents::router())
        .merge(uploads::router())
        .merge(blobs::router())
        .merge(images::router())
        .merge(versions::router())
        .merge(artifacts::router())
        .merge(publishing::router())
        .merge(aliases::router())
        .merge(refs::router())
        .merge(files::router())
        .merge(streams::router())
        .merge(auth::router())
        .merge(rules::router())
        .merge(audit::router())
        .merge(intakes::router())
        .merge(tus::router())
}

/// The OpenAPI 3.1 document of the API.
pub fn openapi() -> utoipa::openapi::OpenApi {
    routes().split_for_parts().1
}

/// The API over `state`.
pub fn router(state: &AppState) -> Router {
    let (routes, document) = routes().split_for_parts();
    let routes = routes
        .with_state(state.clone())
        .merge(documents::browser(state))
        .layer(axum::Extension(documents::Documents::new(&document)))
        .fallback(|| async { Problem::new(Code::NotFound) })
        .method_not_allowed_fallback(|| async { Problem::new(Code::MethodNotAllowed) });
    layers::wrap(routes, state)
}
