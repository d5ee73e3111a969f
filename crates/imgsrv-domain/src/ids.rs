//! Identifiers: UUIDs that cannot be mistaken for one another.

use std::{fmt, str::FromStr};
use uuid::Uuid;

/// The text is not a UUID in its hyphenated form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be a UUID such as 0198c0de-0000-7000-8000-000000000000")]
pub struct InvalidId;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        impl $name {
            /// Wraps a UUID; every UUID is a valid identifier.
            pub const fn new(raw: Uuid) -> Self {
                Self(raw)
            }

            /// The UUID.
            pub const fn uuid(self) -> Uuid {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            /// Accepts only the 36-character hyphenated form, so that one id has one spelling in URLs
            /// (upper-case hexadecimal digits aside).
            fn from_str(raw: &str) -> Result<Self, InvalidId> {
                if raw.len() != 36 {
                    return Err(InvalidId);
                }
                Uuid::try_parse(raw).map(Self).map_err(|_| InvalidId)
            }
        }
    )*};
}

ids! {
    /// Identifies an upload session.
    UploadId,
    /// Identifies one attempt to send a part; it is the part's etag and is never used twice.
    AttemptId,
    /// Identifies an image.
    ImageId,
    /// Identifies a version of an image.
    VersionId,
    /// Identifies an artifact of a version.
    ArtifactId,
    /// Identifies an attachment of an artifact.
    AttachmentId,
    /// Identifies an alias; it stays the same when the alias moves.
    AliasId,
    /// Identifies a publish job.
    JobId,
    /// Identifies a principal: a person or a service that can authenticate.
    PrincipalId,
    /// Identifies an API token; not the secret.
    TokenId,
}
