//! Provisioning rules: saying whose tokens are admitted, and undoing what that granted.

use crate::{
    audit,
    auth::caller::Manager,
    context::Context,
    error::{Existing, InvalidField, Missing, UseCaseError},
    work::retry::retrying,
};
use imgsrv_domain::{
    audit::{AuditAction, Event},
    auth::Principal,
    names::RuleId,
    oidc::{ClaimName, ProvisioningRule, RuleTerms},
    page::{Page, PageRequest},
    ports::CatalogTx,
    transition::Revision,
};
use std::sync::Arc;

/// Principals that are reconciled in one transaction.
const BATCH: u16 = 200;
/// Principals that an answer names.
const SHOWN: usize = 1000;

/// Provisioning rules.
#[derive(Clone)]
pub struct Rules(pub(crate) Arc<Context>);

/// What reconciling a rule took away.
#[derive(Debug, Clone)]
pub struct Reconciled {
    /// From whom the role was taken, as they are now; the first thousand of them.
    pub principals: Vec<Principal>,
    /// From how many.
    pub count: u64,
}

impl Rules {
    /// Rules by id.
    pub async fn list(&self, _who: &Manager, page: &PageRequest) -> Result<Page<ProvisioningRule>, UseCaseError> {
        Ok(self.0.catalog.list_rules(page).await?)
    }

    /// The rule with that id.
    pub async fn get(&self, _who: &Manager, id: &RuleId) -> Result<ProvisioningRule, UseCaseError> {
        self.0.catalog.get_rule(id).await?.ok_or(UseCaseError::NotFound(Missing::Rule))
    }

    /// Saves a new rule, under a fresh id when none is given.
    pub async fn create(
        &self,
        who: &Manager,
        id: Option<RuleId>,
        terms: RuleTerms,
    ) -> Result<ProvisioningRule, UseCaseError> {
        self.check(&terms).await?;
        let fresh = self.0.ids.next().hyphenated().to_string().parse();
        let fresh = fresh.map_err(|_| UseCaseError::invalid("id", "no id could be made"))?;
        let id = id.unwrap_or(fresh);
        let made = retrying(|| async {
            let mut tx = self.0.catalog.begin().await?;
            room_for(&mut *tx, &terms).await?;
            let now = tx.now();
            let rule = ProvisioningRule {
                id: id.clone(),
                terms: terms.clone(),
                created_at: now,
                updated_at: now,
                revision: Revision::FIRST,
            };
            tx.insert_rule(&rule).await?;
            audit::record(&mut *tx, who.actor(), event(AuditAction::RuleCreated, &rule)).await?;
            tx.commit().await?;
            Ok(rule)
        })
        .await;
        made.map_err(|error: UseCaseError| error.with_existing(Some(Existing::Rule(id))))
    }

    /// Saves a rule again. It counts from the next request.
    pub async fn update(&self, who: &Manager, id: &RuleId, terms: RuleTerms) -> Result<ProvisioningRule, UseCaseError> {
        self.check(&terms).await?;
        retrying(|| async {
            let mut tx = self.0.catalog.begin().await?;
            let mut rule = tx.lock_rule(id).await?.ok_or(UseCaseError::NotFound(Missing::Rule))?;
            if rule.terms == terms {
                return Ok(rule);
            }
            if rule.terms.issuer != terms.issuer {
                room_for(&mut *tx, &terms).await?;
            }
            rule.terms = terms.clone();
            rule.updated_at = tx.now();
            tx.update_rule(&rule).await?;
            audit::record(&mut *tx, who.actor(), event(AuditAction::RuleUpdated, &rule)).await?;
            tx.commit().await?;
            Ok(rule)
        })
        .await
    }

    /// Deletes a rule. It admits nobody from the next request on; what it granted stays until it is reconciled.
    pub async fn delete(&self, who: &Manager, id: &RuleId) -> Result<(), UseCaseError> {
        retrying(|| async {
            let mut tx = self.0.catalog.begin().await?;
            let rule = tx.lock_rule(id).await?.ok_or(UseCaseError::NotFound(Missing::Rule))?;
            tx.delete_rule(id).await?;
            audit::record(&mut *tx, who.actor(), event(AuditAction::RuleDeleted, &rule)).await?;
            tx.commit().await?;
            Ok(())
        })
        .await
    }

