//! What tests need: a clock that stands still, a server in this process, the real binary in one of its own, and the
//! services that many of them share.
//!
//! Other projects may use it to run a server in their own tests: [`Disposable`] starts one with nothing in it,
//! [`Process`] one with any settings, and [`services`] what it can be scaled out on. `default-features = false` keeps
//! what only this workspace needs away.
#![expect(clippy::missing_panics_doc, reason = "a test that cannot set itself up has failed")]

#[cfg(feature = "in-process")]
mod clock;
mod disposable;
#[cfg(feature = "in-process")]
mod issuer;
mod process;
mod qcow2;
#[cfg(feature = "in-process")]
mod server;
pub mod services;
#[cfg(feature = "in-process")]
mod statements;

#[cfg(feature = "in-process")]
pub use clock::{ManualClock, TestIds};
pub use disposable::{Disposable, writer_token};
#[cfg(feature = "in-process")]
pub use issuer::{Issuer, Manner, SigningKey, message};
pub use process::Process;
pub use qcow2::qcow2;
#[cfg(feature = "in-process")]
pub use server::{Answer, TestServer, digest};
#[cfg(feature = "in-process")]
pub use statements::Statements;
