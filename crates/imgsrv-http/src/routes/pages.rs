//! Pages for people, on the URLs of what they show. Clients that do not ask for HTML get what they get without them.

use crate::{
    degradation::Degradation,
    extract::{Fields, HomeParams, ImageParams, ImagePath, PageParams, VersionParams, Visitor, quoted},
    readiness::Readiness,
    redact::redacted_path,
    response::{
        browsers::{NO_INDEX, ROBOTS_TAG},
        discouraged::announce,
        html,
        problem::{Code, Problem, Result},
    },
    state::AppState,
};
use axum::{
    Router,
    extract::{Path, Query},
    http::{HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse, Response},
    routing::get,
};
use imgsrv_app::{Browse, Caller, Nodes, Storage};
use imgsrv_domain::{
    browse::{ImageOrder, ImageSearch},
    names::{ImageName, RefName},
    page::{Cursor, PageLimit, PageRequest},
};
use imgsrv_web::{ASSETS, CommandsShown, Health, Operation, SearchForm, VersionsShown};
use std::{fmt::Display, str::FromStr, sync::Arc};

/// The first segments of the paths of pages.
pub(crate) const ROOTS: [&str; 7] = ["", "images", "status", "feed.atom", "robots.txt", "llms.txt", "assets"];
/// How many items a page has.
const ITEMS: i64 = 50;
/// Search engines find pages, and no bytes.
const ROBOTS: &str = "User-agent: *\nDisallow: /v1/\nDisallow: /api/\nDisallow: /streams/\nDisallow: /cas/\n\
    Disallow: /images/*/*/\nAllow: /images/*/*/$\n";

pub(crate) fn router() -> Router<AppState> {
    Router::new()
        .route("/", get(home))
        .route("/images", get(home))
        .route("/images/", get(home))
        .route("/images/{name}", get(image))
        .route("/images/{name}/", get(image))
        .route("/images/{name}/feed.atom", get(image_feed))
        .route("/feed.atom", get(feed))
        .route("/status", get(status))
        .route("/robots.txt", get(async || ROBOTS))
        .route("/llms.txt", get(llms))
        .route("/assets/{file}", get(asset))
}

/// The response to a URL that has nothing.
pub(crate) fn not_found(url: &Uri) -> Problem {
    Problem::new(Code::NotFound).detail(format!("{} is not a URL of this server", quoted(&redacted_path(url.path()))))
}

fn page_request(cursor: Option<String>) -> PageRequest {
    PageRequest { limit: PageLimit::try_from(ITEMS).unwrap_or(PageLimit::MAX), after: cursor.map(Cursor) }
}

/// A field of a form; an empty one is absent.
fn optional<T: FromStr<Err: Display>>(fields: &mut Fields, name: &str, raw: &str) -> Option<Option<T>> {
    fields.optional(name, Some(raw.trim()).filter(|raw| !raw.is_empty()))
}

async fn home(
    browse: Browse,
    caller: Result<Caller>,
    visitor: Visitor,
    PageParams(params): PageParams<HomeParams>,
    url: Uri,
) -> Result<Response> {
    if !visitor.wants_page {
        return Err(not_found(&url));
    }
    let caller = caller?;
    let mut fields = Fields::default();
    let system = optional(&mut fields, "os", &params.os);
    let architecture = optional(&mut fields, "arch", &params.arch);
    let kind = optional(&mut fields, "kind", &params.kind);
    let state = optional(&mut fields, "state", &params.state);
    let order = optional(&mut fields, "sort", &params.sort);
    let text = params.q.trim().to_owned();
    if text.contains('\0') {
        fields.reject("q", "must not contain U+0000");
    } else if text.chars().count() > 200 {
        fields.reject("q", "must have at most 200 characters");
    }
    let (search, order) = fields.finish(|| {
        let text = Some(text.clone()).filter(|text| !text.is_empty());
        let search =
            ImageSearch { text, operating_system: system?, architecture: architecture?, kind: kind?, state: state? };
        Some((search, order?))
    })?;
    let is_later_page = params.cursor.is_some();
    let request = page_request(params.cursor);
    let found = browse.search(&caller, &search, order.unwrap_or(ImageOrder::Name), &request).await?;
    let form = SearchForm {
        text,
        operating_system: params.os.trim().to_owned(),
        architecture: params.arch.trim().to_owned(),
        kind: search.kind,
        state: search.state,
        order,
        is_later_page,
    };
    html::page(imgsrv_web::home(&visitor.viewer(browse.now()), &form, &found))
}

