//! Bounded readers of untrusted files: format detection, safety of qcow2 images, and metadata of Incus images.
//!
//! Pure: bytes are read through [`Source`] or from a slice, and nothing is opened, run or trusted. A reader ends for
//! any input, within the documented limits of memory and bytes read.

mod format;
mod metadata;
mod qcow2;
mod source;

pub use format::{DetectedFormat, detect};
pub use metadata::{IncusMetadata, MAX_METADATA_BYTES, MetadataProblem, NewMetadata};
pub use qcow2::{Compression, Qcow2, Qcow2Error, Qcow2Problem};
pub use source::Source;
