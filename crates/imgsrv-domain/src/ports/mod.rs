//! Ports: the interfaces through which the use cases reach a catalog, a blob store, a clock and other adapters.

mod backup;
mod blobs;
mod blocks;
mod browse;
mod catalog;
mod collection;
mod content;
mod errors;
mod lifecycles;
mod links;
mod oidc;
mod operations;
mod principals;
mod publishing;
mod reads;
mod retention;
mod streams;
mod trusted_blobs;
mod uploads;
mod verification;
mod work;

pub use backup::*;
pub use blobs::*;
pub use blocks::*;
pub use browse::*;
pub use catalog::*;
pub use collection::*;
pub use content::*;
pub use errors::*;
pub use lifecycles::*;
pub use links::*;
pub use oidc::*;
pub use operations::*;
pub use principals::*;
pub use publishing::*;
pub use reads::*;
pub use retention::*;
pub use streams::*;
pub use trusted_blobs::*;
pub use uploads::*;
pub use verification::*;
pub use work::*;

pub use crate::access::{Reach, Sender, View};
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
