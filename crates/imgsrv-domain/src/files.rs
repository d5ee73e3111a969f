//! File names: how the artifacts and attachments of a version are called where names are all there is.

use crate::names::{Architecture, AttachmentName, Format, ImageName, Variant, VersionName};

/// `{image}-{version}-{architecture}[-{variant}].{format}`; the default variant is left out.
pub fn artifact_file(
    image: &ImageName,
    version: &VersionName,
    architecture: &Architecture,
    variant: &Variant,
    format: Format,
) -> String {
    if variant.is_default() {
        format!("{image}-{version}-{architecture}.{format}")
    } else {
        format!("{image}-{version}-{architecture}-{variant}.{format}")
    }
}

/// `{artifact file}.{attachment name}`.
pub fn attachment_file(artifact_file: &str, name: &AttachmentName) -> String {
    format!("{artifact_file}.{name}")
}

/// The name that a file has under an alias, where its version need not be told; `None` for the file of another version.
pub fn without_version(image: &ImageName, version: &VersionName, file: &str) -> Option<String> {
    let rest =
        file.strip_prefix(image.as_str())?.strip_prefix('-')?.strip_prefix(version.as_str())?.strip_prefix('-')?;
    Some(format!("{image}-{rest}"))
}

/// The file of all checksums of a version (GNU coreutils).
pub const CHECKSUMS: &str = "SHA256SUMS";

/// The file of checksums that goes with `file`.
pub fn checksum_file(file: &str) -> String {
    format!("{file}.sha256")
}

/// The file whose checksums are in `checksum_file`, if that is the name of one.
pub fn checksummed_file(checksum_file: &str) -> Option<&str> {
    checksum_file.strip_suffix(".sha256")
}
