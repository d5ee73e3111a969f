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
        /// A principal was barred.
        PrincipalDeactivated = "principal.deactivated",
        /// A principal was let in again.
        PrincipalActivated = "principal.activated",
        /// A role was granted.
        RoleGranted = "role.granted",
        /// A role was taken away.
        RoleRevoked = "role.revoked",
        /// An API token was issued.
        TokenIssued = "token.issued",
        /// An API token was revoked.
        TokenRevoked = "token.revoked",
        /// A live API token was sent in the clear.
        TokenExposed = "token.exposed",
        /// A provisioning rule was made.
        RuleCreated = "provisioning_rule.created",
        /// A provisioning rule was saved again.
        RuleUpdated = "provisioning_rule.updated",
        /// A provisioning rule was deleted.
        RuleDeleted = "provisioning_rule.deleted",
        /// What a provisioning rule had granted was taken back.
        RuleReconciled = "provisioning_rule.reconciled",
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

impl Actor {
    /// What kind of actor it is, in a word.
    pub const fn kind(&self) -> ActorKind {
        match self {
            Self::Principal { .. } => ActorKind::Principal,
            Self::Worker(_) => ActorKind::Worker,
            Self::Operator => ActorKind::Operator,
        }
    }

    /// Who it is, among those of its kind.
    pub fn id(&self) -> Option<String> {
        match self {
            Self::Principal { id, .. } => Some(id.to_string()),
            Self::Worker(name) => Some(name.clone()),
            Self::Operator => None,
        }
    }

    /// The request that it came with, if with one.
    pub fn request_id(&self) -> Option<&str> {
        match self {
            Self::Principal { request_id, .. } => request_id.as_deref(),
            Self::Worker(_) | Self::Operator => None,
        }
    }

    /// Where it came from, if from anywhere.
    pub fn address(&self) -> Option<&str> {
        match self {
            Self::Principal { address, .. } => address.as_deref(),
            Self::Worker(_) | Self::Operator => None,
        }
    }
}

words! {
    /// What kind of actor did it.
    ActorKind: "one of principal, worker, operator" {
        /// An authenticated principal.
        Principal = "principal",
        /// A background worker.
        Worker = "worker",
        /// An operator with direct access to the catalog.
        Operator = "operator",
    }
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

/// A row of the trail as it is read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRecord {
    /// Its number; later rows have greater ones.
    pub id: i64,
    /// What it tells.
    pub entry: AuditEntry,
}

/// Which rows of the trail are wanted; all that match everything that is given.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AuditFilter {
    /// What was done.
    pub action: Option<AuditAction>,
    /// What kind of actor did it.
    pub actor_kind: Option<ActorKind>,
    /// Who did it: a principal's id or a worker's name.
    pub actor: Option<String>,
    /// On what, exactly.
    pub subject: Option<String>,
    /// In which request.
    pub request_id: Option<String>,
    /// Not before this.
    pub since: Option<Timestamp>,
    /// Before this.
    pub until: Option<Timestamp>,
}
