//! What the name of a file says about its format.

use imgsrv_client::Format;
use imgsrv_domain::inspection::{Compressor, Contents, DetectedFormat};

/// Ends of names, without the dot, and what files of such a name contain.
const CONTENTS: &[(&str, Contents)] = &[
    ("raw", Contents::Raw),
    ("qcow2", Contents::Qcow2),
    ("qcow", Contents::Qcow),
    ("qed", Contents::Qed),
    ("vmdk", Contents::Vmdk),
    ("vhd", Contents::Vhd),
    ("vhdx", Contents::Vhdx),
    ("vdi", Contents::Vdi),
    ("dmg", Contents::Dmg),
    ("iso", Contents::Iso),
    ("squashfs", Contents::Squashfs),
    ("sqfs", Contents::Squashfs),
    ("tar", Contents::Tar),
    ("ova", Contents::Ova),
    ("efi", Contents::Efi),
    ("zip", Contents::Zip),
    ("7z", Contents::SevenZip),
    ("rar", Contents::Rar),
    ("wim", Contents::Wim),
    ("simg", Contents::Simg),
];
/// Ends of names, and how files of such a name are compressed.
const COMPRESSORS: &[(&str, Compressor)] = &[
    ("bz2", Compressor::Bzip2),
    ("gz", Compressor::Gzip),
    ("lz", Compressor::Lzip),
    ("lz4", Compressor::Lz4),
    ("lzma", Compressor::Lzma),
    ("lzo", Compressor::Lzop),
    ("xz", Compressor::Xz),
    ("zst", Compressor::Zstd),
    ("zstd", Compressor::Zstd),
    ("z", Compressor::Compress),
];
/// Ends of names of compressed tarballs.
const TARBALLS: &[(&str, Compressor)] = &[
    ("tbz", Compressor::Bzip2),
    ("tbz2", Compressor::Bzip2),
    ("tgz", Compressor::Gzip),
    ("txz", Compressor::Xz),
    ("tzst", Compressor::Zstd),
];

fn find<T: Copy>(table: &[(&str, T)], end: &str) -> Option<T> {
    table.iter().find(|(known, _)| *known == end).map(|(_, value)| *value)
}

/// What a file's name says about its format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct FileName {
    /// What it contains.
    contents: Option<Contents>,
    /// How that is compressed.
    compressor: Option<Compressor>,
    /// How it was compressed before that.
    again: Option<Compressor>,
    /// Whether it is one of names such as `disk.img`, which raw disks have, and other files as well.
    is_image: bool,
}

impl FileName {
    pub(crate) fn of(name: &str) -> Self {
        let name = name.to_ascii_lowercase();
        // The kernel and initial RAM disk in `/boot` have no extension, but perhaps a version with dots.
        let starts = |stems: &[&str]| stems.iter().any(|stem| name.starts_with(stem));
        if starts(&["vmlinuz", "vmlinux", "bzimage"]) {
            return Self { contents: Some(Contents::Kernel), ..Self::default() };
        }
        if starts(&["initrd", "initramfs"]) {
            return Self { contents: Some(Contents::Initrd), ..Self::default() };
        }
        let (rest, end) = name.rsplit_once('.').unwrap_or((&name, ""));
        if let Some(compressor) = find(TARBALLS, end) {
            return Self { contents: Some(Contents::Tar), compressor: Some(compressor), ..Self::default() };
        }
        let compressor = find(COMPRESSORS, end);
        let end = if compressor.is_some() { rest.rsplit_once('.').map_or("", |(_, end)| end) } else { end };
        let again = find(COMPRESSORS, end).filter(|_| compressor.is_some());
        Self { contents: find(CONTENTS, end), compressor, again, is_image: end == "img" }
    }

    /// The format that it is called after, in text such as `qcow2.xz`; absent if it says nothing.
    pub(crate) fn format(self) -> Option<String> {
        let Self { contents, compressor, again, .. } = self;
        (self != Self::default() && !(self.is_image && compressor.is_none()))
            .then(|| DetectedFormat { contents, compressor, again }.to_string())
    }

    /// The format of bytes that are not recognised, if the name is one that such bytes have.
    pub(crate) fn of_unknown(self) -> Option<Format> {
        match self.contents {
            Some(Contents::Initrd) => Some(Format::Initrd),
            Some(Contents::Raw) => Some(Format::Raw).filter(|_| self.compressor.is_none()),
            _ => Some(Format::Raw).filter(|_| self.is_image && self.compressor.is_none()),
        }
    }

