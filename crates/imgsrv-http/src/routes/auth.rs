//! Principals, roles and API tokens.

use crate::{
    extract::{Fields, JsonBody, OptionalJsonBody, PageQuery, PrincipalPath, Rfc3339, RolePath, TokenPath, images},
    response::{
        page::{page_response, slice},
        problem::Result,
        wire,
    },
    routes::problems::{BodyProblems, GuardedProblems, WrongState},
    state::AppState,
};
use axum::{
    Json,
    http::{StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use imgsrv_api as api;
use imgsrv_app::{Caller, Manager, NewPrincipal, NewToken, Principals};
use imgsrv_domain::{
    access::{ImageScope, Narrowing},
    auth::{Attributes, Role},
    text::ShortText,
};
use std::collections::{BTreeMap, BTreeSet};
use utoipa_axum::{router::OpenApiRouter, routes};

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list_roles))
        .routes(routes!(list_principals, create_principal))
        .routes(routes!(get_principal))
        .routes(routes!(deactivate_principal))
        .routes(routes!(activate_principal))
        .routes(routes!(whoami))
        .routes(routes!(grant_role, revoke_role))
        .routes(routes!(list_tokens, create_token))
        .routes(routes!(update_token, revoke_token))
}

/// List roles
#[utoipa::path(get, path = "/v1/auth/roles", operation_id = "listRoles", tag = "auth", security(("bearer" = [])),
    params(PageQuery),
    responses((status = OK, description = "A page of roles.", body = api::RoleList), GuardedProblems))]
async fn list_roles(_manager: Manager, query: PageQuery, uri: Uri) -> Result<Response> {
    let page = slice(Role::ALL, &query.page()?, Role::to_string)?;
    Ok(page_response(&uri, &page, |role| wire::role(**role), |roles, next_cursor| api::RoleList { roles, next_cursor }))
}

/// List principals
#[utoipa::path(get, path = "/v1/auth/principals", operation_id = "listPrincipals", tag = "auth",
    security(("bearer" = [])), params(PageQuery),
    responses((status = OK, description = "A page of principals.", body = api::PrincipalList), GuardedProblems))]
async fn list_principals(principals: Principals, manager: Manager, query: PageQuery, uri: Uri) -> Result<Response> {
    let page = principals.list_principals(&manager, &query.page()?).await?;
    Ok(page_response(&uri, &page, wire::principal, |principals, next_cursor| api::PrincipalList {
        principals,
        next_cursor,
    }))
}

/// Create a principal
///
/// A new principal has no roles.
#[utoipa::path(post, path = "/v1/auth/principals", operation_id = "createPrincipal", tag = "auth",
    security(("bearer" = [])), request_body = api::CreatePrincipal,
    responses((status = CREATED, description = "The principal.", body = api::Principal), GuardedProblems, BodyProblems))]
async fn create_principal(
    principals: Principals,
    manager: Manager,
    JsonBody(body): JsonBody<api::CreatePrincipal>,
) -> Result<Response> {
    let mut fields = Fields::default();
    let kind = fields.parse("kind", &body.kind);
    let display_name = fields.parse("display_name", &body.display_name);
    let mut entries = BTreeMap::new();
    for (key, value) in body.attributes.unwrap_or_default() {
        let short = fields.parse::<ShortText>("attributes", &value);
        if let Some(Ok(value)) = short.map(|short| short.as_str().parse()) {
            entries.insert(key, value);
        }
    }
    let attributes = fields.check("attributes", Attributes::new(entries));
    let new = || Some(NewPrincipal { kind: kind?, display_name: display_name?, attributes: attributes? });
    let new = fields.finish(new)?;
    let principal = principals.create_principal(&manager, new).await?;
    let location = [(header::LOCATION, format!("/v1/auth/principals/{}", principal.id))];
    Ok((StatusCode::CREATED, location, Json(wire::principal(&principal))).into_response())
}

/// Read a principal
#[utoipa::path(get, path = "/v1/auth/principals/{principal_id}", operation_id = "getPrincipal", tag = "auth",
    security(("bearer" = [])), params(PrincipalPath),
    responses((status = OK, description = "The principal.", body = api::Principal), GuardedProblems))]
