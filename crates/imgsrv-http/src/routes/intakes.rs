//! Intakes: publishing a version with one request and one tus upload.

use crate::{
    extract::{Fields, IdempotencyKey, IntakePath, JsonBody},
    middleware::canonical_path::TUS_CREATION_PATH,
    public_url::Urls,
    response::{problem::Result, wire},
    routes::{
        problems::{BodyProblems, GuardedProblems, Taken, WrongState},
        tus::protocol::metadata,
    },
    state::AppState,
};
use axum::{
    Json,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use imgsrv_api as api;
use imgsrv_app::{Intakes, Writer};
use imgsrv_domain::{intake::NewIntake, names::Variant};
use utoipa_axum::{router::OpenApiRouter, routes};

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(create)).routes(routes!(get))
}

/// Create an intake
///
/// Describes the version to publish. Then upload the content with tus. Once all bytes are received, the server
/// publishes the version and moves the aliases.
///
/// With an `Idempotency-Key`, a repeated request creates no further intake: the response is that of the first one. Keys
/// are scoped to the caller, shared with `POST /v1/uploads`, and kept as long as the upload session.
#[utoipa::path(post, path = "/api/images", operation_id = "createIntake", tag = "intake",
    security(("bearer" = [])), params(IdempotencyKey), request_body = api::CreateIntake,
    responses((status = CREATED, description = "The intake is ready for the upload.", body = api::IntakeCreated),
        (status = 422, description = "The key was used for a different request.", body = api::Problem, content_type = "application/problem+json"),
        GuardedProblems, BodyProblems, Taken, WrongState))]
async fn create(
    intakes: Intakes,
    writer: Writer,
    urls: Urls,
    IdempotencyKey(key): IdempotencyKey,
    JsonBody(body): JsonBody<api::CreateIntake>,
) -> Result<Response> {
    let mut fields = Fields::default();
    let image = fields.parse("image", &body.image);
    let version = fields.parse("version", &body.version);
    let operating_system = fields.parse("operating_system", &body.operating_system);
    let architecture = fields.parse("architecture", &body.architecture);
    let variant = fields.optional("variant", body.variant.as_deref());
    let format = body.format.as_deref().unwrap_or("qcow2");
    let media_type = body.media_type.as_deref().unwrap_or_else(|| api::usual_media_type(format));
    let media_type = fields.parse("media_type", media_type);
    let format = fields.parse("format", format);
    let size = fields.convert("size_bytes", body.size_bytes);
    let digest = fields.optional("expected_digest", body.expected_digest.as_deref());
    let mut aliases = Vec::with_capacity(body.aliases.len());
    for (at, alias) in body.aliases.iter().enumerate() {
        let alias = fields.parse(format!("aliases[{at}]"), alias);
        aliases.extend(alias.filter(|alias| !aliases.contains(alias)));
    }
    let (new, size, digest) = fields.finish(|| {
        let new = NewIntake {
            image: image?,
            version: version?,
            operating_system: operating_system?,
            architecture: architecture?,
            variant: variant?.unwrap_or_else(Variant::default),
            format: format?,
            media_type: media_type?,
            aliases,
        };
        Some((new, size?, digest?))
    })?;
    let intake = intakes.create(&writer, new, size, digest, key.as_ref()).await?;
    let id = intake.id.to_string();
    let location = [(header::LOCATION, format!("/api/uploads/{id}"))];
    let tus = api::TusUpload { creation_url: urls.absolute(TUS_CREATION_PATH), upload_metadata: metadata(intake.id) };
    Ok((StatusCode::CREATED, location, Json(api::IntakeCreated { upload_session_id: id, tus })).into_response())
}

/// Show the progress of an intake
///
/// An intake is visible only to the principal that created it.
#[utoipa::path(get, path = "/api/uploads/{upload_session_id}", operation_id = "getIntake", tag = "intake",
    security(("bearer" = [])), params(IntakePath),
    responses((status = OK, description = "The progress of the intake.", body = api::IntakeStatus), GuardedProblems))]
async fn get(intakes: Intakes, writer: Writer, urls: Urls, path: IntakePath) -> Result<Json<api::IntakeStatus>> {
    let status = intakes.get(&writer, path.upload_session_id).await?;
    Ok(Json(wire::intake(&status, &urls)))
}
