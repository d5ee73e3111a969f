//! Artifacts and attachments.

use crate::{
    extract::{ArtifactPath, AttachmentPath, Fields, JsonBody, PageQuery, Rfc3339, VersionPath},
    response::{
        download::{DownloadRequest, NamedBy},
        page::{page_response, slice},
        problem::Result,
        wire,
    },
    routes::problems::{BodyProblems, ByteProblems, Gone, GuardedProblems, ReadProblems, Taken, WrongState},
    state::AppState,
};
use axum::{
    Json,
    http::{StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use imgsrv_api as api;
use imgsrv_app::{
    Caller, Delivery, Drafts, IncusMetadata, Missing, NewArtifact, NewAttachment, NewIncusMetadata, UseCaseError,
    Versions, Writer,
};
use imgsrv_domain::manifest::ManifestEntry;
use std::collections::BTreeMap;
use utoipa_axum::{router::OpenApiRouter, routes};

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(get, delete))
        .routes(routes!(download))
        .routes(routes!(create_attachment))
        .routes(routes!(create_incus_metadata))
        .routes(routes!(delete_attachment))
        .routes(routes!(download_attachment))
}

/// List the artifacts of a version
#[utoipa::path(get, path = "/v1/images/{name}/versions/{version}/artifacts", operation_id = "listArtifacts",
    tag = "versions", security((), ("bearer" = [])), params(VersionPath, PageQuery),
    responses((status = OK, description = "A page of artifacts.", body = api::ArtifactList), ReadProblems, Gone))]
async fn list(versions: Versions, caller: Caller, path: VersionPath, query: PageQuery, uri: Uri) -> Result<Response> {
    let manifest = versions.manifest(&caller, &path.name, &path.version).await?;
    let page = slice(&manifest.entries, &query.page()?, |entry| entry.artifact.id.to_string())?;
    let artifact = |entry: &&ManifestEntry| wire::entry(entry, &manifest);
    Ok(page_response(&uri, &page, artifact, |artifacts, next_cursor| api::ArtifactList { artifacts, next_cursor }))
}

/// Add an artifact to a draft
///
/// The blob can be uploaded later.
#[utoipa::path(post, path = "/v1/images/{name}/versions/{version}/artifacts", operation_id = "createArtifact",
    tag = "versions", security(("bearer" = [])), params(VersionPath), request_body = api::CreateArtifact,
    responses((status = CREATED, description = "The artifact.", body = api::Artifact),
        GuardedProblems, BodyProblems, Taken, WrongState))]
async fn create(
    drafts: Drafts,
    writer: Writer,
    path: VersionPath,
    JsonBody(body): JsonBody<api::CreateArtifact>,
) -> Result<Response> {
    let mut fields = Fields::default();
    let variant = fields.optional("variant", body.variant.as_deref());
    let operating_system = fields.parse("operating_system", &body.operating_system);
    let architecture = fields.parse("architecture", &body.architecture);
    let format = fields.parse("format", &body.format);
    let primary = fields.claim("primary_blob", &body.primary_blob_digest, body.primary_blob_size_bytes);
    let media_type = fields.parse("primary_media_type", &body.primary_media_type);
    let new = fields.finish(|| {
        Some(NewArtifact {
            variant: variant?.unwrap_or_default(),
            operating_system: operating_system?,
            architecture: architecture?,
            format: format?,
            primary: primary?,
            media_type: media_type?,
        })
    })?;
    let artifact = drafts.add_artifact(&writer, &path.name, &path.version, new).await?;
    let url = format!("/v1/images/{}/versions/{}/artifacts/{}", path.name, path.version.in_url(), artifact.id);
    Ok((StatusCode::CREATED, [(header::LOCATION, url)], Json(wire::artifact(&artifact, None))).into_response())
}

/// Read an artifact
#[utoipa::path(get, path = "/v1/images/{name}/versions/{version}/artifacts/{artifact_id}", operation_id = "getArtifact",
    tag = "versions", security((), ("bearer" = [])), params(ArtifactPath),
    responses((status = OK, description = "The artifact.", body = api::Artifact), ReadProblems, Gone))]
async fn get(versions: Versions, caller: Caller, path: ArtifactPath) -> Result<Json<api::Artifact>> {
    let manifest = versions.manifest(&caller, &path.name, &path.version).await?;
    let found = manifest.entries.iter().find(|entry| entry.artifact.id == path.artifact_id);
    let entry = found.ok_or_else(|| {
        UseCaseError::NotFound(Missing::Artifact(path.name.clone(), path.version.clone(), path.artifact_id))
    })?;
    Ok(Json(wire::entry(entry, &manifest)))
}

/// Remove an artifact from a draft
///
/// Its attachments are removed as well.
#[utoipa::path(delete, path = "/v1/images/{name}/versions/{version}/artifacts/{artifact_id}",
    operation_id = "deleteArtifact", tag = "versions", security(("bearer" = [])), params(ArtifactPath),
    responses((status = NO_CONTENT, description = "It is removed."), GuardedProblems, WrongState))]
async fn delete(drafts: Drafts, writer: Writer, path: ArtifactPath) -> Result<StatusCode> {
    drafts.remove_artifact(&writer, &path.name, &path.version, path.artifact_id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Download an artifact of a published version
///
/// Supports `HEAD`, `Range` with up to 20 ranges, `If-Range`, `If-Match`, `If-Unmodified-Since`, `If-None-Match` and
/// `If-Modified-Since`.
#[utoipa::path(get, path = "/v1/images/{name}/versions/{version}/artifacts/{artifact_id}/download",
    operation_id = "downloadArtifact", tag = "versions", security((), ("bearer" = [])), params(ArtifactPath),
    responses((status = OK, description = "The content, as `primary_media_type`.", content_type = "*/*", body = serde_json::Value),
        ReadProblems, Gone, ByteProblems))]
