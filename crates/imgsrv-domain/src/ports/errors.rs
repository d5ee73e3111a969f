//! Failures of the catalog, and why storage accepts no writes.

use super::Source;

/// Why storage accepts no writes, though it can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unwritable {
    /// There is no free space, or a quota is exhausted.
    Full,
    /// The file system is read-only.
    ReadOnly,
}

impl Unwritable {
    /// Every reason.
    pub const ALL: &'static [Self] = &[Self::Full, Self::ReadOnly];

    /// Its name, as in the header of `/readyz` and in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Full => "storage-full",
            Self::ReadOnly => "storage-read-only",
        }
    }
}

impl std::fmt::Display for Unwritable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Full => "the disk is full",
            Self::ReadOnly => "the file system is read-only",
        })
    }
}

impl std::error::Error for Unwritable {}

/// The rule of the catalog that a write broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    /// The record changed since it was read.
    #[error("the record changed since it was read")]
    StaleRevision,
    /// An image has that name.
    #[error("an image with this name already exists")]
    ImageName,
    /// A version or alias of the image has that name.
    #[error("the image already has a version or an alias with this name")]
    RefName,
    /// An artifact of the version has the same operating system, architecture, variant and format.
    #[error("the version already has an artifact with this operating system, architecture, variant and format")]
    ArtifactKey,
    /// A file of the version has that name.
    #[error("the version already has a file with this name")]
    FileName,
    /// An artifact of the version has the same architecture, as Incus names it, variant and format.
    #[error("the version already has an artifact that Incus clients cannot distinguish from this one")]
    ProductKey,
    /// An attachment of the artifact has that name.
    #[error("the artifact already has an attachment with this name")]
    AttachmentName,
    /// The digest is trusted already.
    #[error("a trusted blob with this digest already exists")]
    BlobDigest,
    /// The digest is blocked.
    #[error("the digest is blocked")]
    DigestBlocked,
    /// The version has a publish job that is not abandoned.
    #[error("the version already has an active publish job")]
    LiveJob,
    /// A principal has that id.
    #[error("the principal already exists")]
    PrincipalId,
    /// A token has that look-up key.
    #[error("the token key is already in use")]
    TokenKey,
    /// A principal has that identity.
    #[error("the identity already exists")]
    Identity,
    /// A provisioning rule has that id.
    #[error("a provisioning rule with this id already exists")]
    RuleId,
    /// The principal has opened an upload session with that idempotency key.
    #[error("the idempotency key was used for another upload session")]
    IdempotencyKey,
    /// The image still has versions.
    #[error("the image has versions")]
    ImageInUse,
    /// The promise of immutability, or another guarantee to consumers, forbids the change.
    #[error("the change violates a constraint of the catalog")]
    Forbidden,
}

/// A failure of the catalog. Any error dooms the transaction it happened in.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// The write broke a rule.
    #[error("conflict: {0}")]
    Conflict(Conflict),
    /// The cursor is not one of this list.
    #[error("the cursor does not belong to this list")]
    InvalidCursor,
    /// A new transaction may succeed.
    #[error("transient catalog failure")]
    Retryable(#[source] Source),
    /// The catalog cannot be reached.
    #[error("the catalog cannot be reached")]
    Unavailable(#[source] Source),
    /// The catalog has no space for the write.
    #[error("the catalog is full")]
    Full(#[source] Source),
    /// The catalog is on a read-only file system.
    #[error("the catalog is read-only")]
    ReadOnly(#[source] Source),
    /// The catalog's file is no longer the one at its path, so what is written would be lost.
    #[error("the catalog's file was removed or replaced")]
    Replaced(#[source] Source),
    /// A stored record cannot be decoded: another program has changed it, or it is damaged.
    #[error("a record of the catalog cannot be decoded")]
    Corrupt(#[source] Source),
    /// Anything else; a fault of the catalog or of this program.
    #[error("catalog failure")]
    Backend(#[source] Source),
}

impl CatalogError {
    /// The error of a write to a catalog that accepts none.
    pub fn unwritable(why: Unwritable) -> Self {
        match why {
            Unwritable::Full => Self::Full(why.into()),
            Unwritable::ReadOnly => Self::ReadOnly(why.into()),
        }
    }

    /// Why it accepted no write, if its disk is full or read-only.
    pub const fn why_unwritable(&self) -> Option<Unwritable> {
        match self {
            Self::Full(_) => Some(Unwritable::Full),
            Self::ReadOnly(_) => Some(Unwritable::ReadOnly),
            _ => None,
        }
    }

    /// A fault of the catalog or of this program.
    pub fn backend(error: impl Into<Source>) -> Self {
        Self::Backend(error.into())
    }
}
