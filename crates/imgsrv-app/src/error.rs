//! Errors of use cases.

use crate::{
    auth::denied::Denied,
    work::{retry::Transient, runtime::WorkError},
};
use imgsrv_domain::{
    auth::TokenKey,
    digest::{ByteSize, Digest},
    files::NameClash,
    ids::{AliasId, ArtifactId, AttachmentId, ImageId, JobId, PrincipalId, TokenId, UploadId, VersionId},
    lifecycle::{LifecycleRefusal, LifecycleState, Replacement, WantedReplacement},
    link::InvalidLink,
    manifest::Unpublishable,
    names::{AliasName, FileName, ImageName, RefName, RuleId, VersionName},
    oidc::IssuerUrl,
    ports::{BlobDeletion, BlobError, BlockedDigest, CatalogError, Conflict, StageError},
    text::LongText,
    time::{Day, Timestamp},
    transition::IllegalTransition,
    upload::{IdempotencyKey, UploadRefusal},
    version::Version,
};
use std::fmt;

/// A resource that does not exist, or is not visible to the caller: the texts name only what the caller has sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Missing {
    /// No such image.
    #[error("image {0} does not exist")]
    Image(ImageName),
    /// No such version.
    #[error("version {0}/{1} does not exist")]
    Version(ImageName, VersionName),
    /// No published version of the image has that name, and no alias.
    #[error("image {0} has no published version or alias {1}")]
    Ref(ImageName, RefName),
    /// No such artifact in the version.
    #[error("version {0}/{1} has no artifact {2}")]
    Artifact(ImageName, VersionName, ArtifactId),
    /// No such attachment of the artifact.
    #[error("artifact {0} has no attachment {1}")]
    Attachment(ArtifactId, AttachmentId),
    /// No such file in the version.
    #[error("{0}/{1} has no file {2}")]
    File(ImageName, RefName, FileName),
    /// No such alias.
    #[error("alias {0}/{1} does not exist")]
    Alias(ImageName, AliasName),
    /// No such upload session.
    #[error("upload session {0} does not exist")]
    Upload(UploadId),
    /// No such blob.
    #[error("blob {0} does not exist")]
    Blob(Digest),
    /// There was a blob, as operators may know, and why it was deleted.
    #[error("blob {0} does not exist: {why}", why = deletion(.1))]
    DeletedBlob(Digest, Box<BlobDeletion>),
    /// The digest is not blocked.
    #[error("digest {0} is not blocked")]
    BlockedDigest(Digest),
    /// No such publish job.
    #[error("publish job {0} does not exist")]
    Job(JobId),
    /// The version has no publish job.
    #[error("version {0} has no publish job")]
    JobOf(String),
    /// No such principal.
    #[error("principal {0} does not exist")]
    Principal(PrincipalId),
    /// No such token.
    #[error("API token {0} does not exist")]
    Token(TokenId),
    /// No token with that look-up key.
    #[error("no API token begins with {prefix}{0}", prefix = TokenKey::PREFIX)]
    TokenKey(TokenKey),
    /// No such provisioning rule.
    #[error("provisioning rule {0} does not exist")]
    Rule(RuleId),
    /// The image has no retention policy of its own.
    #[error("image {0} has no retention policy")]
    Retention(ImageName),
}

fn is_blocked(digest: &Digest) -> String {
    format!("the digest {digest} is blocked, because its content was purged")
}

/// Why an upload or intake fails whose digest is blocked.
pub(crate) fn blocked_upload(digest: &Digest) -> String {
    format!("digest-blocked: {}", is_blocked(digest))
}

fn deletion(why: &BlobDeletion) -> String {
    match why {
        BlobDeletion::Purged(BlockedDigest { image, version, everywhere, blocked_at, .. }) => {
            let scope = if *everywhere { "every image" } else { "this image" };
            format!(
                "it was purged with version {version} of {image} on {}, and is blocked in {scope}",
                Day::of(*blocked_at)
            )
        }
        BlobDeletion::Collected(at) => format!("it was collected on {}, because nothing referred to it", Day::of(*at)),
    }
}

