//! Bounded readers of untrusted files: format detection, disk images that stand alone, and metadata of Incus images.
//!
//! Pure: bytes are read through [`Source`] or from a slice, and nothing is opened, run or trusted. A reader ends for
//! any input, within the documented limits of memory and bytes read.

mod disk;
mod fields;
mod format;
mod metadata;
mod source;

pub use disk::{Compression, InspectError, Inspected, Problem, Qcow2, Refusal, inspect};
pub use format::DetectedFormat;
pub use metadata::{IncusMetadata, MAX_METADATA_BYTES, MetadataProblem, NewMetadata};
pub use source::Source;
