//! Retention policies of images.

use crate::{
    extract::{Fields, ImagePath, JsonBody},
    response::problem::Result,
    routes::problems::{BodyProblems, GuardedProblems, Taken},
    state::AppState,
};
use axum::{Json, http::StatusCode};
use imgsrv_api as api;
use imgsrv_app::{ContentAdmin, Retention, RetentionPreview};
use imgsrv_domain::{
    names::VersionName,
    retention::{Decision, Disposal, KeepRules, RetentionPolicy, Span},
};
use std::{num::NonZeroU32, time::Duration};
use utoipa_axum::{router::OpenApiRouter, routes};

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(get, put, delete)).routes(routes!(preview, try_out)).routes(routes!(apply))
}

/// A policy in JSON, as the API takes it; else the reason why it is not valid.
pub fn parse_retention(json: &str) -> Result<RetentionPolicy, String> {
    let wanted: api::RetentionPolicy = serde_json::from_str(json).map_err(|error| error.to_string())?;
    policy(&wanted).map_err(|problem| problem.text().to_owned())
}

fn number(fields: &mut Fields, field: &str, raw: Option<i64>) -> Option<Option<NonZeroU32>> {
    let Some(raw) = raw else { return Some(None) };
    let number = u32::try_from(raw).ok().and_then(NonZeroU32::new);
    fields.check(field, number.ok_or("must be from 1 to 4294967295")).map(Some)
}

fn span(fields: &mut Fields, field: &str, raw: Option<&str>) -> Option<Option<Duration>> {
    fields.optional::<Span>(field, raw).map(|span| span.map(|Span(duration)| duration))
}

/// A span of a rule, which would keep nothing if it were zero.
fn positive(fields: &mut Fields, field: &str, raw: Option<&str>) -> Option<Option<Duration>> {
    let span = span(fields, field, raw)?;
    if span == Some(Duration::ZERO) {
        fields.reject(field, "must be longer than 0s");
        return None;
    }
    Some(span)
}

fn keep(fields: &mut Fields, raw: &api::KeepRules) -> Option<KeepRules> {
    let newest = number(fields, "keep.newest", raw.newest);
    let daily = number(fields, "keep.daily", raw.daily);
    let weekly = number(fields, "keep.weekly", raw.weekly);
    let monthly = number(fields, "keep.monthly", raw.monthly);
    let younger_than = positive(fields, "keep.younger_than", raw.younger_than.as_deref());
    let fetched_within = positive(fields, "keep.fetched_within", raw.fetched_within.as_deref());
    Some(KeepRules {
        newest: newest?,
        daily: daily?,
        weekly: weekly?,
        monthly: monthly?,
        younger_than: younger_than?,
        fetched_within: fetched_within?,
    })
}

fn disposal(fields: &mut Fields, raw: &api::RetentionPolicy) -> Option<Disposal> {
    let deprecate_after = span(fields, "deprecate_after", raw.deprecate_after.as_deref());
    let remove_after = span(fields, "remove_after", raw.remove_after.as_deref());
    let (mut deprecate_after, mut remove_after) = (deprecate_after?, remove_after?);
    match raw.action.as_deref() {
        None => {}
        Some("deprecate") => deprecate_after = deprecate_after.or(Some(Duration::ZERO)),
        Some("remove") => remove_after = remove_after.or(Some(Duration::ZERO)),
        Some(_) => {
            fields.reject("action", "must be deprecate or remove");
            return None;
        }
    }
    let field = if deprecate_after.is_none() && remove_after.is_none() { "action" } else { "remove_after" };
    fields.check(field, Disposal::new(deprecate_after, remove_after))
}

fn policy(raw: &api::RetentionPolicy) -> Result<RetentionPolicy> {
    let mut fields = Fields::default();
    let keep = keep(&mut fields, &raw.keep);
    let min_keep = number(&mut fields, "min_keep", raw.min_keep);
    let disposal = disposal(&mut fields, raw);
    let policy = match (keep, min_keep, disposal) {
        (Some(keep), Some(min_keep), Some(disposal)) => {
            let min_keep = min_keep.unwrap_or(NonZeroU32::MIN);
            fields.check("keep", RetentionPolicy::new(keep, min_keep, disposal, raw.enabled))
        }
        _ => None,
    };
    fields.finish(|| policy)
}

fn wire(policy: &RetentionPolicy) -> api::RetentionPolicy {
    let KeepRules { newest, daily, weekly, monthly, younger_than, fetched_within } = policy.keep();
    let number = |number: &Option<NonZeroU32>| number.map(|number| i64::from(number.get()));
    let span = |span: Option<Duration>| span.map(|span| Span(span).to_string());
    api::RetentionPolicy {
        keep: api::KeepRules {
            newest: number(newest),
            daily: number(daily),
            weekly: number(weekly),
            monthly: number(monthly),
            younger_than: span(*younger_than),
            fetched_within: span(*fetched_within),
        },
        min_keep: Some(policy.min_keep.get().into()),
        action: None,
        deprecate_after: span(policy.disposal.deprecate_after()),
        remove_after: span(policy.disposal.remove_after()),
        enabled: policy.enabled,
    }
}

