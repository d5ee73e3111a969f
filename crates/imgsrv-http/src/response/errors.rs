//! The mapping from errors of use cases and ports to problems.

use crate::{
    public_url::Urls,
    response::{
        problem::{Code, Problem},
        wire,
    },
};
use imgsrv_api::{ExistingResource, FieldError};
use imgsrv_app::{AuthenticateError, Denied, Existing, Gone, InvalidField, UseCaseError};
use imgsrv_domain::{
    error_chain,
    lifecycle::LifecycleRefusal,
    ports::{BlobError, BodyError, CatalogError, Conflict, StageError},
    transition::Machine,
    upload::UploadRefusal,
};
use std::{error::Error, fmt::Display, time::Duration};

/// The problem of a backing service that cannot be reached; the cause is logged.
fn unavailable(service: &'static str, error: &(dyn Error + 'static)) -> Problem {
    log(service, error);
    let detail = format!("the {service} cannot be reached");
    Problem::new(Code::Unavailable).detail(detail).retry_after(Duration::from_secs(5))
}

/// The problem of a backing service on a read-only file system; the cause is logged.
fn read_only(service: &'static str, error: &(dyn Error + 'static)) -> Problem {
    log(service, error);
    let detail = format!(
        "the {service} is on a read-only file system; the request was not carried out. Reads work; writes work again \
         once the file system is writable"
    );
    Problem::new(Code::StorageReadOnly).detail(detail).retry_after(Duration::from_secs(30))
}

fn full(service: &'static str, error: &(dyn Error + 'static)) -> Problem {
    log(service, error);
    Problem::new(Code::StorageFull).detail(format!("the {service} is full; the request was not carried out"))
}

fn internal(service: &'static str, error: &(dyn Error + 'static)) -> Problem {
    log(service, error);
    Problem::new(Code::Internal)
}

/// Logs a failure with its causes, once, at the boundary.
fn log(service: &'static str, error: &(dyn Error + 'static)) {
    tracing::error!(service, error = error_chain::text(error), "request failed");
}

impl From<CatalogError> for Problem {
    fn from(error: CatalogError) -> Self {
        match &error {
            CatalogError::InvalidCursor => Self::invalid_cursor(),
            CatalogError::Full(_) => full("catalog", &error),
            CatalogError::ReadOnly(_) => read_only("catalog", &error),
            CatalogError::Retryable(_) | CatalogError::Unavailable(_) => unavailable("catalog", &error),
            CatalogError::Replaced(_) => unavailable("catalog", &error)
                .detail("the catalog's file was removed or replaced; writes are refused until it is restored"),
            CatalogError::Conflict(_) | CatalogError::Corrupt(_) | CatalogError::Backend(_) => {
                internal("catalog", &error)
            }
        }
    }
}

impl From<BlobError> for Problem {
    fn from(error: BlobError) -> Self {
        match &error {
            BlobError::Damaged => Self::new(Code::BlobQuarantined),
            BlobError::Full(_) => full("blob store", &error),
            BlobError::ReadOnly(_) => read_only("blob store", &error),
            BlobError::Unavailable(_) => unavailable("blob store", &error),
        }
    }
}

impl From<Denied> for Problem {
    fn from(denied: Denied) -> Self {
        let code = match &denied {
            Denied::Unauthenticated => Code::Unauthenticated,
            Denied::Forbidden(_) | Denied::OutOfScope { .. } | Denied::NotEverywhere(_) | Denied::NotReadOnly => {
                Code::Forbidden
            }
            Denied::NotAdmitted | Denied::RoleMissing { .. } => Code::TokenNotAdmitted,
            Denied::Deactivated(_) => Code::PrincipalDeactivated,
        };
        Self::new(code).detail(denied)
    }
}

impl From<AuthenticateError> for Problem {
    fn from(error: AuthenticateError) -> Self {
        match error {
            AuthenticateError::Invalid => Self::new(Code::InvalidBearer),
            AuthenticateError::Denied(denied) => denied.into(),
            AuthenticateError::IssuerUnavailable { .. } => {
                // The cause is logged where the keys are fetched, once for all waiting requests.
                Self::new(Code::Unavailable).detail(error).retry_after(Duration::from_secs(15))
            }
            AuthenticateError::Catalog(error) => error.into(),
        }
    }
}

