//! Blob stores: [`FsBlobStore`] in a folder, [`S3BlobStore`] in an S3 bucket.
//!
//! `object_store` is used where a plain object interface is enough. The adapters add what it does not offer: durable
//! appends at an offset, ingest by hard link, reads from the page cache into reused buffers, and S3 multipart uploads
//! that several requests and nodes continue.

mod batches;
mod buffers;
mod fs;
mod meter;
mod objects;
mod observe;
mod probe;
mod s3;
mod threads;

pub use fs::{FsBlobStore, unwritable};
pub use observe::{Observer, Operation, Outcome, Unobserved};
pub use s3::{S3BlobStore, S3Settings, S3SettingsError};
