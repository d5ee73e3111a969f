//! Aliases.

use crate::{
    extract::{AliasPath, Fields, ImagePath, JsonBody, PageQuery},
    response::{
        page::page_response,
        problem::{Code, Problem, Result},
        wire,
    },
    routes::problems::{BodyProblems, GuardedProblems, ReadProblems, Taken, WrongState},
    state::AppState,
};
use axum::{
    Json,
    http::{HeaderMap, HeaderName, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use imgsrv_api as api;
use imgsrv_app::{Aliases, Caller, Precondition, Writer};
use imgsrv_domain::{ids::AliasId, image::Alias, transition::Revision};
use utoipa_axum::{router::OpenApiRouter, routes};

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(get, set, delete))
}

/// The response with an alias, whose entity tag is its id and its revision.
fn respond(alias: &Alias) -> Response {
    let etag = format!("\"{}.{}\"", alias.id, alias.revision.get());
    ([(header::ETAG, etag)], Json(wire::alias(alias))).into_response()
}

/// The precondition in `If-Match` and `If-None-Match` (RFC 9110, section 13.1). A tag that this server did not issue
/// matches nothing.
///
/// `headers::IfMatch` only compares with one known tag. Here the tags are parsed, because the use case compares them
/// with the alias that it has locked.
fn precondition(headers: &HeaderMap) -> Result<Precondition> {
    let tags = |name: HeaderName| -> Option<Vec<String>> {
        headers.contains_key(&name).then(|| {
            let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
            values.flat_map(|value| value.split(',')).map(|tag| tag.trim().to_owned()).collect()
        })
    };
    match (tags(header::IF_MATCH), tags(header::IF_NONE_MATCH)) {
        (None, None) => Ok(Precondition::None),
        (Some(tags), None) if tags.iter().any(|tag| tag == "*") => Ok(Precondition::Exists),
        (Some(tags), None) => Ok(Precondition::AnyOf(tags.iter().filter_map(|tag| parse_etag(tag)).collect())),
        (None, Some(tags)) if tags == ["*"] => Ok(Precondition::Absent),
        (_, Some(_)) => Err(Problem::new(Code::InvalidRequest)
            .field("If-None-Match", "must be * when an alias is changed, and not together with If-Match")),
    }
}

fn parse_etag(tag: &str) -> Option<(AliasId, Revision)> {
    let (id, revision) = tag.strip_prefix('"')?.strip_suffix('"')?.split_once('.')?;
    Some((id.parse().ok()?, Revision::new(revision.parse().ok()?)))
}

/// List the aliases of an image
#[utoipa::path(get, path = "/v1/images/{name}/aliases", operation_id = "listAliases", tag = "aliases", security((), ("bearer" = [])),
    params(ImagePath, PageQuery),
    responses((status = OK, description = "A page of aliases, sorted by name.", body = api::AliasList), ReadProblems))]
async fn list(aliases: Aliases, caller: Caller, path: ImagePath, query: PageQuery, uri: Uri) -> Result<Response> {
    let page = aliases.list(&caller, &path.name, &query.page()?).await?;
    Ok(page_response(&uri, &page, wire::alias, |aliases, next_cursor| api::AliasList { aliases, next_cursor }))
}

/// Read an alias
#[utoipa::path(get, path = "/v1/images/{name}/aliases/{alias}", operation_id = "getAlias", tag = "aliases", security((), ("bearer" = [])),
    params(AliasPath),
    responses((status = OK, description = "The alias. Its `ETag` changes when it moves.", body = api::Alias), ReadProblems))]
async fn get(aliases: Aliases, caller: Caller, path: AliasPath) -> Result<Response> {
    Ok(respond(&aliases.get(&caller, &path.name, &path.alias).await?))
}

/// Create an alias, or move it to another published version
///
/// Use `If-Match` with the `ETag` of the alias, or `If-None-Match: *`, to detect concurrent changes.
#[utoipa::path(put, path = "/v1/images/{name}/aliases/{alias}", operation_id = "setAlias", tag = "aliases",
    security(("bearer" = [])), params(AliasPath, ("If-Match" = Option<String>, Header, nullable = false, pattern = r#"^(\*|(W/)?"[!#-~]*"([ \t]*,[ \t]*(W/)?"[!#-~]*")*)$"#, description = "An entity tag of the alias, or `*`."),
        ("If-None-Match" = Option<String>, Header, nullable = false, pattern = r"^\*$", description = "`*`: create the alias only if it does not exist.")),
    request_body = api::SetAlias,
    responses((status = OK, description = "The alias.", body = api::Alias), GuardedProblems, BodyProblems, Taken, WrongState))]
async fn set(
    aliases: Aliases,
    writer: Writer,
    path: AliasPath,
    headers: HeaderMap,
    JsonBody(body): JsonBody<api::SetAlias>,
) -> Result<Response> {
    let precondition = precondition(&headers)?;
    let mut fields = Fields::default();
    let version = fields.parse("version", &body.version);
    let version = fields.finish(|| version)?;
    let alias = aliases.set(&writer, &path.name, &path.alias, &version, &precondition).await?;
    Ok(respond(&alias))
}

/// Delete an alias
///
/// The version is not deleted.
#[utoipa::path(delete, path = "/v1/images/{name}/aliases/{alias}", operation_id = "deleteAlias", tag = "aliases",
    security(("bearer" = [])), params(AliasPath),
    responses((status = NO_CONTENT, description = "The alias is deleted."), GuardedProblems, WrongState))]
async fn delete(aliases: Aliases, writer: Writer, path: AliasPath, headers: HeaderMap) -> Result<StatusCode> {
    let precondition = precondition(&headers)?;
    aliases.delete(&writer, &path.name, &path.alias, &precondition).await?;
    Ok(StatusCode::NO_CONTENT)
}
