//! Links: URLs with which anybody can download one file until they end.
//!
//! A link is not stored. Its URL has a capability, which says what it is for, authenticated by an HMAC under a key of the
//! catalog. Replacing the key ends all links, and raising the generation of an image ends the links to its files.

use crate::{
    ids::{ArtifactId, AttachmentId, PrincipalId, TokenId},
    names::RuleId,
    time::Timestamp,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest as _, Sha256};
use std::{fmt, str::FromStr, time::Duration};
use uuid::Uuid;

/// How long a link can be valid at most.
pub const MAX_LINK_TTL: Duration = Duration::from_hours(7 * 24);

/// The file that a link is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LinkedFile {
    /// The bytes of an artifact.
    Artifact(ArtifactId),
    /// An attachment.
    Attachment(AttachmentId),
}

/// The credential that made a link: it gives access as long as the credential would, and may read the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LinkMaker {
    /// An API token, with what it leaves of what its principal may do.
    Token(TokenId),
    /// A token of another issuer, which expires too soon to be named: the principal, as a provisioning rule admits it.
    Admitted(PrincipalId, RuleMark),
}

/// Tells a provisioning rule from others: the first bytes of the SHA-256 of its id, which fit in a URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RuleMark([u8; RuleMark::LENGTH]);

impl RuleMark {
    const LENGTH: usize = 6;

    /// The mark of a rule.
    pub fn of(rule: &RuleId) -> Self {
        let mut mark = [0; Self::LENGTH];
        mark.copy_from_slice(&Sha256::digest(rule.as_str())[..Self::LENGTH]);
        Self(mark)
    }
}

/// What a link is for, and until when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// The file.
    pub file: LinkedFile,
    /// Who made it.
    pub maker: LinkMaker,
    /// The generation of the links of the image when it was made.
    pub generation: u32,
    /// When it ends: seconds since the Unix epoch.
    pub expires_at: u64,
}

impl Link {
    /// Whether it has ended at `now`.
    pub fn has_expired(&self, now: Timestamp) -> bool {
        self.expiry() <= now
    }

    /// When it ends.
    pub fn expiry(&self) -> Timestamp {
        Timestamp::from_micros(i64::try_from(self.expires_at.saturating_mul(1_000_000)).unwrap_or(i64::MAX))
    }
}

/// The whole seconds from the Unix epoch until a time.
pub fn whole_seconds(time: Timestamp) -> u64 {
    u64::try_from(time.micros() / 1_000_000).unwrap_or(0)
}

/// The key that authenticates the links of a catalog. Its `Debug` does not show the secret.
#[derive(Clone, PartialEq, Eq)]
pub struct LinkKey {
    /// Its number: later keys have greater ones.
    pub id: u32,
    /// 32 random bytes.
    pub secret: [u8; 32],
}

impl fmt::Debug for LinkKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LinkKey").field("id", &self.id).finish_non_exhaustive()
    }
}

/// What a capability begins with, so that later versions can have other fields.
const FORMAT: u8 = 1;
/// Format, key, kinds, file, maker, generation, expiry and rule.
const CLAIMS: usize = 1 + 4 + 1 + 16 + 16 + 4 + 8 + RuleMark::LENGTH;
/// The leftmost half of the HMAC (RFC 2104, section 5).
const TAG: usize = 16;
/// What is authenticated before the claims, so that the key is used for links alone.
const PURPOSE: &[u8] = b"imgsrv link\0";
const IS_ATTACHMENT: u8 = 1;
const IS_TOKEN: u8 = 2;

/// The capability in the URL of a link: 96 characters of base64url. It may be forged until [`LinkKey::verify`] has
/// accepted it. Its `Debug` does not show it, because it gives access.
#[derive(Clone, PartialEq, Eq)]
pub struct Capability([u8; CLAIMS + TAG]);

/// The text is not a capability.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is not the capability of a link")]
pub struct InvalidCapability;

