//! Aliases.

use crate::{
    extract::{AliasPath, Fields, ImagePath, JsonBody, MaybeCaller, PageQuery, WriterOnly},
    response::{
        problem::{Code, Problem},
        wire,
    },
    state::AppState,
};
use crate::{
    response::page::page,
    routes::problems::{BodyProblems, GuardedProblems, ReadProblems, Taken, WrongState},
};
use axum::{
    Json,
    extract::State,
    http::{HeaderMap, HeaderName, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use imgsrv_api as api;
use imgsrv_app::Precondition;
use imgsrv_domain::{ids::AliasId, image::Alias, transition::Revision};
use utoipa_axum::{router::OpenApiRouter, routes};

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(get, set, delete))
}

/// The entity tag of an alias: which it is, and how often it moved.
fn etag(alias: &Alias) -> String {
    format!("\"{}.{}\"", alias.id, alias.revision.get())
}

fn answer(alias: &Alias) -> Response {
    ([(header::ETAG, etag(alias))], Json(wire::alias(alias))).into_response()
}

/// What `If-Match` and `If-None-Match` demand (RFC 9110, section 13.1). Tags that are none of ours match nothing.
fn precondition(headers: &HeaderMap) -> Result<Precondition, Problem> {
    let tags = |name: HeaderName| -> Option<Vec<String>> {
        headers.contains_key(&name).then(|| {
            let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
            values.flat_map(|value| value.split(',')).map(|tag| tag.trim().to_owned()).collect()
        })
    };
    match (tags(header::IF_MATCH), tags(header::IF_NONE_MATCH)) {
        (None, None) => Ok(Precondition::None),
        (Some(tags), None) if tags.iter().any(|tag| tag == "*") => Ok(Precondition::Exists),
        (Some(tags), None) => Ok(Precondition::AnyOf(tags.iter().filter_map(|tag| state(tag)).collect())),
        (None, Some(tags)) if tags == ["*"] => Ok(Precondition::Absent),
        (_, Some(_)) => Err(Problem::new(Code::InvalidRequest)
            .field("If-None-Match", "must be * when an alias is changed, and not together with If-Match")),
    }
}

fn state(tag: &str) -> Option<(AliasId, Revision)> {
    let (id, revision) = tag.strip_prefix('"')?.strip_suffix('"')?.split_once('.')?;
    Some((id.parse().ok()?, Revision::new(revision.parse().ok()?)))
}

/// List the aliases of an image
#[utoipa::path(get, path = "/v1/images/{name}/aliases", operation_id = "listAliases", tag = "aliases",
    params(ImagePath, PageQuery),
    responses((status = OK, description = "A page of aliases, by name.", body = api::AliasList), ReadProblems))]
async fn list(
    State(state): State<AppState>,
    MaybeCaller(caller): MaybeCaller,
    path: ImagePath,
    query: PageQuery,
    uri: Uri,
) -> Result<Response, Problem> {
    let found = state.services.aliases().list(&caller, &path.name, &query.page()?).await?;
    let body = api::AliasList {
        aliases: found.items.iter().map(wire::alias).collect(),
        next_cursor: found.next.as_ref().map(|cursor| cursor.0.clone()),
    };
    Ok(page(&uri, found.next.as_ref(), body))
}

/// Read an alias
#[utoipa::path(get, path = "/v1/images/{name}/aliases/{alias}", operation_id = "getAlias", tag = "aliases",
    params(AliasPath),
    responses((status = OK, description = "The alias; its `ETag` changes when it moves.", body = api::Alias), ReadProblems))]
async fn get(State(state): State<AppState>, _caller: MaybeCaller, path: AliasPath) -> Result<Response, Problem> {
    Ok(answer(&state.services.aliases().get(&path.name, &path.alias).await?))
}

/// Make an alias, or move it to another published version
///
/// `If-Match` with the alias's `ETag`, or `If-None-Match: *`, guards against changes by others.
#[utoipa::path(put, path = "/v1/images/{name}/aliases/{alias}", operation_id = "setAlias", tag = "aliases",
    security(("bearer" = [])), params(AliasPath, ("If-Match" = Option<String>, Header, description = "An entity tag of the alias, or `*`."),
        ("If-None-Match" = Option<String>, Header, description = "`*`: only if there is no such alias.")),
    request_body = api::SetAlias,
    responses((status = OK, description = "The alias.", body = api::Alias), GuardedProblems, BodyProblems, Taken, WrongState))]
async fn set(
    State(state): State<AppState>,
    WriterOnly(writer): WriterOnly,
    path: AliasPath,
    headers: HeaderMap,
    JsonBody(body): JsonBody<api::SetAlias>,
) -> Result<Response, Problem> {
    let precondition = precondition(&headers)?;
    let mut fields = Fields::default();
    let version = fields.parse("version", &body.version);
    let version = fields.finish(version)?;
    let alias = state.services.aliases().set(&writer, &path.name, &path.alias, &version, &precondition).await?;
    Ok(answer(&alias))
}

/// Delete an alias
///
/// The version that it points to stays.
#[utoipa::path(delete, path = "/v1/images/{name}/aliases/{alias}", operation_id = "deleteAlias", tag = "aliases",
    security(("bearer" = [])), params(AliasPath),
    responses((status = NO_CONTENT, description = "It is gone."), GuardedProblems, WrongState))]
async fn delete(
    State(state): State<AppState>,
    WriterOnly(writer): WriterOnly,
    path: AliasPath,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    let precondition = precondition(&headers)?;
    state.services.aliases().delete(&writer, &path.name, &path.alias, &precondition).await?;
    Ok(StatusCode::NO_CONTENT)
}