    /// From whom reconciling a rule would take the role: who holds it through this rule, and neither by hand nor
    /// through another rule that is enabled. The rule may be deleted.
    pub async fn preview(
        &self,
        _who: &Manager,
        id: &RuleId,
        page: &PageRequest,
    ) -> Result<Page<Principal>, UseCaseError> {
        let found = self.0.catalog.list_reconcilable(id, page).await?;
        found.ok_or(UseCaseError::NotFound(Missing::Rule))
    }

    /// Takes away what a rule granted, and nothing else. The rule may be deleted; one that is still enabled does not
    /// grant it again to the same principals. Interrupted, it may be repeated.
    pub async fn reconcile(&self, who: &Manager, id: &RuleId) -> Result<Reconciled, UseCaseError> {
        self.preview(who, id, &PageRequest::FIRST).await?;
        let mut reconciled = Reconciled { principals: Vec::new(), count: 0 };
        loop {
            let (seen, taken) = retrying(|| self.reconcile_some(who, id)).await?;
            reconciled.count += taken.len() as u64;
            let room = SHOWN - reconciled.principals.len();
            reconciled.principals.extend(taken.into_iter().take(room));
            if seen < usize::from(BATCH) {
                return Ok(reconciled);
            }
        }
    }

    /// Ends some of a rule's live grants; says how many, and who lost the role by it.
    async fn reconcile_some(&self, who: &Manager, id: &RuleId) -> Result<(usize, Vec<Principal>), UseCaseError> {
        let mut tx = self.0.catalog.begin().await?;
        let now = tx.now();
        let granted = tx.list_granted_principals(id, BATCH).await?;
        let mut taken = Vec::new();
        for principal in &granted {
            tx.lock_principal(*principal).await?;
            if tx.reconcile_grant(id, *principal, ProvisioningRule::ROLE, now).await? {
                let detail = format!("{}, reconciling rule {id}", ProvisioningRule::ROLE);
                let event = Event::new(AuditAction::RoleRevoked, *principal).with(detail);
                audit::record(&mut *tx, who.actor(), event).await?;
                taken.extend(tx.get_principal(*principal).await?);
            }
        }
        if !granted.is_empty() {
            let event = Event::new(AuditAction::RuleReconciled, id);
            let event = event.with(format!("{} grants ended, {} roles taken", granted.len(), taken.len()));
            audit::record(&mut *tx, who.actor(), event).await?;
            tx.commit().await?;
        }
        Ok((granted.len(), taken))
    }

    /// Refuses terms under which nobody could ever be admitted, naming each that is wrong.
    async fn check(&self, terms: &RuleTerms) -> Result<(), UseCaseError> {
        let mut wrong = Vec::new();
        if let Err(why) = self.0.verifier.check_issuer(&terms.issuer) {
            wrong.push(InvalidField::new("issuer_url", why));
        }
        if let Err(why) = self.0.conditions.check(&terms.condition, &terms.forwarded_claims).await {
            wrong.push(InvalidField::new("condition", why));
        }
        if wrong.is_empty() { Ok(()) } else { Err(UseCaseError::Invalid(wrong)) }
    }
}

async fn room_for(tx: &mut dyn CatalogTx, terms: &RuleTerms) -> Result<(), UseCaseError> {
    let limit = ProvisioningRule::MAX_OF_ISSUER;
    tx.lock_authentication().await?;
    if tx.count_rules_of_issuer(&terms.issuer).await? >= limit {
        Err(UseCaseError::TooManyRules { limit })
    } else {
        Ok(())
    }
}

fn event(action: AuditAction, rule: &ProvisioningRule) -> Event {
    let RuleTerms { display_name, issuer, audience, forwarded_claims, condition, enabled } = &rule.terms;
    let state = if *enabled { "enabled" } else { "disabled" };
    let claims: Vec<_> = forwarded_claims.names().map(ClaimName::as_str).collect();
    let claims = claims.join(", ");
    Event::new(action, &rule.id).with(format!(
        "\"{display_name}\", {state}, issuer {issuer}, audience {audience}, claims [{claims}], condition {}",
        condition.as_str()
    ))
}
