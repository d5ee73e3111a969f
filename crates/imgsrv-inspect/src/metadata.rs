//! Reads and writes the metadata of an Incus image: an xz tarball with a `metadata.yaml` (Incus documentation, "Image
//! format").

use liblzma::{
    read::XzDecoder,
    stream::{CONCATENATED, Stream},
    write::XzEncoder,
};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    io::{self, Read, Write},
};
use tar::{Archive, Builder, EntryType, Header};

/// Maximum size of a compressed tarball.
pub const MAX_METADATA_BYTES: u64 = 8 << 20;
/// Maximum size of an unpacked tarball.
const MAX_UNPACKED: u64 = 64 << 20;
/// Maximum number of entries.
const MAX_ENTRIES: usize = 4096;
/// Maximum size of `metadata.yaml`.
const MAX_YAML: u64 = 1 << 20;
/// Memory limit of the decoder: enough for `xz -9`.
const MAX_DECODER_MEMORY: u64 = 68 << 20;
const NAME: &str = "metadata.yaml";
/// The preset with the smallest encoder, 3 MiB of memory; the default needs 94 MiB even for a file of a kilobyte.
const PRESET: u32 = 0;

/// Why bytes are not the metadata of an Incus image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MetadataProblem {
    /// It exceeds the size limit.
    #[error("it has more than {MAX_METADATA_BYTES} bytes")]
    TooLarge,
    /// It is not a complete xz tarball.
    #[error("it is not an xz tarball")]
    NotATarball,
    /// Unpacking it needs more memory than the limit.
    #[error("unpacking it needs too much memory; compress it with `xz -9` or less")]
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
    /// `metadata.yaml` is not a YAML mapping.
    #[error("its {NAME} is not valid YAML")]
    NotYaml,
    /// A field is missing or invalid.
    #[error("its {NAME} has no valid {0}")]
    Field(&'static str),
}

/// The required fields of `metadata.yaml`, and its properties.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IncusMetadata {
    /// The architecture, such as `x86_64`.
    pub architecture: String,
    /// When the image was created, in seconds since 1970.
    pub creation_date: i64,
    /// The properties: `description`, `os`, `release`, `variant`, ... Empty if they are not a mapping of scalars.
    pub properties: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Yaml {
    architecture: Option<String>,
    creation_date: Option<Integer>,
}

/// The properties alone, so that invalid ones do not make the other fields invalid.
#[derive(Deserialize, Default)]
struct Properties {
    #[serde(default)]
    properties: BTreeMap<String, Option<String>>,
}

/// A YAML integer. Incus does not accept a number in quotes; neither does an untagged enum.
#[derive(Deserialize)]
#[serde(untagged)]
enum Integer {
    Number(i64),
}

impl IncusMetadata {
    /// Reads a tarball to its end; a truncated one is rejected. Uses at most 140 MiB of memory for any input, and less
    /// than 1 MiB for usual tarballs.
    pub fn read(tarball: &[u8]) -> Result<Self, MetadataProblem> {
        if tarball.len() as u64 > MAX_METADATA_BYTES {
            return Err(MetadataProblem::TooLarge);
        }
        let yaml = find_yaml(tarball)?.ok_or(MetadataProblem::NoYaml)?;
        let yaml = String::from_utf8(yaml).map_err(|_| MetadataProblem::NotYaml)?;
        let properties = serde_saphyr::from_str::<Properties>(&yaml).unwrap_or_default().properties;
        let yaml: Yaml = serde_saphyr::from_str(&yaml).map_err(|_| MetadataProblem::NotYaml)?;
        let architecture = yaml.architecture.filter(|name| !name.is_empty());
        let creation_date = yaml.creation_date.map(|Integer::Number(date)| date).filter(|date| *date > 0);
        Ok(Self {
            architecture: architecture.ok_or(MetadataProblem::Field("architecture"))?,
            creation_date: creation_date.ok_or(MetadataProblem::Field("creation_date"))?,
            properties: properties.into_iter().filter_map(|(name, value)| Some((name, value?))).collect(),
        })
    }
}

/// The content of `metadata.yaml`.
fn find_yaml(tarball: &[u8]) -> Result<Option<Vec<u8>>, MetadataProblem> {
    let decoder = Stream::new_stream_decoder(MAX_DECODER_MEMORY, CONCATENATED);
    let decoder = decoder.map_err(|_| MetadataProblem::NeedsMemory)?;
    let mut unpacked = XzDecoder::new_stream(tarball, decoder).take(MAX_UNPACKED + 1);
    let found = search(Archive::new(&mut unpacked));
    // Reads past the end of the archive to the end of the stream, which must be complete as well.
    let drained = io::copy(&mut unpacked, &mut io::sink());
    if unpacked.limit() == 0 {
        return Err(MetadataProblem::UnpacksTooLarge);
    }
    drained.map_err(|error| problem(&error))?;
    found
}

fn search(mut archive: Archive<impl Read>) -> Result<Option<Vec<u8>>, MetadataProblem> {
    let mut found = None;
    for (seen, entry) in archive.entries().map_err(|error| problem(&error))?.enumerate() {
        if seen >= MAX_ENTRIES {
            return Err(MetadataProblem::TooManyEntries);
        }
        let mut entry = entry.map_err(|error| problem(&error))?;
        // Incus accepts exactly these two names.
        let path = entry.path_bytes();
        let is_yaml = path.strip_prefix(b"./").unwrap_or(&path) == NAME.as_bytes();
        if !is_yaml || !entry.header().entry_type().is_file() {
            continue;
        }
        if found.is_some() {
            return Err(MetadataProblem::SeveralYamls);
        }
        if entry.size() > MAX_YAML {
            return Err(MetadataProblem::YamlTooLarge);
        }
        let mut text = Vec::new();
        entry.read_to_end(&mut text).map_err(|error| problem(&error))?;
        found = Some(text);
    }
    Ok(found)
}

fn problem(error: &io::Error) -> MetadataProblem {
    let lzma = error.get_ref().and_then(|inner| inner.downcast_ref::<liblzma::stream::Error>());
    match lzma {
        Some(liblzma::stream::Error::MemLimit | liblzma::stream::Error::Mem) => MetadataProblem::NeedsMemory,
        _ => MetadataProblem::NotATarball,
    }
}

/// Metadata to write.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NewMetadata {
    /// The architecture as the kernel names it, such as `x86_64`.
    pub architecture: String,
    /// When the image was created, in seconds since 1970.
    pub creation_date: i64,
    /// When the image expires, in seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expiry_date: Option<i64>,
    /// Properties: `description`, `os`, `release`, `variant`, ...
    pub properties: BTreeMap<String, String>,
}

impl NewMetadata {
    /// Writes the tarball; equal metadata gives equal bytes. Uses 3 MiB of memory.
    pub fn tarball(&self) -> io::Result<Vec<u8>> {
        let yaml = serde_saphyr::to_string(self).map_err(io::Error::other)?;
        let mut header = Header::new_ustar();
        header.set_entry_type(EntryType::Regular);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(u64::try_from(self.creation_date).unwrap_or(0));
        header.set_size(yaml.len() as u64);
        let mut tarball = Builder::new(XzEncoder::new(Vec::new(), PRESET));
        tarball.append_data(&mut header, NAME, yaml.as_bytes())?;
        let mut packed = tarball.into_inner()?;
        packed.flush()?;
        packed.finish()
    }
}
