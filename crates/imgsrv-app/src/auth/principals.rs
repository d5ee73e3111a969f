//! Managing principals, their roles and their tokens.

use crate::{
    audit,
    auth::{caller::Manager, token},
    error::{Missing, Result, UseCaseError},
    work::retry::retrying,
};
use imgsrv_domain::{
    access::{Grants, ImageScope, Narrowing},
    audit::{Actor, AuditAction, Event},
    auth::{ApiToken, Attributes, Principal, PrincipalKind, Role, TokenKey},
    ids::{PrincipalId, TokenId},
    page::{Page, PageRequest},
    ports::{Catalog, CatalogError, CatalogTx, Ids},
    text::ShortText,
    time::{Day, Timestamp},
    transition::Revision,
};
use std::sync::Arc;

/// The use cases of managing principals.
#[derive(Clone)]
pub struct Principals {
    catalog: Arc<dyn Catalog>,
    ids: Arc<dyn Ids>,
}

/// A principal to be created.
#[derive(Debug, Clone)]
pub struct NewPrincipal {
    /// Whether it is a person or a program.
    pub kind: PrincipalKind,
    /// Its display name.
    pub display_name: ShortText,
    /// Attributes for operators.
    pub attributes: Attributes,
}

impl NewPrincipal {
    /// The principal, active and without roles.
    pub(crate) fn principal(self, id: PrincipalId, now: Timestamp) -> Principal {
        let Self { kind, display_name, attributes } = self;
        Principal {
            id,
            kind,
            display_name,
            attributes,
            grants: Grants::default(),
            deactivated_at: None,
            created_at: now,
            updated_at: now,
            revision: Revision::FIRST,
        }
    }
}

/// A token to be issued.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// Its display name; its look-up key when absent.
    pub name: Option<ShortText>,
    /// When it expires.
    pub expires_at: Timestamp,
    /// What it leaves of what its principal may do.
    pub narrowing: Narrowing,
}

impl NewToken {
    /// The token, to be stored by the caller.
    pub(crate) fn issue(
        self,
        ids: &dyn Ids,
        principal: PrincipalId,
        now: Timestamp,
    ) -> Result<IssuedToken, CatalogError> {
        let (key, plaintext) = token::mint()?;
        let name = self.name.map_or_else(|| key.as_str().parse().map_err(CatalogError::backend), Ok)?;
        let token = ApiToken {
            id: TokenId::new(ids.next()),
            principal,
            key,
            name,
            narrowing: self.narrowing,
            created_at: now,
            expires_at: self.expires_at,
            last_used_at: None,
            revoked_at: None,
        };
        Ok(IssuedToken { token, plaintext })
    }
}

/// A token that was just issued. It is not `Debug`, so that its plaintext is never logged.
#[derive(Clone)]
pub struct IssuedToken {
    /// The token.
    pub token: ApiToken,
    /// Its plaintext, which is not stored.
    pub plaintext: String,
}

impl Principals {
    /// The principals of `catalog`.
    pub const fn new(catalog: Arc<dyn Catalog>, ids: Arc<dyn Ids>) -> Self {
        Self { catalog, ids }
    }

    /// Principals in order of creation.
    #[tracing::instrument(name = "principal.list", level = "debug", skip_all, err(level = "debug"))]
    pub async fn list_principals(&self, _who: &Manager, page: &PageRequest) -> Result<Page<Principal>> {
        Ok(self.catalog.list_principals(page).await?)
    }

    /// The principal with that id.
    #[tracing::instrument(name = "principal.get", level = "debug", skip_all, fields(principal.id = %id), err(level = "debug"))]
    pub async fn get_principal(&self, _who: &Manager, id: PrincipalId) -> Result<Principal> {
        self.catalog.get_principal(id).await?.ok_or(Missing::Principal(id).into())
    }

    /// Creates a principal without roles.
    #[tracing::instrument(name = "principal.create", level = "debug", skip_all, err(level = "debug"))]
    pub async fn create_principal(&self, who: &Manager, new: NewPrincipal) -> Result<Principal> {
        retrying(|| async {
            let mut tx = self.catalog.begin().await?;
            let principal = new.clone().principal(PrincipalId::new(self.ids.next()), tx.now());
            tx.insert_principal(&principal).await?;
            let event = Event::new(AuditAction::PrincipalCreated, principal.id).with(&principal.display_name);
            audit::commit(tx, who.actor(), event).await?;
            Ok(principal)
        })
        .await
    }

