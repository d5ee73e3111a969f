//! Provisioning rules, what they grant, and how it is undone.

use super::{
    Fresh, all_pages, conflict,
    samples::{new_principal, scope},
};
use crate::uuid;
use imgsrv_domain::{
    access::Grants,
    auth::{Principal, Role},
    claims::RuleImages,
    ids::PrincipalId,
    names::RuleId,
    oidc::{ForwardedClaims, OidcIdentity, ProvisioningRule, RuleTerms},
    page::PageRequest,
    ports::{Catalog, Conflict, Grant},
    time::Timestamp,
    transition::Revision,
};
use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};
use std::collections::{BTreeMap, BTreeSet};

const ROLE: Role = Role::ContentWriter;

pub(super) fn rule(id: &str, now: Timestamp) -> ProvisioningRule {
    let names = ["repository", "ref"].map(|name| name.parse().unwrap());
    ProvisioningRule {
        id: id.parse().unwrap(),
        terms: RuleTerms {
            role: ROLE,
            images: RuleImages::Every,
            display_name: "CI".parse().unwrap(),
            issuer: "https://issuer.example".parse().unwrap(),
            audience: "imgsrv".parse().unwrap(),
            forwarded_claims: ForwardedClaims::new(names).unwrap(),
            condition: "claims.repository == \"acme/'images'\" &&\n  true".parse().unwrap(),
            enabled: true,
        },
        created_at: now,
        updated_at: now,
        revision: Revision::FIRST,
    }
}

pub(super) async fn rules_are_stored_and_updated_by_revision(fresh: Fresh) {
    let mut tx = fresh.begin().await;
    let (first, second) = (rule("a", tx.now()), rule("b", tx.now()));
    for written in [&second, &first] {
        tx.insert_rule(written).await.unwrap();
    }
    assert_eq!(tx.count_rules_of_issuer(&first.terms.issuer).await.unwrap(), 2);
    tx.commit().await.unwrap();
    let listed = fresh.catalog.list_rules(&PageRequest::FIRST).await.unwrap().items;
    assert_eq!(listed, [first.clone(), second.clone()]);
    let of_issuer = fresh.catalog.list_rules_of_issuer(&first.terms.issuer).await.unwrap().unwrap();
    assert_eq!((of_issuer.value, of_issuer.now), (listed, fresh.catalog.catalog_time().await.unwrap()));
    let other = "https://issuer.example/".parse().unwrap();
    assert_eq!(fresh.catalog.list_rules_of_issuer(&other).await.unwrap(), None);
    assert_eq!(fresh.catalog.get_rule(&first.id).await.unwrap(), Some(first.clone()));

    let mut changed = first.clone();
    changed.terms.enabled = false;
    changed.terms.issuer = other;
    changed.terms.role = Role::ContentReader;
    let patterns = ["{claims.repository}-*", "tools"].map(|pattern| pattern.parse().unwrap());
    changed.terms.images = RuleImages::matching(patterns).unwrap();
    let mut tx = fresh.begin().await;
    tx.update_rule(&changed).await.unwrap();
    assert_eq!(tx.lock_rule(&first.id).await.unwrap().unwrap().terms, changed.terms);
    assert_eq!(conflict(tx.update_rule(&changed).await), Conflict::StaleRevision);
    drop(tx);
    assert_eq!(fresh.refused(async |tx| tx.insert_rule(&first).await).await, Conflict::RuleId);
    let mut tx = fresh.begin().await;
    tx.delete_rule(&first.id).await.unwrap();
    assert_eq!(tx.lock_rule(&first.id).await.unwrap(), None);
}

