//! OpenID Connect: identities of external issuers, and the provisioning rules that admit them.

use crate::{
    auth::Role,
    claims::{ClaimName, ClaimValues, RuleImages},
    names::RuleId,
    text::{InvalidExactText, ShortText, check_exact, checked_texts},
    time::Timestamp,
    transition::Revision,
};
use std::collections::{BTreeMap, BTreeSet};

checked_texts! {
    /// The subject of a token: `sub` (RFC 7519, section 4.1.2), compared character by character; at most 1024 bytes in
    /// UTF-8, because databases index it.
    Subject: InvalidExactText = |raw| {
        check_exact(raw, 1024)?;
        if raw.len() > 1024 { Err(InvalidExactText::TooManyBytes(1024)) } else { Ok(()) }
    };
    /// The issuer of a token: `iss` (RFC 7519, section 4.1.1), compared character by character; at most 256 characters.
    IssuerUrl: InvalidExactText = |raw| check_exact(raw, 256);
    /// An audience of a token: one of `aud` (RFC 7519, section 4.1.3); at most 256 characters.
    Audience: InvalidExactText = |raw| check_exact(raw, 256);
    /// The source of a condition in CEL, at most 4096 characters, among which line breaks and tabs are allowed. A
    /// [`ConditionEngine`](crate::ports::ConditionEngine) checks whether it is valid.
    Condition: InvalidExactText = |raw| {
        let flat = raw.replace(['\n', '\r', '\t'], " ");
        if flat.trim().is_empty() { Err(InvalidExactText::Empty) } else { check_exact(&flat, 4096) }
    };
}

/// The names of the claims that the condition of a rule can read, each once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ForwardedClaims(Vec<ClaimName>);

/// There are too many claims.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be at most 64 names")]
pub struct TooManyClaims;

impl ForwardedClaims {
    /// At most 64 names, in the given order; repeated names are ignored.
    pub fn new(names: impl IntoIterator<Item = ClaimName>) -> Result<Self, TooManyClaims> {
        let mut seen = BTreeSet::new();
        let names: Vec<_> = names.into_iter().filter(|name| seen.insert(name.clone())).take(65).collect();
        if names.len() <= 64 { Ok(Self(names)) } else { Err(TooManyClaims) }
    }

    /// The names, in order.
    pub fn names(&self) -> impl Iterator<Item = &ClaimName> {
        self.0.iter()
    }
}

/// What operators define in a rule; replaced as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleTerms {
    /// Its name for people.
    pub display_name: ShortText,
    /// The issuer whose tokens it admits.
    pub issuer: IssuerUrl,
    /// The audience that a token must have, in addition to the condition.
    pub audience: Audience,
    /// The claims that the condition can read.
    pub forwarded_claims: ForwardedClaims,
    /// The condition that a token must meet.
    pub condition: Condition,
    /// The role that it grants; one of [`ProvisioningRule::ROLES`].
    pub role: Role,
    /// The images on which it grants the role.
    pub images: RuleImages,
    /// Whether the rule is applied.
    pub enabled: bool,
}

/// A rule that admits identities of an issuer as principals that may read or write content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProvisioningRule {
    /// Its id.
    pub id: RuleId,
    /// What operators defined.
    pub terms: RuleTerms,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was last replaced.
    pub updated_at: Timestamp,
    /// Its revision.
    pub revision: Revision,
}

impl ProvisioningRule {
    /// The roles that a rule can grant.
    pub const ROLES: [Role; 2] = [Role::ContentReader, Role::ContentWriter];
    /// How many rules an issuer may have at most, since each may be evaluated for each of its tokens.
    pub const MAX_OF_ISSUER: u32 = 64;
}

/// An identity that an issuer asserts. Issuer and subject together are unique.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OidcIdentity {
    /// The issuer.
    pub issuer: IssuerUrl,
    /// The subject, as the issuer names it.
    pub subject: Subject,
}

/// The value of a claim.
#[derive(Debug, Clone, PartialEq)]
pub enum ClaimValue {
    /// `null`.
    Null,
    /// A boolean.
    Bool(bool),
    /// A signed integer of 64 bits.
    Int(i64),
    /// An unsigned integer that is too great for 64 bits with a sign.
    UInt(u64),
    /// Any other number.
    Float(f64),
    /// A text.
    Text(String),
    /// A list.
    List(Vec<Self>),
    /// An object.
    Map(BTreeMap<String, Self>),
}

/// The claims of a token by name.
pub type Claims = BTreeMap<String, ClaimValue>;

/// A token whose signature and times were verified. It is accepted only if a rule matches.
#[derive(Debug, Clone, PartialEq)]
pub struct VerifiedToken {
    /// The identity that it asserts.
    pub identity: OidcIdentity,
    /// Its audiences; empty when it has none.
    pub audience: Vec<String>,
    /// When it expires.
    pub expires_at: Timestamp,
    /// All of its claims.
    pub claims: Claims,
}

impl VerifiedToken {
    /// Whether `audience` is one of its audiences.
    pub fn is_for(&self, audience: &Audience) -> bool {
        self.audience.iter().any(|own| own == audience.as_str())
    }

    /// Those of its claims that `forwarded` names.
    pub fn forward(&self, forwarded: &ForwardedClaims) -> Claims {
        let claim = |name: &ClaimName| Some((name.as_str().to_owned(), self.claims.get(name.as_str())?.clone()));
        forwarded.names().filter_map(claim).collect()
    }

    /// The values of those of its claims that `forwarded` names.
    pub fn values(&self, forwarded: &ForwardedClaims) -> ClaimValues {
        let text = |name: &'_ ClaimName| match self.claims.get_key_value(name.as_str()) {
            Some((name, ClaimValue::Text(text))) => Some((name.as_str(), text.as_str())),
            _ => None,
        };
        ClaimValues::new(forwarded.names().filter_map(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_may_span_lines_without_control_characters() {
        assert!("claims.a == 'b' &&\n\tclaims.c == 'd'".parse::<Condition>().is_ok());
        assert!("a".repeat(4096).parse::<Condition>().is_ok());
        for bad in ["", " \n", "a\u{202e}b", "a\0", &"a".repeat(4097)] {
            assert!(bad.parse::<Condition>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn only_forwarded_claims_are_forwarded() {
        let claims = ["a", "b"].map(|name| (name.to_owned(), ClaimValue::Text(name.to_owned())));
        let token = VerifiedToken {
            identity: OidcIdentity {
                issuer: "https://i".parse().expect("valid"),
                subject: "s".parse().expect("valid"),
            },
            audience: vec!["imgsrv".to_owned()],
            expires_at: Timestamp::from_micros(0),
            claims: claims.into(),
        };
        let names = ["b", "c"].map(|name| name.parse().expect("valid"));
        let forwarded = token.forward(&ForwardedClaims::new(names).expect("few"));
        assert_eq!(forwarded.keys().collect::<Vec<_>>(), ["b"]);
        assert!(token.is_for(&"imgsrv".parse().expect("valid")));
        assert!(!token.is_for(&"imgsr".parse().expect("valid")));
    }
}