fn decisions(decisions: &[(VersionName, Decision)]) -> Vec<api::RetentionDecision> {
    let decision = |(version, decision): &(VersionName, Decision)| api::RetentionDecision {
        version: version.to_string(),
        action: decision.action.to_string(),
        because: decision.because.iter().map(ToString::to_string).collect(),
    };
    decisions.iter().map(decision).collect()
}

fn wire_preview(preview: &RetentionPreview) -> Json<api::RetentionPreview> {
    Json(api::RetentionPreview { revision: preview.revision.clone(), decisions: decisions(&preview.decisions) })
}

/// Read the retention policy of an image
///
/// 404 if the image has none of its own; the default policy is a setting of the server. Requires `content.retire`.
#[utoipa::path(get, path = "/v1/images/{name}/retention", operation_id = "getRetention", tag = "retention",
    security(("bearer" = [])), params(ImagePath),
    responses((status = OK, description = "The policy.", body = api::RetentionPolicy), GuardedProblems))]
async fn get(retention: Retention, who: ContentAdmin, path: ImagePath) -> Result<Json<api::RetentionPolicy>> {
    Ok(Json(wire(&retention.get(&who, &path.name).await?)))
}

/// Set the retention policy of an image
///
/// Versions that a rule keeps, that an alias points to, that are held or that are the replacement of another version stay
/// as they are, and so do the newest `min_keep`. The others are deprecated and removed, if the policy is enabled or when it
/// is applied. Requires `content.retire`.
#[utoipa::path(put, path = "/v1/images/{name}/retention", operation_id = "setRetention", tag = "retention",
    security(("bearer" = [])), params(ImagePath), request_body = api::RetentionPolicy,
    responses((status = OK, description = "The policy.", body = api::RetentionPolicy), GuardedProblems, BodyProblems))]
async fn put(
    retention: Retention,
    who: ContentAdmin,
    path: ImagePath,
    JsonBody(body): JsonBody<api::RetentionPolicy>,
) -> Result<Json<api::RetentionPolicy>> {
    let policy = policy(&body)?;
    retention.set(&who, &path.name, &policy).await?;
    Ok(Json(wire(&policy)))
}

/// Delete the retention policy of an image
///
/// The default policy of the server applies afterwards, if there is one. Requires `content.retire`.
#[utoipa::path(delete, path = "/v1/images/{name}/retention", operation_id = "deleteRetention", tag = "retention",
    security(("bearer" = [])), params(ImagePath),
    responses((status = NO_CONTENT, description = "The policy is deleted."), GuardedProblems))]
async fn delete(retention: Retention, who: ContentAdmin, path: ImagePath) -> Result<StatusCode> {
    retention.delete(&who, &path.name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Preview what the retention policy of an image would do
///
/// Decides for every active and deprecated version with the policy of the image, or else with the default policy.
/// Changes nothing. Requires `content.retire`.
#[utoipa::path(get, path = "/v1/images/{name}/retention/preview", operation_id = "previewRetention", tag = "retention",
    security(("bearer" = [])), params(ImagePath),
    responses((status = OK, description = "The decisions.", body = api::RetentionPreview), GuardedProblems))]
async fn preview(retention: Retention, who: ContentAdmin, path: ImagePath) -> Result<Json<api::RetentionPreview>> {
    Ok(wire_preview(&retention.preview(&who, &path.name, None).await?))
}

/// Preview what another retention policy would do
///
/// Changes nothing. The revision cannot be applied unless it is that of the policy of the image. Requires
/// `content.retire`.
#[utoipa::path(post, path = "/v1/images/{name}/retention/preview", operation_id = "tryRetention", tag = "retention",
    security(("bearer" = [])), params(ImagePath), request_body = api::RetentionPolicy,
    responses((status = OK, description = "The decisions.", body = api::RetentionPreview), GuardedProblems, BodyProblems))]
async fn try_out(
    retention: Retention,
    who: ContentAdmin,
    path: ImagePath,
    JsonBody(body): JsonBody<api::RetentionPolicy>,
) -> Result<Json<api::RetentionPreview>> {
    let policy = policy(&body)?;
    Ok(wire_preview(&retention.preview(&who, &path.name, Some(&policy)).await?))
}

/// Apply the retention policy of an image
///
/// Carries out what a preview of the policy of the image showed, whether the policy is enabled or not. 409
/// `revision-changed` if the image, its policy or the decisions have changed since. Versions that have become needed
/// meanwhile are left as they are. Requires `content.retire`.
#[utoipa::path(post, path = "/v1/images/{name}/retention/apply", operation_id = "applyRetention", tag = "retention",
    security(("bearer" = [])), params(ImagePath), request_body = api::ApplyRetention,
    responses((status = OK, description = "What was done.", body = api::RetentionApplied), GuardedProblems, BodyProblems, Taken))]
async fn apply(
    retention: Retention,
    who: ContentAdmin,
    path: ImagePath,
    JsonBody(body): JsonBody<api::ApplyRetention>,
) -> Result<Json<api::RetentionApplied>> {
    let applied = retention.apply(&who, &path.name, &body.revision).await?;
    let remaining = i64::try_from(applied.remaining).unwrap_or(i64::MAX);
    Ok(Json(api::RetentionApplied { done: decisions(&applied.done), remaining }))
}
