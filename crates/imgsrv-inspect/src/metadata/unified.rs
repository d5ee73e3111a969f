//! Recognises unified images of Incus: one tarball with `metadata.yaml` and the root, `rootfs/` or `rootfs.img`.

use super::{IncusMetadata, MAX_ENTRIES, MAX_UNPACKED, MetadataProblem, NAME, is_yaml, unpack, unprefixed};
use std::io::Read;
use tar::Archive;

/// A unified image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnifiedImage {
    /// Its metadata.
    pub metadata: IncusMetadata,
    /// Whether it is the disk of a virtual machine, otherwise the root file system of a container.
    pub is_machine: bool,
}

/// Why a tarball that resembles a unified image is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnifiedProblem {
    /// It has a root, but no metadata before it or shortly after.
    #[error("it has a rootfs like a unified image, but no {NAME} at its beginning")]
    NoYaml,
    /// It has metadata, but no root near it.
    #[error("it has the {NAME} of a unified image, but neither rootfs/ nor rootfs.img follows")]
    NoRoot,
    /// Its metadata is not valid.
    #[error("{0}")]
    Metadata(#[from] MetadataProblem),
}

/// The unified image that a tarball is, by its first bytes; `None` if it does not resemble one. Reads at most 4096
/// entries and 64 MiB of unpacked bytes, with at most 140 MiB of memory.
pub fn read_unified(start: &[u8]) -> Option<Result<UnifiedImage, UnifiedProblem>> {
    let mut archive = Archive::new(unpack::unpack(start).ok()?.take(MAX_UNPACKED));
    let (mut metadata, mut is_machine) = (None, None);
    // The first bytes end within an entry, which is no error.
    for mut entry in archive.entries().ok()?.take(MAX_ENTRIES).map_while(Result::ok) {
        let name = entry.path_bytes().into_owned();
        if is_yaml(&name) && entry.header().entry_type().is_file() {
            let text = unpack::read_yaml(&mut entry);
            metadata.get_or_insert_with(|| text.and_then(|text| IncusMetadata::of_yaml(&name, &text)));
        }
        match unprefixed(&name) {
            b"rootfs.img" => is_machine = is_machine.or(Some(true)),
            b"rootfs" | [b'r', b'o', b'o', b't', b'f', b's', b'/', ..] => is_machine = is_machine.or(Some(false)),
            _ => {}
        }
        if let (Some(_), Some(_)) = (&metadata, is_machine) {
            break;
        }
    }
    match (metadata, is_machine) {
        (Some(Ok(metadata)), Some(is_machine)) => Some(Ok(UnifiedImage { metadata, is_machine })),
        (Some(Err(problem)), Some(_)) => Some(Err(problem.into())),
        (Some(Ok(_)), None) => Some(Err(UnifiedProblem::NoRoot)),
        (None, Some(_)) => Some(Err(UnifiedProblem::NoYaml)),
        // Other tarballs have a file with this name, but not the fields.
        (Some(Err(_)) | None, None) => None,
    }
}
