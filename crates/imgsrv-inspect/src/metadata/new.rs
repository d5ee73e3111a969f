//! Writes metadata.

use super::NAME;
use liblzma::write::XzEncoder;
use serde::Serialize;
use std::{
    collections::BTreeMap,
    io::{self, Write},
};
use tar::{Builder, EntryType, Header};

/// The preset with the smallest encoder, 3 MiB of memory; the default needs 94 MiB even for a file of a kilobyte.
const PRESET: u32 = 0;

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
    /// A comment of one line at the end of the document.
    #[serde(skip)]
    pub comment: String,
}

impl NewMetadata {
    /// Writes the tarball; equal metadata gives equal bytes. Uses 3 MiB of memory.
    pub fn tarball(&self) -> io::Result<Vec<u8>> {
        let mut yaml = serde_saphyr::to_string(self).map_err(io::Error::other)?;
        if !yaml.ends_with('\n') {
            yaml.push('\n');
        }
        yaml += &format!("# {}\n", self.comment.replace(['\r', '\n'], " "));
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
