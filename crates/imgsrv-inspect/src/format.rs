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

impl Compressor {
    /// Whether there are formats of artifacts that are compressed so.
    pub const fn is_of_artifacts(self) -> bool {
        matches!(self, Self::Bzip2 | Self::Gzip | Self::Xz | Self::Zstd)
    }

    /// Whether the content can be inspected.
    pub(crate) const fn is_decompressed(self) -> bool {
        !matches!(self, Self::Lzop | Self::Compress)
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

impl DetectedFormat {
    /// The name of the artifact format of a file that is called `file_name`. The file name counts only where compressed
    /// bytes are not recognised: a tarball by its name is a root file system, anything else a raw disk. Not every name is
    /// one of an artifact format: there is none for a compressed SquashFS or for what is compressed twice.
    pub fn artifact_format(self, file_name: &str) -> String {
        match (self.contents, self.compressor) {
            // Boot loaders accept these in any compression.
            (Some(contents @ (Contents::Kernel | Contents::Initrd)), _) => contents.as_str().to_owned(),
            // Of an archive that is not compressed, nothing says that it is unpacked to `/`.
            (Some(Contents::RootTar), None) => Contents::Tar.as_str().to_owned(),
            // Of what is compressed so, there is no format of artifacts.
            (None, Some(compressor)) if self.again.is_some() || !compressor.is_of_artifacts() => self.to_string(),
            (Some(Contents::Ova), Some(compressor)) => format!("tar.{}", compressor.as_str()),
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
