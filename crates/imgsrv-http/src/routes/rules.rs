//! Provisioning rules.

use crate::{
    extract::{Fields, JsonBody, PageQuery, RulePath, patterns_of},
    response::{page::page_response, problem::Result, wire},
    routes::problems::{BodyProblems, GuardedProblems, Taken},
    state::AppState,
};
use axum::{
    Json,
    http::{StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use imgsrv_api as api;
use imgsrv_app::{Manager, Rules};
use imgsrv_domain::{
    auth::Role,
    claims::{ImageTemplate, RuleImages},
    names::RuleId,
    oidc::{ForwardedClaims, ProvisioningRule, RuleTerms},
};
use utoipa_axum::{router::OpenApiRouter, routes};

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(get, update, delete))
        .routes(routes!(preview, reconcile))
}

/// The id and the terms of the rule in the body; `path` is the id of a rule that exists.
fn terms(body: api::SaveProvisioningRule, path: Option<&RuleId>) -> Result<(Option<RuleId>, RuleTerms)> {
    let mut fields = Fields::default();
    let id = fields.optional::<RuleId>("id", body.id.as_deref());
    if let (Some(Some(id)), Some(path)) = (&id, path)
        && id != path
    {
        fields.reject("id", "must be the id in the path");
    }
    let role = match body.assign_role_ids.as_deref() {
        None => Some(Role::ContentWriter),
        Some([id]) => id.parse().ok().filter(|role| ProvisioningRule::ROLES.contains(role)),
        Some(_) => None,
    };
    if role.is_none() {
        let roles = ProvisioningRule::ROLES.map(|role| format!("[\"{role}\"]"));
        fields.reject("assign_role_ids", format!("must be {}", roles.join(" or ")));
    }
    let display_name = fields.parse("display_name", &body.display_name);
    let issuer = fields.parse("issuer_url", &body.issuer_url);
    let audience = fields.parse("audience", &body.audience);
    let condition = fields.parse("condition", &body.condition);
    let names = body.forwarded_claims.iter().enumerate();
    let names: Vec<_> = names.filter_map(|(at, name)| fields.parse(format!("forwarded_claims[{at}]"), name)).collect();
    let forwarded_claims = fields.check("forwarded_claims", ForwardedClaims::new(names));
    let matching = |patterns: Vec<ImageTemplate>| RuleImages::matching(patterns);
    let images = patterns_of(&mut fields, body.images, matching);
    fields.finish(|| {
        let terms = RuleTerms {
            role: role?,
            images: images?.unwrap_or(RuleImages::Every),
            display_name: display_name?,
            issuer: issuer?,
            audience: audience?,
            forwarded_claims: forwarded_claims?,
            condition: condition?,
            enabled: body.enabled.unwrap_or(true),
        };
        Some((id?, terms))
    })
}

/// List provisioning rules
#[utoipa::path(get, path = "/v1/auth/oidc-provisioning-rules", operation_id = "listProvisioningRules", tag = "auth",
    security(("bearer" = [])), params(PageQuery),
    responses((status = OK, description = "A page of rules.", body = api::ProvisioningRuleList), GuardedProblems))]
async fn list(rules: Rules, manager: Manager, query: PageQuery, uri: Uri) -> Result<Response> {
    let page = rules.list(&manager, &query.page()?).await?;
    Ok(page_response(&uri, &page, wire::rule, |rules, next_cursor| api::ProvisioningRuleList { rules, next_cursor }))
}

/// Create a provisioning rule
///
/// Grants `content-writer`, or `content-reader`, to callers with a token of the issuer that has the audience and meets the
/// condition, on the images that it names for the claims of the token. The
/// condition is checked: it must parse, use only existing names, not exceed the size limits, and evaluate to true or
/// false when every forwarded claim is a string.
#[utoipa::path(post, path = "/v1/auth/oidc-provisioning-rules", operation_id = "createProvisioningRule", tag = "auth",
    security(("bearer" = [])), request_body = api::SaveProvisioningRule,
    responses((status = CREATED, description = "The rule.", body = api::ProvisioningRule), GuardedProblems, BodyProblems, Taken))]
async fn create(
    rules: Rules,
    manager: Manager,
    JsonBody(body): JsonBody<api::SaveProvisioningRule>,
) -> Result<Response> {
    let (id, terms) = terms(body, None)?;
    let rule = rules.create(&manager, id, terms).await?;
    let location = [(header::LOCATION, format!("/v1/auth/oidc-provisioning-rules/{}", rule.id))];
    Ok((StatusCode::CREATED, location, Json(wire::rule(&rule))).into_response())
}

