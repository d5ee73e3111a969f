//! Detects formats that are no disk images for a hypervisor, by the first bytes.

use crate::{
    boot,
    fields::Fields,
    format::{Compressor, Contents},
    tarball,
};

/// Magic numbers, by their offsets. That of ISO 9660 is in the volume descriptor (ECMA-119, 7.1.1), after 16 sectors and
/// the type byte. The boot sector comes last, because other formats may have one.
const MAGIC: &[(usize, &[u8], Contents)] = &[
    (0, b"hsqs", Contents::Squashfs),
    (16 * 2048 + 1, b"CD001", Contents::Iso),
    (510, b"\x55\xaa", Contents::Raw),
    (512, b"EFI PART", Contents::Raw),
    (4096, b"EFI PART", Contents::Raw),
];

/// How a file is compressed.
pub(crate) fn compressor(head: &Fields) -> Option<Compressor> {
    let magic: [(&[u8], Compressor); 3] =
        [(b"\x1f\x8b", Compressor::Gzip), (b"\xfd7zXZ\0", Compressor::Xz), (b"\x28\xb5\x2f\xfd", Compressor::Zstd)];
    magic.into_iter().find(|(magic, _)| head.has(0, magic)).map(|(_, compressor)| compressor)
}

/// What a file is that is neither compressed nor a disk image for a hypervisor.
pub(crate) fn contents(head: &Fields) -> Option<Contents> {
    // A kernel has the signature of a boot sector as well.
    boot::detect(head)
        .or_else(|| tarball::detect(head))
        .or_else(|| MAGIC.iter().find(|(at, magic, _)| head.has(*at, magic)).map(|(_, _, contents)| *contents))
}