    /// Grants a role on some images, instead of those on which it was granted before. Without `images`, a role that was
    /// granted before stays as it is, and another is granted on every image.
    #[tracing::instrument(name = "principal.grant_role", level = "debug", skip_all, fields(principal.id = %id, role = %role), err(level = "debug"))]
    pub async fn grant_role(
        &self,
        who: &Manager,
        id: PrincipalId,
        role: Role,
        images: Option<&ImageScope>,
    ) -> Result<()> {
        if images.is_some() && !role.is_about_images() {
            return Err(UseCaseError::invalid("images", format!("must be absent, because {role} is not about images")));
        }
        retrying(|| async {
            let mut tx = self.catalog.begin().await?;
            tx.lock_principal(id).await?.ok_or(Missing::Principal(id))?;
            if tx.grant_role(id, role, images).await? {
                let detail = match images {
                    Some(images) => format!("{role} on {images}"),
                    None => role.to_string(),
                };
                audit::commit(tx, who.actor(), Event::new(AuditAction::RoleGranted, id).with(detail)).await?;
            }
            Ok(())
        })
        .await
    }

    /// Revokes a role, regardless of how it was granted. Refused if no principal could manage authentication afterwards.
    #[tracing::instrument(name = "principal.revoke_role", level = "debug", skip_all, fields(principal.id = %id, role = %role), err(level = "debug"))]
    pub async fn revoke_role(&self, who: &Manager, id: PrincipalId, role: Role) -> Result<()> {
        retrying(|| async {
            let mut tx = self.catalog.begin().await?;
            let must_keep_manager = must_keep_manager(&mut *tx, who).await?;
            tx.lock_principal(id).await?.ok_or(Missing::Principal(id))?;
            if tx.revoke_role(id, role).await? {
                if must_keep_manager && !tx.has_live_auth_manager().await? {
                    return Err(UseCaseError::LastAuthManager);
                }
                audit::commit(tx, who.actor(), Event::new(AuditAction::RoleRevoked, id).with(role)).await?;
            }
            Ok(())
        })
        .await
    }

    /// Deactivates a principal: from the next request on, its credentials are refused. Refused if no principal could
    /// manage authentication afterwards.
    #[tracing::instrument(name = "principal.deactivate", level = "debug", skip_all, fields(principal.id = %id), err(level = "debug"))]
    pub async fn deactivate(&self, who: &Manager, id: PrincipalId) -> Result<Principal> {
        retrying(|| async {
            let mut tx = self.catalog.begin().await?;
            let must_keep_manager = must_keep_manager(&mut *tx, who).await?;
            tx.lock_principal(id).await?.ok_or(Missing::Principal(id))?;
            let now = tx.now();
            let changed = tx.set_deactivated(id, Some(now)).await?;
            if changed && must_keep_manager && !tx.has_live_auth_manager().await? {
                return Err(UseCaseError::LastAuthManager);
            }
            let principal = tx.get_principal(id).await?.ok_or(Missing::Principal(id))?;
            if changed {
                audit::commit(tx, who.actor(), Event::new(AuditAction::PrincipalDeactivated, id)).await?;
            }
            Ok(principal)
        })
        .await
    }

    /// Activates a principal, with the roles that it has and the tokens that are live.
    #[tracing::instrument(name = "principal.activate", level = "debug", skip_all, fields(principal.id = %id), err(level = "debug"))]
    pub async fn activate(&self, who: &Manager, id: PrincipalId) -> Result<Principal> {
        retrying(|| async {
            let mut tx = self.catalog.begin().await?;
            tx.lock_principal(id).await?.ok_or(Missing::Principal(id))?;
            let changed = tx.set_deactivated(id, None).await?;
            let principal = tx.get_principal(id).await?.ok_or(Missing::Principal(id))?;
            if changed {
                audit::commit(tx, who.actor(), Event::new(AuditAction::PrincipalActivated, id)).await?;
            }
            Ok(principal)
        })
        .await
    }