/// Read a provisioning rule
#[utoipa::path(get, path = "/v1/auth/oidc-provisioning-rules/{rule_id}", operation_id = "getProvisioningRule", tag = "auth",
    security(("bearer" = [])), params(RulePath),
    responses((status = OK, description = "The rule.", body = api::ProvisioningRule), GuardedProblems))]
async fn get(rules: Rules, manager: Manager, path: RulePath) -> Result<Json<api::ProvisioningRule>> {
    let rule = rules.get(&manager, &path.rule_id).await?;
    Ok(Json(wire::rule(&rule)))
}

/// Replace a provisioning rule
///
/// Takes effect with the next request. Roles that the previous rule granted stay until it is reconciled.
#[utoipa::path(put, path = "/v1/auth/oidc-provisioning-rules/{rule_id}", operation_id = "updateProvisioningRule", tag = "auth",
    security(("bearer" = [])), params(RulePath), request_body = api::SaveProvisioningRule,
    responses((status = OK, description = "The rule.", body = api::ProvisioningRule), GuardedProblems, BodyProblems))]
async fn update(
    rules: Rules,
    manager: Manager,
    path: RulePath,
    JsonBody(body): JsonBody<api::SaveProvisioningRule>,
) -> Result<Json<api::ProvisioningRule>> {
    let (_, terms) = terms(body, Some(&path.rule_id))?;
    let rule = rules.update(&manager, &path.rule_id, terms).await?;
    Ok(Json(wire::rule(&rule)))
}

/// Delete a provisioning rule
///
/// Takes effect with the next request. Roles that the rule granted stay until it is reconciled, which is still possible
/// after the deletion.
#[utoipa::path(delete, path = "/v1/auth/oidc-provisioning-rules/{rule_id}", operation_id = "deleteProvisioningRule", tag = "auth",
    security(("bearer" = [])), params(RulePath),
    responses((status = NO_CONTENT, description = "The rule is deleted."), GuardedProblems))]
async fn delete(rules: Rules, manager: Manager, path: RulePath) -> Result<StatusCode> {
    rules.delete(&manager, &path.rule_id).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn reconciliation(
    rule: &RuleId,
    roles: impl IntoIterator<Item = Role>,
    principals: Vec<api::Principal>,
    applied: bool,
) -> api::Reconciliation {
    api::Reconciliation {
        rule_id: rule.to_string(),
        unassign_role_ids: roles.into_iter().filter(|_| !principals.is_empty()).map(|role| role.to_string()).collect(),
        principals,
        applied,
        principal_count: None,
        next_cursor: None,
    }
}

/// Preview a reconciliation
///
/// Lists the principals whose role would be revoked: those that have it only through this rule, neither by a manual
/// grant nor through another enabled rule. Also possible for a deleted rule.
#[utoipa::path(get, path = "/v1/auth/oidc-provisioning-rules/{rule_id}/reconciliation",
    operation_id = "previewReconciliation", tag = "auth", security(("bearer" = [])), params(RulePath, PageQuery),
    responses((status = OK, description = "The roles that would be revoked.", body = api::Reconciliation), GuardedProblems))]
async fn preview(rules: Rules, manager: Manager, path: RulePath, query: PageQuery, uri: Uri) -> Result<Response> {
    let (roles, page) = rules.preview(&manager, &path.rule_id, &query.page()?).await?;
    Ok(page_response(&uri, &page, wire::principal, |principals, next_cursor| api::Reconciliation {
        next_cursor,
        ..reconciliation(&path.rule_id, roles, principals, false)
    }))
}

/// Apply a reconciliation
///
/// Revokes only roles that the rule granted. A rule that is still enabled does not grant them to the same principals
/// again. Idempotent.
#[utoipa::path(post, path = "/v1/auth/oidc-provisioning-rules/{rule_id}/reconciliation",
    operation_id = "applyReconciliation", tag = "auth", security(("bearer" = [])), params(RulePath),
    responses((status = OK, description = "The roles that were revoked.", body = api::Reconciliation), GuardedProblems))]
async fn reconcile(rules: Rules, manager: Manager, path: RulePath) -> Result<Json<api::Reconciliation>> {
    let reconciled = rules.reconcile(&manager, &path.rule_id).await?;
    let principals = reconciled.principals.iter().map(wire::principal).collect();
    let principal_count = Some(reconciled.count);
    let applied = reconciliation(&path.rule_id, reconciled.roles, principals, true);
    Ok(Json(api::Reconciliation { principal_count, ..applied }))
}
