//! Lifecycles of published versions.

use crate::{
    extract::{Fields, JsonBody, Rfc3339, VersionPath},
    public_url::Urls,
    response::{problem::Result, purges, wire},
    routes::problems::{BodyProblems, GuardedProblems, ReadProblems, Taken, WrongState},
    state::AppState,
};
use axum::{
    Json,
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse, Response},
};
use imgsrv_api as api;
use imgsrv_app::{
    AliasMoves, Caller, ContentAdmin, LifecycleChange, LifecyclePrecondition, Lifecycles, PurgeRequest, WantedWords,
};
use imgsrv_domain::{
    ids::VersionId,
    lifecycle::{Drain, InvalidDrain},
    text::LongText,
    transition::Revision,
    version::Version,
};
use std::{collections::BTreeMap, time::Duration};
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(get))
        .routes(routes!(deprecate))
        .routes(routes!(revoke))
        .routes(routes!(remove))
        .routes(routes!(restore))
        .routes(routes!(hold, release))
}

/// The precondition of a change, for its description in OpenAPI.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "description only")]
struct IfMatch {
    /// An entity tag of the lifecycle, or `*`.
    #[param(rename = "If-Match", nullable = false, pattern = r#"^(\*|(W/)?"[!#-~]*"([ \t]*,[ \t]*(W/)?"[!#-~]*")*)$"#)]
    if_match: Option<String>,
}

/// The entity tag of a lifecycle: the id of its version and its revision.
fn entity_tag(version: &Version) -> Option<HeaderValue> {
    HeaderValue::try_from(format!("\"{}.{}\"", version.id, version.lifecycle.revision.get())).ok()
}

fn respond(version: &Version, body: impl IntoResponse) -> Response {
    let mut response = body.into_response();
    if let Some(tag) = entity_tag(version) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

/// The precondition in `If-Match` (RFC 9110, section 13.1.1). A tag that this server did not issue matches nothing.
fn precondition(headers: &HeaderMap) -> LifecyclePrecondition {
    if !headers.contains_key(header::IF_MATCH) {
        return LifecyclePrecondition::None;
    }
    let values = headers.get_all(header::IF_MATCH).iter().filter_map(|value| value.to_str().ok());
    let tags: Vec<&str> = values.flat_map(|value| value.split(',')).map(str::trim).collect();
    if tags.contains(&"*") {
        return LifecyclePrecondition::None;
    }
    let parse = |tag: &&str| {
        let (id, revision) = tag.strip_prefix('"')?.strip_suffix('"')?.split_once('.')?;
        Some((id.parse::<VersionId>().ok()?, Revision::new(revision.parse().ok()?)))
    };
    LifecyclePrecondition::AnyOf(tags.iter().filter_map(parse).collect())
}

async fn change(
    lifecycles: &Lifecycles,
    who: &ContentAdmin,
    urls: &Urls,
    path: &VersionPath,
    headers: &HeaderMap,
    change: &LifecycleChange,
) -> Result<Response> {
    let version = lifecycles.change(who, &path.name, &path.version, &precondition(headers), change).await?;
    Ok(respond(&version, Json(wire::version(&version, urls))))
}

/// A reason, which is not empty.
fn reason(fields: &mut Fields, raw: &str) -> Option<LongText> {
    if raw.trim().is_empty() {
        fields.reject("reason", "must not be empty");
        return None;
    }
    fields.parse("reason", raw)
}

fn words(fields: &mut Fields, why: Option<&str>, replacement: Option<&str>) -> Option<WantedWords> {
    let reason = why.map_or(Some(None), |raw| reason(fields, raw).map(Some));
    let replacement = fields.optional("replacement", replacement);
    Some(WantedWords { reason: reason?, replacement: replacement? })
}

fn moves(fields: &mut Fields, raw: &BTreeMap<String, Option<String>>) -> Option<AliasMoves> {
    let field = |alias: &str| format!("aliases.{alias}");
    raw.iter()
        .map(|(alias, version)| {
            let name = fields.parse(field(alias), alias);
            let version = version.as_deref().map_or(Some(None), |raw| fields.parse(field(alias), raw).map(Some));
            Some((name?, version?))
        })
        .collect()
}

/// A drain such as `48h`.
fn drain(fields: &mut Fields, raw: Option<&str>) -> Option<Option<Drain>> {
    let Some(raw) = raw else { return Some(None) };
    let parsed = raw.parse::<jiff::SignedDuration>().ok().and_then(|parsed| Duration::try_from(parsed).ok());
    let drain = match parsed.map(Drain::new) {
        Some(Ok(drain)) => Ok(drain),
        Some(Err(invalid @ InvalidDrain)) => Err(invalid.to_string()),
        None => Err("must be a duration such as 48h".to_owned()),
    };
    fields.check("drain", drain).map(Some)
}

/// Read the lifecycle of a published version
///
/// Its `ETag` identifies the revision of the lifecycle, for `If-Match`.
#[utoipa::path(get, path = "/v1/images/{name}/versions/{version}/lifecycle", operation_id = "getLifecycle",
    tag = "lifecycle", security((), ("bearer" = [])), params(VersionPath),
    responses((status = OK, description = "The lifecycle.", body = api::Lifecycle), ReadProblems))]
