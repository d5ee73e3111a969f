//! Provisioning rules: managing them, and reconciling what they granted.

use crate::{
    audit,
    auth::caller::Manager,
    context::Context,
    error::{Existing, InvalidField, Missing, Result, UseCaseError, with_existing},
    work::retry::retrying,
};
use imgsrv_domain::{
    audit::{AuditAction, Event},
    auth::{Principal, Role},
    claims::{ClaimName, ImageTemplate},
    ids::PrincipalId,
    names::RuleId,
    oidc::{ProvisioningRule, RuleTerms},
    page::{Page, PageRequest},
    ports::CatalogTx,
    transition::Revision,
};
use std::{collections::BTreeSet, sync::Arc};

/// Principals that are reconciled in one transaction.
const BATCH: u16 = 200;
/// Principals that a response lists at most.
const SHOWN: usize = 1000;

/// The use cases of provisioning rules.
#[derive(Clone)]
pub struct Rules(pub(crate) Arc<Context>);

/// The result of reconciling a rule.
#[derive(Debug, Clone)]
pub struct Reconciled {
    /// The first thousand principals that lost the role, as they are now.
    pub principals: Vec<Principal>,
    /// How many principals lost the role.
    pub count: u64,
    /// The roles that were revoked.
    pub roles: BTreeSet<Role>,
}

impl Rules {
    /// Rules by id.
    #[tracing::instrument(name = "rule.list", level = "debug", skip_all, err(level = "debug"))]
    pub async fn list(&self, _who: &Manager, page: &PageRequest) -> Result<Page<ProvisioningRule>> {
        Ok(self.0.catalog.list_rules(page).await?)
    }

    /// The rule with that id.
    #[tracing::instrument(name = "rule.get", level = "debug", skip_all, fields(rule.id = %id), err(level = "debug"))]
    pub async fn get(&self, _who: &Manager, id: &RuleId) -> Result<ProvisioningRule> {
        self.0.catalog.get_rule(id).await?.ok_or_else(|| Missing::Rule(id.clone()).into())
    }

    /// Creates a rule, with a new id when none is given.
    #[tracing::instrument(name = "rule.create", level = "debug", skip_all, err(level = "debug"))]
    pub async fn create(&self, who: &Manager, id: Option<RuleId>, terms: RuleTerms) -> Result<ProvisioningRule> {
        self.check(&terms).await?;
        let new = self.0.ids.next().hyphenated().to_string().parse();
        let new = new.map_err(|_| UseCaseError::invalid("id", "no id could be generated"))?;
        let id = id.unwrap_or(new);
        let created = retrying(|| async {
            let mut tx = self.0.catalog.begin().await?;
            check_count(&mut *tx, &terms).await?;
            let (id, terms, now, revision) = (id.clone(), terms.clone(), tx.now(), Revision::FIRST);
            let rule = ProvisioningRule { id, terms, created_at: now, updated_at: now, revision };
            tx.insert_rule(&rule).await?;
            audit::commit(tx, who.actor(), event(AuditAction::RuleCreated, &rule)).await?;
            Ok(rule)
        })
        .await;
        with_existing(created, async { Ok(Some(Existing::Rule(id))) }).await
    }

    /// Updates a rule, effective from the next request.
    #[tracing::instrument(name = "rule.update", level = "debug", skip_all, fields(rule.id = %id), err(level = "debug"))]
    pub async fn update(&self, who: &Manager, id: &RuleId, terms: RuleTerms) -> Result<ProvisioningRule> {
        self.check(&terms).await?;
        retrying(|| async {
            let mut tx = self.0.catalog.begin().await?;
            let mut rule = tx.lock_rule(id).await?.ok_or_else(|| Missing::Rule(id.clone()))?;
            if rule.terms == terms {
                return Ok(rule);
            }
            if rule.terms.issuer != terms.issuer {
                check_count(&mut *tx, &terms).await?;
            }
            rule.terms = terms.clone();
            rule.updated_at = tx.now();
            tx.update_rule(&rule).await?;
            audit::commit(tx, who.actor(), event(AuditAction::RuleUpdated, &rule)).await?;
            Ok(rule)
        })
        .await
    }

    /// Deletes a rule. From the next request on it admits no token; its grants stay until it is reconciled.
    #[tracing::instrument(name = "rule.delete", level = "debug", skip_all, fields(rule.id = %id), err(level = "debug"))]
    pub async fn delete(&self, who: &Manager, id: &RuleId) -> Result<()> {
        retrying(|| async {
            let mut tx = self.0.catalog.begin().await?;
            let rule = tx.lock_rule(id).await?.ok_or_else(|| Missing::Rule(id.clone()))?;
            tx.delete_rule(id).await?;
            Ok(audit::commit(tx, who.actor(), event(AuditAction::RuleDeleted, &rule)).await?)
        })
        .await
    }

