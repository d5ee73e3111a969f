//! What publishing finds out about the bytes of artifacts.

use crate::{
    digest::{ByteSize, Digest},
    ids::{ArtifactId, AttachmentId},
    names::{Format, words},
    publish::StepName,
};

words! {
    /// A format that bytes were recognised as by their magic numbers.
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
        /// Anything compressed with gzip.
        Gzip = "gzip",
        /// Anything compressed with xz.
        Xz = "xz",
        /// Anything compressed with Zstandard.
        Zstd = "zstd",
    }
}

words! {
    /// How clusters of a qcow2 are compressed.
    ClusterCompression: "a compression" {
        /// Deflate.
        Zlib = "zlib",
        /// Zstandard.
        Zstd = "zstd",
    }
}

/// What the bytes of an artifact say of themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Inspection {
    /// What they were recognised as, if they were.
    pub detected: Option<DetectedFormat>,
    /// Of a qcow2: how many bytes the disk has for its guest.
    pub virtual_size: Option<ByteSize>,
    /// Of a qcow2: how many bytes are allocated at once.
    pub cluster_size: Option<ByteSize>,
    /// Of a qcow2: how clusters are compressed, where they are.
    pub compression: Option<ClusterCompression>,
}

impl Inspection {
    /// Whether the bytes can be what an artifact of `format` promises. Anything that is not a disk in another format can
    /// be a raw disk.
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

/// Something that a publish step found wrong without failing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// The step.
    pub step: StepName,
    /// The artifact it is about.
    pub artifact: ArtifactId,
    /// What is wrong, for people.
    pub reason: String,
}

/// An artifact that Simple Streams list once its version is published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IncusRow {
    /// The artifact.
    pub artifact: ArtifactId,
    /// Its metadata.
    pub attachment: AttachmentId,
    /// The SHA-256 of metadata and artifact, one after the other.
    pub fingerprint: Digest,
}