async fn get(lifecycles: Lifecycles, caller: Caller, urls: Urls, path: VersionPath) -> Result<Response> {
    let version = lifecycles.get(&caller, &path.name, &path.version).await?;
    Ok(respond(&version, Json(wire::lifecycle(&version, &urls))))
}

/// Deprecate a version
///
/// It is still listed and served; downloads have the headers `Deprecation`, `Sunset` and `Link`. A second request
/// replaces reason, replacement and end of life. Requires `content.retire`.
#[utoipa::path(post, path = "/v1/images/{name}/versions/{version}/deprecate", operation_id = "deprecateVersion",
    tag = "lifecycle", security(("bearer" = [])), params(VersionPath, IfMatch),
    request_body = api::DeprecateVersion,
    responses((status = OK, description = "The version.", body = api::Version), GuardedProblems, BodyProblems, Taken, WrongState))]
async fn deprecate(
    lifecycles: Lifecycles,
    who: ContentAdmin,
    urls: Urls,
    path: VersionPath,
    headers: HeaderMap,
    JsonBody(body): JsonBody<api::DeprecateVersion>,
) -> Result<Response> {
    let mut fields = Fields::default();
    let words = words(&mut fields, Some(&body.reason), body.replacement.as_deref());
    let end_of_life = fields.optional("end_of_life", body.end_of_life.as_deref());
    let wanted = fields.finish(|| Some(LifecycleChange::Deprecate { words: words?, end_of_life: end_of_life? }))?;
    change(&lifecycles, &who, &urls, &path, &headers, &wanted).await
}

/// Revoke a version
///
/// Its files are no longer served: downloads are 410 with the reason and the replacement. `aliases` moves or deletes
/// aliases in the same transaction; if one would still point to the version, nothing is changed (409). A second request
/// replaces reason and replacement. Requires `content.retire`.
#[utoipa::path(post, path = "/v1/images/{name}/versions/{version}/revoke", operation_id = "revokeVersion",
    tag = "lifecycle", security(("bearer" = [])), params(VersionPath, IfMatch),
    request_body = api::RevokeVersion,
    responses((status = OK, description = "The version.", body = api::Version), GuardedProblems, BodyProblems, Taken, WrongState))]
async fn revoke(
    lifecycles: Lifecycles,
    who: ContentAdmin,
    urls: Urls,
    path: VersionPath,
    headers: HeaderMap,
    JsonBody(body): JsonBody<api::RevokeVersion>,
) -> Result<Response> {
    let mut fields = Fields::default();
    let words = words(&mut fields, Some(&body.reason), body.replacement.as_deref());
    let aliases = moves(&mut fields, &body.aliases);
    let wanted = fields.finish(|| Some(LifecycleChange::Revoke { words: words?, aliases: aliases? }))?;
    change(&lifecycles, &who, &urls, &path, &headers, &wanted).await
}

/// Remove a version
///
/// It is no longer listed. Its files are served until `available_until`, because clients cache indexes, and it can be
/// restored until then; afterwards it is a tombstone permanently, and its name is never used again. `aliases` moves or
/// deletes aliases in the same transaction; if one would still point to the version, nothing is changed (409). A second
/// request replaces reason and replacement, and keeps `available_until`.
///
/// With `purge`, there is no drain and no way back: content that nothing else refers to is deleted at once, and its
/// digests are blocked. Downloads under way may break. Repeat the request if it was interrupted. Requires
/// `content.retire`.
#[utoipa::path(post, path = "/v1/images/{name}/versions/{version}/remove", operation_id = "removeVersion",
    tag = "lifecycle", security(("bearer" = [])), params(VersionPath, IfMatch),
    request_body = api::RemoveVersion,
    responses((status = OK, description = "The version.", body = api::RemovedVersion), GuardedProblems, BodyProblems, Taken, WrongState))]
