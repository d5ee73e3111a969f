//! Why a call failed.

use crate::{publish::conflict::PublishConflict, token::TokenError};
use imgsrv_api::{Problem, ProblemCode, PublishJob};
use imgsrv_domain::{digest::Digest, error_chain};
use std::{io, path::PathBuf, time::Duration};

type Source = Box<dyn std::error::Error + Send + Sync>;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The server refused the request with a problem.
    #[error("{}", .0.problem.detail)]
    Refused(Box<Refusal>),
    /// An error response that is not a problem of imgsrv, such as that of a proxy in front of the server.
    #[error("unexpected response with status {status}, which is not from an imgsrv server")]
    UnexpectedResponse {
        /// The HTTP status.
        status: u16,
        /// How long to wait before a retry, if the response contains it.
        retry_after: Option<Duration>,
    },
    /// The response does not have the form that the route promises.
    #[error("the server's response could not be read")]
    InvalidResponse(#[source] Source),
    /// The server could not be reached, or the connection broke.
    #[error("the server could not be reached")]
    Unreachable(#[source] reqwest::Error),
    /// No byte moved for this time, in either direction.
    #[error("the connection stalled: nothing moved for {} s", .0.as_secs())]
    Stalled(Duration),
    /// The token source failed.
    #[error("no token could be obtained")]
    Token(#[from] TokenError),
    /// The call needs a token, and the client has none.
    #[error("the server requires a token for this")]
    NoToken,
    /// A file could not be read or written.
    #[error("{} could not be {action}", .path.display())]
    File {
        /// What was to be done with it.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file changed after its digest was computed.
    #[error("{} was changed while it was uploaded", .0.display())]
    FileChanged(PathBuf),
    /// The server received the bytes, but could not make a blob of them.
    #[error("the upload failed: {0}")]
    UploadFailed(String),
    /// The downloaded bytes have another digest than declared.
    #[error("the downloaded bytes have digest {actual}, not {expected}")]
    DigestMismatch {
        /// The declared digest.
        expected: Digest,
        /// The digest of what was downloaded.
        actual: Digest,
    },
    /// The response ended this many bytes early.
    #[error("the response ended {0} bytes early")]
    Incomplete(u64),
    /// The publication is invalid in itself.
    #[error("{0}")]
    InvalidPublication(String),
    /// The publication is to be private, and the image that exists is not.
    #[error("image {image} exists and is {visibility}, so the version would not be private")]
    ImageNotPrivate {
        /// The image.
        image: String,
        /// Its visibility.
        visibility: String,
    },
    /// A publish job ended without publishing.
    #[error("the publish job {} {}{}", .0.id, .0.state, .0.reason.as_ref().map(|why| format!(": {why}")).unwrap_or_default())]
    NotPublished(Box<PublishJob>),
    /// The publication conflicts with what the server has.
    #[error("{0}")]
    Conflict(#[from] PublishConflict),
    /// The client itself failed.
    #[error("the client failed")]
    Internal(#[source] Source),
}

/// A problem that a server responded with.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refusal {
    /// The problem document.
    pub problem: Problem,
    /// How long to wait before a retry, if the response contains it.
    pub retry_after: Option<Duration>,
}

/// Whether a retry cannot help: the request is invalid, the server's certificate is not trusted, or it does not speak
/// TLS at all.
fn is_permanent(error: &reqwest::Error) -> bool {
    // The HTTP client does not expose the types of its TLS library, only their messages.
    let is_tls_failure = |cause: &(dyn std::error::Error + 'static)| {
        let message = cause.to_string();
        message.contains("invalid peer certificate") || message.contains("received corrupt message")
    };
    error.is_builder() || error_chain::chain(error).any(is_tls_failure)
}

impl Error {
    /// The server's problem, if it responded with one.
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Refused(refusal) => Some(&refusal.problem),
            _ => None,
        }
    }

    /// The kind of the server's problem, if this version knows it.
    pub fn code(&self) -> Option<ProblemCode> {
        self.problem().and_then(Problem::code)
    }

    /// The HTTP status of the response, if there was one.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Refused(refusal) => Some(refusal.problem.status),
            Self::UnexpectedResponse { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// Whether the same call may succeed later: the server was not reached, the connection broke, or the response says
    /// that the error is temporary.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable(error) => !is_permanent(error),
            Self::Stalled(_) | Self::Incomplete(_) => true,
            // A request body that ended early or came too slowly was cut by something between client and server.
            Self::Refused(refusal) if refusal.problem.code() == Some(ProblemCode::BodyIncomplete) => true,
            // It is served again once its bytes are uploaded, not by itself.
            Self::Refused(refusal) if refusal.problem.code() == Some(ProblemCode::BlobQuarantined) => false,
            Self::Refused(_) | Self::UnexpectedResponse { .. } => {
                matches!(self.status(), Some(408 | 429 | 502..=504))
            }
            _ => false,
        }
    }

    /// Whether the server cannot have received the request: the connection could not be made.
    pub(crate) fn is_unsent(&self) -> bool {
        matches!(self, Self::Unreachable(error) if error.is_connect())
    }

    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused(refusal) => refusal.retry_after,
            Self::UnexpectedResponse { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    pub(crate) fn file(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { action, path, source }
    }

    pub(crate) fn invalid_response(source: impl Into<Source>) -> Self {
        Self::InvalidResponse(source.into())
    }

    pub(crate) fn internal(source: impl Into<Source>) -> Self {
        Self::Internal(source.into())
    }
}

/// The result of a call; `None` if it is refused with `code`.
pub(crate) fn unless<T>(code: ProblemCode, result: Result<T, Error>) -> Result<Option<T>, Error> {
    match result {
        Err(error) if error.code() == Some(code) => Ok(None),
        result => result.map(Some),
    }
}
