//! Why Simple Streams do not list an artifact that seems to be meant for Incus.

use crate::content::incus::{METADATA_NAME, root};
use imgsrv_domain::{
    manifest::{Manifest, ManifestEntry},
    names::Format,
};

/// Names that publishers give to metadata instead of `incus.tar.xz`, without the extensions.
const STEMS: [&str; 4] = ["incus", "lxd", "meta", "metadata"];
/// The extensions of such names.
const EXTENSIONS: [&str; 10] =
    ["tar.xz", "tar", "tar.gz", "tar.zst", "tar.bz2", "tar.lzma", "tgz", "txz", "yaml", "yml"];

/// Why an artifact without `incus.tar.xz` is not listed, if it or another artifact of the version is meant for Incus.
pub(super) fn without_metadata(manifest: &Manifest, entry: &ManifestEntry) -> Option<String> {
    if let Some(alike) = entry.attachments.iter().map(|attachment| attachment.name.as_str()).find(|name| is_alike(name))
    {
        return Some(format!(
            "it has no {METADATA_NAME}; attach {alike} as {METADATA_NAME} if it is its Incus metadata"
        ));
    }
    let own = &entry.artifact;
    let siblings = manifest.entries.iter().filter(|other| {
        let artifact = &other.artifact;
        artifact.architecture == own.architecture
            && artifact.variant == own.variant
            && other.attachments.iter().any(|attachment| attachment.name.as_str() == METADATA_NAME)
    });
    let siblings = siblings.map(|other| other.artifact.format);
    let kinds: Vec<_> = siblings.filter_map(|format| Some((root(format)?.kind(), format))).collect();
    let own_kind = root(own.format)?.kind();
    // Of one kind, one is enough.
    let (_, format) = kinds.first().filter(|_| kinds.iter().all(|(kind, _)| *kind != own_kind))?;
    Some(format!("it has no {METADATA_NAME}, but the {format} of the same architecture and variant does"))
}

fn is_alike(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name.split_once('.').is_some_and(|(stem, extension)| STEMS.contains(&stem) && EXTENSIONS.contains(&extension))
}

/// Why an artifact that has `incus.tar.xz` is not listed.
pub(super) fn unsupported_format(format: Format) -> String {
    format!("it has {METADATA_NAME}, but Incus boots qcow2, squashfs and root.tar.xz, not {format}")
}
