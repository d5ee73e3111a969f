//! What publish steps learn from the bytes of artifacts and attachments.

use crate::{
    digest::{ByteSize, Digest},
    ids::{ArtifactId, AttachmentId},
    names::{Format, string_enum},
    publish::StepName,
};

string_enum! {
    /// A format that was detected in the bytes of an artifact.
    DetectedFormat: "a detected format" {
        /// QEMU copy-on-write, version 2 or 3.
        Qcow2 = "qcow2",
        /// QEMU copy-on-write, version 1.
        Qcow = "qcow",
        /// QEMU Enhanced Disk.
        Qed = "qed",
        /// VMware disk.
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
        /// LUKS volume; never published.
        Luks = "luks",
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
}
