//! The metadata of an Incus image: an xz tarball with a `metadata.yaml` (Incus documentation, "Image format").

use liblzma::{
    read::XzDecoder,
    stream::{CONCATENATED, Stream},
    write::XzEncoder,
};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{self, Visitor},
};
use std::{
    collections::BTreeMap,
    fmt,
    io::{self, Read, Write},
};
use tar::{Archive, Builder, EntryType, Header};

/// The most bytes that a tarball may have, compressed.
pub const MAX_METADATA_BYTES: u64 = 8 << 20;
/// The most bytes that it may unpack to.
const MAX_UNPACKED: u64 = 64 << 20;
/// The most entries that it may have.
const MAX_ENTRIES: usize = 4096;
/// The most bytes of `metadata.yaml`.
const MAX_YAML: u64 = 1 << 20;
/// What unpacking may take of memory: enough for `xz -9`.
const MAX_DECODER_MEMORY: u64 = 68 << 20;
const NAME: &str = "metadata.yaml";
/// The least that packing can take, 3 MiB of memory: the default takes 94 MiB, for a file of a kilobyte.
const PRESET: u32 = 0;

/// Why bytes are not the metadata of an Incus image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MetadataProblem {
    /// It is too large to be looked into.
    #[error("it has more than {MAX_METADATA_BYTES} bytes")]
    TooLarge,
    /// It is not, or not wholly, an xz tarball.
    #[error("it is not an xz tarball")]
    NotATarball,
    /// Unpacking it needs more memory than is given.
    #[error("unpacking it needs too much memory; compress it with `xz -9` or less")]
    NeedsMemory,
    /// It unpacks to more than anybody needs.
    #[error("it unpacks to more than {MAX_UNPACKED} bytes")]
    UnpacksTooLarge,
    /// It has more entries than anybody needs.
    #[error("it has more than {MAX_ENTRIES} entries")]
    TooManyEntries,
    /// There are several, and it is not clear which one counts.
    #[error("it has more than one {NAME}")]
    SeveralYamls,
    /// There is no `metadata.yaml` at its top.
    #[error("it has no {NAME}")]
    NoYaml,
    /// `metadata.yaml` is too large.
    #[error("its {NAME} has more than {MAX_YAML} bytes")]
    YamlTooLarge,
    /// `metadata.yaml` is not a YAML mapping.
    #[error("its {NAME} is not valid YAML")]
    NotYaml,
    /// A field is missing or not what it must be.
    #[error("its {NAME} has no valid {0}")]
    Field(&'static str),
}

/// What `metadata.yaml` of an Incus image must say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IncusMetadata {
    /// The architecture, such as `x86_64`.
    pub architecture: String,
    /// When the image was made, in seconds since 1970.
    pub creation_date: i64,
}

#[derive(Deserialize)]
struct Yaml {
    architecture: Option<String>,
    creation_date: Option<Integer>,
}

/// A number that is written as one: Incus does not take a number in quotes.
struct Integer(i64);

impl<'de> Deserialize<'de> for Integer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Number;
        impl Visitor<'_> for Number {
            type Value = Integer;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number")
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Integer, E> {
                Ok(Integer(number))
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Integer, E> {
                number.try_into().map(Integer).map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Number)
    }
}

impl IncusMetadata {
    /// Reads a tarball, to its end: one that is cut off is not accepted. Takes at most 140 MiB of memory, hostile bytes
    /// included, and less than 1 MiB for what publishers make.
    pub fn read(tarball: &[u8]) -> Result<Self, MetadataProblem> {
        if tarball.len() as u64 > MAX_METADATA_BYTES {
            return Err(MetadataProblem::TooLarge);
        }
        let yaml = find_yaml(tarball)?.ok_or(MetadataProblem::NoYaml)?;
        let yaml = String::from_utf8(yaml).map_err(|_| MetadataProblem::NotYaml)?;
        let yaml: Yaml = serde_saphyr::from_str(&yaml).map_err(|_| MetadataProblem::NotYaml)?;
        let architecture = yaml.architecture.filter(|name| !name.is_empty());
        let creation_date = yaml.creation_date.map(|date| date.0).filter(|date| *date > 0);
        Ok(Self {
            architecture: architecture.ok_or(MetadataProblem::Field("architecture"))?,
            creation_date: creation_date.ok_or(MetadataProblem::Field("creation_date"))?,
        })
    }
}

/// The text of `metadata.yaml`.
fn find_yaml(tarball: &[u8]) -> Result<Option<Vec<u8>>, MetadataProblem> {
    let decoder = Stream::new_stream_decoder(MAX_DECODER_MEMORY, CONCATENATED);
    let decoder = decoder.map_err(|_| MetadataProblem::NeedsMemory)?;
    let mut unpacked = XzDecoder::new_stream(tarball, decoder).take(MAX_UNPACKED + 1);
    let found = {
        let mut archive = Archive::new(&mut unpacked);
        search(&mut archive)
    };
    // To the end, past the archive's own: what follows must be whole as well.
    let drained = io::copy(&mut unpacked, &mut io::sink());
    if unpacked.limit() == 0 {
        return Err(MetadataProblem::UnpacksTooLarge);
    }
    drained.map_err(|error| problem(&error))?;
    found
}

fn search(archive: &mut Archive<impl Read>) -> Result<Option<Vec<u8>>, MetadataProblem> {
    let mut found = None;
    for (seen, entry) in archive.entries().map_err(|error| problem(&error))?.enumerate() {
        if seen >= MAX_ENTRIES {
            return Err(MetadataProblem::TooManyEntries);
        }
        let mut entry = entry.map_err(|error| problem(&error))?;
        // As Incus looks for it, to the letter.
        let is_yaml = {
            let path = entry.path_bytes();
            path.strip_prefix(b"./").unwrap_or(&path) == NAME.as_bytes()
        };
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

/// Metadata to be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NewMetadata {
    /// The architecture as the kernel names it, such as `x86_64`.
    pub architecture: String,
    /// When the image was made, in seconds since 1970.
    pub creation_date: i64,
    /// When it should no longer be used, in seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expiry_date: Option<i64>,
    /// What is shown of it: `description`, `os`, `release`, `variant`, ...
    pub properties: BTreeMap<String, String>,
}

impl NewMetadata {
    /// The tarball; the same bytes for the same metadata. Takes 3 MiB of memory.
    pub fn tarball(&self) -> io::Result<Vec<u8>> {
        let yaml = serde_saphyr::to_string(self).map_err(io::Error::other)?;
        let mut header = Header::new_ustar();
        header.set_entry_type(EntryType::Regular);
        header.set_path(NAME)?;
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(u64::try_from(self.creation_date).unwrap_or(0));
        header.set_size(yaml.len() as u64);
        header.set_cksum();
        let mut tarball = Builder::new(XzEncoder::new(Vec::new(), PRESET));
        tarball.append(&header, yaml.as_bytes())?;
        let mut packed = tarball.into_inner()?;
        packed.flush()?;
        packed.finish()
    }
}