pub(super) async fn an_identity_is_one_principal(fresh: Fresh) {
    let identity = |subject: &str| OidcIdentity {
        issuer: "https://issuer.example".parse().unwrap(),
        subject: subject.parse().unwrap(),
    };
    let mut tx = fresh.begin().await;
    let first = new_principal(&mut *tx, &[]).await;
    let second = new_principal(&mut *tx, &[]).await;
    tx.insert_identity(first.id, &identity("a")).await.unwrap();
    tx.insert_identity(second.id, &identity("A")).await.unwrap();
    assert_eq!(tx.get_principal_id(&identity("a")).await.unwrap(), Some(first.id));
    assert_eq!(tx.get_principal_id(&identity("a ")).await.unwrap(), None);
    let id: RuleId = "ci".parse().unwrap();
    tx.insert_rule(&rule("ci", tx.now())).await.unwrap();
    let now = tx.now();
    assert!(tx.grant_by_rule(&id, first.id, ROLE, now).await.unwrap());
    tx.commit().await.unwrap();
    assert_eq!(fresh.catalog.list_granted_roles(&id).await.unwrap(), [ROLE]);
    let admission = fresh.catalog.get_admission(&identity("a"), &id, ROLE).await.unwrap().unwrap();
    assert_eq!((admission.grant, admission.by_hand), (Some(Grant::Live), Grants::default()));
    let admission = fresh.catalog.get_admission(&identity("a"), &id, Role::ContentReader).await.unwrap().unwrap();
    assert_eq!(admission.grant, None, "the grant of another role");
    let granting = fresh.write(async |tx| tx.get_granting_rule(&id, first.id).await.unwrap()).await;
    assert_eq!(granting.map(|rule| rule.id), Some(id.clone()));
    assert_eq!((admission.principal.id, admission.principal.grants), (first.id, [ROLE].into_iter().collect()));
    let admission = fresh.catalog.get_admission(&identity("A"), &id, ROLE).await.unwrap().unwrap();
    assert_eq!((admission.grant, admission.principal), (None, second.clone()));
    assert_eq!(fresh.catalog.get_admission(&identity("b"), &id, ROLE).await.unwrap(), None);
    assert!(fresh.write(async |tx| tx.reconcile_grant(&id, first.id, ROLE, now).await.unwrap()).await);
    let admission = fresh.catalog.get_admission(&identity("a"), &id, ROLE).await.unwrap().unwrap();
    assert_eq!(admission.grant, Some(Grant::Ended));
    let mut tx = fresh.begin().await;
    assert_eq!(tx.get_granting_rule(&id, first.id).await.unwrap(), None);
    tx.grant_role(first.id, ROLE, Some(&scope(&["tools"]))).await.unwrap();
    tx.commit().await.unwrap();
    let admission = fresh.catalog.get_admission(&identity("a"), &id, ROLE).await.unwrap().unwrap();
    assert_eq!(admission.by_hand.get(ROLE), Some(&scope(&["tools"])));
    let mut tx = fresh.begin().await;
    // As long as they get, in letters that nothing makes shorter.
    let long: String =
        (0_u32..512).map(|at| char::from_u32(0x80 + at * 3 % 0x700).unwrap()).filter(|c| !c.is_control()).collect();
    let third = new_principal(&mut *tx, &[]).await;
    tx.insert_identity(third.id, &identity(&long)).await.unwrap();
    assert_eq!(conflict(tx.insert_identity(second.id, &identity("a")).await), Conflict::Identity);
}

/// What operators and publishers do to three rules and four principals.
#[derive(Debug, Clone, Copy)]
enum Step {
    Save { rule: usize, enabled: bool },
    Delete { rule: usize },
    Match { rule: usize, principal: usize },
    GrantByHand { principal: usize },
    TakeByHand { principal: usize },
    Reconcile { rule: usize },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (rule, principal) = (0_usize..3, 0_usize..4);
    let step = prop_oneof![
        2 => (rule.clone(), any::<bool>()).prop_map(|(rule, enabled)| Step::Save { rule, enabled }),
        1 => rule.clone().prop_map(|rule| Step::Delete { rule }),
        6 => (rule.clone(), principal.clone()).prop_map(|(rule, principal)| Step::Match { rule, principal }),
        1 => principal.clone().prop_map(|principal| Step::GrantByHand { principal }),
        2 => principal.prop_map(|principal| Step::TakeByHand { principal }),
        3 => rule.prop_map(|rule| Step::Reconcile { rule }),
    ];
    prop::collection::vec(step, 1..40)
}

/// What must hold, in the words of the promises and without a catalog.
#[derive(Default)]
struct Model {
    /// Rules that exist, and whether they are enabled.
    rules: BTreeMap<usize, bool>,
    by_hand: BTreeSet<usize>,
    held: BTreeSet<usize>,
    /// Which rule granted to whom, and whether that is live.
    grants: BTreeMap<(usize, usize), bool>,
}

impl Model {
    fn supported_by_others(&self, rule: usize, principal: usize) -> bool {
        let live = |other: &usize| self.grants.get(&(*other, principal)) == Some(&true);
        self.rules.iter().any(|(other, enabled)| *enabled && *other != rule && live(other))
    }

    fn reconcilable(&self, rule: usize) -> BTreeSet<usize> {
        let granted = self.grants.iter().filter(|((by, _), live)| *by == rule && **live).map(|((_, to), _)| *to);
        granted
            .filter(|to| self.held.contains(to) && !self.by_hand.contains(to) && !self.supported_by_others(rule, *to))
            .collect()
    }