/// The existing resource that conflicts with a new one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Existing {
    /// An image.
    Image(ImageId, ImageName),
    /// A version.
    Version(VersionId, ImageName, VersionName),
    /// An alias.
    Alias(AliasId, ImageName, AliasName),
    /// An artifact.
    Artifact(ArtifactId, ImageName, VersionName),
    /// An attachment; it has no URL before it is published.
    Attachment(AttachmentId, ArtifactId, ImageName, VersionName),
    /// A trusted blob.
    Blob(Digest),
    /// A provisioning rule.
    Rule(RuleId),
}

impl fmt::Display for Existing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Image(_, image) => write!(f, "image {image}"),
            Self::Version(_, image, version) => write!(f, "version {image}/{version}"),
            Self::Alias(_, image, alias) => write!(f, "alias {image}/{alias}"),
            Self::Artifact(id, image, version) => write!(f, "artifact {id} of {image}/{version}"),
            Self::Attachment(id, artifact, image, version) => {
                write!(f, "attachment {id} of artifact {artifact} of {image}/{version}")
            }
            Self::Blob(digest) => write!(f, "blob {digest}"),
            Self::Rule(id) => write!(f, "provisioning rule {id}"),
        }
    }
}

/// A published version that is no longer served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gone {
    /// Its image.
    pub image: ImageName,
    /// Its name.
    pub version: VersionName,
    /// Whether it was revoked, and is not a tombstone yet; otherwise it is one.
    pub is_revoked: bool,
    /// The reason that was given.
    pub reason: Option<LongText>,
    /// What to use instead.
    pub successor: Option<Replacement>,
}

impl Gone {
    pub(crate) fn of(version: &Version, now: Timestamp) -> Self {
        let lifecycle = &version.lifecycle;
        Self {
            image: version.image.clone(),
            version: version.name.clone(),
            is_revoked: lifecycle.is_revoked() && lifecycle.state(now) != LifecycleState::Tombstone,
            reason: lifecycle.reason().cloned(),
            successor: lifecycle.successor().cloned(),
        }
    }
}

impl fmt::Display for Gone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.is_revoked { "revoked" } else { "removed" };
        write!(f, "version {} of {} was {what}", self.version, self.image)?;
        if let Some(reason) = &self.reason {
            write!(f, ": {reason}")?;
        }
        match &self.successor {
            Some(successor) => write!(f, ". Use {successor} instead"),
            None => Ok(()),
        }
    }
}

/// A value that only the use case can find invalid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidField {
    /// The name of the field in the API.
    pub field: &'static str,
    /// Why it is invalid.
    pub reason: String,
}

impl InvalidField {
    pub(crate) fn new(field: &'static str, reason: impl ToString) -> Self {
        Self { field, reason: reason.to_string() }
    }
}

/// The result of a use case.
pub(crate) type Result<T, E = UseCaseError> = std::result::Result<T, E>;

