//! Resumable uploads for intakes: tus 1.0.0 (<https://tus.io/protocols/resumable-upload>) with its extensions creation,
//! creation-with-upload, termination, checksum and expiration.

use crate::routes::{
    intakes::METADATA_KEY,
    problems::{BodyProblems, GuardedProblems, Taken, WrongState},
};
use crate::{
    extract::{MaybeCaller, UploadPath, WriterOnly, stream_body},
    response::problem::{Code, Problem},
    state::AppState,
};
use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    middleware,
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use imgsrv_api as api;
use imgsrv_app::{Appended, IntakeStatus, UseCaseError, Writer};
use imgsrv_domain::{
    ids::UploadId,
    ports::StageError,
    time::Timestamp,
    upload::{UploadRefusal, UploadState},
};
use std::time::{Duration, SystemTime};
use utoipa_axum::{router::OpenApiRouter, routes};

/// Where uploads are made.
pub(crate) const CREATION_PATH: &str = "/api/uploads/tus/";
/// The one version of the protocol.
const VERSION: &str = "1.0.0";
const EXTENSIONS: &str = "creation,creation-with-upload,termination,checksum,expiration";
const ALGORITHMS: &str = "sha1,sha256";
/// What a part of an upload is sent as.
const MEDIA_TYPE: &str = "application/offset+octet-stream";

const TUS_RESUMABLE: HeaderName = HeaderName::from_static("tus-resumable");
const TUS_VERSION: HeaderName = HeaderName::from_static("tus-version");
const TUS_EXTENSION: HeaderName = HeaderName::from_static("tus-extension");
const TUS_MAX_SIZE: HeaderName = HeaderName::from_static("tus-max-size");
const TUS_CHECKSUM_ALGORITHM: HeaderName = HeaderName::from_static("tus-checksum-algorithm");
const UPLOAD_OFFSET: HeaderName = HeaderName::from_static("upload-offset");
const UPLOAD_LENGTH: HeaderName = HeaderName::from_static("upload-length");
const UPLOAD_METADATA: HeaderName = HeaderName::from_static("upload-metadata");
const UPLOAD_EXPIRES: HeaderName = HeaderName::from_static("upload-expires");
const METHOD_OVERRIDE: HeaderName = HeaderName::from_static("x-http-method-override");

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(create, capabilities))
        .routes(routes!(offset, append, terminate, overridden, upload_capabilities))
        .layer(middleware::map_response(versioned))
}

/// Every answer tells the protocol's version.
async fn versioned(mut response: Response) -> Response {
    response.headers_mut().insert(TUS_RESUMABLE, HeaderValue::from_static(VERSION));
    if response.extensions().get::<Problem>().is_some_and(|problem| problem.code == Code::TusVersion) {
        response.headers_mut().insert(TUS_VERSION, HeaderValue::from_static(VERSION));
    }
    response
}

/// Tell what is supported
#[utoipa::path(options, path = "/api/uploads/tus/", operation_id = "tusOptions", tag = "intake",
    responses((status = NO_CONTENT, description = "Version, extensions and limits, in headers.")))]
async fn capabilities(State(state): State<AppState>, _caller: MaybeCaller) -> Response {
    let mut headers = HeaderMap::new();
    headers.insert(TUS_VERSION, HeaderValue::from_static(VERSION));
    headers.insert(TUS_EXTENSION, HeaderValue::from_static(EXTENSIONS));
    headers.insert(TUS_CHECKSUM_ALGORITHM, HeaderValue::from_static(ALGORITHMS));
    if let Some(limit) = state.services.max_upload_bytes() {
        headers.insert(TUS_MAX_SIZE, limit.into());
    }
    (StatusCode::NO_CONTENT, headers).into_response()
}

/// Tell what is supported
#[utoipa::path(options, path = "/api/uploads/tus/{upload_id}", operation_id = "tusUploadOptions", tag = "intake",
    params(UploadPath), responses((status = NO_CONTENT, description = "Version, extensions and limits, in headers.")))]
