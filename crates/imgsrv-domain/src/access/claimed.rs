//! What the patterns of a provisioning rule that name claims grant to the bearer of one token.

use super::{Action, ImagePattern, ImageScope, Rights, Role, Target};
use crate::{
    claims::{Binding, ClaimName, ClaimValues, ImageTemplate, RuleImages},
    names::{ImageName, RuleId},
    oidc::{ProvisioningRule, RuleTerms},
};
use std::collections::BTreeSet;

/// A role on the images that patterns with claims name for the values of one token.
///
/// Different values can make the same pattern. Therefore an image that was created through such a pattern is bound to the
/// rule and the exact values, and only the same values reach it. Other images are reached by their names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimed {
    role: Role,
    rule: RuleId,
    values: ClaimValues,
    patterns: Vec<(ImagePattern, BTreeSet<ClaimName>)>,
    reached: BTreeSet<ImageName>,
}

impl Claimed {
    /// What a rule grants for these values of the claims that it forwards, while no image is known to exist. `None` when none of its
    /// patterns names claims, or the token lacks them.
    pub fn new(rule: &ProvisioningRule, values: ClaimValues) -> Option<Self> {
        let expand = |template: &ImageTemplate| {
            let claims = Some(template.claims()).filter(|claims| !claims.is_empty())?;
            Some((template.expand(&values)?.parse().ok()?, claims))
        };
        let patterns: Vec<_> = rule.terms.images.patterns()?.iter().filter_map(expand).collect();
        let (role, rule, reached) = (rule.terms.role, rule.id.clone(), BTreeSet::new());
        (!patterns.is_empty()).then_some(Self { role, rule, values, patterns, reached })
    }

    /// The role.
    pub const fn role(&self) -> Role {
        self.role
    }

    /// The patterns, as they are for the token.
    pub fn scope(&self) -> ImageScope {
        ImageScope::Matching(self.patterns.iter().map(|(pattern, _)| pattern.clone()).collect())
    }

    /// Whether a pattern matches the name.
    pub fn matches(&self, image: &ImageName) -> bool {
        self.patterns.iter().any(|(pattern, _)| pattern.matches(image))
    }

    /// Whether an image is reached that exists, and may be bound.
    pub fn reaches(&self, image: &ImageName, bound: Option<&Binding>) -> bool {
        let is_own = |bound: &Binding| bound.rule == self.rule && self.values.agree_with(&bound.claims);
        self.matches(image) && bound.is_none_or(is_own)
    }

    /// What a new image is bound to: the values of all claims in the patterns that match its name. `None` when none does.
    pub fn bind(&self, image: &ImageName) -> Option<Binding> {
        let matching = self.patterns.iter().filter(|(pattern, _)| pattern.matches(image));
        let claims: BTreeSet<_> = matching.flat_map(|(_, claims)| claims).cloned().collect();
        (!claims.is_empty()).then(|| Binding { rule: self.rule.clone(), claims: self.values.of(&claims) })
    }

    /// The same, where of the images that exist those of `found` are known, and no others.
    #[must_use]
    pub fn among(self, found: impl IntoIterator<Item = (ImageName, Option<Binding>)>) -> Self {
        let reached = found.into_iter().filter(|(image, bound)| self.reaches(image, bound.as_ref()));
        let reached = reached.map(|(image, _)| image).collect();
        Self { reached, ..self }
    }

    /// The images that are reached, if the role allows `action`.
    pub(super) fn allowed(&self, action: Action) -> Option<&BTreeSet<ImageName>> {
        self.role.actions().contains(&action).then_some(&self.reached)
    }
}

impl Rights {
    /// What an image is bound to that is created under that name, if `action` is allowed on it; the outer `None` if it is
    /// not. `existing` is what the image of that name is bound to, if there is one.
    pub fn creates(
        &self,
        action: Action,
        image: &ImageName,
        existing: Option<Option<Binding>>,
    ) -> Option<Option<Binding>> {
        let granted = Self { claimed: None, ..self.clone() };
        if granted.allow(action, Target::Image(image)) {
            return Some(None);
        }
        let claimed = self.claimed.clone()?;
        let (of_new, is_new) = (claimed.bind(image), existing.is_none());
        let bound = existing.unwrap_or_else(|| of_new.clone());
        let reached = Self { claimed: Some(claimed.among([(image.clone(), bound)])), ..granted };
        reached.allow(action, Target::Image(image)).then(|| of_new.filter(|_| is_new))
    }
}

impl ImageScope {
    /// The images of a rule's patterns, whatever values their claims have.
    pub fn with_any_claims(images: &RuleImages) -> Self {
        let Some(patterns) = images.patterns() else { return Self::Every };
        let patterns = patterns.iter().filter_map(|pattern| pattern.for_any_values().parse().ok());
        Self::matching(patterns).unwrap_or(Self::none())
    }

    /// The images of a rule's patterns that name no claims.
    pub fn without_claims(terms: &RuleTerms) -> Self {
        let Some(patterns) = terms.images.patterns() else { return Self::Every };
        let plain = patterns.iter().filter(|pattern| pattern.claims().is_empty());
        Self::Matching(plain.filter_map(|pattern| pattern.as_str().parse().ok()).collect())
    }
}
