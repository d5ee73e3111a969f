//! The audit log: who changed what. Every entry is written in the transaction of the change that it records.

use crate::{ids::PrincipalId, names::string_enum, text::ShortText, time::Timestamp};

string_enum! {
    /// An audited action.
    AuditAction: "an audited action" {
        /// An upload session was opened.
        UploadCreated = "upload.created",
        /// An upload's part list was accepted.
        UploadCompleted = "upload.completed",
        /// A client aborted an upload.
        UploadAborted = "upload.aborted",
        /// An unfinished upload expired.
        UploadExpired = "upload.expired",
        /// An upload's bytes became a trusted blob.
        UploadReady = "upload.ready",
        /// An upload's bytes were not what was claimed, or could not be ingested.
        UploadFailed = "upload.failed",
        /// A blob became trusted.
        BlobTrusted = "blob.trusted",
        /// A blob was found damaged and is no longer served.
        BlobQuarantined = "blob.quarantined",
        /// The bytes of a quarantined blob were found right, and it is served again.
        BlobRestored = "blob.restored",
        /// A blob that nothing referred to was deleted.
        BlobCollected = "blob.collected",
        /// A digest was blocked, because its content was purged.
        DigestBlocked = "digest.blocked",
        /// A digest was unblocked.
        DigestUnblocked = "digest.unblocked",
        /// Records that are no longer retained were deleted.
        HistoryDeleted = "history.deleted",
        /// An image was created.
        ImageCreated = "image.created",
        /// An image's metadata changed.
        ImageUpdated = "image.updated",
        /// A file of a private image was downloaded, once or more in an hour.
        FileDownloaded = "file.downloaded",
        /// An image without versions was deleted.
        ImageDeleted = "image.deleted",
        /// A draft was created.
        VersionCreated = "version.created",
        /// A draft was deleted.
        VersionDeleted = "version.deleted",
        /// A draft was frozen and its publish job enqueued.
        PublishRequested = "version.publish_requested",
        /// A version was published.
        VersionPublished = "version.published",
        /// A version became a draft again.
        VersionReopened = "version.reopened",
        /// A version was deprecated, or the words of its deprecation changed.
        VersionDeprecated = "version.deprecated",
        /// A version was revoked, or the words of its revocation changed.
        VersionRevoked = "version.revoked",
        /// A version was removed, or the words of its removal changed.
        VersionRemoved = "version.removed",
        /// A version was purged: removed without a drain, with the content that nothing else refers to.
        VersionPurged = "version.purged",
        /// The deprecation, revocation or removal of a version was undone.
        VersionRestored = "version.restored",
        /// A removed version became a tombstone.
        VersionTombstoned = "version.tombstoned",
        /// A version was held, or its hold changed.
        VersionHeld = "version.held",
        /// The hold of a version was released.
        VersionReleased = "version.released",
        /// The retention policy of an image was set.
        RetentionSet = "retention.set",
        /// The retention policy of an image was deleted.
        RetentionDeleted = "retention.deleted",
        /// An artifact was added to a draft.
        ArtifactAdded = "artifact.added",
        /// An artifact was removed from a draft.
        ArtifactRemoved = "artifact.removed",
        /// An attachment was added to a draft.
        AttachmentAdded = "attachment.added",
        /// An attachment was removed from a draft.
        AttachmentRemoved = "attachment.removed",
        /// A publish job failed.
        JobFailed = "publish_job.failed",
        /// A failed publish job was queued again.
        JobRetried = "publish_job.retried",
        /// A failed publish job was abandoned.
        JobAbandoned = "publish_job.abandoned",
        /// An alias was created or moved.
        AliasSet = "alias.set",
        /// An alias was deleted.
        AliasDeleted = "alias.deleted",
        /// A principal was created.
        PrincipalCreated = "principal.created",
        /// A principal was deactivated.
        PrincipalDeactivated = "principal.deactivated",
        /// A principal was activated again.
        PrincipalActivated = "principal.activated",
        /// A principal that a provisioning rule had created, and that was not seen for long, was deleted.
        PrincipalDeleted = "principal.deleted",
        /// A role was granted.
        RoleGranted = "role.granted",
        /// A role was revoked.
        RoleRevoked = "role.revoked",
        /// An API token was issued.
        TokenIssued = "token.issued",
        /// The time of expiry of an API token was changed.
        TokenExpiryChanged = "token.expiry_changed",
        /// An API token was revoked.
        TokenRevoked = "token.revoked",
        /// A live API token was sent in a way by which others may have read it, such as over plaintext HTTP.
        TokenExposed = "token.exposed",
        /// A link to a file was created.
        LinkCreated = "link.created",
        /// All links to the files of an image were revoked.
        LinksRevoked = "links.revoked",
        /// The key of all links was replaced, which ended them.
        LinkKeyRotated = "link_key.rotated",
        /// A provisioning rule was created.
        RuleCreated = "provisioning_rule.created",
        /// A provisioning rule was replaced.
        RuleUpdated = "provisioning_rule.updated",
        /// A provisioning rule was deleted.
        RuleDeleted = "provisioning_rule.deleted",
        /// What a provisioning rule had granted was revoked.
        RuleReconciled = "provisioning_rule.reconciled",
        /// An operator exported the catalog, with its secrets.
        CatalogExported = "catalog.exported",
        /// The catalog was imported from a backup.
        CatalogImported = "catalog.imported",
    }
}