/// Why a capability gives no access.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the link is not valid: it has ended or was revoked, or its URL is not complete; ask its maker for a new one")]
pub enum InvalidLink {
    /// No key has authenticated it: it may be a guess, or the key was replaced.
    NotAuthentic,
    /// It has ended.
    Ended,
}

impl Capability {
    /// Characters in its text.
    pub const LENGTH: usize = (CLAIMS + TAG) / 3 * 4;

    /// The number of the key that it says it was made with.
    pub fn key(&self) -> u32 {
        u32::from_be_bytes(self.field(1))
    }

    fn claims(&self) -> &[u8] {
        &self.0[..CLAIMS]
    }

    fn field<const N: usize>(&self, at: usize) -> [u8; N] {
        let mut field = [0; N];
        field.copy_from_slice(&self.0[at..at + N]);
        field
    }

    /// What it says that it is for.
    fn link(&self) -> Option<Link> {
        let kinds = self.0[5];
        if self.0[0] != FORMAT || kinds & !(IS_ATTACHMENT | IS_TOKEN) != 0 {
            return None;
        }
        let (file, maker) = (Uuid::from_bytes(self.field(6)), Uuid::from_bytes(self.field(22)));
        Some(Link {
            file: if kinds & IS_ATTACHMENT == 0 {
                LinkedFile::Artifact(ArtifactId::new(file))
            } else {
                LinkedFile::Attachment(AttachmentId::new(file))
            },
            maker: if kinds & IS_TOKEN == 0 {
                LinkMaker::Admitted(PrincipalId::new(maker), RuleMark(self.field(50)))
            } else {
                LinkMaker::Token(TokenId::new(maker))
            },
            generation: u32::from_be_bytes(self.field(38)),
            expires_at: u64::from_be_bytes(self.field(42)),
        })
    }
}

impl FromStr for Capability {
    type Err = InvalidCapability;

    fn from_str(raw: &str) -> Result<Self, InvalidCapability> {
        let mut bytes = [0; CLAIMS + TAG];
        if raw.len() != Self::LENGTH {
            return Err(InvalidCapability);
        }
        match URL_SAFE_NO_PAD.decode_slice(raw, &mut bytes) {
            Ok(length) if length == bytes.len() => Ok(Self(bytes)),
            Ok(_) | Err(_) => Err(InvalidCapability),
        }
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Capability").finish_non_exhaustive()
    }
}