async fn image(
    browse: Browse,
    caller: Result<Caller>,
    visitor: Visitor,
    path: Result<ImagePath>,
    PageParams(params): PageParams<ImageParams>,
    url: Uri,
) -> Result<Response> {
    if !visitor.wants_page {
        return Err(not_found(&url));
    }
    let (caller, name) = (caller?, path?.name);
    let mut fields = Fields::default();
    let lifecycle = optional(&mut fields, "lifecycle", &params.lifecycle);
    let lifecycle = fields.finish(|| lifecycle)?;
    let shown = VersionsShown { lifecycle, is_later_page: params.cursor.is_some() };
    let overview = browse.image(&caller, &name, lifecycle, &page_request(params.cursor)).await?;
    html::page(imgsrv_web::image(&visitor.viewer(browse.now()), &overview, shown))
}

/// The page of a version, at the URL of its folder.
pub(crate) async fn version(
    browse: &Browse,
    caller: &Caller,
    visitor: &Visitor,
    name: &ImageName,
    reference: &RefName,
    url: &Uri,
) -> Result<Response> {
    let params = Query::<VersionParams>::try_from_uri(url).map(|Query(params)| params).unwrap_or_default();
    let detail = browse.version(caller, name, reference).await?;
    let shown = CommandsShown { program: params.r#for.as_deref(), file: params.file.as_deref() };
    let mut response = html::page(imgsrv_web::version(&visitor.viewer(browse.now()), &detail, shown))?;
    announce(response.headers_mut(), &detail.manifest.version.lifecycle);
    // The status is that of the listing for programs.
    if !detail.is_served {
        *response.status_mut() = StatusCode::GONE;
        response.headers_mut().insert(ROBOTS_TAG, NO_INDEX);
    }
    Ok(response)
}

async fn feed(browse: Browse, caller: Caller, visitor: Visitor) -> Result<Response> {
    let found = browse.feed(&caller, None).await?;
    html::feed(imgsrv_web::feed(&visitor.viewer(browse.now()), None, &found))
}

async fn image_feed(browse: Browse, caller: Caller, visitor: Visitor, path: ImagePath) -> Result<Response> {
    let found = browse.feed(&caller, Some(&path.name)).await?;
    html::feed(imgsrv_web::feed(&visitor.viewer(browse.now()), Some(&path.name), &found))
}

async fn status(
    browse: Browse,
    readiness: Arc<Readiness>,
    degradation: Arc<Degradation>,
    (nodes, storage): (Nodes, Storage),
    caller: Caller,
    visitor: Visitor,
) -> Result<Response> {
    let failures = readiness.failures().await;
    let health = Health {
        unreadable: failures.into_iter().map(|failure| format!("The {} {}.", failure.field, failure.reason)).collect(),
        unwritable: degradation.reasons().into_iter().map(|reason| reason.as_str().to_owned()).collect(),
    };
    let operation = match caller.system_reader() {
        Ok(reader) if health.unreadable.is_empty() => {
            Some(Operation { nodes: nodes.list(&reader).await?, storage: storage.status(&reader).await? })
        }
        _ => None,
    };
    let mut response = html::page(imgsrv_web::status(&visitor.viewer(browse.now()), &health, operation.as_ref()))?;
    response.headers_mut().insert(ROBOTS_TAG, NO_INDEX);
    if operation.is_some() {
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    }
    Ok(response)
}

async fn llms(browse: Browse, visitor: Visitor) -> Result<Response> {
    html::markdown(imgsrv_web::llms(&visitor.viewer(browse.now())))
}

async fn asset(Path(file): Path<String>, url: Uri) -> Result<Response> {
    let asset = ASSETS.iter().find(|asset| asset.path.strip_prefix("/assets/") == Some(file.as_str()));
    let asset = asset.ok_or_else(|| not_found(&url))?;
    let headers = [
        (header::CONTENT_TYPE, asset.media_type),
        (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
        (header::CONTENT_SECURITY_POLICY, "sandbox"),
    ];
    Ok((StatusCode::OK, headers, asset.content).into_response())
}
