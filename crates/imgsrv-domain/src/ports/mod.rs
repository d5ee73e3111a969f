//! What the use cases need from the world: a catalog, a blob store, a clock and fresh identifiers.

mod blobs;
mod catalog;
mod content;
mod errors;
mod oidc;
mod operations;
mod principals;
mod publishing;
mod reads;
mod streams;
mod trusted_blobs;
mod uploads;
mod work;

pub use blobs::*;
pub use catalog::*;
pub use content::*;
pub use errors::*;
pub use oidc::*;
pub use operations::*;
pub use principals::*;
pub use publishing::*;
pub use reads::*;
pub use streams::*;
pub use trusted_blobs::*;
pub use uploads::*;
pub use work::*;

use crate::time::Timestamp;
use uuid::Uuid;

/// The cause of a failure, for logs.
pub type Source = Box<dyn std::error::Error + Send + Sync>;

/// Tells the time of this machine.
pub trait Clock: Send + Sync {
    /// The time now.
    fn now(&self) -> Timestamp;
}

/// Mints identifiers.
pub trait Ids: Send + Sync {
    /// A version 7 UUID (RFC 9562, section 5.7) that was never given before.
    fn next(&self) -> Uuid;
}
