//! Bounded readers of hostile files: what format bytes are in, whether a qcow2 is safe to open, and what the metadata
//! of an Incus image says.
//!
//! Pure: bytes come through [`Source`] or as a slice, and nothing is opened, run or trusted. Whatever the bytes are, a
//! reader ends, within the memory and the number of bytes that its documentation names.

mod format;
mod metadata;
mod qcow2;
mod source;

pub use format::{DetectedFormat, detect};
pub use metadata::{IncusMetadata, MAX_METADATA_BYTES, MetadataProblem, NewMetadata};
pub use qcow2::{Compression, Field, Qcow2, Qcow2Error, Qcow2Problem, Table};
pub use source::Source;
