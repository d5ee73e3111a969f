//! Failures of commands: their message, advice and exit code.

mod advice;
mod connection;
mod fields;
mod missing;

use imgsrv_client::{BuildError, Error, TokenError, api::ProblemCode};
use imgsrv_domain::error_chain;
use serde_json::{Value, error::Category, json};
use std::{error::Error as _, fmt, io, path::Path};

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
    /// The command was interrupted.
    Interrupted = 130,
}

impl Kind {
    /// The kind with an exit code; a failure of the machine for any other code.
    pub(crate) const fn with_exit_code(code: u8) -> Self {
        match code {
            2 => Self::Usage,
            3 => Self::Refused,
            4 => Self::NotFound,
            5 => Self::Unreachable,
            130 => Self::Interrupted,
            _ => Self::Other,
        }
    }

    /// The type and title of a problem that is not the server's.
    const fn problem(self) -> (&'static str, &'static str) {
        match self {
            Self::Other => ("urn:imgsrv:cli:failed", "The command failed on this machine"),
            Self::Usage => ("urn:imgsrv:cli:usage", "The command line is not valid"),
            Self::Refused => ("urn:imgsrv:cli:refused", "The command was refused"),
            Self::NotFound => ("urn:imgsrv:cli:not-found", "The object does not exist"),
            Self::Unreachable => ("urn:imgsrv:cli:unreachable", "The server or the catalog cannot be used"),
            Self::Interrupted => ("urn:imgsrv:cli:interrupted", "The command was interrupted"),
        }
    }
}

/// Why a command failed.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) kind: Kind,
    message: String,
    advice: Option<String>,
    /// Whether a response of the server is the cause.
    is_response: bool,
    /// The server that responded.
    server: Option<String>,
    problem: Option<Value>,
    job: Option<Value>,
}

impl Failure {
    pub(crate) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), advice: None, is_response: false, server: None, problem: None, job: None }
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Kind::Usage, message)
    }

    /// A file that is named on the command line could not be read.
    pub(crate) fn unreadable(path: &Path) -> impl Fn(io::Error) -> Self {
        move |error| Self::usage(format!("cannot read {}: {}", path.display(), plain(&error)))
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

    pub(crate) fn interrupted() -> Self {
        Self::new(Kind::Interrupted, "interrupted").with_advice("Run the same command again to resume.")
    }

    pub(crate) fn with_advice(self, advice: impl Into<String>) -> Self {
        Self { advice: Some(advice.into()), ..self }
    }

    /// A refusal concerning `object`. Where the state of the object is the cause, the server names it.
    pub(crate) fn about(object: impl fmt::Display) -> impl FnOnce(Error) -> Self {
        move |error| {
            let is_named = error.problem().is_some_and(|problem| matches!(problem.status, 404 | 409 | 412))
                && error.code() != Some(ProblemCode::AliasesInUse);
            let failure = Self::from(error);
            let message = format!("{object}: {}", failure.message);
            if failure.is_response && !is_named { Self { message, ..failure } } else { failure }
        }
    }

    /// The server's refusal of what a file contains: fields have the names that they have there.
    pub(crate) fn in_file(path: &Path) -> impl FnOnce(Error) -> Self {
        move |error| match error.problem().filter(|problem| !problem.errors.is_empty()).cloned() {
            Some(problem) => Self::from(error).with_message(format!("{}: {}", path.display(), problem.detail)),
            None => error.into(),
        }
    }

    /// Whether the server says that a `kind` of object does not exist.
    pub(crate) fn is_missing(&self, kind: &str) -> bool {
        self.kind == Kind::NotFound && self.message.starts_with(kind)
    }

    /// For a note about one of several objects: the message alone.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// The same failure in other words.
    pub(crate) fn with_message(self, message: impl Into<String>) -> Self {
        Self { message: message.into(), server: None, ..self }
    }

    /// For people: what failed, what to do next, and which server refused.
    pub(crate) fn text(&self) -> String {
        let more = self.advice.iter().cloned().chain(self.server.as_ref().map(|server| format!("Server: {server}")));
        let more: String = more.map(|line| format!("\n  {}", line.replace('\n', "\n  "))).collect();
        format!("imgsrv: {}{more}", self.message)
    }

    /// For machines: the server's problem, or one of the same form (RFC 9457), with the advice and the exit code.
    pub(crate) fn json(&self) -> Value {
        let (kind, title) = self.kind.problem();
        let own = || json!({"type": kind, "title": title, "detail": self.message});
        let mut json = self.problem.clone().unwrap_or_else(own);
        json["exit_code"] = (self.kind as u8).into();
        let further = [("advice", self.advice.clone().map(Value::from)), ("job", self.job.clone())];
        for (name, value) in further {
            if let Some(value) = value {
                json[name] = value;
            }
        }
        if let Some(server) = &self.server {
            json["server"] = server.as_str().into();
        }
        json
    }

    /// The same, naming the server if its response is the cause.
    pub(crate) fn at(self, server: Option<&str>) -> Self {
        let server = server.filter(|server| self.is_response && !self.message.contains(server));
        Self { server: server.map(str::to_owned), ..self }
    }
}

