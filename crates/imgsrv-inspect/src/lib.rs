//! Bounded readers of untrusted files: format detection, disk images that stand alone, and metadata of Incus images.
//!
//! Pure: bytes are read through [`Source`] or from a slice, and nothing is opened, run or trusted. A reader ends for
//! any input, within the documented limits of memory and bytes read.

mod appliance;
mod boot;
mod compressed;
mod detect;
mod disk;
mod ending;
mod entries;
mod fields;
mod file;
mod format;
mod inspect;
mod lz4;
mod metadata;
mod packages;
mod source;
mod tarball;

pub use disk::{Compression, InspectError, Problem, Qcow2, Refusal};
pub use file::Inspected;
pub use format::{Compressor, Contents, DetectedFormat};
pub use inspect::inspect;
pub use metadata::{
    IncusMetadata, Line, MAX_METADATA_BYTES, MetadataProblem, MetadataRemark, NewMetadata, UnifiedImage,
    UnifiedProblem, read_unified,
};
pub use packages::{MAX_PACKAGE_LIST_BYTES, Packages, read_packages};
pub use source::Source;
