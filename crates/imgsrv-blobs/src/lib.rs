//! Blob stores.
//!
//! [`S3BlobStore`] keeps blobs in a bucket, [`FsBlobStore`] in a folder. `object_store` serves the folder where a plain
//! object interface is enough (the start-up probe, listing, deleting). Below it go the paths that it cannot offer: a durable
//! append at an offset, promotion by hard link, and reads from the page cache without a copy through a
//! fresh allocation.

mod buffers;
mod fs;
mod observe;
mod s3;

pub use fs::FsBlobStore;
pub use observe::{Direction, Observer, Operation, Outcome, Unobserved};
pub use s3::{S3BlobStore, S3Settings};
