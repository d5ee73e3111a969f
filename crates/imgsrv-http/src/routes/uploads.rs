//! Uploads.

use crate::{
    extract::{Fields, IdempotencyKey, JsonBody, PageQuery, PartPath, UploadPath, UploadsQuery, part_body},
    receive_slots::ReceiveSlots,
    response::{
        page::page_response,
        problem::{Problem, Result},
        wire,
    },
    routes::problems::{BodyProblems, GuardedProblems, Taken, WrongState},
    state::AppState,
};
use axum::{
    Json,
    body::Body,
    http::{HeaderMap, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use imgsrv_api as api;
use imgsrv_app::{Uploads, Writer};
use imgsrv_domain::{
    names::PartNumber,
    page::{Cursor, Page},
    parts::ListedPart,
    upload::NewUpload,
};
use utoipa_axum::{router::OpenApiRouter, routes};

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(create, list))
        .routes(routes!(get))
        .routes(routes!(put_part))
        .routes(routes!(list_parts))
        .routes(routes!(complete))
        .routes(routes!(abort))
}

/// Create an upload session
///
/// If the server already has a blob with this digest and size, the session is `ready` and there is nothing to upload.
///
/// With an `Idempotency-Key`, a repeated request creates no further session: the response has the status of the first
/// one and the current state of the session. Keys are scoped to the caller and kept as long as the session.
#[utoipa::path(post, path = "/v1/uploads", operation_id = "createUpload", tag = "uploads",
    security(("bearer" = [])), params(IdempotencyKey), request_body = api::CreateUpload,
    responses((status = CREATED, description = "The session is ready for parts.", body = api::UploadSession),
        (status = OK, description = "The server already has the blob.", body = api::UploadSession),
        (status = 422, description = "The key was used for a different request.", body = api::Problem, content_type = "application/problem+json"),
        GuardedProblems, BodyProblems, Taken, WrongState))]
async fn create(
    uploads: Uploads,
    writer: Writer,
    IdempotencyKey(key): IdempotencyKey,
    JsonBody(body): JsonBody<api::CreateUpload>,
) -> Result<Response> {
    let mut fields = Fields::default();
    let claim = fields.claim("expected", &body.expected_digest, body.expected_size_bytes);
    let media_type = fields.optional("media_type_hint", body.media_type_hint.as_deref());
    let filename = fields.optional("filename_hint", body.filename_hint.as_deref());
    let new = || Some(NewUpload { claim: claim?, media_type_hint: media_type?, filename_hint: filename? });
    let new = fields.finish(new)?;
    let session = uploads.create(&writer, new, key.as_ref()).await?;
    let status = if session.was_ready_at_once() { StatusCode::OK } else { StatusCode::CREATED };
    let location = [(header::LOCATION, format!("/v1/uploads/{}", session.id))];
    Ok((status, location, Json(wire::upload(&session))).into_response())
}

/// List open upload sessions
///
/// Newest first: those of the caller, or with `all=true` those of every principal, which requires `content.retire` on
/// every image. A client that was interrupted can find the session to resume by its digest.
#[utoipa::path(get, path = "/v1/uploads", operation_id = "listUploads", tag = "uploads",
    security(("bearer" = [])), params(UploadsQuery),
    responses((status = OK, description = "A page of sessions.", body = api::UploadList), GuardedProblems))]
async fn list(uploads: Uploads, writer: Writer, query: UploadsQuery, uri: Uri) -> Result<Response> {
    let (digest, all) = (query.digest()?, query.all()?);
    let page = uploads.open(&writer, all, digest.as_ref(), &query.page()?).await?;
    Ok(page_response(&uri, &page, wire::upload, |uploads, next_cursor| api::UploadList { uploads, next_cursor }))
}

/// Read an upload session
#[utoipa::path(get, path = "/v1/uploads/{upload_id}", operation_id = "getUpload", tag = "uploads",
    security(("bearer" = [])), params(UploadPath),
    responses((status = OK, description = "The session.", body = api::UploadSession), GuardedProblems))]
async fn get(uploads: Uploads, writer: Writer, path: UploadPath) -> Result<Json<api::UploadSession>> {
    let session = uploads.get(&writer, path.upload_id).await?;
    Ok(Json(wire::upload(&session)))
}

/// Upload a part
///
/// A part can be replaced by another upload with the same number until the upload is completed. The response is sent
/// once the part is durable. An incomplete body does not change an earlier part of that number.
#[utoipa::path(put, path = "/v1/uploads/{upload_id}/parts/{part_number}", operation_id = "putUploadPart", tag = "uploads",
    security(("bearer" = [])),
    params(PartPath, ("Content-Digest" = Option<String>, Header, nullable = false, pattern = r"^(sha-256=:[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=:)?$", description = "`sha-256=:<base64>:` (RFC 9530), which the server verifies.")),
    request_body(content = Option<String>, content_type = "application/octet-stream", description = "The content of the part; it can be empty."),
    responses((status = OK, description = "The part was accepted.", body = api::AcceptedPart),
        GuardedProblems, BodyProblems, WrongState))]
