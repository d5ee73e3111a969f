//! Problems: what each failure of a use case becomes on the wire.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
pub(crate) use imgsrv_api::ProblemCode as Code;
use imgsrv_api::{ExistingResource, FieldError, Problem as ProblemBody};
use imgsrv_app::{AuthenticateError, Denied, Existing, InvalidField, UseCaseError};
use imgsrv_domain::{
    ports::{BlobError, BodyError, CatalogError, Conflict, StageError},
    transition::Machine,
    upload::UploadRefusal,
};
use std::time::Duration;

/// A problem to be answered. The outermost layer adds the request's id and renders it.
#[derive(Debug, Clone)]
pub(crate) struct Problem {
    pub(crate) code: Code,
    detail: Option<String>,
    errors: Vec<FieldError>,
    existing: Option<ExistingResource>,
    retry_after: Option<Duration>,
    pub(crate) content_range: Option<u64>,
}

impl Problem {
    pub(crate) const fn new(code: Code) -> Self {
        Self { code, detail: None, errors: Vec::new(), existing: None, retry_after: None, content_range: None }
    }

    pub(crate) fn detail(mut self, detail: impl ToString) -> Self {
        self.detail = Some(detail.to_string());
        self
    }

    pub(crate) fn field(self, field: impl Into<String>, reason: impl ToString) -> Self {
        self.fields(vec![FieldError { field: field.into(), reason: reason.to_string() }])
    }

    pub(crate) fn fields(mut self, errors: Vec<FieldError>) -> Self {
        let shown: Vec<String> =
            errors.iter().take(3).map(|FieldError { field, reason }| format!("{field}: {reason}")).collect();
        self.detail = Some(shown.join("; "));
        self.errors = errors;
        self
    }

    pub(crate) fn invalid_cursor() -> Self {
        Self::new(Code::InvalidCursor).field("cursor", "does not belong to this list")
    }

    pub(crate) const fn retry_after(mut self, delay: Duration) -> Self {
        self.retry_after = Some(delay);
        self
    }

    /// The problem that an error without a document of its own becomes.
    pub(crate) fn of_status(status: StatusCode) -> Self {
        let code = match status {
            StatusCode::UNAUTHORIZED => Code::Unauthenticated,
            StatusCode::FORBIDDEN => Code::Forbidden,
            StatusCode::NOT_FOUND => Code::NotFound,
            StatusCode::METHOD_NOT_ALLOWED => Code::MethodNotAllowed,
            StatusCode::REQUEST_TIMEOUT => Code::RequestTimeout,
            StatusCode::PAYLOAD_TOO_LARGE => Code::BodyTooLarge,
            StatusCode::UNSUPPORTED_MEDIA_TYPE => Code::UnsupportedMediaType,
            StatusCode::SERVICE_UNAVAILABLE => Code::Unavailable,
            status if status.is_client_error() => Code::InvalidRequest,
            _ => Code::Internal,
        };
        Self::new(code)
    }

