//! Use cases: each authorises its caller, loads what it decides on, lets the domain decide, stores and commits.
//!
//! HTTP, workers and admin commands share them. A use case that demands a permission takes the proof of it
//! ([`Writer`], [`Manager`]), which only [`Caller`] gives out (and [`Manager::operator`],
//! to whoever holds the catalog itself), so no entry point can forget to ask.

mod aliases;
mod authenticate;
mod binding;
mod bootstrap;
mod caller;
mod delivery;
mod drafts;
mod error;
mod images;
mod incus_metadata;
mod ingest;
mod intakes;
mod lease;
mod principals;
mod publishing;
mod retry;
mod room;
mod rules;
mod services;
mod stored;
mod streams;
mod sweep;
mod token;
mod trail;
mod uploads;
mod work;

pub use aliases::{Aliases, Precondition};
pub use authenticate::{AuthenticateError, Authenticator};
pub use binding::BindError;
pub use bootstrap::{BOOTSTRAP_TOKEN_LIFE, Bootstrap};
pub use caller::{Authentication, Caller, Denied, Manager, Means, RequestContext, Writer};
pub use delivery::{Delivery, Download, GeneratedText, Release, Released, ReleasedBytes};
pub use drafts::{Drafts, NewArtifact, NewAttachment};
pub use error::{Existing, InvalidField, Missing, UseCaseError};
pub use images::{ImageTexts, Images, NewImage};
pub use incus_metadata::NewIncusMetadata;
pub use ingest::Ingest;
pub use intakes::{Appended, IntakeStatus, Intakes, StreamBody};
pub use principals::{IssuedToken, NewPrincipal, NewToken, Principals};
pub use publishing::{FormatCheck, PublishWorker, Publishing, Requested};
pub use rules::{Reconciled, Rules};
pub use services::{Adapters, Services, Settings};
pub use streams::{Projection, Streams};
pub use sweep::Sweeper;
pub use trail::Trail;
pub use uploads::{PartBody, Uploads};
pub use work::{Ran, Wakeups, Work, WorkError};
