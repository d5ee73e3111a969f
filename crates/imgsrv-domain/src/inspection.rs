//! What publish steps learn from the bytes of artifacts and attachments.

use crate::{
    digest::{ByteSize, Digest},
    ids::{ArtifactId, AttachmentId},
    names::{Format, PropertyName, UnknownValue, string_enum},
    publish::StepName,
    text::ShortText,
    time::Timestamp,
};
use std::{collections::BTreeMap, fmt, str::FromStr};

string_enum! {
    /// What bytes are, if they are not compressed.
    Contents: "the contents of a file" {
        /// QEMU copy-on-write, version 2 or 3.
        Qcow2 = "qcow2",
        /// QEMU copy-on-write, version 1.
        Qcow = "qcow",
        /// QEMU Enhanced Disk.
        Qed = "qed",
        /// `VMware` disk with data.
        Vmdk = "vmdk",
        /// Hyper-V disk.
        Vhdx = "vhdx",
        /// Virtual PC and Azure disk.
        Vhd = "vhd",
        /// `VirtualBox` disk.
        Vdi = "vdi",
        /// Parallels disk.
        Parallels = "parallels",
        /// Bochs disk.
        Bochs = "bochs",
        /// Compressed loop device.
        Cloop = "cloop",
        /// macOS image.
        Dmg = "dmg",
        /// LUKS volume.
        Luks = "luks",
        /// `SquashFS`, little-endian (version 4).
        Squashfs = "squashfs",
        /// ISO 9660, including hybrid images for USB media.
        Iso = "iso",
        /// A raw disk with a partition table (MBR or GPT).
        Raw = "raw",
        /// A tarball of a root file system.
        RootTar = "root.tar",
        /// A virtual appliance: a tarball that begins with an OVF descriptor.
        Ova = "ova",
        /// Another tarball.
        Tar = "tar",
        /// A kernel of Linux, such as a bzImage.
        Kernel = "kernel",
        /// An initial RAM disk: a cpio archive.
        Initrd = "initrd",
        /// An EFI program, such as a unified kernel image.
        Efi = "efi",
        /// A zip archive.
        Zip = "zip",
        /// A 7z archive.
        SevenZip = "7z",
        /// A RAR archive.
        Rar = "rar",
        /// A Windows image.
        Wim = "wim",
        /// An Android sparse image, which is no disk before it is expanded.
        Simg = "simg",
    }
}

string_enum! {
    /// How bytes are compressed.
    Compressor: "the extension of a compressed file" {
        /// bzip2.
        Bzip2 = "bz2",
        /// gzip (RFC 1952).
        Gzip = "gz",
        /// LZ4 frames, also the older ones of kernels and initial RAM disks.
        Lz4 = "lz4",
        /// xz.
        Xz = "xz",
        /// Zstandard (RFC 8878).
        Zstd = "zst",
        /// lzip, which is not decompressed by tools for xz.
        Lzip = "lz",
        /// The format of xz before it, `LZMA_Alone`.
        Lzma = "lzma",
        /// lzop; not decompressed.
        Lzop = "lzo",
        /// `compress`; not decompressed.
        Compress = "Z",
    }
}

/// A format that was detected. In text, such as `qcow2`, `qcow2.xz`, `gzip` for compressed bytes of an unknown format, or
/// `xz.gz` for what is compressed twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DetectedFormat {
    /// What the bytes are once they are decompressed; absent if that was not recognised.
    pub contents: Option<Contents>,
    /// How they are compressed.
    pub compressor: Option<Compressor>,
    /// How that which they contain is compressed, if they are compressed twice.
    pub again: Option<Compressor>,
}

impl fmt::Display for DetectedFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.contents.map(Contents::as_str).or(self.again.map(Compressor::as_str)), self.compressor) {
            (Some(contents), None) => f.write_str(contents),
            (Some(contents), Some(compressor)) => write!(f, "{contents}.{}", compressor.as_str()),
            (None, Some(Compressor::Bzip2)) => f.write_str("bzip2"),
            (None, Some(Compressor::Gzip)) => f.write_str("gzip"),
            (None, Some(Compressor::Lz4)) => f.write_str("lz4"),
            (None, Some(Compressor::Xz)) => f.write_str("xz"),
            (None, Some(Compressor::Zstd)) => f.write_str("zstd"),
            (None, Some(Compressor::Lzip)) => f.write_str("lzip"),
            (None, Some(Compressor::Lzma)) => f.write_str("lzma"),
            (None, Some(Compressor::Lzop)) => f.write_str("lzop"),
            (None, Some(Compressor::Compress)) => f.write_str("compress"),
            (None, None) => f.write_str("unknown"),
        }
    }
}

impl FromStr for DetectedFormat {
    type Err = UnknownValue;