    /// Its status.
    pub(crate) fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// The document.
    pub(crate) fn body(&self, request_id: Option<&str>) -> ProblemBody {
        ProblemBody {
            r#type: self.code.urn(),
            title: self.code.title().to_owned(),
            status: self.code.status(),
            detail: self.detail.clone().unwrap_or_else(|| self.code.title().to_owned()),
            instance: request_id.map(str::to_owned),
            errors: self.errors.clone(),
            existing: self.existing.clone(),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.status().into_response();
        let headers = response.headers_mut();
        if self.status() == StatusCode::UNAUTHORIZED {
            let challenge = match self.code {
                Code::InvalidBearer => "Bearer error=\"invalid_token\"",
                _ => "Bearer",
            };
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        if let Some(delay) = self.retry_after {
            headers.insert(header::RETRY_AFTER, delay.as_secs().max(1).into());
        }
        if let Some(Ok(range)) = self.content_range.map(|size| HeaderValue::try_from(format!("bytes */{size}"))) {
            headers.insert(header::CONTENT_RANGE, range);
            headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        }
        response.extensions_mut().insert(self);
        response
    }
}

/// Answers that a service underneath is down, and logs why.
fn unavailable(what: &'static str, error: &dyn std::error::Error) -> Problem {
    log(what, error);
    Problem::new(Code::Unavailable).detail(format!("the {what} cannot be reached")).retry_after(Duration::from_secs(5))
}

fn internal(what: &'static str, error: &dyn std::error::Error) -> Problem {
    log(what, error);
    Problem::new(Code::Internal)
}

/// Logs a failure with its causes, once, at the boundary.
fn log(what: &'static str, error: &dyn std::error::Error) {
    let mut causes = String::new();
    let mut cause = error.source();
    while let Some(source) = cause {
        causes = format!("{causes}: {source}");
        cause = source.source();
    }
    tracing::error!("{what} failed: {error}{causes}");
}

impl From<CatalogError> for Problem {
    fn from(error: CatalogError) -> Self {
        match &error {
            CatalogError::InvalidCursor => Self::invalid_cursor(),
            CatalogError::Full(_) => {
                log("catalog", &error);
                Self::new(Code::StorageFull).detail("the catalog is full; nothing was kept of this request")
            }
            CatalogError::Retryable(_) | CatalogError::Unavailable(_) => unavailable("catalog", &error),
            CatalogError::Conflict(_) | CatalogError::Backend(_) => internal("catalog", &error),
        }
    }
}

impl From<BlobError> for Problem {
    fn from(error: BlobError) -> Self {
        match &error {
            BlobError::Damaged => Self::new(Code::BlobDamaged),
            BlobError::Full(_) => {
                log("blob store", &error);
                Self::new(Code::StorageFull).detail("the blob store is full; nothing was kept of this request")
            }
            BlobError::Unavailable(_) => unavailable("blob store", &error),
        }
    }
}

impl From<Denied> for Problem {
    fn from(denied: Denied) -> Self {
        let code = match denied {
            Denied::Unauthenticated => Code::Unauthenticated,
            Denied::Forbidden(_) => Code::Forbidden,
            Denied::NotAdmitted | Denied::RoleMissing(_) => Code::TokenNotAdmitted,
            Denied::Deactivated => Code::PrincipalDeactivated,
        };
        Self::new(code).detail(denied)
    }
}

impl From<AuthenticateError> for Problem {
    fn from(error: AuthenticateError) -> Self {
        match error {
            AuthenticateError::Invalid => Self::new(Code::InvalidBearer),
            AuthenticateError::Denied(denied) => denied.into(),
            AuthenticateError::IssuerUnavailable(_) => {
                // Why is logged where it is read, once for all who wait.
                let detail = "the keys of the token's issuer cannot be read";
                Self::new(Code::Unavailable).detail(detail).retry_after(Duration::from_secs(15))
            }
            AuthenticateError::Catalog(error) => error.into(),
        }
    }
}

impl From<UploadRefusal> for Problem {
    fn from(refusal: UploadRefusal) -> Self {
        let code = match &refusal {
            UploadRefusal::Illegal(_) | UploadRefusal::TooManyParts => Code::UploadState,
            UploadRefusal::Expired => Code::UploadExpired,
            UploadRefusal::TooLarge { .. } => Code::UploadTooLarge,
            UploadRefusal::Superseded => Code::PartSuperseded,
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

impl From<UseCaseError> for Problem {
    fn from(error: UseCaseError) -> Self {
        match error {
            UseCaseError::NotFound(_) => Self::new(Code::NotFound).detail(error),
            UseCaseError::Taken { conflict, existing } => {
                let mut problem = Self::new(Code::NameTaken).detail(conflict);
                problem.existing = existing.map(|existing| locate(&existing));
                problem
            }
            UseCaseError::OtherSize { digest, .. } => {
                let mut problem = Self::new(Code::DigestSizeConflict).detail(&error);
                problem.existing = Some(locate(&Existing::Blob(digest)));
                problem
            }
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
            UseCaseError::Unpublishable(why) => Self::new(Code::VersionNotPublishable).detail(why),
            UseCaseError::NotPublished => Self::new(Code::VersionNotPublished).detail(error),
            UseCaseError::ImageInUse => Self::new(Code::ImageInUse).detail(error),
            UseCaseError::PreconditionFailed => Self::new(Code::PreconditionFailed).detail(error),
            UseCaseError::UploadTooLarge { .. } => Self::new(Code::UploadTooLarge).detail(error),
            UseCaseError::ManifestFull { .. } => Self::new(Code::ManifestFull).detail(error),
            UseCaseError::ExpiryInPast => Self::new(Code::InvalidRequest).field("expires_at", "must be in the future"),
            UseCaseError::Invalid(wrong) => {
                let wrong = wrong
                    .into_iter()
                    .map(|InvalidField { field, reason }| FieldError { field: field.to_owned(), reason });
                Self::new(Code::InvalidRequest).fields(wrong.collect())
            }
            UseCaseError::TooManyRules { .. } => Self::new(Code::TooManyRules).detail(error),
            UseCaseError::TooManyUploads { .. } => {
                Self::new(Code::TooManyUploads).detail(error).retry_after(Duration::from_secs(30))
            }
            UseCaseError::NoRoom(_) => Self::new(Code::StorageFull).detail(error),
            UseCaseError::LastAuthManager => Self::new(Code::LastAuthManager).detail(error),
            UseCaseError::InvalidCursor => Self::invalid_cursor(),
            UseCaseError::Blob(error) => error.into(),
            UseCaseError::Catalog(CatalogError::Conflict(Conflict::StaleRevision)) => Self::new(Code::Unavailable)
                .detail("too many changes at once; try again")
                .retry_after(Duration::from_secs(1)),
            UseCaseError::Catalog(error) => error.into(),
        }
    }
}

/// Where something that exists can be found.
fn locate(existing: &Existing) -> ExistingResource {
    let (id, url) = match existing {
        Existing::Image(id, name) => (id.to_string(), format!("/v1/images/{name}")),
        Existing::Version(id, image, version) => (id.to_string(), format!("/v1/images/{image}/versions/{version}")),
        Existing::Alias(id, image, alias) => (id.to_string(), format!("/v1/images/{image}/aliases/{alias}")),
        Existing::Artifact(id, image, version) => {
            (id.to_string(), format!("/v1/images/{image}/versions/{version}/artifacts/{id}"))
        }
        Existing::Attachment(id, artifact, image, version) => {
            let url = format!("/v1/images/{image}/versions/{version}/artifacts/{artifact}/attachments/{id}");
            (id.to_string(), url)
        }
        Existing::Rule(id) => (id.to_string(), format!("/v1/auth/oidc-provisioning-rules/{id}")),
        Existing::Blob(digest) => (digest.to_string(), format!("/v1/blobs/{digest}")),
    };
    ExistingResource { id, url }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_problem_keeps_its_urn_status_and_title() {
        let table: String = Code::ALL
            .iter()
            .map(|code| {
                let body = Problem::new(*code).body(None);
                format!("{} {} {}\n", body.status, body.r#type, body.title)
            })
            .collect();
        insta::assert_snapshot!(table);
    }
}
