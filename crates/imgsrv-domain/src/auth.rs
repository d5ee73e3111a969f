//! Who may do what: roles, actions, principals and API tokens.

use crate::{
    ids::{PrincipalId, TokenId},
    names::words,
    text::{LongText, ShortText},
    time::Timestamp,
    transition::Revision,
};
use std::collections::{BTreeMap, BTreeSet};

words! {
    /// A named set of actions that a principal may be granted.
    Role: "one of auth-manager, content-writer" {
        /// May manage principals, roles and tokens.
        AuthManager = "auth-manager",
        /// May upload, draft, publish and move aliases.
        ContentWriter = "content-writer",
    }
}

words! {
    /// What a use case demands of its caller.
    Action: "one of auth.manage, content.write" {
        /// Manage principals, roles and tokens.
        AuthManage = "auth.manage",
        /// Change content, and see what is not published.
        ContentWrite = "content.write",
    }
}

impl Role {
    /// The actions that the role allows.
    pub const fn actions(self) -> &'static [Action] {
        match self {
            Self::AuthManager => &[Action::AuthManage],
            Self::ContentWriter => &[Action::ContentWrite],
        }
    }
}

words! {
    /// Whether a principal is a person or a program.
    PrincipalKind: "user or service" {
        /// A person.
        User = "user",
        /// A program.
        Service = "service",
    }
}

/// Notes that operators keep with a principal, such as a team's name. Never consulted for access.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Attributes(BTreeMap<String, LongText>);

/// The attributes are too many or badly named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be at most 32 entries with keys of 1 to 64 characters of A-Z, a-z, 0-9, `.`, `_` and `-`")]
pub struct InvalidAttributes;

impl Attributes {
    /// At most 32 entries, whose keys are 1 to 64 characters of `A-Za-z0-9._-`.
    pub fn new(entries: BTreeMap<String, LongText>) -> Result<Self, InvalidAttributes> {
        let key_fits = |key: &String| {
            (1..=64).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        };
        if entries.len() <= 32 && entries.keys().all(key_fits) { Ok(Self(entries)) } else { Err(InvalidAttributes) }
    }

    /// The entries by key.
    pub fn entries(&self) -> &BTreeMap<String, LongText> {
        &self.0
    }
}

/// Somebody who can authenticate, and what they may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// Its identity.
    pub id: PrincipalId,
    /// Person or program.
    pub kind: PrincipalKind,
    /// What people call it.
    pub display_name: ShortText,
    /// Operators' notes.
    pub attributes: Attributes,
    /// The roles it holds now.
    pub roles: BTreeSet<Role>,
    /// Since when it is barred, if it is.
    pub deactivated_at: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// Counts its changes.
    pub revision: Revision,
}

impl Principal {
    /// Whether it is let in.
    pub const fn is_active(&self) -> bool {
        self.deactivated_at.is_none()
    }

    /// Whether one of its roles allows `action`.
    pub fn may(&self, action: Action) -> bool {
        self.roles.iter().any(|role| role.actions().contains(&action))
    }
}

/// The part of an API token by which it is found: 12 characters of `a-z0-9`. Not a secret.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TokenKey(String);

/// The text is not a token's look-up key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be 12 characters of a-z and 0-9")]
pub struct InvalidTokenKey;

impl TokenKey {
    /// Characters in a key.
    pub const LENGTH: usize = 12;

    /// The characters.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for TokenKey {
    type Err = InvalidTokenKey;

    fn from_str(raw: &str) -> Result<Self, InvalidTokenKey> {
        let fits = raw.len() == Self::LENGTH && raw.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        if fits { Ok(Self(raw.to_owned())) } else { Err(InvalidTokenKey) }
    }
}

/// An API token as the catalog keeps it: everything but the secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiToken {
    /// Its identity.
    pub id: TokenId,
    /// Whom it authenticates.
    pub principal: PrincipalId,
    /// How it is found.
    pub key: TokenKey,
    /// What people call it.
    pub name: ShortText,
    /// When it was made.
    pub created_at: Timestamp,
    /// From when on it is refused.
    pub expires_at: Timestamp,
    /// About when it was last used (written lazily, to the minute).
    pub last_used_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

impl ApiToken {
    /// Whether the token authenticates at `now`.
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && self.expires_at > now
    }
}

/// What a bearer is checked against.
#[derive(Debug, Clone)]
pub struct Credential {
    /// The token found by its key.
    pub token: ApiToken,
    /// SHA-256 of the whole token text.
    pub secret_hash: [u8; 32],
    /// Whom it authenticates, with the roles of this moment.
    pub principal: Principal,
}