impl From<UploadRefusal> for Problem {
    fn from(refusal: UploadRefusal) -> Self {
        let code = match &refusal {
            UploadRefusal::Illegal(_) | UploadRefusal::TooManyParts => Code::UploadState,
            UploadRefusal::Expired(_) => Code::UploadExpired,
            UploadRefusal::TooLarge { .. } => Code::UploadTooLarge,
            UploadRefusal::Superseded(_) => Code::PartSuperseded,
            UploadRefusal::Offset { .. } => Code::UploadOffset,
            UploadRefusal::PartList(_) => Code::PartListMismatch,
        };
        Self::new(code).detail(refusal)
    }
}

impl From<StageError> for Problem {
    fn from(error: StageError) -> Self {
        match error {
            StageError::Body(BodyError::Cut) => Self::new(Code::BodyIncomplete),
            StageError::Body(BodyError::TooSlow) => Self::new(Code::RequestTimeout),
            StageError::TooLarge => Self::new(Code::UploadTooLarge).detail("the parts would exceed the expected size"),
            StageError::Checksum { .. } => Self::new(Code::DigestMismatch).detail(error),
            StageError::Blob(error) => error.into(),
        }
    }
}

/// The problem of a version that is no longer served.
fn gone_problem(gone: Gone) -> Problem {
    let code = if gone.is_revoked { Code::VersionRevoked } else { Code::VersionRemoved };
    let detail = gone.to_string();
    // The path is completed when the problem is rendered.
    let replacement = gone.successor.map(|successor| wire::replacement(&successor, &gone.image, &Urls::default()));
    Problem::new(code).detail(detail).because(gone.reason.map(|reason| reason.to_string()), replacement)
}