impl LinkKey {
    /// The HMAC of what a capability says. `None` never happens: every length of key is valid.
    fn mac(&self, claims: &[u8]) -> Option<Hmac<Sha256>> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.secret).ok()?;
        mac.update(PURPOSE);
        mac.update(claims);
        Some(mac)
    }

    /// The capability of a link.
    pub fn sign(&self, link: &Link) -> Capability {
        let (file, file_kind) = match link.file {
            LinkedFile::Artifact(id) => (id.uuid(), 0),
            LinkedFile::Attachment(id) => (id.uuid(), IS_ATTACHMENT),
        };
        let (maker, rule, maker_kind) = match link.maker {
            LinkMaker::Admitted(id, rule) => (id.uuid(), rule.0, 0),
            LinkMaker::Token(id) => (id.uuid(), [0; RuleMark::LENGTH], IS_TOKEN),
        };
        let mut bytes = [0; CLAIMS + TAG];
        bytes[0] = FORMAT;
        bytes[1..5].copy_from_slice(&self.id.to_be_bytes());
        bytes[5] = file_kind | maker_kind;
        bytes[6..22].copy_from_slice(file.as_bytes());
        bytes[22..38].copy_from_slice(maker.as_bytes());
        bytes[38..42].copy_from_slice(&link.generation.to_be_bytes());
        bytes[42..50].copy_from_slice(&link.expires_at.to_be_bytes());
        bytes[50..CLAIMS].copy_from_slice(&rule);
        if let Some(mac) = self.mac(&bytes[..CLAIMS]) {
            bytes[CLAIMS..].copy_from_slice(&mac.finalize().into_bytes()[..TAG]);
        }
        Capability(bytes)
    }

    /// The link of a capability, if this key has authenticated it; compared in constant time. It may have ended.
    pub fn verify(&self, capability: &Capability) -> Option<Link> {
        let mac = self.mac(capability.claims())?;
        mac.verify_truncated_left(&capability.0[CLAIMS..]).ok()?;
        capability.link().filter(|_| capability.key() == self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn link() -> impl Strategy<Value = Link> {
        (any::<u128>(), any::<bool>(), any::<u128>(), any::<Option<[u8; 6]>>(), any::<u32>(), any::<u64>()).prop_map(
            |(file, is_artifact, maker, rule, generation, expires_at)| {
                let (file, maker) = (Uuid::from_u128(file), Uuid::from_u128(maker));
                let artifact = LinkedFile::Artifact(ArtifactId::new(file));
                let admitted = |rule| LinkMaker::Admitted(PrincipalId::new(maker), RuleMark(rule));
                Link {
                    file: if is_artifact { artifact } else { LinkedFile::Attachment(AttachmentId::new(file)) },
                    maker: rule.map_or(LinkMaker::Token(TokenId::new(maker)), admitted),
                    generation,
                    expires_at,
                }
            },
        )
    }

    fn key() -> impl Strategy<Value = LinkKey> {
        (any::<u32>(), any::<[u8; 32]>()).prop_map(|(id, secret)| LinkKey { id, secret })
    }

    proptest! {
        #[test]
        fn a_capability_yields_its_link_with_its_key_alone(link in link(), key in key(), other in key()) {
            let text = key.sign(&link).to_string();
            prop_assert_eq!(text.len(), Capability::LENGTH);
            prop_assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)));
            let capability: Capability = text.parse().expect("a capability");
            prop_assert_eq!(capability.key(), key.id);
            prop_assert_eq!(key.verify(&capability), Some(link));
            for other in [LinkKey { id: key.id, ..other.clone() }, LinkKey { id: key.id.wrapping_add(1), ..key }] {
                prop_assert_eq!(other.verify(&capability), None);
            }
        }

        #[test]
        fn an_altered_capability_is_not_authentic(link in link(), key in key(), at in 0..CLAIMS + TAG, flip in 1_u8..) {
            let mut capability = key.sign(&link);
            capability.0[at] ^= flip;
            prop_assert_eq!(key.verify(&capability), None);
        }

        #[test]
        fn any_other_text_is_no_capability(text in "[A-Za-z0-9_=+/-]{0,100}") {
            let parsed = text.parse::<Capability>();
            let fits = text.len() == Capability::LENGTH && !text.contains(['=', '+', '/']);
            prop_assert_eq!(parsed.is_ok(), fits);
            prop_assert!(parsed.is_ok_and(|parsed| parsed.to_string() == text) == fits);
        }

        #[test]
        fn a_link_ends_at_its_second(seconds in 0_u64..1 << 40) {
            let at = Timestamp::from_micros(i64::try_from(seconds).expect("small") * 1_000_000);
            let file = LinkedFile::Artifact(ArtifactId::new(Uuid::nil()));
            let maker = LinkMaker::Token(TokenId::new(Uuid::nil()));
            let link = Link { file, maker, generation: 0, expires_at: seconds };
            prop_assert_eq!(whole_seconds(at.plus(Duration::from_micros(999_999))), seconds);
            prop_assert!(link.has_expired(at) && (seconds == 0 || !link.has_expired(at.minus(Duration::from_micros(1)))));
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        let key = LinkKey { id: 7, secret: [0xab; 32] };
        assert_eq!(format!("{key:?}"), "LinkKey { id: 7, .. }");
        let file = LinkedFile::Artifact(ArtifactId::new(Uuid::nil()));
        let link = Link { file, maker: LinkMaker::Token(TokenId::new(Uuid::nil())), generation: 0, expires_at: 0 };
        assert_eq!(format!("{:?}", key.sign(&link)), "Capability { .. }");
    }
}
