//! Failures of commands: their message, advice and exit code.

use imgsrv_client::{BuildError, Error, TokenError, api::ProblemCode};
use imgsrv_domain::error_chain;
use serde_json::{Value, json};
use std::{error::Error as _, io, path::Path};

/// The kinds of failures; their values are the exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A failure on this machine, such as that of a file.
    Other = 1,
    /// The command line is wrong.
    Usage = 2,
    /// The server refuses, or its content conflicts.
    Refused = 3,
    /// It does not exist.
    NotFound = 4,
    /// The server or a token source cannot be reached.
    Unreachable = 5,
}

/// Why a command failed.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) kind: Kind,
    message: String,
    advice: Option<String>,
    problem: Option<Value>,
}

impl Failure {
    fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), advice: None, problem: None }
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Kind::Usage, message)
    }

    /// A file that is named on the command line could not be read.
    pub(crate) fn unreadable(path: &Path) -> impl Fn(io::Error) -> Self {
        move |error| Self::usage(format!("{} could not be read: {error}", path.display()))
    }

    pub(crate) fn other(message: impl Into<String>) -> Self {
        Self::new(Kind::Other, message)
    }

    pub(crate) fn refused(message: impl Into<String>) -> Self {
        Self::new(Kind::Refused, message)
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(Kind::NotFound, message)
    }

    pub(crate) fn with_advice(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }

    /// For people, on one or two lines.
    pub(crate) fn text(&self) -> String {
        let advice = self.advice.as_ref().map(|advice| format!("\n  {advice}")).unwrap_or_default();
        format!("imgsrv: {}{advice}", self.message)
    }

    /// For machines.
    pub(crate) fn json(&self) -> Value {
        let mut json = json!({"error": self.message, "exit_code": self.kind as u8});
        if let Some(advice) = &self.advice {
            json["advice"] = advice.as_str().into();
        }
        if let Some(problem) = &self.problem {
            json[if problem.get("steps").is_some() { "job" } else { "problem" }] = problem.clone();
        }
        json
    }
}

/// The message of an error with the causes to show, unless it contains them: a token error, and the deepest cause. The
/// others are internals of the HTTP client.
pub(crate) fn with_causes(message: String, error: &Error) -> String {
    let Some(first) = error.source() else { return message };
    let deepest = error_chain::chain(first).last().unwrap_or(first);
    let mut shown = vec![deepest.to_string()];
    if first.is::<TokenError>() {
        shown.insert(0, first.to_string());
    }
    shown.dedup();
    shown.retain(|cause| !message.contains(cause));
    shown.insert(0, message);
    shown.join(": ")
}

fn kind(error: &Error) -> Kind {
    match error {
        Error::Unreachable(_)
        | Error::Stalled(_)
        | Error::Incomplete(_)
        | Error::Token(_)
        | Error::InvalidResponse(_) => Kind::Unreachable,
        Error::InvalidPublication(_) | Error::File { action: "read", .. } => Kind::Usage,
        Error::NoToken
        | Error::UploadFailed(_)
        | Error::NotPublished(_)
        | Error::Conflict(_)
        | Error::FileChanged(_)
        | Error::DigestMismatch { .. } => Kind::Refused,
        error => match error.status() {
            Some(404) => Kind::NotFound,
            Some(429 | 500..=599) if error.code() != Some(ProblemCode::StorageFull) => Kind::Unreachable,
            Some(_) => Kind::Refused,
            None => Kind::Other,
        },
    }
}

/// What to do next.
fn advice(error: &Error) -> Option<String> {
    let advice = match error {
        Error::Unreachable(_) | Error::Stalled(_) => {
            "check the URL and the network; what was sent is kept, so running the same command again goes on from there"
        }
        Error::NoToken => "run imgsrv login, or set IMGSRV_TOKEN",
        Error::Token(TokenError::NotInGitHub) => "give the job `permissions: id-token: write`",
        Error::FileChanged(_) => "let whatever writes it come to its end, and run this again",
        Error::DigestMismatch { .. } => {
            "run this again; should it stay so, tell the operator: the stored bytes may be damaged"
        }
        Error::NotPublished(job) => {
            return Some(format!("mend what the reason says, then run this again, or see imgsrv jobs show {}", job.id));
        }
        Error::Conflict(conflict) if conflict.state == "taken" => "choose another name",
        Error::Conflict(conflict) if conflict.state == "publishing" => {
            "should its job have failed, add --replace: that gives the job up, and puts this content in its place"
        }
        Error::Conflict(conflict) if conflict.state == "draft" => {
            "add --replace to put this content in the draft's place, or see imgsrv show"
        }
        Error::Conflict(_) => "what is published never changes: publish it as another version",
        Error::UnexpectedResponse { status: 301..=399, .. } => {
            "the URL leads elsewhere: give the server's own, with https if it has TLS"
        }
        Error::UnexpectedResponse { status: 502..=504, .. } => {
            "what stands in front of the server could not reach it; try again later"
        }
        Error::InvalidResponse(_) | Error::UnexpectedResponse { .. } => "is this the URL of an imgsrv server?",
        error => match error.code()? {
            ProblemCode::Unauthenticated | ProblemCode::InvalidBearer => {
                "the token is not valid (any more): run imgsrv login, or set IMGSRV_TOKEN"
            }
            ProblemCode::Forbidden | ProblemCode::TokenNotAdmitted => {
                "ask who manages authentication for the role content-writer; imgsrv whoami tells who you are"
            }
            ProblemCode::StorageFull => "the operator must make room; then run this again, what was sent is kept",
            ProblemCode::StorageReadOnly => "the operator must make the storage writable; then run this again",
            ProblemCode::UploadTooLarge => "the operator limits uploads (--max-upload-bytes)",
            ProblemCode::TooManyUploads => "wait until some are done, and run this again",
            ProblemCode::HttpsRequired => "use https:// in the server's URL",
            ProblemCode::CredentialInClear => {
                "use https:// in the server's URL, and revoke this token: it was sent in the clear"
            }
            ProblemCode::VersionNotPublished => "publish the version first",
            ProblemCode::JobState => "imgsrv jobs show tells how far it is",
            _ => return None,
        },
    };
    Some(advice.to_owned())
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let mut message = error.to_string();
        if let Some(problem) = error.problem() {
            if problem.detail != problem.title && !problem.detail.is_empty() {
                message = format!("{}: {}", problem.title, problem.detail);
            }
            if let Some(existing) = &problem.existing {
                message += &format!(" (there is {})", existing.url);
            }
        }
        let message = with_causes(message, &error);
        let problem = match &error {
            Error::NotPublished(job) => serde_json::to_value(job).ok(),
            error => error.problem().and_then(|problem| serde_json::to_value(problem).ok()),
        };
        Self { kind: kind(&error), message, advice: advice(&error), problem }
    }
}

impl From<BuildError> for Failure {
    fn from(error: BuildError) -> Self {
        Self::usage(error.to_string())
    }
}
