//! The formats that are detected.

use std::fmt;

macro_rules! named {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name { $($(#[$vdoc])* $variant),* }

        impl $name {
            /// Every value, in order of declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The name.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),* }
            }
        }
    };
}

named! {
    /// What bytes are, if they are not compressed.
    Contents {
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
    }
}

named! {
    /// How bytes are compressed.
    Compressor {
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
    }
}

/// A format that was detected. In text, such as `qcow2`, `qcow2.xz`, or `gzip` for compressed bytes of an unknown format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DetectedFormat {
    /// What the bytes are once they are decompressed; absent if that was not recognised.
    pub contents: Option<Contents>,
    /// How they are compressed.
    pub compressor: Option<Compressor>,
}

impl DetectedFormat {
    /// The name of the artifact format of a file that is called `file_name`. The file name counts only where compressed
    /// bytes are not recognised: a tarball by its name is a root file system, anything else a raw disk. Not every name is
    /// one of an artifact format.
    pub fn artifact_format(self, file_name: &str) -> String {
        match (self.contents, self.compressor) {
            // Boot loaders accept these in any compression.
            (Some(contents @ (Contents::Kernel | Contents::Initrd)), _) => contents.as_str().to_owned(),
            // Of an archive that is not compressed, nothing says that it is unpacked to `/`.
            (Some(Contents::RootTar), None) => Contents::Tar.as_str().to_owned(),
            // Of what is compressed so, there is no format of artifacts.
            (None, Some(Compressor::Lz4)) => self.to_string(),
            (Some(Contents::Ova), Some(compressor)) => format!("tar.{}", compressor.as_str()),
            (Some(Contents::Squashfs), Some(compressor)) => format!("raw.{}", compressor.as_str()),
            (None, Some(compressor)) => {
                let end = format!("tar.{}", compressor.as_str());
                let is_tarball = file_name.to_ascii_lowercase().ends_with(&format!(".{end}"));
                if is_tarball { format!("root.{end}") } else { format!("raw.{}", compressor.as_str()) }
            }
            _ => self.to_string(),
        }
    }
}

impl fmt::Display for DetectedFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.contents, self.compressor) {
            (Some(contents), None) => f.write_str(contents.as_str()),
            (Some(contents), Some(compressor)) => write!(f, "{}.{}", contents.as_str(), compressor.as_str()),
            (None, Some(Compressor::Bzip2)) => f.write_str("bzip2"),
            (None, Some(Compressor::Gzip)) => f.write_str("gzip"),
            (None, Some(Compressor::Lz4)) => f.write_str("lz4"),
            (None, Some(Compressor::Xz)) => f.write_str("xz"),
            (None, Some(Compressor::Zstd)) => f.write_str("zstd"),
            (None, None) => f.write_str("unknown"),
        }
    }
}