/// The text of an error of the system, without its number.
pub(crate) fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_lowercase()
}

/// What is wrong with a JSON document.
pub(crate) fn json_error(error: &serde_json::Error) -> String {
    match error.classify() {
        Category::Data => error.to_string(),
        _ => format!("it is not JSON (line {}, column {})", error.line(), error.column()),
    }
}

/// The message of an error with the cause to show.
pub(crate) fn with_causes(error: &Error) -> String {
    if let Some(described) = connection::describe(error) {
        return described.message;
    }
    let message = error.to_string();
    let Some(first) = error.source() else { return message };
    let deepest = error_chain::chain(first).last().unwrap_or(first);
    let mut shown = vec![deepest.to_string()];
    if let Some(error) = deepest.downcast_ref::<serde_json::Error>() {
        shown = vec![json_error(error)];
    }
    if let Some(error) = deepest.downcast_ref::<io::Error>() {
        shown = vec![plain(error)];
    }
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
        | Error::InvalidResponse(_)
        // The server is something else: it knows nothing of the object.
        | Error::UnexpectedResponse { status: 404, .. } => Kind::Unreachable,
        Error::InvalidPublication(_) | Error::File { action: "read", .. } => Kind::Usage,
        // Something that was typed, and that only the server checks.
        error if matches!(error.code(), Some(ProblemCode::InvalidRequest | ProblemCode::InvalidJson)) => Kind::Usage,
        Error::NoToken
        | Error::UploadFailed(_)
        | Error::NotPublished(_)
        | Error::Conflict(_)
        | Error::ImageNotPrivate { .. }
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

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let mut message = with_causes(&error);
        if let Some(problem) = error.problem() {
            if problem.detail.is_empty() {
                message.clone_from(&problem.title);
            }
            // The conflict of a version with its aliases has its own advice.
            if problem.code() != Some(ProblemCode::AliasesInUse) {
                message = fields::describe(problem).unwrap_or(message);
            }
        }
        let job = match &error {
            Error::NotPublished(job) => serde_json::to_value(job).ok(),
            _ => None,
        };
        let problem = error.problem().and_then(|problem| serde_json::to_value(problem).ok());
        let is_local = matches!(
            error,
            Error::Unreachable(_)
                | Error::File { .. }
                | Error::FileChanged(_)
                | Error::InvalidPublication(_)
                | Error::Token(_)
        );
        let is_response = problem.is_some() || !is_local;
        Self { kind: kind(&error), message, advice: advice::advice(&error), is_response, server: None, problem, job }
    }
}

impl From<BuildError> for Failure {
    fn from(error: BuildError) -> Self {
        let advice = match error {
            BuildError::Authority(_) => "Check --ca-file: it must be a certificate in PEM format.",
            BuildError::Token => "Check IMGSRV_TOKEN, --token or --token-file.",
            _ => "Check --server and IMGSRV_URL.",
        };
        Self::usage(error.to_string()).with_advice(advice)
    }
}
