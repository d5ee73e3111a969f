//! What publish steps learn from the bytes of artifacts and attachments.

use crate::{
    digest::{ByteSize, Digest},
    ids::{ArtifactId, AttachmentId},
    names::{Format, PropertyName, string_enum},
    publish::StepName,
    text::ShortText,
};
use std::collections::BTreeMap;

string_enum! {
    /// A format that was detected in the bytes of an artifact.
    DetectedFormat: "a detected format" {
        /// QEMU copy-on-write.
        Qcow2 = "qcow2",
        /// VMware disk.
        Vmdk = "vmdk",
        /// Hyper-V disk.
        Vhdx = "vhdx",
        /// SquashFS.
        Squashfs = "squashfs",
        /// ISO 9660.
        Iso = "iso",
        /// A disk with a partition table.
        Raw = "raw",
        /// Data compressed with gzip.
        Gzip = "gzip",
        /// Data compressed with xz.
        Xz = "xz",
        /// Data compressed with Zstandard.
        Zstd = "zstd",
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
    /// Whether the bytes can be an artifact of `format`. Bytes that are no disk in another format can be a raw disk.
    pub fn matches(&self, format: Format) -> bool {
        let expected = match format {
            Format::Raw => {
                return matches!(
                    self.detected,
                    None | Some(DetectedFormat::Raw | DetectedFormat::Iso | DetectedFormat::Squashfs)
                );
            }
            Format::RawGz => DetectedFormat::Gzip,
            Format::RawXz | Format::RootTarXz => DetectedFormat::Xz,
            Format::RawZst => DetectedFormat::Zstd,
            Format::Qcow2 => DetectedFormat::Qcow2,
            Format::Iso => DetectedFormat::Iso,
            Format::Vmdk => DetectedFormat::Vmdk,
            Format::Vhdx => DetectedFormat::Vhdx,
            Format::Squashfs => DetectedFormat::Squashfs,
        };
        self.detected == Some(expected)
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

/// An artifact that Simple Streams will list once its version is published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IncusRow {
    /// The artifact.
    pub artifact: ArtifactId,
    /// The attachment with its metadata.
    pub attachment: AttachmentId,
    /// The SHA-256 of the metadata followed by the artifact.
    pub fingerprint: Digest,
    /// The properties in its metadata.
    pub properties: IncusProperties,
}

/// The properties in the metadata of an Incus image that streams show: `os`, `release` and `requirements.*`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct IncusProperties(BTreeMap<PropertyName, ShortText>);

impl IncusProperties {
    /// Maximum number of properties.
    pub const MAX: usize = 32;
    const REQUIREMENTS: &str = "requirements.";

    /// The properties of `all` that streams show. Those with an empty or invalid value are left out, and so are
    /// requirements beyond the maximum number.
    pub fn of(all: &BTreeMap<String, String>) -> Self {
        let is_shown = |name: &str| {
            matches!(name, "os" | "release")
                || name.strip_prefix(Self::REQUIREMENTS).is_some_and(|rest| !rest.is_empty())
        };
        // In alphabetical order, so that requirements come last.
        let shown = all.iter().filter(|(name, value)| is_shown(name) && !value.trim().is_empty());
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
        let shown = kept(&[("description", "x"), ("os", " Debian "), ("release", "12"), ("requirements.cgroup", "v2")]);
        let expected = [("os", "Debian"), ("release", "12"), ("requirements.cgroup", "v2")];
        assert_eq!(shown, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
        for bad in [("os", "a\nb"), ("os", "\u{202e}x"), ("release", " "), ("release", &long), ("requirements.", "x")] {
            assert_eq!(kept(&[bad]), [], "{bad:?}");
        }
        let many: Vec<_> = (0..40).map(|i| format!("requirements.{i}")).collect();
        let many: Vec<_> = many.iter().map(|name| (name.as_str(), "x")).chain([("release", "12")]).collect();
        assert_eq!(kept(&many).len(), IncusProperties::MAX);
        assert_eq!(kept(&many)[0].0, "release");
    }
}