async fn remove(
    lifecycles: Lifecycles,
    who: ContentAdmin,
    urls: Urls,
    path: VersionPath,
    headers: HeaderMap,
    JsonBody(body): JsonBody<api::RemoveVersion>,
) -> Result<Response> {
    if body.purge {
        return purge(&lifecycles, &who, &urls, &path, &headers, &body).await;
    }
    let mut fields = Fields::default();
    let words = words(&mut fields, body.reason.as_deref(), body.replacement.as_deref());
    let aliases = moves(&mut fields, &body.aliases);
    let drain = drain(&mut fields, body.drain.as_deref());
    let wanted = fields.finish(|| Some(LifecycleChange::Remove { words: words?, aliases: aliases?, drain: drain? }))?;
    change(&lifecycles, &who, &urls, &path, &headers, &wanted).await
}

async fn purge(
    lifecycles: &Lifecycles,
    who: &ContentAdmin,
    urls: &Urls,
    path: &VersionPath,
    headers: &HeaderMap,
    body: &api::RemoveVersion,
) -> Result<Response> {
    let mut fields = Fields::default();
    if body.drain.is_some() {
        fields.reject("drain", "cannot be combined with purge");
    }
    let reason = match &body.reason {
        Some(raw) => reason(&mut fields, raw),
        None => {
            fields.reject("reason", "is required with purge");
            None
        }
    };
    let replacement = fields.optional("replacement", body.replacement.as_deref());
    let aliases = moves(&mut fields, &body.aliases);
    let request = || Some(PurgeRequest { reason: reason?, replacement: replacement?, aliases: aliases? });
    let request = fields.finish(request)?;
    let purged = lifecycles.purge(who, &path.name, &path.version, &precondition(headers), &request).await?;
    Ok(respond(&purged.version, Json(purges::purged(&purged, urls))))
}

/// Undo the deprecation, revocation or removal of a version
///
/// Undoes the last step: a version that was deprecated and then revoked is deprecated again. Send `If-Match`, so that a
/// repeated request does not undo two steps. Requires `content.retire`.
#[utoipa::path(post, path = "/v1/images/{name}/versions/{version}/restore", operation_id = "restoreVersion",
    tag = "lifecycle", security(("bearer" = [])), params(VersionPath, IfMatch),
    request_body = api::RestoreVersion,
    responses((status = OK, description = "The version.", body = api::Version), GuardedProblems, BodyProblems, WrongState))]
async fn restore(
    lifecycles: Lifecycles,
    who: ContentAdmin,
    urls: Urls,
    path: VersionPath,
    headers: HeaderMap,
    JsonBody(body): JsonBody<api::RestoreVersion>,
) -> Result<Response> {
    let mut fields = Fields::default();
    let reason = body.reason.as_deref().map_or(Some(None), |raw| reason(&mut fields, raw).map(Some));
    let wanted = fields.finish(|| Some(LifecycleChange::Restore { reason: reason? }))?;
    change(&lifecycles, &who, &urls, &path, &headers, &wanted).await
}

/// Hold a version
///
/// While the hold is in force, the version cannot be revoked or removed (409), and nothing of it is reclaimed. A hold
/// can only be lengthened, which also undoes its release. Requires `content.retire`.
#[utoipa::path(put, path = "/v1/images/{name}/versions/{version}/hold", operation_id = "holdVersion",
    tag = "lifecycle", security(("bearer" = [])), params(VersionPath, IfMatch),
    request_body = api::HoldVersion,
    responses((status = OK, description = "The version.", body = api::Version), GuardedProblems, BodyProblems, WrongState))]
async fn hold(
    lifecycles: Lifecycles,
    who: ContentAdmin,
    urls: Urls,
    path: VersionPath,
    headers: HeaderMap,
    JsonBody(body): JsonBody<api::HoldVersion>,
) -> Result<Response> {
    let mut fields = Fields::default();
    let reason = reason(&mut fields, &body.reason);
    let until = fields.optional::<Rfc3339>("until", body.until.as_deref());
    let wanted = fields.finish(|| Some(LifecycleChange::Hold { reason: reason?, until: until?.map(|time| time.0) }))?;
    change(&lifecycles, &who, &urls, &path, &headers, &wanted).await
}

/// Release the hold of a version
///
/// The hold stays in force until `lifts_at`, so that one stolen token cannot release a version and remove it. Requires
/// `content.retire`.
#[utoipa::path(delete, path = "/v1/images/{name}/versions/{version}/hold", operation_id = "releaseVersion",
    tag = "lifecycle", security(("bearer" = [])), params(VersionPath, IfMatch),
    responses((status = OK, description = "The version.", body = api::Version), GuardedProblems, WrongState))]
async fn release(
    lifecycles: Lifecycles,
    who: ContentAdmin,
    urls: Urls,
    path: VersionPath,
    headers: HeaderMap,
) -> Result<Response> {
    change(&lifecycles, &who, &urls, &path, &headers, &LifecycleChange::Release).await
}
