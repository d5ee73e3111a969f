//! Why the server or an operator's command cannot start.

use crate::{lock::LockError, storage::StorageError, tls::TlsError, traces::TracesError};
use imgsrv_app::{UseCaseError, WorkError};
use imgsrv_backup::BackupError;
use imgsrv_domain::ports::Unwritable;
use std::io;

/// Why the server cannot start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error("cannot start the runtime: {0}")]
    Runtime(io::Error),
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error(transparent)]
    Auth(#[from] UseCaseError),
    #[error(transparent)]
    Backup(#[from] BackupError),
    #[error(transparent)]
    Fsck(#[from] FsckError),
    #[error("cannot queue recurring work")]
    Work(#[from] WorkError),
    #[error("cannot write to standard output: {0}")]
    Output(io::Error),
    #[error("cannot write the bootstrap token: {0}")]
    BootstrapOutput(io::Error),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Traces(#[from] TracesError),
    #[error("cannot listen on {address} ({option}): {source}")]
    Listen { address: String, option: &'static str, source: io::Error },
    #[error("cannot listen for signals: {0}")]
    Signals(io::Error),
    #[error("cannot get random bytes from the operating system: {0}")]
    Randomness(#[from] getrandom::Error),
}

/// Why `admin fsck` could check nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FsckError {
    #[error("there is no blob store at {0}; correct the settings if the server stores its blobs elsewhere")]
    NoBlobs(String),
    #[error("the environment has an invalid setting")]
    Settings(#[from] clap::Error),
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error(transparent)]
    Check(#[from] UseCaseError),
}

impl StartError {
    /// The exit code of an operator's command: 4 if what it names does not exist, 5 if there is no catalog, if it cannot be
    /// reached, or if nothing could be checked.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Storage(
                StorageError::Absent(_) | StorageError::Postgres(imgsrv_catalog::postgres::OpenError::Connect { .. }),
            )
            | Self::Fsck(_) => 5,
            Self::Auth(UseCaseError::NotFound(_)) => 4,
            _ => 1,
        }
    }

    /// Why a write failed, if a disk is full or read-only.
    pub(crate) fn unwritable(&self) -> Option<Unwritable> {
        match self {
            Self::Storage(StorageError::Lock(LockError::Io { source, .. })) | Self::BootstrapOutput(source) => {
                imgsrv_blobs::unwritable(source)
            }
            Self::Auth(UseCaseError::Catalog(error)) | Self::Work(WorkError::Catalog(error)) => error.why_unwritable(),
            _ => None,
        }
    }
}
