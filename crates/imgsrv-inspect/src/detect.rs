//! Detects formats that are no disk images for a hypervisor, by the first bytes.

use crate::{
    boot,
    fields::Fields,
    format::{Compressor, Contents},
    lz4, tarball,
};

/// Magic numbers, by their offsets. That of ISO 9660 is in the volume descriptor (ECMA-119, 7.1.1), after 16 sectors and
/// the type byte. The boot sector comes last, because other formats may have one.
const MAGIC: &[(usize, &[u8], Contents)] = &[
    (0, b"PK\x03\x04", Contents::Zip),
    (0, b"7z\xbc\xaf\x27\x1c", Contents::SevenZip),
    (0, b"Rar!\x1a\x07", Contents::Rar),
    (0, b"MSWIM\0\0\0", Contents::Wim),
    (0, b"\x3a\xff\x26\xed", Contents::Simg),
    (0, b"hsqs", Contents::Squashfs),
    (16 * 2048 + 1, b"CD001", Contents::Iso),
    (510, b"\x55\xaa", Contents::Raw),
    (512, b"EFI PART", Contents::Raw),
    (4096, b"EFI PART", Contents::Raw),
];

/// Whether the bytes are those of a frame that decoders of Zstandard and LZ4 skip. `pzstd` puts one before each frame.
pub(crate) fn is_skippable(head: &Fields) -> bool {
    head.slice(0..1).first().is_some_and(|first| first & 0xf0 == 0x50) && head.has(1, b"\x2a\x4d\x18")
}

/// How a file is compressed. One that begins with a frame to skip may be Zstandard or LZ4.
pub(crate) fn compressor(head: &Fields) -> Option<Compressor> {
    let magic: [(&[u8], Compressor); 7] = [
        // The method is always deflate.
        (b"\x1f\x8b\x08", Compressor::Gzip),
        (b"\xfd7zXZ\0", Compressor::Xz),
        (b"\x28\xb5\x2f\xfd", Compressor::Zstd),
        (lz4::FRAME, Compressor::Lz4),
        (lz4::LEGACY, Compressor::Lz4),
        (b"LZIP\x01", Compressor::Lzip),
        (b"\x89LZO\0\r\n\x1a\n", Compressor::Lzop),
    ];
    // The size of blocks in units of 100 kB, and the magic number of the first block or of the end.
    let bzip2 = [&b"\x31\x41\x59\x26\x53\x59"[..], b"\x17\x72\x45\x38\x50\x90"];
    let is_bzip2 = head.has(0, b"BZh") && bzip2.into_iter().any(|magic| head.has(4, magic));
    if is_bzip2 {
        return Some(Compressor::Bzip2);
    }
    // Frames of Zstandard before 0.8, which `zstd -d` decompresses as well.
    let is_older = (0x22..0x28).contains(&head.bytes::<1>(0)[0]) && head.has(1, b"\xb5\x2f\xfd");
    if is_older || is_skippable(head) {
        return Some(Compressor::Zstd);
    }
    // The third byte contains the maximum size of codes, 9 to 16 bits.
    if head.has(0, b"\x1f\x9d") && (9..=16).contains(&(head.bytes::<1>(2)[0] & 0x7f)) {
        return Some(Compressor::Compress);
    }
    let found = magic.into_iter().find(|(magic, _)| head.has(0, magic)).map(|(_, compressor)| compressor);
    found.or_else(|| is_lzma(head).then_some(Compressor::Lzma))
}

/// Whether a file begins with the header of `LZMA_Alone`, which has no magic number: the usual properties, a dictionary of a
/// size that `xz` accepts, a length that is unknown or less than 256 GiB, and the first byte of the range coder.
fn is_lzma(head: &Fields) -> bool {
    let (dictionary, length) = (head.le32(1), head.le64(5));
    let is_size = dictionary >= 4096 && (dictionary.is_power_of_two() || (dictionary / 3 * 2).is_power_of_two());
    let is_length = length == u64::MAX || length < 256 << 30;
    head.0.len() > 13 && head.has(0, b"\x5d") && is_size && is_length && head.has(13, b"\0")
}

/// What a file is that is neither compressed nor a disk image for a hypervisor.
pub(crate) fn contents(head: &Fields) -> Option<Contents> {
    // A kernel has the signature of a boot sector as well.
    boot::detect(head)
        .or_else(|| tarball::detect(head))
        .or_else(|| MAGIC.iter().find(|(at, magic, _)| head.has(*at, magic)).map(|(_, _, contents)| *contents))
}
