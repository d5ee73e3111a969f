//! Detects formats by their magic numbers.

use crate::fields::Fields;
use std::fmt;

macro_rules! formats {
    ($($(#[$doc:meta])* $variant:ident = $name:literal),* $(,)?) => {
        /// A format that was detected.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum DetectedFormat { $($(#[$doc])* $variant),* }

        impl DetectedFormat {
            /// Every format, in order of declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The name, such as `qcow2`.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }
        }
    };
}

formats! {
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
    /// gzip (RFC 1952).
    Gzip = "gzip",
    /// xz.
    Xz = "xz",
    /// Zstandard (RFC 8878).
    Zstd = "zstd",
}

impl fmt::Display for DetectedFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Magic numbers of formats that are no disk images for a hypervisor, by their offsets. That of ISO 9660 is in the volume
/// descriptor (ECMA-119, 7.1.1), after 16 sectors and the type byte.
const MAGIC: &[(usize, &[u8], DetectedFormat)] = &[
    (0, b"hsqs", DetectedFormat::Squashfs),
    (0, b"\x1f\x8b", DetectedFormat::Gzip),
    (0, b"\xfd7zXZ\0", DetectedFormat::Xz),
    (0, b"\x28\xb5\x2f\xfd", DetectedFormat::Zstd),
    (16 * 2048 + 1, b"CD001", DetectedFormat::Iso),
    (510, b"\x55\xaa", DetectedFormat::Raw),
    (512, b"EFI PART", DetectedFormat::Raw),
];

/// The format of a file that is no disk image for a hypervisor, by its first bytes.
pub(crate) fn detect_other(head: &Fields) -> Option<DetectedFormat> {
    MAGIC.iter().find(|(at, magic, _)| head.has(*at, magic)).map(|(_, _, format)| *format)
}