/// Why a use case failed. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum UseCaseError {
    /// It does not exist.
    #[error(transparent)]
    NotFound(#[from] Missing),
    /// The caller is not allowed to.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// A name or key is already in use.
    #[error("{conflict}{}", existing.as_ref().map(|existing| format!(": {existing}")).unwrap_or_default())]
    Taken {
        /// The rule that was violated.
        conflict: Conflict,
        /// The resource that has the name or key, if it is known.
        existing: Option<Box<Existing>>,
    },
    /// A file would have the name of one that the server generates, or be the same as another one.
    #[error("{clash}; choose another {}", if matches!(clash, NameClash::Respelled { .. }) { "architecture or variant" } else { "name" })]
    NameClash {
        /// The names.
        clash: NameClash,
        /// The file with the name, or whose generated file has it.
        existing: Option<Box<Existing>>,
    },
    /// The digest is a trusted blob of another size.
    #[error("the server already has the blob {digest}, and its size is {size} bytes")]
    OtherSize {
        /// The digest.
        digest: Digest,
        /// The size of its bytes.
        size: ByteSize,
    },
    /// The digest is blocked, because its content was purged.
    #[error(
        "{}. A content administrator of every image can unblock it if it may be stored again",
        match block {
            Some(block) => block.to_string(),
            None => is_blocked(digest),
        }
    )]
    Blocked {
        /// The digest.
        digest: Digest,
        /// The version that it was purged with, and why, unless the caller may not know that.
        block: Option<Box<BlockedDigest>>,
    },
    /// The caller has used the idempotency key for a different request.
    #[error(
        "the idempotency key {0} was used for a different request; send a new key, or repeat the original request unchanged"
    )]
    KeyReused(IdempotencyKey),
    /// The state does not allow it.
    #[error(transparent)]
    Illegal(#[from] IllegalTransition),
    /// The upload session refuses it.
    #[error(transparent)]
    Upload(#[from] UploadRefusal),
    /// The body of a part was not received.
    #[error(transparent)]
    Stage(#[from] StageError),
    /// The manifest cannot be published.
    #[error("version {version} cannot be published: {why}")]
    Unpublishable {
        /// The version, with its image.
        version: String,
        /// Why.
        why: Unpublishable,
    },
    /// The version is not published, so no alias may point to it.
    #[error("alias {alias} cannot point to version {version}, which is not published: its state is {state}")]
    NotPublished {
        /// The alias, with its image.
        alias: String,
        /// The version, with its image.
        version: String,
        /// The state of the version.
        state: &'static str,
    },
    /// The version is not published, so its files cannot be downloaded.
    #[error("version {0} is not published, so its files have no links")]
    NotDownloadable(String),
    /// A link gives no access.
    #[error(transparent)]
    Link(#[from] InvalidLink),
    /// The version is not published, so it has no lifecycle yet.
    #[error("version {0} is not published; a draft can be deleted instead")]
    Unpublished(String),
    /// The version is no longer served.
    #[error("{0}")]
    Gone(Box<Gone>),
    /// The lifecycle of the version does not allow it.
    #[error("version {version}: {refusal}")]
    Lifecycle {
        /// The version, with its image.
        version: String,
        /// Why.
        refusal: LifecycleRefusal,
    },
    /// The lifecycle of the version is not the one that the request expects.
    #[error("the lifecycle of version {0} has changed; read it again, and retry with its current ETag")]
    LifecycleChanged(String),
    /// The decisions of a retention policy are no longer those that the request applies.
    #[error("the image or what its retention policy decides has changed; preview it again, and apply the new revision")]
    RetentionChanged,
    /// An alias can newly point only to an active version.
    #[error("an alias can point only to an active version, and {version} is {}", .state.in_words())]
    NotActive {
        /// The version.
        version: VersionName,
        /// The state of its lifecycle.
        state: LifecycleState,
    },
    /// Aliases would point to a revoked or removed version.
    #[error(
        "{} to this version",
        if .0.len() == 1 { format!("the alias {} points", .0[0]) } else {
            let names = .0.iter().map(AliasName::as_str).collect::<Vec<_>>().join(", ");
            format!("the aliases {names} point")
        }
    )]
    AliasesInUse(Vec<AliasName>),
    /// The replacement cannot be used.
    #[error("the replacement {replacement} {why}")]
    Replacement {
        /// The replacement as it was given.
        replacement: WantedReplacement,
        /// Why it cannot be used.
        why: &'static str,
    },
    /// The image still has versions.
    #[error("image {0} has versions; only an image without versions can be deleted")]
    ImageInUse(ImageName),
    /// A precondition of the request does not hold.
    #[error("alias {0} does not match the precondition; read it again, and retry with its current ETag")]
    PreconditionFailed(String),
    /// The upload exceeds the maximum size.
    #[error("an upload can have at most {limit} bytes, not {size}")]
    UploadTooLarge {
        /// The size of the refused upload.
        size: ByteSize,
        /// The most bytes.
        limit: u64,
    },
    /// The manifest has the maximum number of artifacts or attachments.
    #[error("{owner} has {limit} {what}, which is the maximum")]
    ManifestFull {
        /// The version or artifact that has them.
        owner: String,
        /// What it has the maximum number of.
        what: &'static str,
        /// The most of them.
        limit: u32,
    },
    /// The expiry is in the past.
    #[error("the time of expiry is in the past")]
    ExpiryInPast,
    /// A revoked token does not change.
    #[error("API token {0} is revoked; issue a new one")]
    TokenRevoked(TokenId),
    /// Some values are invalid.
    #[error("a value is not valid")]
    Invalid(Vec<InvalidField>),
    /// The issuer has the maximum number of rules.
    #[error("issuer {issuer} has {limit} provisioning rules, which is the maximum")]
    TooManyRules {
        /// The issuer.
        issuer: IssuerUrl,
        /// The most rules.
        limit: u32,
    },
    /// The maximum number of uploads is open.
    #[error("{limit} uploads are already open, which is the maximum; complete or abort some of them first")]
    TooManyUploads {
        /// The most uploads.
        limit: u32,
    },
    /// The maximum number of uploads of the caller is open.
    #[error(
        "{limit} uploads of this principal are already open, which is the maximum; complete or abort some of them first"
    )]
    TooManyOwnUploads {
        /// The most uploads.
        limit: u32,
    },
    /// There is not enough space for more bytes.
    #[error("{0}")]
    InsufficientSpace(String),
    /// The change would leave no principal that can manage authentication.
    #[error(
        "this is the last active auth-manager with a valid token; grant the role auth-manager to another principal with \
         a token first"
    )]
    LastAuthManager,
    /// The page cursor is not one of this list.
    #[error("the cursor does not belong to this list")]
    InvalidCursor,
    /// The bytes of the blob are missing or damaged.
    #[error(
        "the stored data of blob {0} is missing or damaged, and is not served; it is served again once the same bytes are \
         uploaded or restored"
    )]
    Quarantined(Digest),
    /// The blob store failed.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// The catalog failed.
    #[error(transparent)]
    Catalog(CatalogError),
}