/// An action on a subject; actor and time are added where it is recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The action.
    pub action: AuditAction,
    /// What it was done to: an id, or a path such as `debian/12.5.0`.
    pub subject: String,
    /// More for operators, such as a digest or a reason; never a secret.
    pub detail: Option<String>,
}

impl Event {
    /// `action` on `subject`, without a detail.
    pub fn new(action: AuditAction, subject: impl ToString) -> Self {
        Self { action, subject: subject.to_string(), detail: None }
    }

    /// The same event with `detail`.
    #[must_use]
    pub fn with(mut self, detail: impl ToString) -> Self {
        self.detail = Some(detail.to_string());
        self
    }
}

/// Who did something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Actor {
    /// An authenticated principal, through a request.
    Principal {
        /// Its id.
        id: PrincipalId,
        /// Its display name at that time; absent in entries about work that it only caused, and if it is deleted.
        name: Option<ShortText>,
        /// The id of the request, as in its log lines and its response.
        request_id: Option<String>,
        /// The client's address.
        address: Option<String>,
    },
    /// A background worker, by name.
    Worker(String),
    /// An operator with direct access to the catalog.
    Operator,
}

impl Actor {
    /// The kind of the actor.
    pub const fn kind(&self) -> ActorKind {
        match self {
            Self::Principal { .. } => ActorKind::Principal,
            Self::Worker(_) => ActorKind::Worker,
            Self::Operator => ActorKind::Operator,
        }
    }

    /// The id of the principal or the name of the worker.
    pub fn id(&self) -> Option<String> {
        match self {
            Self::Principal { id, .. } => Some(id.to_string()),
            Self::Worker(name) => Some(name.clone()),
            Self::Operator => None,
        }
    }

    /// The name of the principal at that time.
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Principal { name, .. } => name.as_ref().map(ShortText::as_str),
            Self::Worker(_) | Self::Operator => None,
        }
    }

    /// The id of the request.
    pub fn request_id(&self) -> Option<&str> {
        match self {
            Self::Principal { request_id, .. } => request_id.as_deref(),
            Self::Worker(_) | Self::Operator => None,
        }
    }

    /// The client's address.
    pub fn address(&self) -> Option<&str> {
        match self {
            Self::Principal { address, .. } => address.as_deref(),
            Self::Worker(_) | Self::Operator => None,
        }
    }
}

string_enum! {
    /// A kind of actor.
    ActorKind: "one of principal, worker, operator" {
        /// An authenticated principal.
        Principal = "principal",
        /// A background worker.
        Worker = "worker",
        /// An operator with direct access to the catalog.
        Operator = "operator",
    }
}

/// An entry to append to the audit log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// The time on the catalog's clock.
    pub at: Timestamp,
    /// Who did it.
    pub actor: Actor,
    /// What was done.
    pub event: Event,
}

/// An entry as the audit log has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRecord {
    /// Its number; later entries have greater ones.
    pub id: i64,
    /// The entry.
    pub entry: AuditEntry,
}

/// Selects entries of the audit log: those that match every field that is set.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AuditFilter {
    /// The action.
    pub action: Option<AuditAction>,
    /// The kind of actor.
    pub actor_kind: Option<ActorKind>,
    /// A principal's id or a worker's name.
    pub actor: Option<String>,
    /// The subject, compared exactly.
    pub subject: Option<String>,
    /// The id of the request.
    pub request_id: Option<String>,
    /// The earliest time, inclusive.
    pub since: Option<Timestamp>,
    /// The latest time, exclusive.
    pub until: Option<Timestamp>,
}
