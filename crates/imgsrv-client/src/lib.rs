//! A client of an imgsrv server: publish disk and VM images, and fetch them.
//!
//! [`Client`] has a method for every route of the API, and three that do whole jobs: [`Client::publish`],
//! [`Client::upload`] and [`Client::download_artifact`]. Each may be called again after any interruption, and goes on
//! with what is left.
//!
//! ```no_run
//! use imgsrv_client::{Client, NewArtifact, Publication};
//!
//! # async fn publish() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::builder("https://images.example.org").token(std::env::var("IMGSRV_TOKEN")?).build()?;
//! let disk = NewArtifact::new("disk.qcow2", "qcow2", "amd64");
//! let published = client
//!     .publish(Publication::new("debian", "12.5.0", [disk]).alias("latest"))
//!     .observed_by(|event| println!("{event:?}"))
//!     .run()
//!     .await?;
//! println!("{} is {}", published.version.version, published.version.state);
//! # Ok(())
//! # }
//! ```
//!
//! # What is promised
//!
//! - **Failures that may pass are tried again** with growing, random delays ([`RetryPolicy`]): whatever is safe to
//!   repeat, and what makes something new only when the server cannot have seen it. What the server refuses is
//!   [`Error::Refused`] with its problem (RFC 9457), whose kind is [`Error::code`].
//! - **Bytes are streamed** both ways, in bounded memory. Uploads go in parallel parts and resume from the server's own
//!   list of them; downloads resume with `Range` and `If-Range`, and their digest is verified as they come.
//! - **Tokens** are given once, or come from a [`TokenSource`] that is asked again when one expires or is refused, also
//!   in the middle of an upload. They are never in errors or `Debug` output.
//! - **No redirect is followed**: imgsrv hands its bytes out itself, and a token stays with the server it is for.
//!
//! Futures may be dropped at any time: what the server has accepted stays, and the next call goes on from there.
//! Errors, events and results may grow; they are `#[non_exhaustive]`. The wire types of [`api`] are what the server of the
//! same version speaks: a minor version may add fields to what is answered.

mod auth;
mod client;
mod content;
mod error;
mod fit;
mod intakes;
mod pages;
mod publish;
mod retry;
mod token;
mod transfer;
mod uploads;

pub use auth::AuditFilter;
pub use client::{BuildError, Client, ClientBuilder};
pub use content::VersionFilter;
pub use error::{Error, Refusal};
pub use imgsrv_api as api;
pub use pages::Rows;
pub use publish::{Contradiction, Event, NewArtifact, NewAttachment, Publication, Publish, Published};
pub use retry::RetryPolicy;
pub use token::{GitHubActions, TokenCommand, TokenError, TokenSource};
pub use transfer::{Blob, Download, Progress, Source, Stage, Upload};
