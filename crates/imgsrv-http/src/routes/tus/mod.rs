//! Resumable uploads for intakes: tus 1.0.0 (<https://tus.io/protocols/resumable-upload>) with its extensions creation,
//! creation-with-upload, termination, checksum and expiration.

pub(super) mod protocol;

use crate::{
    extract::{UploadPath, tus_body},
    middleware::canonical_path::TUS_CREATION_PATH,
    public_url::Urls,
    receive_slots::ReceiveSlots,
    response::problem::{Code, Problem, Result},
    routes::problems::{BodyProblems, GuardedProblems, ReadProblems, Taken, WrongState},
    state::{AppState, MaxUploadBytes},
};
use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    middleware,
    response::{IntoResponse, Response},
};
use imgsrv_api as api;
use imgsrv_app::{Caller, IntakeStatus, Intakes, UseCaseError, Writer};
use imgsrv_domain::{
    ids::UploadId,
    ports::StageError,
    upload::{UploadRefusal, UploadState},
};
use protocol::{
    ALGORITHMS, EXTENSIONS, MEDIA_TYPE, METHOD_OVERRIDE, TUS_CHECKSUM_ALGORITHM, TUS_EXTENSION, TUS_MAX_SIZE,
    TUS_RESUMABLE, TUS_VERSION, UPLOAD_EXPIRES, UPLOAD_LENGTH, UPLOAD_METADATA, UPLOAD_OFFSET, VERSION, byte_count,
    check_version, expires, intake_of, is_offset_stream, metadata, progress, text,
};
use utoipa_axum::{router::OpenApiRouter, routes};

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(create, capabilities))
        .routes(routes!(offset, append, terminate, overridden, upload_capabilities))
        .layer(middleware::map_response(versioned))
}

/// Adds the protocol's version to every response.
async fn versioned(mut response: Response) -> Response {
    response.headers_mut().insert(TUS_RESUMABLE, HeaderValue::from_static(VERSION));
    if response.extensions().get::<Problem>().is_some_and(|problem| problem.code == Code::TusVersion) {
        response.headers_mut().insert(TUS_VERSION, HeaderValue::from_static(VERSION));
    }
    response
}

/// Show the supported tus version, extensions and limits
#[utoipa::path(options, path = "/api/uploads/tus/", operation_id = "tusOptions", tag = "intake",
    responses((status = NO_CONTENT, description = "Version, extensions and limits in headers."), ReadProblems))]
async fn capabilities(MaxUploadBytes(limit): MaxUploadBytes, _caller: Caller) -> Response {
    let mut headers = HeaderMap::new();
    headers.insert(TUS_VERSION, HeaderValue::from_static(VERSION));
    headers.insert(TUS_EXTENSION, HeaderValue::from_static(EXTENSIONS));
    headers.insert(TUS_CHECKSUM_ALGORITHM, HeaderValue::from_static(ALGORITHMS));
    if let Some(limit) = limit {
        headers.insert(TUS_MAX_SIZE, limit.into());
    }
    (StatusCode::NO_CONTENT, headers).into_response()
}

/// Show the supported tus version, extensions and limits
#[utoipa::path(options, path = "/api/uploads/tus/{upload_id}", operation_id = "tusUploadOptions", tag = "intake",
    params(UploadPath),
    responses((status = NO_CONTENT, description = "Version, extensions and limits in headers."), ReadProblems))]
async fn upload_capabilities(limit: MaxUploadBytes, caller: Caller, _path: UploadPath) -> Response {
    capabilities(limit, caller).await
}

/// Create a tus upload for an intake
///
/// `Upload-Metadata` must contain the id of the intake as `upload_session_id`, and `Upload-Length` must be its size. A
/// body of type `application/offset+octet-stream` contains the first bytes. A repeated request returns the same upload.
#[utoipa::path(post, path = "/api/uploads/tus/", operation_id = "createTusUpload", tag = "intake",
    security(("bearer" = [])),
    params(("Tus-Resumable" = String, Header, pattern = r"^1\.0\.0$", description = "`1.0.0`."),
        ("Upload-Length" = i64, Header, minimum = 0, description = "Size of the intake in bytes."),
        ("Upload-Metadata" = String, Header, pattern = "^upload_session_id [A-Za-z0-9+/]{48}$", description = "`upload_session_id` and the id of the intake in base64.")),
    request_body(content = serde_json::Value, content_type = "application/offset+octet-stream", description = "The first bytes; can be empty."),
    responses((status = CREATED, description = "The upload, at `Location`."),
        (status = 460, description = "The body does not match its checksum.", body = api::Problem, content_type = "application/problem+json"),
        GuardedProblems, BodyProblems, Taken, WrongState))]