async fn put_part(
    uploads: Uploads,
    slots: ReceiveSlots,
    writer: Writer,
    path: PartPath,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<api::AcceptedPart>> {
    let mut body = part_body(&headers, body)?;
    body.slot = Some(slots.acquire()?);
    let PartPath { upload_id, part_number } = path;
    let part = uploads.put_part(&writer, upload_id, part_number, body).await?;
    Ok(Json(api::AcceptedPart {
        upload_id: upload_id.to_string(),
        part_number: part.number.get(),
        etag: part.attempt.to_string(),
        size_bytes: part.size.signed(),
    }))
}

/// List the parts of an upload session
///
/// In ascending order of their numbers. Use the list to resume an upload.
#[utoipa::path(get, path = "/v1/uploads/{upload_id}/parts", operation_id = "listUploadParts", tag = "uploads",
    security(("bearer" = [])), params(UploadPath, PageQuery),
    responses((status = OK, description = "The parts.", body = api::PartList), GuardedProblems))]
async fn list_parts(
    uploads: Uploads,
    writer: Writer,
    path: UploadPath,
    query: PageQuery,
    uri: Uri,
) -> Result<Response> {
    let request = query.page()?;
    let after = request.after.map(|cursor| parse_cursor(&path, &cursor).ok_or_else(Problem::invalid_cursor));
    let limit = request.limit.get();
    let mut items = uploads.parts(&writer, path.upload_id, after.transpose()?, limit + 1).await?;
    let has_more = items.len() > usize::from(limit);
    items.truncate(limit.into());
    let next = items.last().filter(|_| has_more).map(|last| cursor(&path, last.number));
    let page = Page { items, next };
    Ok(page_response(&uri, &page, wire::part, |parts, next_cursor| api::PartList { parts, next_cursor }))
}

/// The cursor after part `number` of a session; it is invalid for another session.
fn cursor(path: &UploadPath, number: PartNumber) -> Cursor {
    Cursor(URL_SAFE_NO_PAD.encode(format!("{}:{number}", path.upload_id)))
}

fn parse_cursor(path: &UploadPath, Cursor(cursor): &Cursor) -> Option<PartNumber> {
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()?;
    let (session, number) = text.split_once(':')?;
    (session == path.upload_id.to_string()).then(|| number.parse().ok())?
}

/// Complete an upload
///
/// Freezes the part list; the server then verifies the digest in the background. Poll the session until it is `ready`
/// or `failed`. For a session that is already completed, the response contains its state.
#[utoipa::path(post, path = "/v1/uploads/{upload_id}/complete", operation_id = "completeUpload", tag = "uploads",
    security(("bearer" = [])), params(UploadPath), request_body = api::CompleteUpload,
    responses((status = OK, description = "The session, `completed` or in a later state.", body = api::UploadSession),
        GuardedProblems, BodyProblems, WrongState))]
async fn complete(
    uploads: Uploads,
    writer: Writer,
    path: UploadPath,
    JsonBody(body): JsonBody<api::CompleteUpload>,
) -> Result<Json<api::UploadSession>> {
    let mut fields = Fields::default();
    let mut listed = Vec::with_capacity(body.parts.len());
    for (at, part) in body.parts.iter().enumerate() {
        let number = fields.convert(format!("parts[{at}].number"), part.number);
        let attempt = fields.parse(format!("parts[{at}].etag"), &part.etag);
        let size = fields.convert(format!("parts[{at}].size_bytes"), part.size_bytes);
        if let (Some(number), Some(attempt), Some(size)) = (number, attempt, size) {
            listed.push(ListedPart { number, attempt, size });
        }
    }
    let listed = fields.finish(|| Some(listed))?;
    let session = uploads.complete(&writer, path.upload_id, &listed).await?;
    Ok(Json(wire::upload(&session)))
}

/// Abort an upload
///
/// Its parts are deleted. Idempotent.
#[utoipa::path(post, path = "/v1/uploads/{upload_id}/abort", operation_id = "abortUpload", tag = "uploads",
    security(("bearer" = [])), params(UploadPath),
    responses((status = OK, description = "The session, `aborted`.", body = api::UploadSession), GuardedProblems, WrongState))]
async fn abort(uploads: Uploads, writer: Writer, path: UploadPath) -> Result<Json<api::UploadSession>> {
    let session = uploads.abort(&writer, path.upload_id).await?;
    Ok(Json(wire::upload(&session)))
}