async fn get_principal(principals: Principals, manager: Manager, path: PrincipalPath) -> Result<Json<api::Principal>> {
    let principal = principals.get_principal(&manager, path.principal_id).await?;
    Ok(Json(wire::principal(&principal)))
}

/// Deactivate a principal
///
/// The server refuses all its credentials from the next request on (403). The last active auth-manager cannot be
/// deactivated (412). Idempotent.
#[utoipa::path(post, path = "/v1/auth/principals/{principal_id}/deactivate", operation_id = "deactivatePrincipal",
    tag = "auth", security(("bearer" = [])), params(PrincipalPath),
    responses((status = OK, description = "The principal.", body = api::Principal), GuardedProblems, WrongState))]
async fn deactivate_principal(
    principals: Principals,
    manager: Manager,
    path: PrincipalPath,
) -> Result<Json<api::Principal>> {
    let principal = principals.deactivate(&manager, path.principal_id).await?;
    Ok(Json(wire::principal(&principal)))
}

/// Activate a principal
///
/// Its roles and its valid tokens take effect again. Idempotent.
#[utoipa::path(post, path = "/v1/auth/principals/{principal_id}/activate", operation_id = "activatePrincipal",
    tag = "auth", security(("bearer" = [])), params(PrincipalPath),
    responses((status = OK, description = "The principal.", body = api::Principal), GuardedProblems))]
async fn activate_principal(
    principals: Principals,
    manager: Manager,
    path: PrincipalPath,
) -> Result<Json<api::Principal>> {
    let principal = principals.activate(&manager, path.principal_id).await?;
    Ok(Json(wire::principal(&principal)))
}

/// Show the identity of the caller
///
/// Returns the principal, its roles, the authentication method and the expiry. Requires no permission.
#[utoipa::path(get, path = "/v1/auth/whoami", operation_id = "whoami", tag = "auth", security(("bearer" = [])),
    responses((status = OK, description = "The identity of the caller.", body = api::Whoami), GuardedProblems))]
async fn whoami(caller: Caller) -> Result<Json<api::Whoami>> {
    Ok(Json(wire::whoami(caller.who()?)))
}

/// Grant a role
///
/// Takes effect with the principal's next request. Idempotent. With `images`, only on the images whose names match: the
/// patterns replace those that the principal has for the role. Without a body, a role that the principal has stays as it
/// is, and another is granted on every image.
#[utoipa::path(put, path = "/v1/auth/principals/{principal_id}/roles/{role_id}", operation_id = "grantRole", tag = "auth",
    security(("bearer" = [])), params(RolePath), request_body = Option<api::GrantRole>,
    responses((status = NO_CONTENT, description = "The principal has the role."), GuardedProblems, BodyProblems))]
async fn grant_role(
    principals: Principals,
    manager: Manager,
    path: RolePath,
    OptionalJsonBody(body): OptionalJsonBody<api::GrantRole>,
) -> Result<StatusCode> {
    let mut fields = Fields::default();
    let images = images(&mut fields, body.unwrap_or_default().images);
    let images = fields.finish(|| images)?;
    principals.grant_role(&manager, path.principal_id, path.role_id, images.as_ref()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Revoke a role
///
/// Takes effect with the principal's next request. Provisioning rules that granted the role do not grant it again. The
/// role of the last active auth-manager cannot be revoked (412). Idempotent.
#[utoipa::path(delete, path = "/v1/auth/principals/{principal_id}/roles/{role_id}", operation_id = "revokeRole", tag = "auth",
    security(("bearer" = [])), params(RolePath),
    responses((status = NO_CONTENT, description = "The principal does not have the role."), GuardedProblems, WrongState))]
async fn revoke_role(principals: Principals, manager: Manager, path: RolePath) -> Result<StatusCode> {
    principals.revoke_role(&manager, path.principal_id, path.role_id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// List the API tokens of a principal
#[utoipa::path(get, path = "/v1/auth/principals/{principal_id}/api-tokens", operation_id = "listApiTokens", tag = "auth",
    security(("bearer" = [])), params(PrincipalPath, PageQuery),
    responses((status = OK, description = "A page of tokens.", body = api::ApiTokenList), GuardedProblems))]
