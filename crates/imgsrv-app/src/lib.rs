//! Use cases: each authorises its caller, loads what it needs, lets the domain decide, stores the result and commits.
//!
//! HTTP, workers and admin commands share them. A use case that needs a permission takes a proof of it
//! ([`Writer`], [`ContentAdmin`], [`Manager`]). Only [`Caller`] creates such proofs (and [`Manager::operator`],
//! for a process with direct access to the catalog), so that no entry point can forget the
//! check.

mod audit;
mod auth;
mod bytes;
mod content;
mod context;
mod error;
mod intakes;
mod nodes;
mod publishing;
mod services;
mod streams;
mod work;

pub use auth::{
    audit_log::AuditLogReader,
    authenticate::{AuthenticateError, Authenticator},
    bootstrap::{BOOTSTRAP_TOKEN_LIFE, Bootstrap},
    caller::{
        AuditReader, Authenticated, Authentication, Caller, ContentAdmin, Credential, Manager, RequestContext,
        SystemOperator, SystemReader, Writer,
    },
    denied::Denied,
    exposure::Exposure,
    principals::{IssuedToken, NewPrincipal, NewToken, Principals},
    rules::{Reconciled, Rules},
};
pub use bytes::{
    blocks::Blocks,
    fsck::{Fault, FsckOptions, FsckReport},
    garbage::{Explained, Garbage},
    storage::{Storage, StorageStatus},
    store_binding::BindError,
    totals::CollectionCounts,
    uploads::{PartBody, Uploads},
};
pub use content::{
    aliases::{Aliases, Precondition},
    browse::{ArtifactDetail, Browse, Changes, FileChange, IncusOffer, PackageChanges, VersionDetail},
    delivery::{Delivery, Download, FileContent, GeneratedText, NamedFile, NamesUnderAlias, VersionFiles},
    drafts::{Drafts, NewArtifact, NewAttachment},
    images::{ImageMetadata, Images, NewImage},
    incus::metadata::{IncusMetadata, NewIncusMetadata},
    lifecycles::{
        AliasMoves, LifecycleChange, LifecyclePrecondition, Lifecycles, PurgeRequest, Purged, WantedWords, release_hold,
    },
    links::{Links, NewLink, rotate_link_key},
    retention::{Retention, RetentionApplied, RetentionPreview},
    versions::Versions,
};
pub use context::{Adapters, CollectionSettings, FormatCheck, ScrubSettings, Settings};
pub use error::{Existing, Gone, InvalidField, Missing, UseCaseError};
pub use intakes::{AppendBody, Appended, IntakeStatus, Intakes};
pub use nodes::Nodes;
pub use publishing::{Publishing, Requested};
pub use services::Services;
pub use streams::{Projection, RemoteEdition, Streams};
#[doc(hidden)]
pub use work::crash_point::{arm_crash_points, crash_point};
pub use work::{
    dispatcher::Schedule,
    retry::Backoff,
    runtime::{Ran, WorkError, WorkObserver},
    worker::Worker,
};
