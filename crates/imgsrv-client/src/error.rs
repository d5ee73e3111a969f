//! Why a call did not do what it was asked to.

use crate::token::TokenError;
use imgsrv_api::{Problem, ProblemCode};
use std::{io, path::PathBuf, time::Duration};

/// Why a call did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The server refused, and said why.
    #[error("{}", .0.detail)]
    Refused(Box<Refusal>),
    /// Something answered that is not imgsrv, or a proxy in front of it.
    #[error("the server answered with status {status}, but not as imgsrv does")]
    Stranger {
        /// The HTTP status.
        status: u16,
        /// How long to wait before another try, if that was said.
        retry_after: Option<Duration>,
    },
    /// The answer is not what the route promises.
    #[error("the server's answer could not be read")]
    Answer(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The server could not be reached, or the connection broke.
    #[error("the server could not be reached")]
    Unreachable(#[source] reqwest::Error),
    /// Nothing more was taken of what was sent, or came of what was asked for.
    #[error("the connection stalled: nothing moved for {} s", .0.as_secs())]
    Stalled(Duration),
    /// There is no token to be had.
    #[error("no token could be obtained")]
    Token(#[from] TokenError),
    /// The call needs a token, and the client has none.
    #[error("this needs a token")]
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
    /// A file is not any more what it was when its digest was taken.
    #[error("{} was changed while it was uploaded", .0.display())]
    FileChanged(PathBuf),
    /// The server received the bytes, but could not make a blob of them.
    #[error("the upload failed: {0}")]
    UploadFailed(String),
    /// The downloaded bytes do not have the digest that they must have.
    #[error("the downloaded bytes have digest {actual}, not {expected}")]
    Damaged {
        /// What they must have.
        expected: String,
        /// What they have.
        actual: String,
    },
    /// The bytes ended before their end.
    #[error("the answer ended {0} bytes before its end")]
    Incomplete(u64),
    /// What was to be published cannot be, whatever the server holds.
    #[error("{0}")]
    Unfit(String),
    /// A publish job ended without publishing.
    #[error("the publish job {} {}{}", .0.id, .0.state, .0.reason.as_ref().map(|why| format!(": {why}")).unwrap_or_default())]
    NotPublished(Box<imgsrv_api::PublishJob>),
    /// What was to be published contradicts what is there.
    #[error("{0}")]
    Contradiction(#[from] crate::publish::Contradiction),
    /// It did not happen within the time that was given.
    #[error("{0}")]
    TimedOut(&'static str),
}

/// A problem that a server answered with.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refusal {
    /// The problem document.
    pub problem: Problem,
    /// How long to wait before another try, if the server said so.
    pub retry_after: Option<Duration>,
}

impl std::ops::Deref for Refusal {
    type Target = Problem;

    fn deref(&self) -> &Problem {
        &self.problem
    }
}

/// Whether a failure to reach the server will stay: the request itself is wrong, the server shows a certificate that is
/// not trusted, or does not speak TLS at all.
fn is_final(error: &reqwest::Error) -> bool {
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(inner) = cause {
        // The types of the TLS library are not part of the HTTP client's promises; its words are.
        let text = inner.to_string();
        if text.contains("invalid peer certificate") || text.contains("received corrupt message") {
            return true;
        }
        cause = inner.source();
    }
    error.is_builder()
}

impl Error {
    /// The server's problem, if it answered with one.
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Refused(refusal) => Some(&refusal.problem),
            _ => None,
        }
    }

    /// The kind of the server's problem, if it answered with one that this version knows.
    pub fn code(&self) -> Option<ProblemCode> {
        self.problem().and_then(Problem::code)
    }

    /// The HTTP status of the answer, if there was one.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Refused(refusal) => Some(refusal.problem.status),
            Self::Stranger { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// Whether another try may succeed without anything being changed: the server was not reached, the connection
    /// broke, or the answer says that the trouble passes.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable(error) => !is_final(error),
            Self::Stalled(_) | Self::Incomplete(_) => true,
            // A body that was cut off, or came too slowly, was cut by whatever is between here and there.
            Self::Refused(refusal) if refusal.code() == Some(ProblemCode::BodyIncomplete) => true,
            Self::Refused(_) | Self::Stranger { .. } => {
                matches!(self.status(), Some(408 | 429 | 502..=504))
            }
            _ => false,
        }
    }

    /// Whether the server was never asked: the connection could not be made.
    pub(crate) fn is_unsent(&self) -> bool {
        matches!(self, Self::Unreachable(error) if error.is_connect())
    }

    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused(refusal) => refusal.retry_after,
            Self::Stranger { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    pub(crate) fn file(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { action, path, source }
    }
}
