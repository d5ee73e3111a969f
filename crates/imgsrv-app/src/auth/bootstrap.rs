//! Bootstrapping: issues a token that can manage authentication if no principal can.

use crate::{
    audit,
    auth::{
        principals::{NewPrincipal, NewToken},
        token,
    },
    error::Result,
    work::retry::retrying,
};
use imgsrv_domain::{
    access::Narrowing,
    audit::{Actor, AuditAction, Event},
    auth::{Attributes, Principal, PrincipalKind, Role},
    ids::PrincipalId,
    page::PageRequest,
    ports::{Catalog, CatalogError, CatalogTx, Ids},
};
use std::{sync::Arc, time::Duration};
use uuid::Uuid;

/// Lifetime of a bootstrap token.
pub const BOOTSTRAP_TOKEN_LIFE: Duration = Duration::from_hours(24);

/// The principal of bootstrap tokens. Its id is fixed, so that servers that start concurrently create only one.
const PRINCIPAL: PrincipalId = PrincipalId::new(Uuid::from_u128(0x0000_0000_0000_7000_8000_0000_0000_0001));

/// The use cases of bootstrapping.
#[derive(Clone)]
pub struct Bootstrap {
    catalog: Arc<dyn Catalog>,
    ids: Arc<dyn Ids>,
}

impl Bootstrap {
    /// Bootstrapping of `catalog`.
    pub const fn new(catalog: Arc<dyn Catalog>, ids: Arc<dyn Ids>) -> Self {
        Self { catalog, ids }
    }

    /// Whether no principal can manage authentication.
    pub async fn is_needed(&self) -> Result<bool> {
        Ok(!self.catalog.begin().await?.has_live_auth_manager().await?)
    }

    /// Whether a principal exists besides the one of bootstrap tokens.
    pub async fn has_users(&self) -> Result<bool> {
        let principals = self.catalog.list_principals(&PageRequest::FIRST).await?;
        Ok(principals.items.iter().any(|principal| principal.id != PRINCIPAL))
    }

    /// Issues a token if no principal can manage authentication: no active principal with the role has a live token.
    #[tracing::instrument(name = "bootstrap.ensure", level = "debug", skip_all, err(level = "debug"))]
    pub async fn ensure(&self) -> Result<Option<String>> {
        retrying(|| async {
            let mut tx = self.catalog.begin().await?;
            if tx.has_live_auth_manager().await? {
                return Ok(None);
            }
            self.mint(tx).await.map(Some)
        })
        .await
    }

    /// Issues a token in any case, for operators who have access to the catalog but no token.
    #[tracing::instrument(name = "bootstrap.force", level = "debug", skip_all, err(level = "debug"))]
    pub async fn force(&self) -> Result<String> {
        retrying(|| async { self.mint(self.catalog.begin().await?).await }).await
    }

    async fn mint(&self, mut tx: Box<dyn CatalogTx>) -> Result<String> {
        let now = tx.now();
        let mut events = Vec::new();
        if tx.get_principal(PRINCIPAL).await?.is_none() {
            let display_name = "bootstrap".parse().map_err(CatalogError::backend)?;
            let new = NewPrincipal { kind: PrincipalKind::Service, display_name, attributes: Attributes::default() };
            let grants = [Role::AuthManager].into_iter().collect();
            tx.insert_principal(&Principal { grants, ..new.principal(PRINCIPAL, now) }).await?;
            events.push(Event::new(AuditAction::PrincipalCreated, PRINCIPAL).with("bootstrap"));
            events.push(Event::new(AuditAction::RoleGranted, PRINCIPAL).with(Role::AuthManager));
        } else {
            if tx.set_deactivated(PRINCIPAL, None).await? {
                events.push(Event::new(AuditAction::PrincipalActivated, PRINCIPAL));
                // It was deactivated for a reason: none of its tokens is valid again.
                let revoked = tx.revoke_tokens_of(PRINCIPAL, now).await?;
                let event = |token| Event::new(AuditAction::TokenRevoked, token).with("bootstrap");
                events.extend(revoked.into_iter().map(event));
            }
            if tx.grant_role(PRINCIPAL, Role::AuthManager, None).await? {
                events.push(Event::new(AuditAction::RoleGranted, PRINCIPAL).with(Role::AuthManager));
            }
        }
        let name = "bootstrap".parse().ok();
        let new = NewToken { name, expires_at: now.plus(BOOTSTRAP_TOKEN_LIFE), narrowing: Narrowing::NONE };
        let issued = new.issue(&*self.ids, PRINCIPAL, now)?;
        tx.insert_token(&issued.token, &token::hash(&issued.plaintext)).await?;
        events.push(Event::new(AuditAction::TokenIssued, issued.token.id).with("bootstrap"));
        for event in events {
            audit::record(&mut *tx, &Actor::Operator, event).await?;
        }
        tx.commit().await?;
        Ok(issued.plaintext)
    }
}
