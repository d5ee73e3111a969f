//! Publishers without secrets of ours: identities of other issuers, and the rules that admit them.

use crate::{
    auth::Role,
    names::RuleId,
    text::{self, InvalidText, ShortText},
    time::Timestamp,
    transition::Revision,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    str::FromStr,
};

/// The text is empty, too long, or holds a character that is not allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidExactText {
    /// There is nothing in it.
    #[error("must not be empty")]
    Empty,
    /// It has more bytes than can be stored.
    #[error("must be at most {0} bytes")]
    TooManyBytes(usize),
    /// It is too long or holds a character that is not allowed.
    #[error(transparent)]
    Text(#[from] InvalidText),
}

macro_rules! exact_texts {
    ($($(#[$doc:meta])* $name:ident = $max:literal $unit:ident),* $(,)?) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// The text, exactly as it was given.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidExactText;

            fn from_str(raw: &str) -> Result<Self, InvalidExactText> {
                if raw.is_empty() {
                    return Err(InvalidExactText::Empty);
                }
                text::check(raw, $max)?;
                exact_texts!(@ $unit raw, $max);
                Ok(Self(raw.to_owned()))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )*};
    (@ characters $raw:ident, $max:literal) => {};
    (@ bytes $raw:ident, $max:literal) => {
        if $raw.len() > $max {
            return Err(InvalidExactText::TooManyBytes($max));
        }
    };
}

exact_texts! {
    /// Whom an issuer speaks of: `sub` of its tokens (RFC 7519, section 4.1.2), compared character by character; at
    /// most 1024 bytes in UTF-8, as databases index it.
    Subject = 1024 bytes,
    /// The issuer of tokens, compared character by character with `iss` (RFC 7519, section 4.1.1); at most 256.
    IssuerUrl = 256 characters,
    /// For whom a token is meant: one of `aud` (RFC 7519, section 4.1.3); at most 256 characters.
    Audience = 256 characters,
    /// The name of a claim; at most 256 characters.
    ClaimName = 256 characters,
}

/// The source of a condition in CEL, at most 4096 characters. Whether it means anything is for a
/// [`ConditionEngine`](crate::ports::ConditionEngine) to say.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Condition(String);

impl Condition {
    /// The most characters of a condition.
    pub const MAX: usize = 4096;

    /// The source.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Condition {
    type Err = InvalidExactText;

    /// Takes line breaks and tabs beside what any text may hold.
    fn from_str(raw: &str) -> Result<Self, InvalidExactText> {
        if raw.trim().is_empty() {
            return Err(InvalidExactText::Empty);
        }
        if raw.chars().count() > Self::MAX {
            return Err(InvalidText::TooLong(Self::MAX).into());
        }
        let flat: String = raw.chars().map(|c| if matches!(c, '\n' | '\r' | '\t') { ' ' } else { c }).collect();
        text::check(&flat, Self::MAX)?;
        Ok(Self(raw.to_owned()))
    }
}

/// The claims that a rule's condition sees, each once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ForwardedClaims(Vec<ClaimName>);

/// There are too many of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be at most 64 names")]
pub struct TooManyClaims;

impl ForwardedClaims {
    /// At most 64 names, in the order in which they are given; one that is given again does not count.
    pub fn new(names: impl IntoIterator<Item = ClaimName>) -> Result<Self, TooManyClaims> {
        let mut seen = BTreeSet::new();
        let names: Vec<_> = names.into_iter().filter(|name| seen.insert(name.clone())).take(65).collect();
        if names.len() <= 64 { Ok(Self(names)) } else { Err(TooManyClaims) }
    }

    /// The names in their order.
    pub fn names(&self) -> impl Iterator<Item = &ClaimName> {
        self.0.iter()
    }
}

/// What operators say of a rule; everything that changes when it is saved again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleTerms {
    /// What people call it.
    pub display_name: ShortText,
    /// Whose tokens it admits.
    pub issuer: IssuerUrl,
    /// For whom they must be meant, whatever the condition says.
    pub audience: Audience,
    /// What the condition sees of them.
    pub forwarded_claims: ForwardedClaims,
    /// What must hold of them.
    pub condition: Condition,
    /// Whether it admits anybody at present.
    pub enabled: bool,
}

/// A rule by which holders of an issuer's tokens become principals that may write content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProvisioningRule {
    /// Its name.
    pub id: RuleId,
    /// What it says.
    pub terms: RuleTerms,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last saved.
    pub updated_at: Timestamp,
    /// Counts its changes.
    pub revision: Revision,
}

impl ProvisioningRule {
    /// The role that every rule grants.
    pub const ROLE: Role = Role::ContentWriter;
    /// The most rules of one issuer, as each of them may be tried for each of its tokens.
    pub const MAX_OF_ISSUER: u32 = 64;
}

/// Somebody whom an issuer vouches for. Both texts are exact; together they are unique.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OidcIdentity {
    /// Who vouches.
    pub issuer: IssuerUrl,
    /// For whom.
    pub subject: Subject,
}

/// The value of a claim.
#[derive(Debug, Clone, PartialEq)]
pub enum ClaimValue {
    /// `null`.
    Null,
    /// A truth value.
    Bool(bool),
    /// An integer of 64 bits, with a sign.
    Int(i64),
    /// An integer too great for that.
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

/// A token that its issuer signed and that is valid now. Whether it is admitted is another matter.
#[derive(Debug, Clone, PartialEq)]
pub struct VerifiedToken {
    /// Whom it is of.
    pub identity: OidcIdentity,
    /// For whom it is meant; empty when it does not say.
    pub audience: Vec<String>,
    /// From when on it is refused.
    pub expires_at: Timestamp,
    /// Everything it says.
    pub claims: Claims,
}

impl VerifiedToken {
    /// Whether the token is meant for `audience`.
    pub fn is_for(&self, audience: &Audience) -> bool {
        self.audience.iter().any(|meant| meant == audience.as_str())
    }

    /// The claims that `forwarded` names, as far as the token has them.
    pub fn forward(&self, forwarded: &ForwardedClaims) -> Claims {
        let claim = |name: &ClaimName| Some((name.as_str().to_owned(), self.claims.get(name.as_str())?.clone()));
        forwarded.names().filter_map(claim).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_span_lines_but_hide_nothing() {
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
