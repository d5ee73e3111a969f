//! Reads and writes the metadata of Incus images: a tarball with a `metadata.yaml` (Incus documentation, "Image format").
//!
//! A tarball is accepted if Incus accepts it: its clients and daemon, and `incus-simplestreams add`.

mod new;
mod unified;
mod unpack;
mod yaml;

pub use new::NewMetadata;
pub use unified::{UnifiedImage, UnifiedProblem, read_unified};

use std::{collections::BTreeMap, fmt};

/// Maximum size of a compressed tarball.
pub const MAX_METADATA_BYTES: u64 = 8 << 20;
/// Maximum size of an unpacked tarball.
const MAX_UNPACKED: u64 = 64 << 20;
/// Maximum number of entries.
const MAX_ENTRIES: usize = 4096;
/// Maximum size of `metadata.yaml`, that of Incus.
const MAX_YAML: u64 = 1 << 20;
const NAME: &str = "metadata.yaml";

/// Why bytes are not the metadata of an Incus image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MetadataProblem {
    /// It exceeds the size limit.
    #[error("it has more than {MAX_METADATA_BYTES} bytes")]
    TooLarge,
    /// It is not a complete tarball, or compressed in another way than those that are read.
    #[error("it is not a tarball, compressed with xz, gzip, Zstandard, bzip2, lzma or not at all")]
    NotATarball,
    /// Unpacking it needs more memory than the limit.
    #[error("unpacking it needs too much memory; compress it with `xz -9`, `zstd --ultra -22` or less")]
    NeedsMemory,
    /// It unpacks to more than the limit.
    #[error("it unpacks to more than {MAX_UNPACKED} bytes")]
    UnpacksTooLarge,
    /// It has more entries than the limit.
    #[error("it has more than {MAX_ENTRIES} entries")]
    TooManyEntries,
    /// It has several `metadata.yaml`, so the meaning is ambiguous.
    #[error("it has more than one {NAME}")]
    SeveralYamls,
    /// It has no `metadata.yaml` at the top level.
    #[error("it has no {NAME}")]
    NoYaml,
    /// `metadata.yaml` exceeds the size limit.
    #[error("its {NAME} has more than {MAX_YAML} bytes")]
    YamlTooLarge,
    /// `metadata.yaml` is not YAML.
    #[error("its {NAME} is not valid YAML{0}")]
    NotYaml(Line),
    /// `metadata.yaml` is not a YAML mapping.
    #[error("its {NAME} is not a mapping")]
    NotAMapping,
    /// A field is missing, empty or zero.
    #[error("its {NAME} has no valid {0}")]
    Field(&'static str),
    /// A field has a value of another kind.
    #[error("its {NAME} is not valid: {field} must be {expected}")]
    Kind {
        /// The path of the field, such as `properties.os`.
        field: String,
        /// The kind of value that Incus expects.
        expected: &'static str,
    },
}

/// The line of a fault, if it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Line(pub Option<u64>);

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |line| write!(f, " (line {line})"))
    }
}

/// Why `incus-simplestreams add` refuses metadata that clients and daemons accept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MetadataRemark {
    /// A property is missing that products are named after.
    #[error("{NAME} has no property {0}")]
    NoProperty(&'static str),
    /// The name has a prefix that the tool does not expect.
    #[error("{NAME} is packed as ./{NAME}")]
    Prefixed,
}

/// The content of `metadata.yaml`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IncusMetadata {
    /// The architecture, such as `x86_64`.
    pub architecture: String,
    /// When the image was created, in seconds since 1970; not zero.
    pub creation_date: i64,
    /// When the image expires, in seconds since 1970; absent if never.
    pub expiry_date: Option<i64>,
    /// The properties: `description`, `os`, `release`, `variant`, ...
    pub properties: BTreeMap<String, String>,
    /// Why `incus-simplestreams add` refuses it.
    pub remarks: Vec<MetadataRemark>,
}

impl IncusMetadata {
    /// The properties that `incus-simplestreams add` requires.
    const REQUIRED: [&str; 5] = ["os", "release", "variant", "architecture", "description"];

    /// Reads a tarball to its end; a truncated one is rejected. Uses at most 140 MiB of memory for any input, and less
    /// than 1 MiB for usual tarballs.
    pub fn read(tarball: &[u8]) -> Result<Self, MetadataProblem> {
        if tarball.len() as u64 > MAX_METADATA_BYTES {
            return Err(MetadataProblem::TooLarge);
        }
        let yaml = unpack::find_yaml(tarball)?.ok_or(MetadataProblem::NoYaml)?;
        Self::of_yaml(&yaml.name, &yaml.text)
    }

    /// The content of a `metadata.yaml` that is packed as `name`.
    fn of_yaml(name: &[u8], text: &[u8]) -> Result<Self, MetadataProblem> {
        let yaml::Content { architecture, creation_date, expiry_date, properties } = yaml::read(text)?;
        if architecture.is_empty() {
            return Err(MetadataProblem::Field("architecture"));
        }
        if creation_date == 0 {
            return Err(MetadataProblem::Field("creation_date"));
        }
        let prefixed = (name != NAME.as_bytes()).then_some(MetadataRemark::Prefixed);
        let missing = Self::REQUIRED.into_iter().filter(|name| !properties.contains_key(*name));
        let remarks = prefixed.into_iter().chain(missing.map(MetadataRemark::NoProperty)).collect();
        // Incus takes zero, and what lies before 1970, as never.
        let expiry_date = Some(expiry_date).filter(|date| *date > 0);
        Ok(Self { architecture, creation_date, expiry_date, properties, remarks })
    }
}

/// Whether an entry of a tarball is the `metadata.yaml`: Incus accepts exactly these two names.
fn is_yaml(path: &[u8]) -> bool {
    unprefixed(path) == NAME.as_bytes()
}

fn unprefixed(path: &[u8]) -> &[u8] {
    path.strip_prefix(b"./").unwrap_or(path)
}
