//! Authentication by API token, and the management of principals, roles and tokens.

use crate::{
    caller::{Caller, Manager, RequestContext, audit},
    error::{Missing, UseCaseError},
    retry::retrying,
    services::Context,
    token,
};
use imgsrv_domain::{
    audit::{AuditAction, Event},
    auth::{ApiToken, Attributes, Principal, PrincipalKind, Role},
    ids::{PrincipalId, TokenId},
    page::{Page, PageRequest},
    ports::{CatalogError, Ids},
    text::ShortText,
    time::Timestamp,
    transition::Revision,
};
use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// `last_used_at` is written again only when it is older than this.
const USAGE_GRAIN: Duration = Duration::from_mins(1);

/// Authentication and its management.
pub struct Auth {
    context: Arc<Context>,
    used: Mutex<HashMap<TokenId, Timestamp>>,
}

/// A principal to be made.
#[derive(Debug, Clone)]
pub struct NewPrincipal {
    /// Person or program.
    pub kind: PrincipalKind,
    /// What people call it.
    pub display_name: ShortText,
    /// Operators' notes.
    pub attributes: Attributes,
}

/// A token to be issued.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// What people call it; its look-up key when absent.
    pub name: Option<ShortText>,
    /// From when on it is refused.
    pub expires_at: Timestamp,
}

/// A token that was just issued. It is not `Debug`, so that its text gets into no log.
#[derive(Clone)]
pub struct IssuedToken {
    /// The token.
    pub token: ApiToken,
    /// Its text, which nobody can read again.
    pub plaintext: String,
}

impl Auth {
    pub(crate) fn new(context: Arc<Context>) -> Self {
        Self { context, used: Mutex::default() }
    }

    /// Whom a bearer token authenticates; `None` when it is not a live token.
    ///
    /// A malformed token costs a checksum, a well-formed one a look-up by its key. Roles, expiry and
    /// revocation are those of this moment.
    pub async fn authenticate(&self, bearer: &str, context: RequestContext) -> Result<Option<Caller>, CatalogError> {
        let Some(key) = token::parse(bearer) else { return Ok(None) };
        let Some(credential) = self.context.catalog.get_credential(&key).await? else { return Ok(None) };
        let now = self.context.catalog.catalog_time().await?;
        let genuine = token::same(&credential.secret_hash, &token::hash(bearer));
        if !genuine || !credential.token.is_live(now) {
            return Ok(None);
        }
        if credential.token.last_used_at.is_none_or(|last| now.since(last) >= USAGE_GRAIN) {
            self.used.lock().unwrap_or_else(PoisonError::into_inner).insert(credential.token.id, now);
        }
        Ok(Some(Caller::authenticated(credential.principal, context)))
    }

    /// Writes down when tokens were used since the last call.
    pub async fn flush_usage(&self) -> Result<(), CatalogError> {
        let used: Vec<_> = self.used.lock().unwrap_or_else(PoisonError::into_inner).drain().collect();
        if used.is_empty() {
            return Ok(());
        }
        retrying(|| async {
            let mut tx = self.context.catalog.begin().await?;
            tx.touch_tokens(&used).await?;
            tx.commit().await
        })
        .await
    }

    /// Principals in the order of their making.
    pub async fn list_principals(&self, _who: &Manager, page: &PageRequest) -> Result<Page<Principal>, UseCaseError> {
        Ok(self.context.catalog.list_principals(page).await?)
    }

    /// The principal with that id.
    pub async fn get_principal(&self, _who: &Manager, id: PrincipalId) -> Result<Principal, UseCaseError> {
        self.context.catalog.get_principal(id).await?.ok_or(UseCaseError::NotFound(Missing::Principal))
    }

    /// Makes a principal without roles.
    pub async fn create_principal(&self, who: &Manager, new: NewPrincipal) -> Result<Principal, UseCaseError> {
        retrying(|| async {
            let mut tx = self.context.catalog.begin().await?;
            let NewPrincipal { kind, display_name, attributes } = new.clone();
            let principal = Principal {
                id: PrincipalId::new(self.context.ids.next()),
                kind,
                display_name,
                attributes,
                roles: BTreeSet::new(),
                created_at: tx.now(),
                updated_at: tx.now(),
                revision: Revision::FIRST,
            };
            tx.insert_principal(&principal).await?;
            let event = Event::new(AuditAction::PrincipalCreated, principal.id).with(&principal.display_name);
            audit(&mut *tx, who.actor(), event).await?;
            tx.commit().await?;
            Ok(principal)
        })
        .await
    }

