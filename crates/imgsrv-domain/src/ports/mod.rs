//! Ports: the interfaces through which the use cases reach a catalog, a blob store, a clock and other adapters.

mod blobs;
mod catalog;
mod findings;
mod oidc;
mod principals;
mod queries;

pub use blobs::*;
pub use catalog::*;
pub use findings::*;
pub use oidc::*;
pub use principals::*;
pub use queries::*;

use crate::time::Timestamp;
use uuid::Uuid;

/// The cause of an error, for logs.
pub type Source = Box<dyn std::error::Error + Send + Sync>;

/// The clock of this machine.
pub trait Clock: Send + Sync {
    /// The present time.
    fn now(&self) -> Timestamp;
}

/// Generates identifiers.
pub trait Ids: Send + Sync {
    /// A version 7 UUID (RFC 9562, section 5.7) that was never returned before.
    fn next(&self) -> Uuid;
}
