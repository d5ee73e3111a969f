//! Authorisation: roles, actions, principals and API tokens.

use crate::{
    ids::{PrincipalId, TokenId},
    names::string_enum,
    text::{LongText, ShortText, checked_texts},
    time::Timestamp,
    transition::Revision,
};
use std::collections::{BTreeMap, BTreeSet};

string_enum! {
    /// A named set of actions that a principal may be granted.
    Role: "one of auditor, auth-manager, content-admin, content-writer, operator" {
        /// May read the audit log and the state of the server.
        Auditor = "auditor",
        /// May manage principals, roles and tokens, and read the audit log.
        AuthManager = "auth-manager",
        /// May retire published versions, restore them and hold them.
        ContentAdmin = "content-admin",
        /// May upload, draft, publish and move aliases.
        ContentWriter = "content-writer",
        /// May operate the server: collect garbage, and see its nodes and what refers to stored content.
        Operator = "operator",
    }
}

string_enum! {
    /// What a use case requires its caller to be allowed to do.
    Action: "one of audit.read, auth.manage, content.retire, content.write, system.operate, system.read" {
        /// Read the audit log.
        AuditRead = "audit.read",
        /// Manage principals, roles and tokens.
        AuthManage = "auth.manage",
        /// Change the lifecycle of published versions.
        ContentRetire = "content.retire",
        /// Change content, and see what is not published.
        ContentWrite = "content.write",
        /// Change the state of the server, such as by collecting garbage.
        SystemOperate = "system.operate",
        /// See the state of the server: its nodes, its storage, and what refers to stored content.
        SystemRead = "system.read",
    }
}

impl Role {
    /// The actions that the role allows.
    pub const fn actions(self) -> &'static [Action] {
        match self {
            Self::Auditor => &[Action::AuditRead, Action::SystemRead],
            Self::AuthManager => &[Action::AuthManage, Action::AuditRead],
            Self::ContentAdmin => &[Action::ContentRetire],
            Self::ContentWriter => &[Action::ContentWrite],
            Self::Operator => &[Action::SystemOperate, Action::SystemRead],
        }
    }
}

string_enum! {
    /// Whether a principal is a person or a program.
    PrincipalKind: "user or service" {
        /// A person.
        User = "user",
        /// A program.
        Service = "service",
    }
}

/// Notes of operators on a principal, such as the name of a team. They never affect access.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Attributes(BTreeMap<String, LongText>);

/// There are too many attributes, or one has an invalid key.
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

/// A person or program that can authenticate, and what it may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// Its id.
    pub id: PrincipalId,
    /// Person or program.
    pub kind: PrincipalKind,
    /// Its name for people.
    pub display_name: ShortText,
    /// Notes of operators.
    pub attributes: Attributes,
    /// The roles it has now.
    pub roles: BTreeSet<Role>,
    /// When it was deactivated; absent while it is active.
    pub deactivated_at: Option<Timestamp>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// Its revision.
    pub revision: Revision,
}

impl Principal {
    /// Whether it may authenticate.
    pub const fn is_active(&self) -> bool {
        self.deactivated_at.is_none()
    }

    /// Whether one of its roles allows `action`.
    pub fn may(&self, action: Action) -> bool {
        self.roles.iter().any(|role| role.actions().contains(&action))
    }
}

checked_texts! {
    /// The part of an API token that identifies it: 12 characters of `a-z0-9`. Not a secret.
    TokenKey: InvalidTokenKey = |raw| {
        let fits = raw.len() == TokenKey::LENGTH && raw.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        fits.then_some(()).ok_or(InvalidTokenKey)
    };
}

impl TokenKey {
    /// What precedes the key in the text of an API token.
    pub const PREFIX: &str = "imgsrv_at_";
    /// Characters in a key.
    pub const LENGTH: usize = 12;
}

/// The text is not the key of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be 12 characters of a-z and 0-9")]
pub struct InvalidTokenKey;

/// An API token without its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiToken {
    /// Its id.
    pub id: TokenId,
    /// The principal that it authenticates.
    pub principal: PrincipalId,
    /// The part that identifies it.
    pub key: TokenKey,
    /// Its name for people.
    pub name: ShortText,
    /// When it was issued.
    pub created_at: Timestamp,
    /// When it expires.
    pub expires_at: Timestamp,
    /// When it was last used, to the minute; written with a delay.
    pub last_used_at: Option<Timestamp>,
    /// When it was revoked; absent while it is not.
    pub revoked_at: Option<Timestamp>,
}

impl ApiToken {
    /// Whether the token authenticates at `now`.
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && self.expires_at > now
    }
}

/// What a bearer token is verified against.
#[derive(Debug, Clone)]
pub struct StoredToken {
    /// The token with that key.
    pub token: ApiToken,
    /// SHA-256 of the whole token text.
    pub secret_hash: [u8; 32],
    /// The principal that it authenticates, with its roles of this moment.
    pub principal: Principal,
}