    fn from_str(raw: &str) -> Result<Self, UnknownValue> {
        let unknown = |compressor| Self { compressor: Some(compressor), ..Self::default() };
        if let Some(compressor) = Compressor::ALL.iter().find(|compressor| unknown(**compressor).to_string() == raw) {
            return Ok(unknown(*compressor));
        }
        if let Some((again, compressor)) = raw.rsplit_once('.')
            && let Ok(again) = again.parse()
        {
            return Ok(Self { contents: None, compressor: Some(compressor.parse()?), again: Some(again) });
        }
        let (contents, compressor) = match raw.rsplit_once('.') {
            Some((contents, extension)) if contents.parse::<Contents>().is_ok() => (contents, Some(extension.parse()?)),
            _ => (raw, None),
        };
        Ok(Self { contents: Some(contents.parse()?), compressor, again: None })
    }
}

string_enum! {
    /// How clusters of a qcow2 are compressed.
    ClusterCompression: "a compression" {
        /// Deflate.
        Zlib = "zlib",
        /// Zstandard.
        Zstd = "zstd",
    }
}

/// The result of inspecting the bytes of an artifact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Inspection {
    /// The detected format; absent when none was recognised.
    pub detected: Option<DetectedFormat>,
    /// Of a qcow2: the size of the disk that the guest sees.
    pub virtual_size: Option<ByteSize>,
    /// Of a qcow2: the size of a cluster.
    pub cluster_size: Option<ByteSize>,
    /// Of a qcow2: the compression of those clusters that are compressed.
    pub compression: Option<ClusterCompression>,
}

impl Inspection {
    /// Whether the bytes can be an artifact of `format`. Bytes that are no disk in another format can be a raw disk, and
    /// compressed bytes of no known format can be anything.
    pub fn matches(&self, format: Format) -> bool {
        // What files of a format are has the same name.
        let Ok(expected) = format.as_str().parse::<DetectedFormat>() else { return false };
        let Some(detected) = self.detected else {
            // An initial RAM disk may be compressed in a way that is not recognised.
            return matches!(format, Format::Raw | Format::Initrd);
        };
        // Boot loaders accept these in any compression.
        let is_boot = matches!(expected.contents, Some(Contents::Kernel | Contents::Initrd));
        if detected.compressor != expected.compressor && !is_boot {
            return false;
        }
        match (expected.contents, detected.contents) {
            (_, None) => detected.again.is_none() || is_boot,
            // A fixed VHD is a raw disk with a footer, which is not read in a compressed file.
            (Some(Contents::Vhd), Some(Contents::Raw | Contents::Iso | Contents::Squashfs)) => {
                expected.compressor.is_some()
            }
            (Some(Contents::Raw), Some(Contents::Iso | Contents::Squashfs))
            | (Some(Contents::Tar), Some(Contents::RootTar | Contents::Ova)) => true,
            (expected, detected) => expected == detected,
        }
    }
}

/// A fault that a publish step found and that does not prevent publication.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// The step that found it.
    pub step: StepName,
    /// The artifact that has it.
    pub artifact: ArtifactId,
    /// A description for people.
    pub reason: String,
}

string_enum! {
    /// The kind of instance that an Incus image creates.
    ImageKind: "container or virtual-machine" {
        /// A container.
        Container = "container",
        /// A virtual machine.
        VirtualMachine = "virtual-machine",
    }
}

/// How the parts of an Incus image are distributed over files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IncusLayout<M> {
    /// The metadata is one file, and the root another.
    Split(M),
    /// Both are in one tarball, the artifact, for instances of this kind.
    Unified(ImageKind),
}

/// An artifact that Simple Streams will list once its version is published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IncusRow {
    /// The artifact.
    pub artifact: ArtifactId,
    /// The attachment with its metadata, if it is not unified.
    pub layout: IncusLayout<AttachmentId>,
    /// The SHA-256 of the metadata followed by the artifact, or of the unified image.
    pub fingerprint: Digest,
    /// The properties in its metadata.
    pub properties: IncusProperties,
    /// When the image expires, according to its metadata.
    pub expires_at: Option<Timestamp>,
}

/// The properties in the metadata of an Incus image that streams show: `description`, `os`, `release`, `variant` and
/// `requirements.*`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct IncusProperties(BTreeMap<PropertyName, ShortText>);

impl IncusProperties {
    /// Maximum number of properties.
    pub const MAX: usize = 32;
    const REQUIREMENTS: &str = "requirements.";
    /// The properties that are not requirements.
    const NAMED: [&str; 4] = ["description", "os", "release", "variant"];

    /// The properties of `all` that streams show. Those with an empty or invalid value are left out, and so are
    /// requirements beyond the maximum number.
    pub fn of(all: &BTreeMap<String, String>) -> Self {
        let is_requirement =
            |(name, _): &(&String, &String)| name.strip_prefix(Self::REQUIREMENTS).is_some_and(|rest| !rest.is_empty());
        let named = Self::NAMED.iter().filter_map(|name| all.get_key_value(*name));
        let shown = named.chain(all.iter().filter(is_requirement)).filter(|(_, value)| !value.trim().is_empty());
        let valid = shown.filter_map(|(name, value)| Some((name.parse().ok()?, value.trim().parse().ok()?)));
        Self(valid.take(Self::MAX).collect())
    }