impl From<CatalogError> for UseCaseError {
    fn from(error: CatalogError) -> Self {
        match error {
            CatalogError::InvalidCursor => Self::InvalidCursor,
            CatalogError::Conflict(
                conflict @ (Conflict::ImageName
                | Conflict::RefName
                | Conflict::ArtifactKey
                | Conflict::FileName
                | Conflict::ProductKey
                | Conflict::AttachmentName
                | Conflict::RuleId),
            ) => Self::taken(conflict, None),
            error => Self::Catalog(error),
        }
    }
}

impl From<Gone> for UseCaseError {
    fn from(gone: Gone) -> Self {
        Self::Gone(Box::new(gone))
    }
}

impl From<WorkError> for UseCaseError {
    fn from(error: WorkError) -> Self {
        match error {
            WorkError::Catalog(error) => error.into(),
            WorkError::Blob(error) => error.into(),
            error @ WorkError::Panic => BlobError::unavailable(error).into(),
        }
    }
}

impl Transient for UseCaseError {
    fn is_transient(&self) -> bool {
        matches!(self, Self::Catalog(error) if error.is_transient())
    }
}

impl UseCaseError {
    pub(crate) fn taken(conflict: Conflict, existing: Option<Existing>) -> Self {
        Self::Taken { conflict, existing: existing.map(Box::new) }
    }

    pub(crate) fn invalid(field: &'static str, reason: impl ToString) -> Self {
        Self::Invalid(vec![InvalidField::new(field, reason)])
    }
}

/// Adds to a conflict in `done` what has the name or key, which `find` looks up.
pub(crate) async fn with_existing<T>(
    done: Result<T>,
    find: impl Future<Output = Result<Option<Existing>>>,
) -> Result<T> {
    match done {
        Err(UseCaseError::Taken { conflict, existing: None }) => Err(UseCaseError::taken(conflict, find.await?)),
        done => done,
    }
}

/// A refusal that says which names clash, if a file's name is taken for that reason.
pub(crate) async fn with_clash<T>(
    result: Result<T>,
    find: impl Future<Output = Result<Option<NameClash>>>,
) -> Result<T> {
    match result {
        Err(UseCaseError::Taken { conflict: Conflict::FileName, existing }) => Err(match find.await? {
            Some(clash) => UseCaseError::NameClash { clash, existing },
            None => UseCaseError::Taken { conflict: Conflict::FileName, existing },
        }),
        result => result,
    }
}