    /// The format of a fixed VHD, if the name is that of a compressed one, and the bytes are those of a compressed disk: the
    /// only difference of a fixed VHD is at its end.
    pub(crate) fn of_fixed_vhd(self, format: Format) -> Option<String> {
        let is_raw = self.compressor.is_some_and(|by| format.as_str() == format!("raw.{}", by.as_str()));
        self.format().filter(|_| is_raw && self.contents == Some(Contents::Vhd) && self.again.is_none())
    }

    /// Whether files of this name have the format that was recognised.
    pub(crate) fn agrees_with(self, format: Format) -> bool {
        let Ok(is) = format.as_str().parse::<DetectedFormat>() else { return false };
        let is_boot = matches!(is.contents, Some(Contents::Kernel | Contents::Initrd));
        // What a name says nothing about can be anything. Boot loaders take kernels and RAM disks in any compression.
        let is_compressed_so = match self.compressor {
            Some(compressor) => is.compressor == Some(compressor) || is_boot,
            None => is.compressor.is_none() || self.contents.is_none() || is_boot,
        };
        let contains_so = match (self.contents, is.contents) {
            (None, _) | (Some(Contents::Tar), Some(Contents::RootTar)) => true,
            // Once it is compressed, an appliance is published as a tarball.
            (Some(Contents::Ova), Some(Contents::Tar)) => is.compressor.is_some(),
            (named, is) => named == is,
        };
        is_compressed_so && contains_so && self.again.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_agree_with_formats_that_they_do_not_contradict() {
        let agrees = |name: &str, format: &str| FileName::of(name).agrees_with(format.parse().expect("a format"));
        for (name, formats) in [
            ("disk", "raw qcow2 qcow2.xz tar iso kernel"),
            ("disk.img", "raw qcow2 raw.xz iso"),
            ("debian-12.5.0-amd64.qcow2", "qcow2"),
            ("FreeBSD-14.2-amd64.VHD.xz", "vhd.xz"),
            ("disk.img.xz", "raw.xz qcow2.xz iso.xz"),
            ("disk.xz", "raw.xz root.tar.xz"),
            ("rootfs.tar.xz", "root.tar.xz tar.xz"),
            ("rootfs.tgz", "root.tar.gz tar.gz"),
            ("rootfs.squashfs", "squashfs"),
            ("appliance.ova.gz", "tar.gz"),
            ("vmlinuz-6.12.1-amd64", "kernel"),
            ("initrd.img-6.12.1-amd64", "initrd"),
            ("initramfs-linux.img", "initrd"),
            ("linux.efi", "efi"),
        ] {
            for format in formats.split(' ') {
                assert!(agrees(name, format), "{name} as {format}");
            }
        }
        for (name, formats) in [
            ("disk.qcow2", "raw vmdk qcow2.xz"),
            ("disk.raw", "qcow2 iso raw.gz kernel"),
            ("disk.qcow2.xz", "raw.xz qcow2 qcow2.gz"),
            ("disk.img.xz", "raw raw.gz"),
            ("disk.vhd", "vhdx raw"),
            ("rootfs.tar.xz", "raw.xz tar tar.gz"),
            ("appliance.ova", "tar"),
            ("vmlinuz", "efi raw"),
            ("initrd.img", "raw kernel"),
            ("rootfs.squashfs.xz", "raw.xz"),
            ("disk.raw.xz.gz", "raw.gz"),
            ("disk.zip.xz", "raw.xz"),
            ("disk.img.lzma", "raw.xz"),
        ] {
            for format in formats.split(' ') {
                assert!(!agrees(name, format), "{name} as {format}");
            }
        }
    }

    #[test]
    fn names_of_bytes_that_are_not_recognised() {
        let of = |name: &str| FileName::of(name).of_unknown().map(Format::as_str);
        assert_eq!((of("a.raw"), of("a.IMG"), of("initrd.img")), (Some("raw"), Some("raw"), Some("initrd")));
        assert_eq!((of("a"), of("a.qcow2"), of("a.img.xz"), of("a.raw.gz")), (None, None, None, None));
        let format = |name: &str| FileName::of(name).format();
        assert_eq!((format("a.qcow2.xz").as_deref(), format("a.img"), format("a")), (Some("qcow2.xz"), None, None));
        assert_eq!(format("a.img.gz").as_deref(), Some("gzip"));
        assert_eq!((format("a.raw.xz.gz").as_deref(), format("a.Z").as_deref()), (Some("xz.gz"), Some("compress")));
        let fixed = |name: &str, format: &str| FileName::of(name).of_fixed_vhd(format.parse().expect("a format"));
        assert_eq!(fixed("a.VHD.gz", "raw.gz").as_deref(), Some("vhd.gz"));
        assert_eq!(
            (fixed("a.vhd.gz", "qcow2.gz"), fixed("a.vhd.gz", "raw.xz"), fixed("a.vhd", "raw")),
            (None, None, None)
        );
    }
}
