//! File names of the artifacts and attachments of a version.

use crate::{
    architecture,
    names::{Architecture, AttachmentName, Format, ImageName, Variant, VersionName},
};

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

/// The second name of an attachment of `artifact_file`, if systemd has one for it: `systemd-pull` and `systemd-nspawn`
/// look for these files beside an image, by the name of the image without its format and compression.
pub fn side_file(artifact_file: &str, name: &AttachmentName) -> Option<String> {
    let plain = [".xz", ".gz", ".zst"].iter().find_map(|suffix| artifact_file.strip_suffix(suffix));
    let plain = plain.unwrap_or(artifact_file);
    let disk = || [".raw", ".qcow2"].iter().find_map(|suffix| plain.strip_suffix(suffix));
    let image = match name.as_str() {
        "nspawn" => plain.strip_suffix(".tar").or_else(disk),
        "roothash" | "roothash.p7s" | "verity" => disk(),
        _ => None,
    };
    image.map(|image| format!("{image}.{name}"))
}

/// The name of `file` under an alias, which leaves the version out; `None` if it is the file of another version.
pub fn without_version(image: &ImageName, version: &VersionName, file: &str) -> Option<String> {
    after_version(image, version, file).map(|rest| format!("{image}-{rest}"))
}

/// The names that `file` of this version has with other spellings of its architecture.
pub fn respelled<'f>(
    image: &ImageName,
    version: &VersionName,
    file: &'f str,
) -> impl Iterator<Item = String> + use<'f> {
    let (rest, prefix) = (after_version(image, version, file), format!("{image}-{version}-"));
    rest.into_iter().flat_map(architecture::respelled).map(move |rest| format!("{prefix}{rest}"))
}

fn after_version<'f>(image: &ImageName, version: &VersionName, file: &'f str) -> Option<&'f str> {
    file.strip_prefix(image.as_str())?.strip_prefix('-')?.strip_prefix(version.as_str())?.strip_prefix('-')
}

/// The file with the checksums of all files of a version, as GNU coreutils reads it.
pub const CHECKSUMS: &str = "SHA256SUMS";

/// The file with the checksum of `file` alone.
pub fn checksum_file(file: &str) -> String {
    format!("{file}.sha256")
}

/// The file whose checksums are in `checksum_file`, if that is the name of one.
pub fn checksummed_file(checksum_file: &str) -> Option<&str> {
    checksum_file.strip_suffix(".sha256")
}

/// Name of the attachment that holds the metadata of an Incus image.
pub const INCUS_METADATA: &str = "incus.tar.xz";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn systemd_finds_attachments_beside_their_image() {
        for (artifact, attachment, expected) in [
            ("os-1-amd64.raw", "roothash", Some("os-1-amd64.roothash")),
            ("os-1-amd64.raw.xz", "roothash.p7s", Some("os-1-amd64.roothash.p7s")),
            ("os-1-amd64-cloud.raw.zst", "verity", Some("os-1-amd64-cloud.verity")),
            ("os-amd64.qcow2.gz", "nspawn", Some("os-amd64.nspawn")),
            ("os-1-amd64.root.tar.xz", "nspawn", Some("os-1-amd64.root.nspawn")),
            ("os-1-amd64.tar", "nspawn", Some("os-1-amd64.nspawn")),
            ("os-1-amd64.root.tar.xz", "roothash", None),
            ("os-1-amd64.raw", "sbom.json", None),
            ("os-1-amd64.raw", "usrhash", None),
            ("os-1-amd64.iso", "roothash", None),
            ("os-1-amd64.vmdk.xz", "roothash", None),
        ] {
            let name = attachment.parse().expect("a name");
            assert_eq!(side_file(artifact, &name).as_deref(), expected, "{artifact} {attachment}");
        }
    }
}
