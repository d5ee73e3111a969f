//! Detects formats by their magic numbers.

use crate::source::{Source, read_up_to};

/// A format that was detected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DetectedFormat {
    /// QEMU copy-on-write, any version.
    Qcow2,
    /// VMware disk, sparse extent.
    Vmdk,
    /// Descriptor of a VMware disk whose data are in other files.
    VmdkDescriptor,
    /// Hyper-V disk.
    Vhdx,
    /// SquashFS, little-endian (version 4).
    Squashfs,
    /// ISO 9660, including hybrid images for USB media.
    Iso,
    /// A raw disk with a partition table (MBR or GPT).
    Raw,
    /// gzip (RFC 1952).
    Gzip,
    /// xz.
    Xz,
    /// Zstandard (RFC 8878).
    Zstd,
}

/// Offset of the magic in the volume descriptor of ISO 9660 (ECMA-119, 7.1.1): 16 sectors and the type byte.
const ISO_MAGIC_AT: u64 = 16 * 2048 + 1;

/// Magic numbers at offset 0.
const START: &[(&[u8], DetectedFormat)] = &[
    (b"QFI\xfb", DetectedFormat::Qcow2),
    (b"KDMV", DetectedFormat::Vmdk),
    (b"COWD", DetectedFormat::Vmdk),
    (b"# Disk DescriptorFile", DetectedFormat::VmdkDescriptor),
    (b"vhdxfile", DetectedFormat::Vhdx),
    (b"hsqs", DetectedFormat::Squashfs),
    (b"\x1f\x8b", DetectedFormat::Gzip),
    (b"\xfd7zXZ\0", DetectedFormat::Xz),
    (b"\x28\xb5\x2f\xfd", DetectedFormat::Zstd),
];

/// Detects the format by magic number; `None` if there is none. Reads less than 2 KiB.
pub async fn detect<S: Source>(source: &S) -> Result<Option<DetectedFormat>, S::Error> {
    let first = read_up_to(source, 0, 1024).await?;
    if let Some((_, format)) = START.iter().find(|(magic, _)| first.starts_with(magic)) {
        return Ok(Some(*format));
    }
    if source.size() >= ISO_MAGIC_AT + 5 && source.read(ISO_MAGIC_AT, 5).await? == b"CD001" {
        return Ok(Some(DetectedFormat::Iso));
    }
    let has_mbr = first.get(510..512) == Some(b"\x55\xaa");
    let has_gpt = first.get(512..520) == Some(b"EFI PART");
    Ok((has_mbr || has_gpt).then_some(DetectedFormat::Raw))
}
