//! The audit trail: who changed what. Rows are written in the transaction of the change they tell of.

use crate::{ids::PrincipalId, names::words, time::Timestamp};

words! {
    /// What was done.
    AuditAction: "an audited action" {
        /// An upload session was opened.
        UploadCreated = "upload.created",
        /// An upload's part list was accepted.
        UploadCompleted = "upload.completed",
        /// An upload was given up by a client.
        UploadAborted = "upload.aborted",
        /// An unfinished upload passed its time.
        UploadExpired = "upload.expired",
        /// An upload's bytes became a trusted blob.
        UploadReady = "upload.ready",
        /// An upload's bytes were not what was claimed, or could not be read.
        UploadFailed = "upload.failed",
        /// A blob became trusted.
        BlobTrusted = "blob.trusted",
        /// A blob was found damaged and is not served any more.
        BlobQuarantined = "blob.quarantined",
        /// An image was made.
        ImageCreated = "image.created",
        /// An image's texts changed.
        ImageUpdated = "image.updated",
        /// An image without versions was deleted.
        ImageDeleted = "image.deleted",
        /// A draft was made.
        VersionCreated = "version.created",
        /// A draft was deleted.
        VersionDeleted = "version.deleted",
        /// A draft was frozen and its publish job queued.
        PublishRequested = "version.publish_requested",
        /// A version was published.
        VersionPublished = "version.published",
        /// A version went back to draft.
        VersionReopened = "version.reopened",
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
        /// A failed publish job was given up.
        JobAbandoned = "publish_job.abandoned",
        /// An alias was made or moved.
        AliasSet = "alias.set",
        /// An alias was deleted.
        AliasDeleted = "alias.deleted",
        /// A principal was made.
        PrincipalCreated = "principal.created",
        /// A role was granted.
        RoleGranted = "role.granted",
        /// A role was taken away.
        RoleRevoked = "role.revoked",
        /// An API token was issued.
        TokenIssued = "token.issued",
        /// An API token was revoked.
        TokenRevoked = "token.revoked",
    }
}

/// What happened to what; who and when are added where it is recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// What was done.
    pub action: AuditAction,
    /// On what: an id, or a path such as `debian/12.5.0`.
    pub subject: String,
    /// What else an operator wants to know; never a secret.
    pub detail: Option<String>,
}

impl Event {
    /// `action` was done on `subject`.
    pub fn new(action: AuditAction, subject: impl ToString) -> Self {
        Self { action, subject: subject.to_string(), detail: None }
    }

    /// The same with a detail.
    #[must_use]
    pub fn with(mut self, detail: impl ToString) -> Self {
        self.detail = Some(detail.to_string());
        self
    }
}

/// Who did it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Actor {
    /// An authenticated principal, through a request.
    Principal {
        /// Who.
        id: PrincipalId,
        /// The request's id, as in its log lines and its answer.
        request_id: Option<String>,
        /// The client's address.
        address: Option<String>,
    },
    /// A background worker, by name.
    Worker(String),
    /// An operator with direct access to the catalog.
    Operator,
}

/// One row of the trail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// When, on the catalog's clock.
    pub at: Timestamp,
    /// By whom.
    pub actor: Actor,
    /// What.
    pub event: Event,
}