    fn take(&mut self, principal: usize) {
        self.held.remove(&principal);
        self.by_hand.remove(&principal);
        self.grants.iter_mut().filter(|((_, to), _)| *to == principal).for_each(|(_, live)| *live = false);
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Save { rule, enabled } => drop(self.rules.insert(rule, enabled)),
            Step::Delete { rule } => drop(self.rules.remove(&rule)),
            Step::Match { rule, principal } => {
                if self.rules.get(&rule) == Some(&true) && *self.grants.entry((rule, principal)).or_insert(true) {
                    self.held.insert(principal);
                }
            }
            Step::GrantByHand { principal } => {
                self.held.insert(principal);
                self.by_hand.insert(principal);
            }
            Step::TakeByHand { principal } => self.take(principal),
            Step::Reconcile { rule } => {
                let taken = self.reconcilable(rule);
                self.grants.iter_mut().filter(|((by, _), _)| *by == rule).for_each(|(_, live)| *live = false);
                self.held.retain(|principal| !taken.contains(principal));
            }
        }
    }
}

/// The same in a catalog.
struct Real {
    catalog: std::sync::Arc<dyn Catalog>,
    rules: Vec<RuleId>,
    principals: Vec<PrincipalId>,
}

impl Real {
    async fn new(fresh: &Fresh) -> Self {
        // Names of their own, so that one catalog serves many sequences.
        let rules = (0..3).map(|_| uuid().to_string().parse().unwrap()).collect();
        let mut tx = fresh.begin().await;
        let mut principals = Vec::new();
        for _ in 0..4 {
            principals.push(new_principal(&mut *tx, &[]).await.id);
        }
        tx.commit().await.unwrap();
        Self { catalog: fresh.catalog.clone(), rules, principals }
    }

    async fn step(&self, step: Step) {
        let mut tx = self.catalog.begin().await.unwrap();
        let now = tx.now();
        match step {
            Step::Save { rule: at, enabled } => match tx.lock_rule(&self.rules[at]).await.unwrap() {
                Some(mut saved) => {
                    saved.terms.enabled = enabled;
                    tx.update_rule(&saved).await.unwrap();
                }
                None => {
                    let mut made = rule(self.rules[at].as_str(), now);
                    made.terms.enabled = enabled;
                    tx.insert_rule(&made).await.unwrap();
                }
            },
            Step::Delete { rule } => tx.delete_rule(&self.rules[rule]).await.unwrap(),
            Step::Match { rule, principal } => {
                let found = tx.lock_rule(&self.rules[rule]).await.unwrap();
                if found.is_some_and(|rule| rule.terms.enabled) {
                    tx.grant_by_rule(&self.rules[rule], self.principals[principal], ROLE, now).await.unwrap();
                }
            }
            Step::GrantByHand { principal } => {
                tx.grant_role(self.principals[principal], ROLE, None).await.unwrap();
            }
            Step::TakeByHand { principal } => {
                tx.revoke_role(self.principals[principal], ROLE).await.unwrap();
            }
            Step::Reconcile { rule } => {
                for (principal, role) in tx.list_live_grants(&self.rules[rule], 100).await.unwrap() {
                    tx.reconcile_grant(&self.rules[rule], principal, role, now).await.unwrap();
                }
            }
        }
        tx.commit().await.unwrap();
    }

    fn index(&self, principals: impl IntoIterator<Item = Principal>) -> BTreeSet<usize> {
        let at = |principal: Principal| self.principals.iter().position(|id| *id == principal.id).unwrap();
        principals.into_iter().map(at).collect()
    }

    async fn held(&self) -> BTreeSet<usize> {
        let mut held = Vec::new();
        for id in &self.principals {
            held.extend(
                self.catalog.get_principal(*id).await.unwrap().filter(|found| found.grants.get(ROLE).is_some()),
            );
        }
        self.index(held)
    }

    async fn reconcilable(&self, rule: usize) -> Option<BTreeSet<usize>> {
        let rule = &self.rules[rule];
        let found = all_pages(3, async |page| self.catalog.list_reconcilable(rule, page).await).await?;
        Some(self.index(found))
    }
}

pub(super) async fn reconciling_ends_exactly_the_grants_of_a_rule(fresh: Fresh) {
    let mut runner = TestRunner::deterministic();
    for _ in 0..60 {
        let steps = steps().new_tree(&mut runner).unwrap().current();
        let (mut model, real) = (Model::default(), Real::new(&fresh).await);
        for (at, step) in steps.iter().enumerate() {
            model.step(*step);
            real.step(*step).await;
            assert_eq!(real.held().await, model.held, "after {:?}", &steps[..=at]);
            for rule in 0..3 {
                let known =
                    model.rules.contains_key(&rule) || model.grants.keys().any(|(granted_by, _)| *granted_by == rule);
                let expected = known.then(|| model.reconcilable(rule));
                assert_eq!(real.reconcilable(rule).await, expected, "of {rule} after {:?}", &steps[..=at]);
            }
        }
    }
}