async fn upload_capabilities(state: State<AppState>, caller: MaybeCaller) -> Response {
    capabilities(state, caller).await
}

/// Make a tus upload for an intake
///
/// `Upload-Metadata` must name the intake by `upload_session_id`, and `Upload-Length` be its size. A body of
/// `application/offset+octet-stream` is its first bytes. Made again, it is the same upload.
#[utoipa::path(post, path = "/api/uploads/tus/", operation_id = "createTusUpload", tag = "intake",
    security(("bearer" = [])),
    params(("Tus-Resumable" = String, Header, description = "`1.0.0`."),
        ("Upload-Length" = i64, Header, description = "The size that the intake has."),
        ("Upload-Metadata" = String, Header, description = "`upload_session_id` and the id in base64.")),
    request_body(content = String, content_type = "application/offset+octet-stream", description = "The first bytes, or nothing."),
    responses((status = CREATED, description = "The upload, at `Location`."),
        (status = 460, description = "The bytes do not have the checksum.", body = api::Problem, content_type = "application/problem+json"),
        (status = 507, description = "There is no room for more bytes.", body = api::Problem, content_type = "application/problem+json"),
        GuardedProblems, BodyProblems, Taken, WrongState))]
async fn create(
    State(state): State<AppState>,
    WriterOnly(writer): WriterOnly,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    check_version(&headers)?;
    let length = number(&headers, &UPLOAD_LENGTH)?;
    let id = intake_of(&headers)?;
    let status = state.services.intakes().get(&writer, id).await?;
    check_alive(&status)?;
    let size = status.session.size();
    if length != size.get() {
        let reason = format!("must be the size that the intake has, {size}");
        return Err(Problem::new(Code::InvalidRequest).field("Upload-Length", reason));
    }
    let mut answer = HeaderMap::new();
    answer.insert(header::LOCATION, text(format!("{CREATION_PATH}{id}")));
    let has_bytes = headers.contains_key(header::CONTENT_TYPE) && is_offset_stream(&headers);
    let is_fresh = status.session.state.is_created();
    if has_bytes && !is_fresh {
        // Made again after its answer was lost: what is there counts, and the client goes on behind it.
        answer.insert(UPLOAD_OFFSET, status.session.offset().get().into());
    } else if is_fresh && (has_bytes || size.get() == 0) {
        let (body, body_headers) = if has_bytes { (body, headers) } else { (Body::empty(), HeaderMap::new()) };
        match receive(&state, &writer, id, 0, &body_headers, body).await {
            Ok(headers) => answer.extend(headers),
            // An earlier try that was still running has brought some: the client goes on behind it.
            Err(problem) if problem.code == Code::UploadOffset => {
                let status = state.services.intakes().get(&writer, id).await?;
                answer.insert(UPLOAD_OFFSET, status.session.offset().get().into());
            }
            Err(problem) => return Err(problem),
        }
        return Ok((StatusCode::CREATED, answer).into_response());
    }
    answer.insert(UPLOAD_EXPIRES, expires(status.session.expires_at));
    Ok((StatusCode::CREATED, answer).into_response())
}

/// Ask where the next byte of a tus upload goes
#[utoipa::path(head, path = "/api/uploads/tus/{upload_id}", operation_id = "getTusOffset", tag = "intake",
    security(("bearer" = [])), params(UploadPath, ("Tus-Resumable" = String, Header, description = "`1.0.0`.")),
    responses((status = OK, description = "`Upload-Offset` and `Upload-Length`, in headers."), GuardedProblems, WrongState))]
async fn offset(
    State(state): State<AppState>,
    WriterOnly(writer): WriterOnly,
    path: UploadPath,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    check_version(&headers)?;
    let status = state.services.intakes().offset(&writer, path.upload_id).await?;
    check_alive(&status)?;
    let mut answer = HeaderMap::new();
    answer.insert(UPLOAD_OFFSET, status.session.offset().get().into());
    answer.insert(UPLOAD_LENGTH, status.session.size().get().into());
    answer.insert(UPLOAD_METADATA, text(format!("{METADATA_KEY} {}", STANDARD.encode(path.upload_id.to_string()))));
    answer.insert(UPLOAD_EXPIRES, expires(status.session.expires_at));
    answer.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok((StatusCode::OK, answer).into_response())
}