async fn create(
    intakes: Intakes,
    slots: ReceiveSlots,
    writer: Writer,
    urls: Urls,
    headers: HeaderMap,
    body: Body,
) -> Result<Response> {
    check_version(&headers)?;
    let length = byte_count(&headers, &UPLOAD_LENGTH)?;
    let id = intake_of(&headers)?;
    let status = alive(intakes.get(&writer, id).await?)?;
    let size = status.session.size();
    if length != size.get() {
        let reason = format!("must be the size that the intake has, {size}");
        return Err(Problem::new(Code::InvalidRequest).field("Upload-Length", reason));
    }
    let mut response = HeaderMap::new();
    response.insert(header::LOCATION, text(urls.absolute(&format!("{TUS_CREATION_PATH}{id}"))));
    let has_bytes = headers.contains_key(header::CONTENT_TYPE) && is_offset_stream(&headers);
    let is_fresh = status.session.state.is_created();
    if has_bytes && !is_fresh {
        // A repeated creation, whose first response was lost: the client continues after the bytes that were received.
        response.insert(UPLOAD_OFFSET, status.session.offset().get().into());
    } else if is_fresh && (has_bytes || size.get() == 0) {
        let (body, body_headers) = if has_bytes { (body, headers) } else { (Body::empty(), HeaderMap::new()) };
        match receive(&intakes, &slots, &writer, id, 0, &body_headers, body).await {
            Ok(headers) => response.extend(headers),
            // An earlier request was still running and has received some bytes: the client continues after them.
            Err(problem) if problem.code == Code::UploadOffset => {
                let status = intakes.get(&writer, id).await?;
                response.insert(UPLOAD_OFFSET, status.session.offset().get().into());
            }
            Err(problem) => return Err(problem),
        }
        return Ok((StatusCode::CREATED, response).into_response());
    }
    response.insert(UPLOAD_EXPIRES, expires(status.session.expires_at));
    Ok((StatusCode::CREATED, response).into_response())
}

/// Get the offset of a tus upload
#[utoipa::path(head, path = "/api/uploads/tus/{upload_id}", operation_id = "getTusOffset", tag = "intake",
    security(("bearer" = [])), params(UploadPath, ("Tus-Resumable" = String, Header, pattern = r"^1\.0\.0$", description = "`1.0.0`.")),
    responses((status = OK, description = "`Upload-Offset` and `Upload-Length` in headers."), GuardedProblems, WrongState))]
async fn offset(intakes: Intakes, writer: Writer, path: UploadPath, headers: HeaderMap) -> Result<Response> {
    check_version(&headers)?;
    let status = alive(intakes.offset(&writer, path.upload_id).await?)?;
    let mut response = progress(status.session.offset().get(), status.session.expires_at);
    response.insert(UPLOAD_LENGTH, status.session.size().get().into());
    response.insert(UPLOAD_METADATA, text(metadata(path.upload_id)));
    response.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok((StatusCode::OK, response).into_response())
}

/// Append bytes to a tus upload
///
/// `Upload-Offset` must be the current offset. If the connection breaks, the bytes that were received are kept, unless
/// the request has an `Upload-Checksum`. A newer request for the same upload ends one that is still running.
#[utoipa::path(patch, path = "/api/uploads/tus/{upload_id}", operation_id = "appendTusUpload", tag = "intake",
    security(("bearer" = [])),
    params(UploadPath, ("Tus-Resumable" = String, Header, pattern = r"^1\.0\.0$", description = "`1.0.0`."),
        ("Upload-Offset" = i64, Header, minimum = 0, description = "Current offset of the upload."),
        ("Upload-Checksum" = Option<String>, Header, nullable = false, pattern = "^(sha1 [A-Za-z0-9+/]{26}[AEIMQUYcgkosw048]=|sha256 [A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=)$", description = "`sha1` or `sha256`, followed by the checksum of the body in base64.")),
    request_body(content = serde_json::Value, content_type = "application/offset+octet-stream", description = "The bytes to append."),
    responses((status = NO_CONTENT, description = "The new offset in `Upload-Offset`."),
        (status = 460, description = "The body does not match its checksum.", body = api::Problem, content_type = "application/problem+json"),
        GuardedProblems, BodyProblems, Taken, WrongState))]
async fn append(
    intakes: Intakes,
    slots: ReceiveSlots,
    writer: Writer,
    path: UploadPath,
    headers: HeaderMap,
    body: Body,
) -> Result<Response> {
    check_version(&headers)?;
    if !is_offset_stream(&headers) {
        return Err(Problem::new(Code::UnsupportedMediaType).detail(format!("the Content-Type must be {MEDIA_TYPE}")));
    }
    let offset = byte_count(&headers, &UPLOAD_OFFSET)?;
    alive(intakes.get(&writer, path.upload_id).await?)?;
    let progress = receive(&intakes, &slots, &writer, path.upload_id, offset, &headers, body).await?;
    Ok((StatusCode::NO_CONTENT, progress).into_response())
}