    /// The principals that would lose the role if a rule was reconciled: they have it through this rule, and neither by
    /// hand nor through another enabled rule. The rule may be deleted.
    #[tracing::instrument(name = "rule.preview", level = "debug", skip_all, fields(rule.id = %id), err(level = "debug"))]
    pub async fn preview(
        &self,
        _who: &Manager,
        id: &RuleId,
        page: &PageRequest,
    ) -> Result<(Vec<Role>, Page<Principal>)> {
        let found = self.0.catalog.list_reconcilable(id, page).await?;
        let found = found.ok_or_else(|| Missing::Rule(id.clone()))?;
        Ok((self.0.catalog.list_granted_roles(id).await?, found))
    }

    /// Revokes what a rule granted, and nothing else. The rule may be deleted; one that is still enabled does not grant the
    /// role to the same principals again. May be repeated after an interruption.
    #[tracing::instrument(name = "rule.reconcile", level = "debug", skip_all, fields(rule.id = %id), err(level = "debug"))]
    pub async fn reconcile(&self, who: &Manager, id: &RuleId) -> Result<Reconciled> {
        self.preview(who, id, &PageRequest::FIRST).await?;
        let mut reconciled = Reconciled { principals: Vec::new(), count: 0, roles: BTreeSet::new() };
        let mut last = None;
        loop {
            let (ended, revoked, roles) = retrying(|| self.reconcile_batch(who, id)).await?;
            reconciled.roles.extend(roles);
            // A principal can lose two roles.
            let revoked: Vec<_> =
                revoked.into_iter().filter(|principal| last.replace(principal.id) != Some(principal.id)).collect();
            reconciled.count += revoked.len() as u64;
            let left = SHOWN - reconciled.principals.len();
            reconciled.principals.extend(revoked.into_iter().take(left));
            if ended < usize::from(BATCH) {
                return Ok(reconciled);
            }
        }
    }

    /// Ends some of a rule's live grants; returns how many, the principals that lost a role, once for each, and the roles.
    async fn reconcile_batch(&self, who: &Manager, id: &RuleId) -> Result<(usize, Vec<Principal>, BTreeSet<Role>)> {
        let mut tx = self.0.catalog.begin().await?;
        let now = tx.now();
        let granted: Vec<(PrincipalId, Role)> = tx.list_live_grants(id, BATCH).await?;
        let (mut revoked, mut roles) = (Vec::new(), BTreeSet::new());
        for (principal, role) in &granted {
            tx.lock_principal(*principal).await?;
            if tx.reconcile_grant(id, *principal, *role, now).await? {
                roles.insert(*role);
                let detail = format!("{role}, reconciling rule {id}");
                let event = Event::new(AuditAction::RoleRevoked, *principal).with(detail);
                audit::record(&mut *tx, who.actor(), event).await?;
                revoked.extend(tx.get_principal(*principal).await?);
            }
        }
        if !granted.is_empty() {
            let detail = format!("{} grants ended, {} roles revoked", granted.len(), revoked.len());
            audit::commit(tx, who.actor(), Event::new(AuditAction::RuleReconciled, id).with(detail)).await?;
        }
        Ok((granted.len(), revoked, roles))
    }

    /// Refuses terms that could never admit a token, with a reason for each invalid field.
    async fn check(&self, terms: &RuleTerms) -> Result<()> {
        let mut wrong = Vec::new();
        if let Err(why) = self.0.verifier.check_issuer(&terms.issuer) {
            wrong.push(InvalidField::new("issuer_url", why));
        }
        if let Err(why) = self.0.conditions.check(&terms.condition, &terms.forwarded_claims).await {
            wrong.push(InvalidField::new("condition", why));
        }
        for pattern in terms.images.patterns().into_iter().flatten() {
            let claims = pattern.claims();
            let unknown = claims.iter().find(|claim| !terms.forwarded_claims.names().any(|own| own == *claim));
            if let Some(claim) = unknown {
                let why = format!("\"{pattern}\" names the claim {claim}, which is not in forwarded_claims");
                wrong.push(InvalidField::new("images", why));
            }
        }
        if wrong.is_empty() { Ok(()) } else { Err(UseCaseError::Invalid(wrong)) }
    }
}

/// Refuses a further rule of an issuer that has the maximum number.
async fn check_count(tx: &mut dyn CatalogTx, terms: &RuleTerms) -> Result<()> {
    let limit = ProvisioningRule::MAX_OF_ISSUER;
    tx.lock_authentication().await?;
    let is_full = tx.count_rules_of_issuer(&terms.issuer).await? >= limit;
    if is_full { Err(UseCaseError::TooManyRules { issuer: terms.issuer.clone(), limit }) } else { Ok(()) }
}

fn event(action: AuditAction, rule: &ProvisioningRule) -> Event {
    let RuleTerms { display_name, issuer, audience, forwarded_claims, condition, role, images, enabled } = &rule.terms;
    let state = if *enabled { "enabled" } else { "disabled" };
    let claims: Vec<_> = forwarded_claims.names().map(ClaimName::as_str).collect();
    let claims = claims.join(", ");
    let images = images.patterns().map_or_else(
        || "every image".to_owned(),
        |patterns| patterns.iter().map(ImageTemplate::as_str).collect::<Vec<_>>().join(", "),
    );
    Event::new(action, &rule.id).with(format!(
        "\"{display_name}\", {state}, issuer {issuer}, audience {audience}, claims [{claims}], {role} on {images}, condition {}",
        condition.as_str()
    ))
}