    /// Grants a role; one that is held already stays so.
    pub async fn grant_role(&self, who: &Manager, id: PrincipalId, role: Role) -> Result<(), UseCaseError> {
        self.change_role(who, id, role, AuditAction::RoleGranted).await
    }

    /// Takes a role away; one that is not held stays so.
    pub async fn revoke_role(&self, who: &Manager, id: PrincipalId, role: Role) -> Result<(), UseCaseError> {
        self.change_role(who, id, role, AuditAction::RoleRevoked).await
    }

    async fn change_role(
        &self,
        who: &Manager,
        id: PrincipalId,
        role: Role,
        action: AuditAction,
    ) -> Result<(), UseCaseError> {
        retrying(|| async {
            let mut tx = self.context.catalog.begin().await?;
            tx.find_principal(id).await?.ok_or(UseCaseError::NotFound(Missing::Principal))?;
            let changed = match action {
                AuditAction::RoleGranted => tx.grant_role(id, role).await?,
                _ => tx.revoke_role(id, role).await?,
            };
            if changed {
                audit(&mut *tx, who.actor(), Event::new(action, id).with(role)).await?;
                tx.commit().await?;
            }
            Ok(())
        })
        .await
    }

    /// The tokens of a principal in the order of their making.
    pub async fn list_tokens(
        &self,
        who: &Manager,
        principal: PrincipalId,
        page: &PageRequest,
    ) -> Result<Page<ApiToken>, UseCaseError> {
        self.get_principal(who, principal).await?;
        Ok(self.context.catalog.list_tokens(principal, page).await?)
    }

    /// Issues a token. Only its SHA-256 is stored.
    pub async fn issue_token(
        &self,
        who: &Manager,
        principal: PrincipalId,
        new: NewToken,
    ) -> Result<IssuedToken, UseCaseError> {
        retrying(|| async {
            let mut tx = self.context.catalog.begin().await?;
            if new.expires_at <= tx.now() {
                return Err(UseCaseError::ExpiryInPast);
            }
            tx.find_principal(principal).await?.ok_or(UseCaseError::NotFound(Missing::Principal))?;
            let issued = mint(&*self.context.ids, principal, new.clone(), tx.now())?;
            tx.insert_token(&issued.token, &token::hash(&issued.plaintext)).await?;
            let event = Event::new(AuditAction::TokenIssued, issued.token.id).with(principal);
            audit(&mut *tx, who.actor(), event).await?;
            tx.commit().await?;
            Ok(issued)
        })
        .await
    }

    /// Revokes a token, from the next request on.
    pub async fn revoke_token(&self, who: &Manager, id: TokenId) -> Result<(), UseCaseError> {
        retrying(|| async {
            let mut tx = self.context.catalog.begin().await?;
            let token = tx.find_token(id).await?.ok_or(UseCaseError::NotFound(Missing::Token))?;
            if token.revoked_at.is_none() {
                let now = tx.now();
                tx.revoke_token(id, now).await?;
                audit(&mut *tx, who.actor(), Event::new(AuditAction::TokenRevoked, id)).await?;
                tx.commit().await?;
            }
            Ok(())
        })
        .await
    }
}

/// Mints a token for `principal`; it counts once stored.
pub(crate) fn mint(
    ids: &dyn Ids,
    principal: PrincipalId,
    new: NewToken,
    now: Timestamp,
) -> Result<IssuedToken, CatalogError> {
    let minted = token::mint().map_err(|error| CatalogError::Backend(Box::new(error)))?;
    let name = match new.name {
        Some(name) => name,
        None => minted.key.as_str().parse().map_err(|error| CatalogError::Backend(Box::new(error)))?,
    };
    let token = ApiToken {
        id: TokenId::new(ids.next()),
        principal,
        key: minted.key,
        name,
        created_at: now,
        expires_at: new.expires_at,
        last_used_at: None,
        revoked_at: None,
    };
    Ok(IssuedToken { token, plaintext: minted.plaintext })
}
