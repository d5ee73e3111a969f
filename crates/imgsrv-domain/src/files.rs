//! File names of the artifacts and attachments of a version.

use crate::{
    architecture,
    names::{Architecture, AttachmentName, Format, ImageName, Variant, VersionName},
};
use std::collections::{BTreeMap, BTreeSet};

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

/// The names of an artifact's file.
pub fn artifact_names(
    image: &ImageName,
    version: &VersionName,
    architecture: &Architecture,
    variant: &Variant,
    format: Format,
) -> Names {
    let named = |architecture| artifact_file(image, version, architecture, variant, format);
    Names { own: named(architecture), canonical: named(&architecture.canonical()) }
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

/// Whether `one` and `other` are names of the same file of this version, in different spellings of its architecture.
pub fn is_respelled(image: &ImageName, version: &VersionName, one: &str, other: &str) -> bool {
    let after = |file| after_version(image, version, file).and_then(architecture::at_start);
    after(one).is_some_and(|found| after(other) == Some(found))
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

/// The names of a file of a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    /// Its own, with the architecture as it was given.
    pub own: String,
    /// That with the canonical name of its architecture, which no other file has.
    pub canonical: String,
}

impl Names {
    /// Those of the attachment of an artifact with these names.
    #[must_use]
    pub fn of_attachment(&self, name: &AttachmentName) -> Self {
        let of = |file| attachment_file(file, name);
        Self { own: of(&self.own), canonical: of(&self.canonical) }
    }

    /// Every name that the file takes in the folder of its version: these, and those of their checksums.
    pub fn taken(&self) -> Vec<String> {
        let mut taken = names_taken_by(&self.own).to_vec();
        if self.canonical != self.own {
            taken.extend(names_taken_by(&self.canonical));
        }
        taken
    }
}

/// A name that a file has in its folder, and that of its checksum. The other names that the server generates there,
/// [`CHECKSUMS`] and the folder `versioned`, are no names of files, which begin with that of an image and a dash.
pub fn names_taken_by(file: &str) -> [String; 2] {
    [checksum_file(file), file.to_owned()]
}

/// Why the files of a version cannot have their names.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameClash {
    /// Two files have the same name.
    #[error("two files would have the same name, {0}")]
    Twice(String),
    /// A file has the name of one that the server generates.
    #[error("{name} is the name of the file with the checksum of {of}, which the server generates")]
    Generated {
        /// The name.
        name: String,
        /// The file whose checksum has it.
        of: String,
    },
    /// The names of two files differ only in how they spell one architecture.
    #[error("{one} and {other} would be the same file, because their architectures are the same")]
    Respelled {
        /// One name.
        one: String,
        /// The other name.
        other: String,
    },
}

/// Checks that no two files of a version, nor what the server generates for them, have the same name.
pub fn check_names<'f>(files: impl IntoIterator<Item = &'f str>) -> Result<(), NameClash> {
    let mut all = BTreeSet::new();
    if let Some(twice) = files.into_iter().find(|file| !all.insert(*file)) {
        return Err(NameClash::Twice(twice.to_owned()));
    }
    let of = |name: &str| checksummed_file(name).filter(|of| all.contains(of)).map(str::to_owned);
    match all.iter().find_map(|name| Some(((*name).to_owned(), of(name)?))) {
        Some((name, of)) => Err(NameClash::Generated { name, of }),
        None => Ok(()),
    }
}

/// Checks that no two files of a version differ only in how they spell an architecture.
pub fn check_spellings(files: impl IntoIterator<Item = Names>) -> Result<(), NameClash> {
    let mut all = BTreeMap::new();
    for Names { own, canonical } in files {
        if let Some(one) = all.insert(canonical, own.clone()).filter(|one| *one != own) {
            return Err(NameClash::Respelled { one, other: own });
        }
    }
    Ok(())
}

/// Name of the attachment that holds the metadata of an Incus image.
pub const INCUS_METADATA: &str = "incus.tar.xz";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_may_not_have_the_names_of_generated_ones() {
        let clash = |files: &[&str]| check_names(files.iter().copied()).map_err(|clash| clash.to_string());
        assert_eq!(clash(&["a-1-x.raw", "a-1-x.raw.asc", "a-1-x.raw.sha256.asc", "a-1-y.raw"]), Ok(()));
        assert_eq!(clash(&["b", "a", "b"]), Err("two files would have the same name, b".to_owned()));
        for files in [["a-1-x.raw", "a-1-x.raw.sha256"], ["a.sbom.sha256", "a.sbom"]] {
            let refused = clash(&files).expect_err("the name of a checksum");
            assert!(refused.contains(".sha256 is the name of the file with the checksum of"), "{refused}");
        }
        for file in ["a-1-x.raw", "sha256sums-1-x.raw", "versioned-1-x.raw"] {
            assert!(!names_taken_by(file).iter().any(|name| name == CHECKSUMS || name == "versioned"), "{file}");
        }
    }

    #[test]
    fn files_may_not_differ_in_the_spelling_of_an_architecture_alone() {
        let names = |architecture: &str| {
            let (image, version) = ("os".parse().expect("a name"), "1".parse().expect("a name"));
            artifact_names(&image, &version, &architecture.parse().expect("a name"), &Variant::default(), Format::Raw)
        };
        assert_eq!(check_spellings(["amd64", "arm64", "Potato"].map(names)), Ok(()));
        let clash = check_spellings(["arm64", "X86_64", "amd64"].map(names)).expect_err("the same file");
        assert!(clash.to_string().starts_with("os-1-X86_64.raw and os-1-amd64.raw would be the same"), "{clash}");
        let attached = names("x86-64").of_attachment(&"sbom".parse().expect("a name"));
        let taken: BTreeSet<String> = attached.taken().into_iter().collect();
        let expected = ["os-1-amd64.raw.sbom", "os-1-x86-64.raw.sbom"].map(names_taken_by);
        assert_eq!(taken, expected.into_iter().flatten().collect());
        assert_eq!(names("amd64").taken().len(), 2);
    }

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
