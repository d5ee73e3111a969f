//! Use cases: each authorises its caller, loads what it decides on, lets the domain decide, stores and commits.
//!
//! HTTP, workers and admin commands share them. A use case that needs a permission takes the proof of it
//! ([`Writer`], [`Manager`]). Only [`Caller`] gives such proofs out (and [`Manager::operator`], to a process that has
//! the catalog itself), so no entry point can forget to ask.

mod audit;
mod auth;
mod bytes;
mod content;
mod context;
mod error;
mod intakes;
mod publishing;
mod services;
mod streams;
mod work;

pub use auth::{
    audit_log::Trail,
    authenticate::{AuthenticateError, Authenticator},
    bootstrap::{BOOTSTRAP_TOKEN_LIFE, Bootstrap},
    caller::{Authentication, Caller, Denied, Manager, Means, RequestContext, Writer},
    principals::{IssuedToken, NewPrincipal, NewToken, Principals},
    rules::{Reconciled, Rules},
};
pub use bytes::{
    ingest::Ingest,
    store_binding::BindError,
    sweep::Sweeper,
    uploads::{PartBody, Uploads},
};
pub use content::{
    aliases::{Aliases, Precondition},
    delivery::{Delivery, Download, GeneratedText, Release, Released, ReleasedBytes},
    drafts::{Drafts, NewArtifact, NewAttachment},
    images::{ImageTexts, Images, NewImage},
    incus::metadata::NewIncusMetadata,
};
pub use context::{Adapters, FormatCheck, Settings};
pub use error::{Existing, InvalidField, Missing, UseCaseError};
pub use intakes::{Appended, IntakeStatus, Intakes, StreamBody};
pub use publishing::{PublishWorker, Publishing, Requested};
pub use services::Services;
pub use streams::{Projection, Streams};
pub use work::{
    runtime::{Ran, Work, WorkError},
    wakeups::Wakeups,
};
