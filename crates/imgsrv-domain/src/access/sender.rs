//! Who has sent bytes or named them, and which credentials may use them for that.

use super::ImageScope;
use crate::ids::PrincipalId;

/// A principal that sends bytes or names their digest, with a credential that leaves these images.
///
/// What a limited credential has sent can also be used by credentials of its principal that leave no fewer images. The
/// opposite would give a limited credential what it cannot reach itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sender {
    /// The principal.
    pub principal: PrincipalId,
    /// The images that its credential leaves of those of its roles.
    pub images: ImageScope,
}

impl Sender {
    /// The principal, with a credential that leaves every image.
    pub const fn unlimited(principal: PrincipalId) -> Self {
        Self { principal, images: ImageScope::Every }
    }

    /// Whether it may use what `other` has sent.
    pub fn covers(&self, other: &Self) -> bool {
        self.principal == other.principal && self.images.contains(&other.images)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn a_credential_uses_what_one_with_no_more_images_of_its_principal_has_sent() {
        let sender = |principal: u128, patterns: &[&str]| Sender {
            principal: PrincipalId::new(Uuid::from_u128(principal)),
            images: ImageScope::matching(patterns.iter().map(|raw| raw.parse().expect("a pattern"))).expect("a scope"),
        };
        for (own, sent, expected) in [
            (&["*"][..], &["*"][..], true),
            (&["*"], &["deb*", "tools"], true),
            (&["deb*"], &["*"], false),
            (&["deb*"], &["debian", "deb-*"], true),
            (&["deb*"], &["debian", "tools"], false),
            (&["debian"], &["deb*"], false),
            (&["debian", "tools"], &["tools", "debian"], true),
        ] {
            assert_eq!(sender(1, own).covers(&sender(1, sent)), expected, "{own:?} {sent:?}");
            assert!(!sender(1, own).covers(&sender(2, sent)), "another principal");
        }
    }
}