/// Abort a tus upload
///
/// The intake is aborted, and its data is deleted.
#[utoipa::path(delete, path = "/api/uploads/tus/{upload_id}", operation_id = "terminateTusUpload", tag = "intake",
    security(("bearer" = [])), params(UploadPath, ("Tus-Resumable" = String, Header, pattern = r"^1\.0\.0$", description = "`1.0.0`.")),
    responses((status = NO_CONTENT, description = "The upload is aborted."), GuardedProblems, WrongState))]
async fn terminate(intakes: Intakes, writer: Writer, path: UploadPath, headers: HeaderMap) -> Result<Response> {
    check_version(&headers)?;
    intakes.terminate(&writer, path.upload_id).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Perform the method in `X-HTTP-Method-Override`
///
/// For clients that cannot send PATCH or DELETE.
#[utoipa::path(post, path = "/api/uploads/tus/{upload_id}", operation_id = "overrideTusMethod", tag = "intake",
    security(("bearer" = [])),
    params(UploadPath, ("Tus-Resumable" = String, Header, pattern = r"^1\.0\.0$", description = "`1.0.0`."),
        ("Upload-Offset" = Option<i64>, Header, nullable = false, minimum = 0, description = "For `PATCH`: current offset of the upload."),
        ("X-HTTP-Method-Override" = String, Header, pattern = "^(PATCH|DELETE|HEAD)$", description = "`PATCH`, `DELETE` or `HEAD`.")),
    request_body(content = serde_json::Value, content_type = "application/offset+octet-stream", description = "The body of the method."),
    responses((status = OK, description = "The response of `HEAD`."), (status = NO_CONTENT, description = "The response of `PATCH` or `DELETE`."),
        (status = 460, description = "The body does not match its checksum.", body = api::Problem, content_type = "application/problem+json"),
        GuardedProblems, BodyProblems, Taken, WrongState))]
async fn overridden(
    intakes: Intakes,
    slots: ReceiveSlots,
    writer: Writer,
    path: UploadPath,
    headers: HeaderMap,
    body: Body,
) -> Result<Response> {
    let method = headers.get(METHOD_OVERRIDE).and_then(|value| Method::from_bytes(value.as_bytes()).ok());
    match method {
        Some(Method::PATCH) => append(intakes, slots, writer, path, headers, body).await,
        Some(Method::DELETE) => terminate(intakes, writer, path, headers).await,
        Some(Method::HEAD) => offset(intakes, writer, path, headers).await,
        _ => {
            Err(Problem::new(Code::MethodNotAllowed)
                .detail("POST requires the header X-HTTP-Method-Override for this URL"))
        }
    }
}

/// Appends the body to the upload.
async fn receive(
    intakes: &Intakes,
    slots: &ReceiveSlots,
    writer: &Writer,
    id: UploadId,
    offset: u64,
    headers: &HeaderMap,
    body: Body,
) -> Result<HeaderMap> {
    let (mut body, verification) = tus_body(headers, body)?;
    body.slot = Some(match slots.acquire() {
        Ok(slot) => slot,
        Err(_) => {
            // The slot may be in use by an older request for the same upload, which this one replaces.
            intakes.end_append(writer, id).await?;
            slots.acquire()?
        }
    });
    match intakes.append(writer, id, offset, body).await {
        Ok(appended) => match appended.cut {
            None => Ok(progress(appended.offset.get(), appended.expires_at)),
            Some(cut) => Err(verification.problem().unwrap_or_else(|| StageError::Body(cut).into())),
        },
        Err(UseCaseError::Upload(refusal @ UploadRefusal::Superseded(_))) => {
            Err(Problem::new(Code::UploadOffset).detail(refusal))
        }
        Err(error) => {
            let is_cut = matches!(error, UseCaseError::Stage(StageError::Body(_)));
            Err(verification.problem().filter(|_| is_cut).unwrap_or_else(|| error.into()))
        }
    }
}

/// `status`, unless it is that of an aborted or failed upload, which is not found.
fn alive(status: IntakeStatus) -> Result<IntakeStatus> {
    if status.state != "aborted" && !matches!(status.session.state, UploadState::Failed { .. }) {
        return Ok(status);
    }
    let aborted = || format!("upload {} was aborted, or has expired; start a new upload", status.session.id);
    let why = status.reason.unwrap_or_else(aborted);
    Err(Problem::new(Code::NotFound).detail(why))
}