    /// The tokens of a principal, in order of creation.
    #[tracing::instrument(name = "token.list", level = "debug", skip_all, fields(principal.id = %id), err(level = "debug"))]
    pub async fn list_tokens(&self, who: &Manager, id: PrincipalId, page: &PageRequest) -> Result<Page<ApiToken>> {
        self.get_principal(who, id).await?;
        Ok(self.catalog.list_tokens(id, page).await?)
    }

    /// Issues a token. Only its SHA-256 is stored.
    #[tracing::instrument(name = "token.issue", level = "debug", skip_all, fields(principal.id = %principal), err(level = "debug"))]
    pub async fn issue_token(&self, who: &Manager, principal: PrincipalId, new: NewToken) -> Result<IssuedToken> {
        retrying(|| async {
            let mut tx = self.catalog.begin().await?;
            if new.expires_at <= tx.now() {
                return Err(UseCaseError::ExpiryInPast);
            }
            tx.get_principal(principal).await?.ok_or(Missing::Principal(principal))?;
            let issued = new.clone().issue(&*self.ids, principal, tx.now())?;
            tx.insert_token(&issued.token, &token::hash(&issued.plaintext)).await?;
            let event = Event::new(AuditAction::TokenIssued, issued.token.id).with(principal);
            audit::commit(tx, who.actor(), event).await?;
            Ok(issued)
        })
        .await
    }

    /// The token with that look-up key, which is the readable part of its text.
    #[tracing::instrument(name = "token.get", level = "debug", skip_all, err(level = "debug"))]
    pub async fn get_token(&self, _who: &Manager, key: &TokenKey) -> Result<ApiToken> {
        let found = self.catalog.get_token_by_key(key).await?;
        found.map(|found| found.value.token).ok_or_else(|| Missing::TokenKey(key.clone()).into())
    }

    /// Changes when a token expires, to a time in the future: also that of one that has expired, so that a machine whose
    /// credential cannot be replaced keeps it. A revoked token stays revoked.
    #[tracing::instrument(name = "token.set_expiry", level = "debug", skip_all, fields(token.id = %id), err(level = "debug"))]
    pub async fn set_token_expiry(&self, who: &Manager, id: TokenId, expires_at: Timestamp) -> Result<ApiToken> {
        retrying(|| async {
            let mut tx = self.catalog.begin().await?;
            if expires_at <= tx.now() {
                return Err(UseCaseError::ExpiryInPast);
            }
            let token = tx.get_token(id).await?.ok_or(Missing::Token(id))?;
            if !tx.set_token_expiry(id, expires_at).await? {
                return Err(UseCaseError::TokenRevoked(id));
            }
            if token.expires_at != expires_at {
                let event =
                    Event::new(AuditAction::TokenExpiryChanged, id).with(format!("expires on {}", Day::of(expires_at)));
                audit::commit(tx, who.actor(), event).await?;
            }
            Ok(ApiToken { expires_at, ..token })
        })
        .await
    }

    /// Revokes a token, effective from the next request. Refused if no principal could manage authentication afterwards.
    #[tracing::instrument(name = "token.revoke", level = "debug", skip_all, fields(token.id = %id), err(level = "debug"))]
    pub async fn revoke_token(&self, who: &Manager, id: TokenId) -> Result<()> {
        retrying(|| async {
            let mut tx = self.catalog.begin().await?;
            let must_keep_manager = must_keep_manager(&mut *tx, who).await?;
            let token = tx.get_token(id).await?.ok_or(Missing::Token(id))?;
            if token.revoked_at.is_none() {
                let now = tx.now();
                tx.revoke_token(id, now).await?;
                if must_keep_manager && !tx.has_live_auth_manager().await? {
                    return Err(UseCaseError::LastAuthManager);
                }
                audit::commit(tx, who.actor(), Event::new(AuditAction::TokenRevoked, id)).await?;
            }
            Ok(())
        })
        .await
    }
}

/// Serializes changes that may revoke access. Returns whether a principal must still be able to manage authentication
/// afterwards, because one can now. Operators are never refused: with direct access to the catalog they can bootstrap.
async fn must_keep_manager(tx: &mut dyn CatalogTx, who: &Manager) -> Result<bool, CatalogError> {
    tx.lock_authentication().await?;
    Ok(*who.actor() != Actor::Operator && tx.has_live_auth_manager().await?)
}