async fn list_tokens(
    principals: Principals,
    manager: Manager,
    path: PrincipalPath,
    query: PageQuery,
    uri: Uri,
) -> Result<Response> {
    let page = principals.list_tokens(&manager, path.principal_id, &query.page()?).await?;
    Ok(page_response(&uri, &page, wire::token, |api_tokens, next_cursor| api::ApiTokenList { api_tokens, next_cursor }))
}

/// The roles to which a token is limited, if it is.
fn roles(fields: &mut Fields, ids: Option<Vec<String>>) -> Option<BTreeSet<Role>> {
    let ids = ids?;
    if ids.is_empty() {
        fields.reject("role_ids", "must have at least one role");
    }
    Some(ids.iter().enumerate().filter_map(|(at, id)| fields.parse(format!("role_ids[{at}]"), id)).collect())
}

/// Issue an API token
///
/// It allows what its principal may do, unless `role_ids` or `images` limit it further. Limited to some images, it allows
/// nothing that is not about images.
///
/// `plaintext` is the token. It is returned only once; the server stores only its SHA-256.
#[utoipa::path(post, path = "/v1/auth/principals/{principal_id}/api-tokens", operation_id = "createApiToken", tag = "auth",
    security(("bearer" = [])), params(PrincipalPath), request_body = api::CreateApiToken,
    responses((status = CREATED, description = "The token.", body = api::IssuedApiToken), GuardedProblems, BodyProblems))]
async fn create_token(
    principals: Principals,
    manager: Manager,
    path: PrincipalPath,
    JsonBody(body): JsonBody<api::CreateApiToken>,
) -> Result<Response> {
    let mut fields = Fields::default();
    let name = fields.optional("name", body.name.as_deref());
    let expires_at = fields.parse::<Rfc3339>("expires_at", &body.expires_at);
    let roles = roles(&mut fields, body.role_ids);
    let images = images(&mut fields, body.images);
    if let (Some(roles), Some(Some(ImageScope::Matching(_)))) = (&roles, &images)
        && let Some(role) = roles.iter().find(|role| !role.is_about_images())
    {
        fields.reject("role_ids", format!("must not have {role}, which is not about images, if images are named"));
    }
    let new = fields.finish(|| {
        let narrowing = Narrowing { roles, images: images?.unwrap_or(ImageScope::Every) };
        Some(NewToken { name: name?, expires_at: expires_at?.0, narrowing })
    })?;
    let issued = principals.issue_token(&manager, path.principal_id, new).await?;
    let headers = [(header::CACHE_CONTROL, "no-store")];
    Ok((StatusCode::CREATED, headers, Json(wire::issued(issued))).into_response())
}

/// Change the expiry of an API token
///
/// A token that has expired is valid again. For machines that keep a token where it cannot be replaced easily, such as
/// that of a private Incus remote. A revoked token cannot be changed (412).
#[utoipa::path(patch, path = "/v1/auth/api-tokens/{token_id}", operation_id = "updateApiToken", tag = "auth",
    security(("bearer" = [])), params(TokenPath), request_body = api::UpdateApiToken,
    responses((status = OK, description = "The token.", body = api::ApiToken), GuardedProblems, BodyProblems,
        WrongState))]
async fn update_token(
    principals: Principals,
    manager: Manager,
    path: TokenPath,
    JsonBody(body): JsonBody<api::UpdateApiToken>,
) -> Result<Json<api::ApiToken>> {
    let mut fields = Fields::default();
    let expires_at = fields.parse::<Rfc3339>("expires_at", &body.expires_at);
    let expires_at = fields.finish(|| expires_at)?.0;
    let token = principals.set_token_expiry(&manager, path.token_id, expires_at).await?;
    Ok(Json(wire::token(&token)))
}

/// Revoke an API token
///
/// Takes effect with the next request. The last valid token of the last auth-manager cannot be revoked (412).
/// Idempotent.
#[utoipa::path(delete, path = "/v1/auth/api-tokens/{token_id}", operation_id = "revokeApiToken", tag = "auth",
    security(("bearer" = [])), params(TokenPath),
    responses((status = NO_CONTENT, description = "The token is revoked."), GuardedProblems, WrongState))]
async fn revoke_token(principals: Principals, manager: Manager, path: TokenPath) -> Result<StatusCode> {
    principals.revoke_token(&manager, path.token_id).await?;
    Ok(StatusCode::NO_CONTENT)
}