/// Send bytes of a tus upload
///
/// They go at `Upload-Offset`, which must be where the next byte goes. What has come when the connection breaks counts,
/// unless an `Upload-Checksum` is to verify it. A newer request for the same upload ends one that is still running.
#[utoipa::path(patch, path = "/api/uploads/tus/{upload_id}", operation_id = "appendTusUpload", tag = "intake",
    security(("bearer" = [])),
    params(UploadPath, ("Tus-Resumable" = String, Header, description = "`1.0.0`."),
        ("Upload-Offset" = i64, Header, description = "Where the bytes go."),
        ("Upload-Checksum" = Option<String>, Header, description = "`sha1` or `sha256`, and the checksum of the body in base64.")),
    request_body(content = String, content_type = "application/offset+octet-stream", description = "The bytes."),
    responses((status = NO_CONTENT, description = "`Upload-Offset` tells where the next byte goes."),
        (status = 460, description = "The bytes do not have the checksum.", body = api::Problem, content_type = "application/problem+json"),
        (status = 507, description = "There is no room for more bytes.", body = api::Problem, content_type = "application/problem+json"),
        GuardedProblems, BodyProblems, Taken, WrongState))]
async fn append(
    State(state): State<AppState>,
    WriterOnly(writer): WriterOnly,
    path: UploadPath,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    check_version(&headers)?;
    if !is_offset_stream(&headers) {
        return Err(Problem::new(Code::UnsupportedMediaType).detail(format!("send {MEDIA_TYPE}")));
    }
    let offset = number(&headers, &UPLOAD_OFFSET)?;
    let status = state.services.intakes().get(&writer, path.upload_id).await?;
    check_alive(&status)?;
    let progress = receive(&state, &writer, path.upload_id, offset, &headers, body).await?;
    Ok((StatusCode::NO_CONTENT, progress).into_response())
}

/// Give a tus upload up
///
/// Its intake is aborted, and its bytes go.
#[utoipa::path(delete, path = "/api/uploads/tus/{upload_id}", operation_id = "terminateTusUpload", tag = "intake",
    security(("bearer" = [])), params(UploadPath, ("Tus-Resumable" = String, Header, description = "`1.0.0`.")),
    responses((status = NO_CONTENT, description = "It is gone."), GuardedProblems, WrongState))]
async fn terminate(
    State(state): State<AppState>,
    WriterOnly(writer): WriterOnly,
    path: UploadPath,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    check_version(&headers)?;
    state.services.intakes().terminate(&writer, path.upload_id).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Do what `X-HTTP-Method-Override` says
///
/// For clients that can send no PATCH or DELETE.
#[utoipa::path(post, path = "/api/uploads/tus/{upload_id}", operation_id = "overrideTusMethod", tag = "intake",
    security(("bearer" = [])),
    params(UploadPath, ("X-HTTP-Method-Override" = String, Header, description = "`PATCH`, `DELETE` or `HEAD`.")),
    request_body(content = String, content_type = "application/offset+octet-stream", description = "As the method has it."),
    responses((status = NO_CONTENT, description = "As the method answers."), GuardedProblems, BodyProblems, Taken, WrongState))]
async fn overridden(
    state: State<AppState>,
    writer: WriterOnly,
    path: UploadPath,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let method = headers.get(METHOD_OVERRIDE).and_then(|value| Method::from_bytes(value.as_bytes()).ok());
    match method {
        Some(Method::PATCH) => append(state, writer, path, headers, body).await,
        Some(Method::DELETE) => terminate(state, writer, path, headers).await,
        Some(Method::HEAD) => offset(state, writer, path, headers).await,
        _ => Err(Problem::new(Code::MethodNotAllowed).detail("POST needs X-HTTP-Method-Override here")),
    }
}

