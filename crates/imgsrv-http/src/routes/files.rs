//! Published versions as folders: every file under a name that tells what it is, with its checksum beside it.

use super::problems::{ByteProblems, ReadProblems};
use crate::{
    bytes::{Address, cache_control, serve},
    conditional::any_tag,
    extract::{FilePath, MaybeCaller, RefPath},
    problem::Problem,
    render,
    state::AppState,
};
use axum::{
    Json,
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use imgsrv_api as api;
use imgsrv_app::{Released, ReleasedBytes};
use imgsrv_domain::{digest::Digest, files::CHECKSUMS};
use sha2::{Digest as _, Sha256};
use utoipa_axum::{router::OpenApiRouter, routes};

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(list_folder)).routes(routes!(get))
}

/// List the files of a published version
#[utoipa::path(get, path = "/images/{name}/{ref}", operation_id = "listFiles", tag = "files", params(RefPath),
    responses((status = OK, description = "The files.", body = api::ReleaseListing), ReadProblems))]
async fn list(state: State<AppState>, caller: MaybeCaller, path: RefPath) -> Result<Response, Problem> {
    listing(state, caller, path).await
}

/// List the files of a published version
///
/// The same, as the folder that they are in.
#[utoipa::path(get, path = "/images/{name}/{ref}/", operation_id = "listFolder", tag = "files", params(RefPath),
    responses((status = OK, description = "The files.", body = api::ReleaseListing), ReadProblems))]
async fn list_folder(state: State<AppState>, caller: MaybeCaller, path: RefPath) -> Result<Response, Problem> {
    listing(state, caller, path).await
}

async fn listing(State(state): State<AppState>, _caller: MaybeCaller, path: RefPath) -> Result<Response, Problem> {
    let release = state.services.delivery().release(&path.name, &path.r#ref).await?;
    let version = &release.manifest.version.name;
    let body = Json(render::release(&release, &format!("/images/{}/{version}", path.name)));
    let mut response = body.into_response();
    locate(&mut response, release.is_alias.then(|| format!("/images/{}/{version}/", path.name)));
    Ok(response)
}

/// Download a file of a published version
///
/// Artifacts are called `{image}-{version}-{architecture}[-{variant}].{format}`, attachments
/// `{artifact file}.{attachment}`; under an alias the version may be left out. `SHA256SUMS` has the checksums of all of
/// them, `{file}.sha256` that of one. Takes `Range` with one range, `If-Range`, `If-None-Match` and
/// `If-Modified-Since`. `HEAD` works as well.
#[utoipa::path(get, path = "/images/{name}/{ref}/{file}", operation_id = "getFile", tag = "files", params(FilePath),
    responses((status = OK, description = "The bytes.", content_type = "application/octet-stream", body = String),
        (status = 206, description = "A range of the bytes.", content_type = "application/octet-stream", body = String),
        ReadProblems, ByteProblems))]
async fn get(
    State(state): State<AppState>,
    _caller: MaybeCaller,
    path: FilePath,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let FilePath { name, r#ref, file } = path;
    let delivery = state.services.delivery();
    if file.as_str() == CHECKSUMS {
        let release = delivery.release(&name, &r#ref).await?;
        let versioned =
            release.is_alias.then(|| format!("/images/{name}/{}/{CHECKSUMS}", release.manifest.version.name));
        return Ok(text(&headers, release.checksums(), versioned));
    }
    let Released { bytes, versioned } = delivery.released(&name, &r#ref, &file).await?;
    match bytes {
        ReleasedBytes::Checksums(line) => Ok(text(&headers, line, versioned)),
        ReleasedBytes::Stored(download) => {
            let address = if versioned.is_some() { Address::Alias } else { Address::Name };
            let mut response = serve(&state, &method, &headers, &download, address).await?;
            locate(&mut response, versioned);
            Ok(response)
        }
    }
}

/// Tells where the same thing will always be (RFC 9110, section 8.7).
fn locate(response: &mut Response, versioned: Option<String>) {
    if let Some(Ok(location)) = versioned.map(HeaderValue::try_from) {
        response.headers_mut().insert(header::CONTENT_LOCATION, location);
    }
}

fn text(request: &HeaderMap, text: String, versioned: Option<String>) -> Response {
    let digest = Digest::new(Sha256::digest(&text).into()).hex();
    let etag = format!("\"{}\"", &digest[..32]);
    let address = if versioned.is_some() { Address::Alias } else { Address::Name };
    let mut response = if any_tag(request, header::IF_NONE_MATCH, |tag| tag == etag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let content_type = (header::CONTENT_TYPE, "text/plain; charset=utf-8");
        ([content_type, (header::CONTENT_SECURITY_POLICY, "sandbox")], Body::from(text)).into_response()
    };
    for (name, value) in [(header::ETAG, etag), (header::CACHE_CONTROL, cache_control(address, true))] {
        if let Ok(value) = HeaderValue::try_from(value) {
            response.headers_mut().insert(name, value);
        }
    }
    locate(&mut response, versioned);
    response
}
