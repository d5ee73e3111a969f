//! A client of an imgsrv server: publishes disk and VM images, and downloads them.
//!
//! [`Client`] has a method for every route of the API, and three that combine them: [`Client::publish`],
//! [`Client::upload`] and [`Client::download_artifact`]. Each of the three can be repeated after any interruption and
//! resumes where it was.
//!
//! ```no_run
//! use imgsrv_client::{Client, Format, NewArtifact, Publication};
//!
//! # async fn publish() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::builder("https://images.example.org").token(std::env::var("IMGSRV_TOKEN")?).build()?;
//! let disk = NewArtifact::new("disk.qcow2", Format::Qcow2, "amd64");
//! let published = client
//!     .publish(Publication::new("debian", "12.5.0", [disk]).alias("latest"))
//!     .on_event(|event| println!("{event:?}"))
//!     .run()
//!     .await?;
//! println!("{} is {}", published.version.version, published.version.state);
//! # Ok(())
//! # }
//! ```
//!
//! # Guarantees
//!
//! - **Transient errors are retried** with exponential backoff and jitter ([`RetryPolicy`]): every idempotent request,
//!   and a request that creates something only if the server cannot have processed it. A refusal of the server is
//!   [`Error::Refused`] with its problem (RFC 9457); [`Error::code`] is its kind.
//! - **Bytes are streamed** in both directions, in bounded memory. Uploads send parts in parallel and resume from the
//!   server's list of them; downloads resume with `Range` and `If-Range`, and their digest is verified on the fly.
//! - **Tokens** are fixed, or come from a [`TokenSource`], which is asked again when one expires or is refused, also in
//!   the middle of an upload. They never appear in errors or `Debug` output.
//! - **Redirects are not followed**: imgsrv serves its bytes itself, and a token is sent to no other server.
//!
//! Futures may be dropped at any time: what the server has accepted stays, and the next call resumes from it.
//! Errors, events and results are `#[non_exhaustive]`. The wire types of [`api`] are those of the server of the same
//! version; a minor version may add fields to responses.

mod body;
mod client;
mod error;
mod publish;
mod request;
mod retry;
mod routes;
mod token;
mod transfer;

pub use client::{BuildError, Client, ClientBuilder};
pub use error::{Error, Refusal};
pub use imgsrv_api as api;
pub use imgsrv_domain::{
    digest::{ByteSize, Digest, InvalidDigest, InvalidSize},
    lifecycle::LifecycleFilter,
    names::{Format, UnknownValue},
    publish::JobState,
    version::VersionFilter,
};
pub use publish::{Event, NewArtifact, NewAttachment, Publication, Publish, PublishConflict, Published};
pub use retry::RetryPolicy;
pub use routes::{AuditFilter, Rows};
pub use token::{GitHubActions, TokenCommand, TokenError, TokenSource};
pub use transfer::{Blob, Download, Progress, Source, Stage, Upload};