impl From<UseCaseError> for Problem {
    fn from(error: UseCaseError) -> Self {
        match error {
            UseCaseError::NotFound(_) => Self::new(Code::NotFound).detail(error),
            UseCaseError::Denied(denied) => denied.into(),
            UseCaseError::Taken { ref existing, .. } => {
                Self::new(Code::NameTaken).detail(&error).existing(existing.as_deref().map(locate))
            }
            UseCaseError::NameClash { ref existing, .. } => {
                let existing = existing.as_deref().map(locate);
                Self::new(Code::NameTaken).detail(error).existing(existing)
            }
            UseCaseError::OtherSize { digest, .. } => {
                Self::new(Code::DigestSizeConflict).detail(&error).existing(Some(locate(&Existing::Blob(digest))))
            }
            UseCaseError::Blocked { ref block, .. } => {
                let reason = block.as_ref().map(|block| block.reason.to_string());
                Self::new(Code::DigestBlocked).detail(&error).because(reason, None)
            }
            UseCaseError::KeyReused(_) => Self::new(Code::IdempotencyKeyReused).detail(error),
            UseCaseError::Illegal(illegal) => {
                let code = match illegal.subject {
                    Machine::UploadSession | Machine::Intake => Code::UploadState,
                    Machine::Version => Code::VersionNotDraft,
                    Machine::PublishJob => Code::JobState,
                };
                Self::new(code).detail(illegal)
            }
            UseCaseError::Upload(refusal) => refusal.into(),
            UseCaseError::Stage(error) => error.into(),
            UseCaseError::Unpublishable { .. } => Self::new(Code::VersionNotPublishable).detail(error),
            UseCaseError::Link(_) => Self::new(Code::LinkInvalid).detail(error),
            UseCaseError::NotPublished { .. } | UseCaseError::Unpublished(_) | UseCaseError::NotDownloadable(_) => {
                Self::new(Code::VersionNotPublished).detail(error)
            }
            UseCaseError::Gone(gone) => gone_problem(*gone),
            UseCaseError::Lifecycle { refusal: LifecycleRefusal::HoldInPast, .. } => {
                Self::new(Code::InvalidRequest).field("until", "must be in the future")
            }
            UseCaseError::Lifecycle { refusal: LifecycleRefusal::Held(_), .. } => {
                Self::new(Code::VersionHeld).detail(error)
            }
            UseCaseError::Lifecycle { .. } => Self::new(Code::LifecycleState).detail(error),
            UseCaseError::RetentionChanged => Self::new(Code::RevisionChanged).detail(error),
            UseCaseError::NotActive { .. } => Self::new(Code::VersionNotActive).detail(error),
            UseCaseError::AliasesInUse(ref aliases) => {
                let reason = "must be moved or deleted in the same request";
                let field = |alias| FieldError { field: format!("aliases.{alias}"), reason: reason.to_owned() };
                Self::new(Code::AliasesInUse).fields(aliases.iter().map(field).collect()).detail(error)
            }
            UseCaseError::Replacement { .. } => Self::new(Code::ReplacementUnusable).detail(error),
            UseCaseError::ImageInUse(_) => Self::new(Code::ImageInUse).detail(error),
            UseCaseError::PreconditionFailed(_) | UseCaseError::LifecycleChanged(_) => {
                Self::new(Code::PreconditionFailed).detail(error)
            }
            UseCaseError::UploadTooLarge { .. } => Self::new(Code::UploadTooLarge).detail(error),
            UseCaseError::ManifestFull { .. } => Self::new(Code::ManifestFull).detail(error),
            UseCaseError::ExpiryInPast => Self::new(Code::InvalidRequest).field("expires_at", "must be in the future"),
            UseCaseError::TokenRevoked(_) => Self::new(Code::TokenRevoked).detail(error),
            UseCaseError::Invalid(wrong) => {
                let error = |InvalidField { field, reason }| FieldError { field: field.to_owned(), reason };
                Self::new(Code::InvalidRequest).fields(wrong.into_iter().map(error).collect())
            }
            UseCaseError::TooManyRules { .. } => Self::new(Code::TooManyRules).detail(error),
            UseCaseError::TooManyUploads { .. } | UseCaseError::TooManyOwnUploads { .. } => {
                Self::new(Code::TooManyUploads).detail(error).retry_after(Duration::from_secs(30))
            }
            UseCaseError::InsufficientSpace(_) => Self::new(Code::StorageFull).detail(error),
            UseCaseError::LastAuthManager => Self::new(Code::LastAuthManager).detail(error),
            UseCaseError::InvalidCursor => Self::invalid_cursor(),
            UseCaseError::Quarantined(_) => Self::new(Code::BlobQuarantined).detail(error),
            UseCaseError::Blob(error) => error.into(),
            UseCaseError::Catalog(CatalogError::Conflict(Conflict::StaleRevision)) => Self::new(Code::Unavailable)
                .detail("the resource was changed by too many concurrent requests; retry the request")
                .retry_after(Duration::from_secs(1)),
            UseCaseError::Catalog(error) => error.into(),
        }
    }
}

/// The id and the URL of an existing resource.
fn locate(existing: &Existing) -> ExistingResource {
    let (id, url): (&dyn Display, _) = match existing {
        Existing::Image(id, name) => (id, format!("/v1/images/{name}")),
        Existing::Version(id, image, version) => (id, format!("/v1/images/{image}/versions/{}", version.in_url())),
        Existing::Alias(id, image, alias) => (id, format!("/v1/images/{image}/aliases/{alias}")),
        Existing::Artifact(id, image, version) => {
            (id, format!("/v1/images/{image}/versions/{}/artifacts/{id}", version.in_url()))
        }
        Existing::Attachment(id, artifact, image, version) => {
            (id, format!("/v1/images/{image}/versions/{}/artifacts/{artifact}/attachments/{id}", version.in_url()))
        }
        Existing::Rule(id) => (id, format!("/v1/auth/oidc-provisioning-rules/{id}")),
        Existing::Blob(digest) => (digest, format!("/v1/blobs/{digest}")),
    };
    ExistingResource { id: id.to_string(), url }
}
