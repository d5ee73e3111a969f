//! Errors of the store.

use crate::observe::Outcome;
use imgsrv_domain::ports::{BlobError, Source};
use object_store::Error;

/// Error texts of a full store: `MinIO`, Garage (quota), Ceph, and the HTTP status.
const FULL: [&str; 4] = ["XMinioStorageFull", "quota is reached", "QuotaExceeded", "507 Insufficient Storage"];

pub(super) fn generic(source: impl Into<Source>) -> Error {
    Error::Generic { store: "S3", source: source.into() }
}

/// Whether the object, or the multipart upload, does not exist.
pub(super) const fn is_missing(error: &Error) -> bool {
    matches!(error, Error::NotFound { .. })
}

impl From<&Error> for Outcome {
    fn from(error: &Error) -> Self {
        match error {
            Error::NotFound { .. } => Self::NotFound,
            Error::AlreadyExists { .. } => Self::AlreadyExists,
            Error::Precondition { .. } | Error::NotModified { .. } => Self::Conflict,
            Error::InvalidPath { .. } | Error::NotSupported { .. } | Error::NotImplemented { .. } => Self::Invalid,
            _ => Self::Error,
        }
    }
}

pub(super) fn failed(error: Error) -> BlobError {
    let text = error.to_string();
    if FULL.iter().any(|word| text.contains(word)) {
        BlobError::Full(Box::new(error))
    } else {
        BlobError::unavailable(error)
    }
}
