//! Bootstrapping: issues a token that can manage authentication when nobody can.

use crate::{
    audit,
    auth::{
        principals::{self, NewToken},
        token,
    },
    error::UseCaseError,
    work::retry::retrying,
};
use imgsrv_domain::{
    audit::{Actor, AuditAction, Event},
    auth::{Attributes, Principal, PrincipalKind, Role},
    ids::PrincipalId,
    ports::{Catalog, CatalogTx, Ids},
    transition::Revision,
};
use std::{collections::BTreeSet, sync::Arc, time::Duration};
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

    /// Issues a token if nobody can manage authentication: no active principal with the role has a live token.
    #[tracing::instrument(name = "bootstrap.ensure", level = "debug", skip_all, err(level = "debug"))]
    pub async fn ensure(&self) -> Result<Option<String>, UseCaseError> {
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
    pub async fn force(&self) -> Result<String, UseCaseError> {
        retrying(|| async { self.mint(self.catalog.begin().await?).await }).await
    }

    async fn mint(&self, mut tx: Box<dyn CatalogTx>) -> Result<String, UseCaseError> {
        let now = tx.now();
        match tx.get_principal(PRINCIPAL).await? {
            Some(_) => {
                if tx.set_deactivated(PRINCIPAL, None).await? {
                    audit::record(&mut *tx, &Actor::Operator, Event::new(AuditAction::PrincipalActivated, PRINCIPAL))
                        .await?;
                    // It was deactivated for a reason: none of its tokens is valid again.
                    for token in tx.revoke_tokens_of(PRINCIPAL, now).await? {
                        let event = Event::new(AuditAction::TokenRevoked, token).with("bootstrap");
                        audit::record(&mut *tx, &Actor::Operator, event).await?;
                    }
                }
                if tx.grant_role(PRINCIPAL, Role::AuthManager).await? {
                    let event = Event::new(AuditAction::RoleGranted, PRINCIPAL).with(Role::AuthManager);
                    audit::record(&mut *tx, &Actor::Operator, event).await?;
                }
            }
            None => {
                tx.insert_principal(&principal(now)?).await?;
                for (action, detail) in [
                    (AuditAction::PrincipalCreated, "bootstrap"),
                    (AuditAction::RoleGranted, Role::AuthManager.as_str()),
                ] {
                    audit::record(&mut *tx, &Actor::Operator, Event::new(action, PRINCIPAL).with(detail)).await?;
                }
            }
        }
        let name = "bootstrap".parse().ok();
        let new = NewToken { name, expires_at: now.plus(BOOTSTRAP_TOKEN_LIFE) };
        let issued = principals::mint(&*self.ids, PRINCIPAL, new, now)?;
        tx.insert_token(&issued.token, &token::hash(&issued.plaintext)).await?;
        let event = Event::new(AuditAction::TokenIssued, issued.token.id).with("bootstrap");
        audit::record(&mut *tx, &Actor::Operator, event).await?;
        tx.commit().await?;
        Ok(issued.plaintext)
    }
}

fn principal(now: imgsrv_domain::time::Timestamp) -> Result<Principal, UseCaseError> {
    let display_name = "bootstrap"
        .parse()
        .map_err(|error| UseCaseError::Catalog(imgsrv_domain::ports::CatalogError::Backend(Box::new(error))))?;
    Ok(Principal {
        id: PRINCIPAL,
        kind: PrincipalKind::Service,
        display_name,
        attributes: Attributes::default(),
        roles: BTreeSet::from([Role::AuthManager]),
        deactivated_at: None,
        created_at: now,
        updated_at: now,
        revision: Revision::FIRST,
    })
}
