//! Errors of the folder store.

use crate::observe::Outcome;
use imgsrv_domain::ports::{BlobError, IngestError, StageError, Unwritable};
use std::{error::Error, io};

/// Why a write failed with `error`, if its file system is full or read-only. A limit of the user or of the file's size
/// counts as a full one.
pub fn unwritable(error: &io::Error) -> Option<Unwritable> {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            Some(Unwritable::Full)
        }
        io::ErrorKind::ReadOnlyFilesystem => Some(Unwritable::ReadOnly),
        _ => None,
    }
}

/// Maps an error of the operating system.
pub(super) fn failed(error: io::Error) -> BlobError {
    mapped(unwritable(&error), error)
}

/// Maps an error of `object_store`, whose cause may be one of the operating system.
pub(super) fn object_failed(error: object_store::Error) -> BlobError {
    let mut cause: Option<&(dyn Error + 'static)> = Some(&error);
    let mut why = None;
    while let (None, Some(error)) = (why, cause) {
        why = error.downcast_ref().and_then(unwritable);
        cause = error.source();
    }
    mapped(why, error)
}

fn mapped(why: Option<Unwritable>, error: impl Error + Send + Sync + 'static) -> BlobError {
    match why {
        Some(Unwritable::Full) => BlobError::Full(Box::new(error)),
        Some(Unwritable::ReadOnly) => BlobError::ReadOnly(Box::new(error)),
        None => BlobError::unavailable(error),
    }
}

impl From<&BlobError> for Outcome {
    fn from(error: &BlobError) -> Self {
        match error {
            BlobError::Damaged => Self::NotFound,
            BlobError::Full(_) | BlobError::ReadOnly(_) | BlobError::Unavailable(_) => Self::Error,
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
