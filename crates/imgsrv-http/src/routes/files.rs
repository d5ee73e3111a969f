//! Published versions as folders of files with descriptive names, and their checksums.

use crate::{
    extract::{FilePath, RefPath, Visitor},
    public_url::Urls,
    response::{
        discouraged::announce,
        download::{DownloadRequest, NamedBy},
        problem::Result,
        wire,
    },
    routes::{
        pages,
        problems::{ByteProblems, Gone, ReadProblems},
    },
    state::AppState,
};
use axum::{
    Json,
    http::{HeaderValue, Uri, header},
    response::{IntoResponse, Response},
};
use imgsrv_api as api;
use imgsrv_app::{Browse, Caller, Delivery, FileContent, NamedFile, NamesUnderAlias};
use utoipa_axum::{router::OpenApiRouter, routes};

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(list_folder))
        .routes(routes!(get))
        .routes(routes!(get_versioned))
}

/// List the files of a published version
///
/// Under an alias, the file names do not contain the version, and the URLs are those under the alias. A client whose
/// `Accept` names `text/html` gets a page with the same files.
#[utoipa::path(get, path = "/images/{name}/{ref}", operation_id = "listFiles", tag = "files", params(RefPath),
    responses((status = OK, description = "The files.", body = api::ReleaseListing), ReadProblems, Gone))]
async fn list(
    delivery: Delivery,
    browse: Browse,
    caller: Caller,
    visitor: Visitor,
    urls: Urls,
    path: RefPath,
    url: Uri,
) -> Result<Response> {
    if visitor.wants_page {
        return pages::version(&browse, &caller, &visitor, &path.name, &path.r#ref, &url).await;
    }
    let release = delivery.files(&caller, &path.name, &path.r#ref).await?;
    let version = &release.manifest.version.name;
    let folder = urls.path(&format!("/images/{}/{}", path.name, version.in_url()));
    let mut response = Json(wire::release(&release, &folder)).into_response();
    announce(response.headers_mut(), &release.manifest.version.lifecycle);
    Ok(response)
}

/// List the files of a published version
///
/// Returns the same listing at the URL of the folder.
#[utoipa::path(get, path = "/images/{name}/{ref}/", operation_id = "listFolder", tag = "files", params(RefPath),
    responses((status = OK, description = "The files.", body = api::ReleaseListing), ReadProblems, Gone))]
async fn list_folder(
    delivery: Delivery,
    browse: Browse,
    caller: Caller,
    visitor: Visitor,
    urls: Urls,
    path: RefPath,
    url: Uri,
) -> Result<Response> {
    list(delivery, browse, caller, visitor, urls, path, url).await
}

/// Download a file of a published version
///
/// Artifacts are named `{image}-{version}-{architecture}[-{variant}].{format}`, attachments `{artifact
/// file}.{attachment}`; under an alias the version can be omitted. `SHA256SUMS` contains the checksums of all files,
/// with the names in the listing of the same folder (without the version under an alias). `{file}.sha256` contains that
/// of one file. All usual spellings of the architecture are accepted in any case of letters, such as `x86_64` for
/// `amd64`. The attachments `roothash`, `roothash.p7s`, `verity` and `nspawn` of a disk are also served next to it,
/// without the extension of the
/// disk, where systemd looks for them; the `.sha256` of the disk contains their checksums as well. Under an alias,
/// `Last-Modified` is never before the alias last moved. Supports `HEAD`, `Range` with up to 20 ranges, `If-Range`,
/// `If-Match`, `If-Unmodified-Since`, `If-None-Match` and `If-Modified-Since`.
#[utoipa::path(get, path = "/images/{name}/{ref}/{file}", operation_id = "getFile", tag = "files", params(FilePath),
    responses((status = OK, description = "The content.", content_type = "*/*", body = serde_json::Value),
        ReadProblems, Gone, ByteProblems))]
async fn get(delivery: Delivery, caller: Caller, path: FilePath, request: DownloadRequest) -> Result<Response> {
    let response = respond(&delivery, &caller, &path, NamesUnderAlias::Short, &request).await;
    response.map_err(|problem| request.report(problem))
}

/// Download a file of a published version by its versioned name
///
/// Serves the same files under names that always contain the version, also in `SHA256SUMS`. For programs that find the
/// newest version by the file names at a fixed URL, such as systemd-sysupdate.
#[utoipa::path(get, path = "/images/{name}/{ref}/versioned/{file}", operation_id = "getVersionedFile", tag = "files",
    params(FilePath), responses((status = OK, description = "The content.", content_type = "*/*",
        body = serde_json::Value), ReadProblems, Gone, ByteProblems))]
async fn get_versioned(
    delivery: Delivery,
    caller: Caller,
    path: FilePath,
    request: DownloadRequest,
) -> Result<Response> {
    let response = respond(&delivery, &caller, &path, NamesUnderAlias::Versioned, &request).await;
    response.map_err(|problem| request.report(problem))
}

async fn respond(
    delivery: &Delivery,
    caller: &Caller,
    path: &FilePath,
    names: NamesUnderAlias,
    request: &DownloadRequest,
) -> Result<Response> {
    let FilePath { name, r#ref, file } = path;
    let NamedFile { content, versioned } = delivery.named_file(caller, name, r#ref, names, file).await?;
    let named_by = if versioned.is_some() { NamedBy::Alias } else { NamedBy::Version };
    match content {
        // No Content-Location: under an alias the text has other names.
        FileContent::Generated(text) => request.respond_with_text(&text, named_by),
        FileContent::Stored(download) => {
            let mut response = request.respond(delivery, &download, named_by).await?;
            locate(&mut response, versioned);
            Ok(response)
        }
    }
}

/// Refers to the permanent URL of the same content (RFC 9110, section 8.7).
fn locate(response: &mut Response, versioned: Option<String>) {
    if let Some(Ok(location)) = versioned.map(HeaderValue::try_from) {
        response.headers_mut().insert(header::CONTENT_LOCATION, location);
    }
}