    /// All properties.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The operating system.
    pub fn os(&self) -> Option<&str> {
        self.get("os")
    }

    /// The release of the operating system.
    pub fn release(&self) -> Option<&str> {
        self.get("release")
    }

    /// The variant.
    pub fn variant(&self) -> Option<&str> {
        self.get("variant")
    }

    /// The description.
    pub fn description(&self) -> Option<&str> {
        self.get("description")
    }

    /// The configuration that instances require, without the prefix `requirements.`.
    pub fn requirements(&self) -> impl Iterator<Item = (&str, &str)> {
        self.iter().filter_map(|(name, value)| Some((name.strip_prefix(Self::REQUIREMENTS)?, value)))
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.iter().find_map(|(key, value)| (key == name).then_some(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_bounded_properties_that_streams_show_are_kept() {
        let long = "x".repeat(257);
        let kept = |entries: &[(&str, &str)]| -> Vec<(String, String)> {
            let all = entries.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
            IncusProperties::of(&all).iter().map(owned).collect()
        };
        let shown = kept(&[("serial", "x"), ("os", " Debian "), ("release", "12"), ("requirements.cgroup", "v2")]);
        let expected = [("os", "Debian"), ("release", "12"), ("requirements.cgroup", "v2")];
        assert_eq!(shown, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
        for bad in [("os", "a\nb"), ("os", "\u{202e}x"), ("release", " "), ("release", &long), ("requirements.", "x")] {
            assert_eq!(kept(&[bad]), [], "{bad:?}");
        }
        let many: Vec<_> = (0..40).map(|i| format!("requirements.{i}")).collect();
        let many = many.iter().map(|name| (name.as_str(), "x"));
        let many: Vec<_> = many.chain([("release", "12"), ("variant", "cloud"), ("description", "x")]).collect();
        let (names, last): (Vec<_>, _) =
            (kept(&many).into_iter().map(|(name, _)| name).collect(), IncusProperties::MAX - 1);
        assert_eq!(
            (names.len(), names[0].as_str(), names[1].as_str()),
            (IncusProperties::MAX, "description", "release")
        );
        assert_eq!(names[last], "variant");
    }

    fn matches(detected: &str, format: &str) -> bool {
        let detected = Some(detected.parse().expect("a detected format"));
        let inspection = Inspection { detected, ..Inspection::default() };
        inspection.matches(format.parse().expect("a format"))
    }

    #[test]
    fn every_format_matches_itself_alone() {
        for format in Format::ALL {
            for other in Format::ALL {
                let is_looser = match (format.as_str(), other.as_str()) {
                    ("raw", "iso" | "squashfs") | ("tar", "ova") => true,
                    (raw, iso) if raw.starts_with("raw.") => iso == raw.replace("raw", "iso"),
                    (vhd, other) if vhd.starts_with("vhd.") => {
                        ["raw", "iso"].iter().any(|fixed| other == vhd.replace("vhd", fixed))
                    }
                    (tar, root) if tar.starts_with("tar.") => root == format!("root.{tar}"),
                    _ => false,
                };
                assert_eq!(
                    matches(other.as_str(), format.as_str()),
                    format == other || is_looser,
                    "{other} as {format}"
                );
            }
        }
    }

    #[test]
    fn unknown_contents_are_not_held_against_a_format() {
        assert!(matches("xz", "raw.xz") && matches("xz", "root.tar.xz") && matches("gzip", "qcow2.gz"));
        assert!(matches("bzip2", "raw.bz2") && !matches("bzip2", "raw.gz"));
        assert!(!matches("xz", "raw.gz") && !matches("zstd", "raw") && !matches("lz4", "raw"));
        assert!(matches("initrd.lz4", "initrd") && matches("initrd.bz2", "initrd") && matches("lz4", "initrd"));
        assert!(matches("initrd.zst", "initrd") && matches("kernel.gz", "kernel") && !matches("initrd.xz", "raw.xz"));
        assert!(matches("lzma", "initrd") && matches("lzop", "kernel") && !matches("lzma", "raw.xz"));
        assert!(!matches("compress", "raw.gz") && !matches("qcow2.lz", "qcow2.xz") && !matches("zip", "raw"));
        assert!(!matches("xz.gz", "raw.gz") && !matches("zip.xz", "raw.xz") && !matches("simg", "raw"));
        assert!(Inspection::default().matches(Format::Initrd));
        assert!(Inspection::default().matches(Format::Raw) && !Inspection::default().matches(Format::Iso));
        for text in ["", ".xz", "xz.xyz", "floppy", "qcow2.lzh", "unknown"] {
            assert!(text.parse::<DetectedFormat>().is_err(), "{text}");
        }
    }
}
