//! What tests need: a clock that stands still, a server in this process, and the real binary in one of its own.
#![expect(clippy::missing_panics_doc, reason = "a test that cannot set itself up has failed")]

mod clock;
mod process;
mod qcow2;
mod server;

pub use clock::{ManualClock, TestIds};
pub use process::Process;
pub use qcow2::qcow2;
pub use server::{Answer, TestServer, digest};
