//! Why a command came to nothing: what is told, what to do next, and the exit code.

use imgsrv_client::{Error, TokenError, api::ProblemCode};
use serde_json::{Value, json};
use std::error::Error as _;

/// What went wrong, by what a caller can do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Something on this side: a file, a bug.
    Other = 1,
    /// The command line.
    Usage = 2,
    /// The server, or what it holds, says no.
    Refused = 3,
    /// It is not there.
    NotFound = 4,
    /// The server, or who gives tokens, is away.
    Unreachable = 5,
}

/// Why a command came to nothing.
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

    pub(crate) fn other(message: impl Into<String>) -> Self {
        Self::new(Kind::Other, message)
    }

    pub(crate) fn refused(message: impl Into<String>) -> Self {
        Self::new(Kind::Refused, message)
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(Kind::NotFound, message)
    }

    pub(crate) fn advising(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }

    /// For people, on one line or two.
    pub(crate) fn text(&self) -> String {
        let advice = self.advice.as_ref().map(|advice| format!("\n  {advice}")).unwrap_or_default();
        format!("imgsrv: {}{advice}", self.message)
    }

    /// For machines.
    pub(crate) fn json(&self) -> Value {
        let mut told = json!({"error": self.message, "exit_code": self.kind as u8});
        if let Some(advice) = &self.advice {
            told["advice"] = advice.as_str().into();
        }
        if let Some(problem) = &self.problem {
            told[if problem.get("steps").is_some() { "job" } else { "problem" }] = problem.clone();
        }
        told
    }
}

/// The first cause, if it is not a transport's own, and the deepest one, as far as they say more than `told`.
fn causes(cause: &(dyn std::error::Error + 'static), told: &str) -> String {
    let mut words = Vec::new();
    if cause.is::<TokenError>() || cause.source().is_none() {
        words.push(cause.to_string());
    }
    let mut deepest = cause;
    while let Some(inner) = deepest.source() {
        deepest = inner;
    }
    words.push(deepest.to_string());
    words.dedup();
    words.into_iter().filter(|word| !told.contains(word.as_str())).map(|word| format!(": {word}")).collect()
}

fn kind(error: &Error) -> Kind {
    match error {
        Error::Unreachable(_) | Error::Stalled(_) | Error::Incomplete(_) | Error::Token(_) | Error::Answer(_) => {
            Kind::Unreachable
        }
        Error::Unfit(_) | Error::File { action: "read", .. } => Kind::Usage,
        Error::NoToken
        | Error::UploadFailed(_)
        | Error::NotPublished(_)
        | Error::Contradiction(_)
        | Error::FileChanged(_)
        | Error::Damaged { .. } => Kind::Refused,
        error => match error.status() {
            Some(404) => Kind::NotFound,
            Some(429 | 500..=599) if error.code() != Some(ProblemCode::StorageFull) => Kind::Unreachable,
            Some(_) => Kind::Refused,
            None => Kind::Other,
        },
    }
}

/// What a person would do next.
fn advice(error: &Error) -> Option<String> {
    let advice = match error {
        Error::Unreachable(_) | Error::Stalled(_) => {
            "check the URL and the network; what was sent is kept, so running the same command again goes on from there"
        }
        Error::NoToken => "run imgsrv login, or set IMGSRV_TOKEN",
        Error::Token(TokenError::NotInGitHub) => "give the job `permissions: id-token: write`",
        Error::FileChanged(_) => "let whatever writes it come to its end, and run this again",
        Error::Damaged { .. } => {
            "run this again; should it stay so, tell the operator: the stored bytes may be damaged"
        }
        Error::NotPublished(job) => {
            return Some(format!("mend what the reason says, then run this again, or see imgsrv jobs show {}", job.id));
        }
        Error::Contradiction(contradiction) if contradiction.state == "taken" => "choose another name",
        Error::Contradiction(contradiction) if contradiction.state == "publishing" => {
            "should its job have failed, add --replace: that gives the job up, and puts this content in its place"
        }
        Error::Contradiction(contradiction) if contradiction.state == "draft" => {
            "add --replace to put this content in the draft's place, or see imgsrv show"
        }
        Error::Contradiction(_) => "what is published never changes: publish it as another version",
        Error::Stranger { status: 301..=399, .. } => {
            "the URL leads elsewhere: give the server's own, with https if it has TLS"
        }
        Error::Stranger { status: 502..=504, .. } => {
            "what stands in front of the server could not reach it; try again later"
        }
        Error::Answer(_) | Error::Stranger { .. } => "is this the URL of an imgsrv server?",
        error => match error.code()? {
            ProblemCode::Unauthenticated | ProblemCode::InvalidBearer => {
                "the token is not valid (any more): run imgsrv login, or set IMGSRV_TOKEN"
            }
            ProblemCode::Forbidden | ProblemCode::TokenNotAdmitted => {
                "ask who manages authentication for the role content-writer; imgsrv whoami tells who you are"
            }
            ProblemCode::StorageFull => "the operator must make room; then run this again, what was sent is kept",
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
            // The problem's words: what kind it is, and this time's detail.
            if problem.detail != problem.title && !problem.detail.is_empty() {
                message = format!("{}: {}", problem.title, problem.detail);
            }
            if let Some(existing) = &problem.existing {
                message += &format!(" (there is {})", existing.url);
            }
        }
        if let Some(cause) = error.source() {
            message += &causes(cause, &message);
        }
        let problem = match &error {
            Error::NotPublished(job) => serde_json::to_value(job).ok(),
            error => error.problem().and_then(|problem| serde_json::to_value(problem).ok()),
        };
        Self { kind: kind(&error), message, advice: advice(&error), problem }
    }
}

impl From<TokenError> for Failure {
    fn from(error: TokenError) -> Self {
        Error::from(error).into()
    }
}

impl Failure {
    /// What went wrong, in a few words and with its deepest cause.
    pub(crate) fn brief(error: &Error) -> String {
        let told = error.to_string();
        let causes = error.source().map(|cause| causes(cause, &told)).unwrap_or_default();
        told + &causes
    }
}