async fn download(
    delivery: Delivery,
    caller: Caller,
    path: ArtifactPath,
    request: DownloadRequest,
) -> Result<Response> {
    let download = delivery.file(&caller, &path.name, &path.version, path.artifact_id, None).await?;
    request.respond(&delivery, &download, NamedBy::Version).await
}

/// Attach a file to an artifact of a draft
///
/// For example a signature, an SBOM or Incus metadata. The blob can be uploaded later.
#[utoipa::path(post, path = "/v1/images/{name}/versions/{version}/artifacts/{artifact_id}/attachments",
    operation_id = "createAttachment", tag = "versions", security(("bearer" = [])), params(ArtifactPath),
    request_body = api::CreateAttachment,
    responses((status = CREATED, description = "The attachment.", body = api::Attachment),
        GuardedProblems, BodyProblems, Taken, WrongState))]
async fn create_attachment(
    drafts: Drafts,
    writer: Writer,
    path: ArtifactPath,
    JsonBody(body): JsonBody<api::CreateAttachment>,
) -> Result<(StatusCode, Json<api::Attachment>)> {
    let mut fields = Fields::default();
    let name = fields.parse("name", &body.name);
    let media_type = fields.parse("media_type", &body.media_type);
    let blob = fields.claim("blob", &body.blob_digest, body.blob_size_bytes);
    let new = fields.finish(|| Some(NewAttachment { name: name?, media_type: media_type?, blob: blob? }))?;
    let attachment = drafts.add_attachment(&writer, &path.name, &path.version, path.artifact_id, new).await?;
    Ok((StatusCode::CREATED, Json(wire::attachment(&attachment))))
}

/// Generate the metadata of an Incus image for an artifact of a draft
///
/// The metadata is generated from the fields of the artifact and of the body, stored as a blob, and attached as
/// `incus.tar.xz`. The same request always generates the same content.
#[utoipa::path(post, path = "/v1/images/{name}/versions/{version}/artifacts/{artifact_id}/incus-metadata",
    operation_id = "createIncusMetadata", tag = "versions", security(("bearer" = [])), params(ArtifactPath),
    request_body = api::CreateIncusMetadata,
    responses((status = CREATED, description = "The attachment.", body = api::Attachment),
        GuardedProblems, BodyProblems, Taken, WrongState))]
async fn create_incus_metadata(
    metadata: IncusMetadata,
    writer: Writer,
    path: ArtifactPath,
    JsonBody(body): JsonBody<api::CreateIncusMetadata>,
) -> Result<(StatusCode, Json<api::Attachment>)> {
    let mut fields = Fields::default();
    let description = fields.optional("description", body.description.as_deref());
    let os = fields.optional("os", body.os.as_deref());
    let release = fields.optional("release", body.release.as_deref());
    let expires_at = fields.optional::<Rfc3339>("expires_at", body.expires_at.as_deref());
    let properties: Option<BTreeMap<_, _>> = body
        .properties
        .iter()
        .map(|(name, value)| Some((fields.parse("properties", name)?, fields.parse("properties", value)?)))
        .collect();
    let new = fields.finish(|| {
        Some(NewIncusMetadata {
            description: description?,
            os: os?,
            release: release?,
            expires_at: expires_at?.map(|time| time.0),
            properties: properties?,
        })
    })?;
    let ArtifactPath { name, version, artifact_id } = path;
    let attachment = metadata.attach(&writer, &name, &version, artifact_id, new).await?;
    Ok((StatusCode::CREATED, Json(wire::attachment(&attachment))))
}

/// Remove an attachment from an artifact of a draft
#[utoipa::path(delete,
    path = "/v1/images/{name}/versions/{version}/artifacts/{artifact_id}/attachments/{attachment_id}",
    operation_id = "deleteAttachment", tag = "versions", security(("bearer" = [])), params(AttachmentPath),
    responses((status = NO_CONTENT, description = "It is removed."), GuardedProblems, WrongState))]
async fn delete_attachment(drafts: Drafts, writer: Writer, path: AttachmentPath) -> Result<StatusCode> {
    let AttachmentPath { name, version, artifact_id, attachment_id } = path;
    drafts.remove_attachment(&writer, &name, &version, artifact_id, attachment_id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Download an attachment of a published version
///
/// Supports `HEAD`, `Range` with up to 20 ranges, `If-Range`, `If-Match`, `If-Unmodified-Since`, `If-None-Match` and
/// `If-Modified-Since`.
#[utoipa::path(get,
    path = "/v1/images/{name}/versions/{version}/artifacts/{artifact_id}/attachments/{attachment_id}/download",
    operation_id = "downloadAttachment", tag = "versions", security((), ("bearer" = [])), params(AttachmentPath),
    responses((status = OK, description = "The content, as `media_type`.", content_type = "*/*", body = serde_json::Value),
        ReadProblems, Gone, ByteProblems))]
async fn download_attachment(
    delivery: Delivery,
    caller: Caller,
    path: AttachmentPath,
    request: DownloadRequest,
) -> Result<Response> {
    let AttachmentPath { name, version, artifact_id, attachment_id } = path;
    let download = delivery.file(&caller, &name, &version, artifact_id, Some(attachment_id)).await?;
    request.respond(&delivery, &download, NamedBy::Version).await
}