/// Appends the body to the upload, and returns the offset of the next byte.
async fn receive(
    state: &AppState,
    writer: &Writer,
    id: UploadId,
    offset: u64,
    headers: &HeaderMap,
    body: Body,
) -> Result<HeaderMap, Problem> {
    let (mut body, verdict) = stream_body(headers, body)?;
    let intakes = state.services.intakes();
    body.slot = Some(match state.receiving_place() {
        Ok(slot) => slot,
        Err(_) => {
            // The place may be that of an older request for this very upload.
            intakes.end_append(writer, id).await?;
            state.receiving_place()?
        }
    });
    match intakes.append(writer, id, offset, body).await {
        Ok(appended) => match appended.cut {
            None => Ok(progress(&appended)),
            Some(cut) => Err(verdict.problem().unwrap_or_else(|| StageError::Body(cut).into())),
        },
        Err(UseCaseError::Upload(refusal @ UploadRefusal::Superseded)) => {
            Err(Problem::new(Code::UploadOffset).detail(refusal))
        }
        Err(error) => {
            let is_cut = matches!(error, UseCaseError::Stage(StageError::Body(_)));
            Err(verdict.problem().filter(|_| is_cut).unwrap_or_else(|| error.into()))
        }
    }
}

/// Where the next byte goes, and until when it is waited for.
fn progress(appended: &Appended) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(UPLOAD_OFFSET, appended.offset.get().into());
    headers.insert(UPLOAD_EXPIRES, expires(appended.expires_at));
    headers
}

fn check_version(headers: &HeaderMap) -> Result<(), Problem> {
    match headers.get(TUS_RESUMABLE) {
        Some(version) if version.as_bytes() == VERSION.as_bytes() => Ok(()),
        _ => Err(Problem::new(Code::TusVersion).detail("send Tus-Resumable: 1.0.0")),
    }
}

/// What was given up, or failed, is not there any more.
fn check_alive(status: &IntakeStatus) -> Result<(), Problem> {
    let is_dead = status.state == "aborted" || matches!(status.session.state, UploadState::Failed { .. });
    if !is_dead {
        return Ok(());
    }
    let why = status.reason.clone().unwrap_or_else(|| "the upload was aborted, or has expired".to_owned());
    Err(Problem::new(Code::NotFound).detail(why))
}

fn is_offset_stream(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|value| value.as_bytes() == MEDIA_TYPE.as_bytes())
}

fn number(headers: &HeaderMap, name: &HeaderName) -> Result<u64, Problem> {
    let value = headers.get(name).and_then(|value| value.to_str().ok());
    let digits = value.filter(|value| value.bytes().all(|b| b.is_ascii_digit()));
    let number = digits.and_then(|value| value.parse::<u64>().ok()).filter(|number| i64::try_from(*number).is_ok());
    number.ok_or_else(|| Problem::new(Code::InvalidRequest).field(name.as_str(), "must be a number of bytes"))
}

/// The intake that the metadata names: pairs of a key and a value in base64, separated by commas.
fn intake_of(headers: &HeaderMap) -> Result<UploadId, Problem> {
    let invalid = |reason: &str| Problem::new(Code::InvalidRequest).field("Upload-Metadata", reason);
    let pairs = headers.get(UPLOAD_METADATA).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let pair = pairs.split(',').map(str::trim).find_map(|pair| pair.strip_prefix(METADATA_KEY)?.strip_prefix(' '));
    let pair = pair.ok_or_else(|| invalid("must have upload_session_id, as POST /api/images gave it"))?;
    let decoded = STANDARD.decode(pair.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    decoded.and_then(|id| id.parse().ok()).ok_or_else(|| invalid("upload_session_id must be an id in base64"))
}

fn expires(at: Timestamp) -> HeaderValue {
    let since = Duration::from_micros(u64::try_from(at.micros()).unwrap_or(0));
    text(httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + since))
}

fn text(value: String) -> HeaderValue {
    HeaderValue::try_from(value).unwrap_or(HeaderValue::from_static(""))
}
