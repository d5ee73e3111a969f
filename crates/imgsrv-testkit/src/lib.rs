//! Support for tests: a manual clock, a server in the test's process, the real binary in its own process, and the
//! services that tests share.
//!
//! Other projects may use it to run a server in their tests: [`Disposable`] starts an empty one, [`Process`] one with
//! any settings, and [`services`] what a scaled-out one needs. `default-features = false` leaves out what only this
//! workspace needs.
#![expect(clippy::missing_panics_doc, reason = "a test whose setup fails has failed")]

#[cfg(feature = "in-process")]
mod blobs;
#[cfg(feature = "in-process")]
mod clock;
mod disposable;
#[cfg(feature = "in-process")]
mod issuer;
#[cfg(feature = "in-process")]
mod log;
mod pages;
mod process;
mod qcow2;
#[cfg(feature = "in-process")]
mod rows;
mod scale;
#[cfg(feature = "in-process")]
mod server;
pub mod services;
#[cfg(feature = "in-process")]
mod statements;

#[cfg(feature = "in-process")]
pub use blobs::{BlobProbe, used_bytes};
#[cfg(feature = "in-process")]
pub use clock::{ManualClock, TestIds};
pub use disposable::{Disposable, token_with_roles, writer_token};
#[cfg(feature = "in-process")]
pub use issuer::{Behavior, Issuer, SigningKey, message};
#[cfg(feature = "in-process")]
pub use log::Log;
pub use pages::commands_of;
pub use process::Process;
pub use qcow2::qcow2;
#[cfg(feature = "in-process")]
pub use rows::{Rows, rows};
pub use scale::{Scale, peak_memory};
#[cfg(feature = "in-process")]
pub use server::{TestResponse, TestServer, digest};
#[cfg(feature = "in-process")]
pub use statements::Statements;
