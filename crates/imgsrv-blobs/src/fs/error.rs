//! Errors of the folder store.

use crate::observe::Outcome;
use imgsrv_domain::ports::{BlobError, IngestError, StageError};
use std::io;

/// Maps an error of the operating system.
pub(super) fn failed(error: io::Error) -> BlobError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => BlobError::Full(Box::new(error)),
        _ => BlobError::unavailable(error),
    }
}

impl From<&BlobError> for Outcome {
    fn from(error: &BlobError) -> Self {
        match error {
            BlobError::Damaged => Self::NotFound,
            BlobError::Full(_) | BlobError::Unavailable(_) => Self::Error,
        }
    }
}

impl From<&StageError> for Outcome {
    fn from(error: &StageError) -> Self {
        match error {
            StageError::Body(_) => Self::Canceled,
            StageError::TooLarge | StageError::Checksum { .. } => Self::Invalid,
            StageError::Blob(error) => error.into(),
        }
    }
}

impl From<&IngestError> for Outcome {
    fn from(error: &IngestError) -> Self {
        match error {
            IngestError::Mismatch { .. } => Self::Invalid,
            IngestError::StagedGone => Self::NotFound,
            IngestError::Blob(error) => error.into(),
        }
    }
}
