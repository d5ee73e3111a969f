//! Notices compressed files of which the end is missing, by their last bytes. What is between these and the first bytes is
//! not read, so a change there is not noticed.

use crate::{
    fields::Fields,
    format::{Compressor, Contents},
    lz4,
    source::{MAX_READ, Source, read_up_to},
};
use flate2::Crc;

/// Bytes at the end that are searched for the last two blocks of Zstandard, which have at most 128 KiB each.
const TAIL: u64 = 2 * MAX_READ as u64;
/// Maximum number of xz streams that are checked, from the last one on.
const MAX_STREAMS: usize = 64;
const XZ_MAGIC: &[u8] = b"\xfd7zXZ\0";
/// Size of the header and of the footer of an xz stream.
const XZ_FRAME: u64 = 12;
const ZSTD_MAGIC: &[u8] = b"\x28\xb5\x2f\xfd";
/// Maximum size of a block of Zstandard, and of the header of a frame.
const ZSTD_BLOCK: usize = 128 << 10;
const ZSTD_HEADER: usize = 18;
/// Maximum number of bytes that look like the header of the last block; by chance, there is rarely more than one.
const MAX_CANDIDATES: usize = 64;
/// At the end of a table for seeking, which may be larger than what is searched.
const ZSTD_SEEKABLE: &[u8] = b"\xb1\xea\x92\x8f";
/// At the end of the last block of bzip2, before a checksum of 32 bits, at any bit.
const BZIP2_END: u64 = 0x1772_4538_5090;
const SECTOR: u32 = 512;

/// Whether the end of a compressed file that begins with `head` is missing, or is followed by something else. For gzip, that
/// shows only in a length which its content cannot have; for lzma, compress and lzop it does not show.
pub(crate) async fn is_missing<S: Source>(
    source: &S,
    head: &Fields,
    compressor: Compressor,
    contents: Option<Contents>,
) -> Result<bool, S::Error> {
    let size = source.size();
    // Others may follow an initial RAM disk, and a device tree a kernel.
    if matches!(contents, Some(Contents::Initrd | Contents::Kernel)) {
        return Ok(false);
    }
    Ok(match compressor {
        Compressor::Xz => !ends_xz(source).await?,
        Compressor::Zstd if head.has(0, ZSTD_MAGIC) || crate::detect::is_skippable(head) => {
            let start = size.saturating_sub(TAIL);
            let mut tail = read_up_to(source, start, MAX_READ as u64).await?;
            tail.extend(read_up_to(source, start + tail.len() as u64, MAX_READ as u64).await?);
            !ends_zstd(&tail)
        }
        Compressor::Gzip => {
            let trailer = Fields(read_up_to(source, size.saturating_sub(4), 4).await?);
            contents.is_some_and(is_in_sectors) && !trailer.le32(0).is_multiple_of(SECTOR)
        }
        Compressor::Bzip2 => {
            let tail = Fields(read_up_to(source, size.saturating_sub(16), 16).await?);
            let bits = u128::from_be_bytes(tail.bytes(0));
            // Up to seven bits fill the last byte.
            !(32..40).any(|shift| (bits >> shift) & 0xffff_ffff_ffff == u128::from(BZIP2_END))
        }
        Compressor::Lz4 if head.has(0, lz4::FRAME) => {
            let tail = Fields(read_up_to(source, size.saturating_sub(8), 8).await?);
            // The mark at the end, and perhaps a checksum after it.
            tail.le32(0) != 0 && tail.le32(4) != 0
        }
        Compressor::Lzip => {
            let trailer = Fields(read_up_to(source, size.saturating_sub(8), 8).await?);
            let start = size.checked_sub(trailer.le64(0));
            match start {
                Some(start) => read_up_to(source, start, 4).await? != b"LZIP",
                None => true,
            }
        }
        Compressor::Lz4 | Compressor::Lzma | Compressor::Compress | Compressor::Lzop | Compressor::Zstd => false,
    })
}

/// Whether the size of such files is always a multiple of 512 bytes; that of a raw disk may be any.
const fn is_in_sectors(contents: Contents) -> bool {
    matches!(
        contents,
        Contents::Iso
            | Contents::Qcow2
            | Contents::Vmdk
            | Contents::Vhd
            | Contents::Vhdx
            | Contents::Vdi
            | Contents::Tar
            | Contents::RootTar
            | Contents::Ova
    )
}

/// Whether the last streams of an xz file are whole: each ends with the sizes of its blocks ("The .xz File Format", 2.1.2 and 4).
async fn ends_xz<S: Source>(source: &S) -> Result<bool, S::Error> {
    let mut end = source.size();
    for _ in 0..MAX_STREAMS {
        let start = end.saturating_sub(MAX_READ as u64);
        let tail = read_up_to(source, start, end - start).await?;
        // Zeros fill the space after a stream.
        let zeros = tail.iter().rev().take_while(|byte| **byte == 0).count() as u64;
        end -= zeros;
        let Some(footer_at) = end.checked_sub(XZ_FRAME).filter(|at| *at >= start && zeros.is_multiple_of(4)) else {
            return Ok(false);
        };
        let footer = Fields(read_up_to(source, footer_at, XZ_FRAME).await?);
        if !footer.has(10, b"YZ") || footer.le32(0) != crc32(footer.slice(4..10)) {
            return Ok(false);
        }
        let length = (u64::from(footer.le32(4)) + 1) * 4;
        let Some(index_at) = footer_at.checked_sub(length) else { return Ok(false) };
        if length > MAX_READ as u64 {
            return Ok(true);
        }
        let index = Fields(read_up_to(source, index_at, length).await?);
        let sizes = blocks(&index).and_then(|blocks| index_at.checked_sub(blocks.checked_add(XZ_FRAME)?));
        let Some(start) = sizes else { return Ok(false) };
        let header = Fields(read_up_to(source, start, XZ_FRAME).await?);
        if !header.has(0, XZ_MAGIC) || header.slice(6..8) != footer.slice(8..10) {
            return Ok(false);
        }
        if start == 0 {
            return Ok(true);
        }
        end = start;
    }
    Ok(true)
}

/// The size of all blocks in an index of xz, if that is valid.
fn blocks(index: &Fields) -> Option<u64> {
    let (content, checksum) = index.0.split_last_chunk::<4>()?;
    if u32::from_le_bytes(*checksum) != crc32(content) {
        return None;
    }
    let mut rest = content.strip_prefix(b"\0")?;
    let count = number(&mut rest)?;
    let mut sum = 0_u64;
    for _ in 0..count {
        sum = sum.checked_add(number(&mut rest)?.checked_next_multiple_of(4)?)?;
        number(&mut rest)?;
    }
    Some(sum)
}

/// A number of up to 63 bits, seven in each byte.
fn number(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..63).step_by(7) {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.sum()
}

/// Whether a frame of Zstandard, or one that is skipped, ends where `tail` does (RFC 8878, section 3.1.1).
fn ends_zstd(tail: &[u8]) -> bool {
    let fields = |at: usize| Fields(tail.get(at..tail.len().min(at + 8)).unwrap_or_default().to_vec());
    let is_skipped = |at: usize| {
        let header = fields(at);
        crate::detect::is_skippable(&header) && usize::try_from(header.le32(4)) == Ok(tail.len() - at - 8)
    };
    let headers = tail.len().saturating_sub(7);
    if tail.ends_with(ZSTD_SEEKABLE) || (0..headers).any(|at| tail.get(at + 1) == Some(&b'\x2a') && is_skipped(at)) {
        return true;
    }
    // The header of a block is its end, its kind, and its size; a checksum may follow the last one.
    let ends_at = |at: usize, end: usize, is_last: bool| {
        let Some([one, two, three]) = tail.get(at..at + 3) else { return false };
        let size = usize::from(*one) >> 3 | usize::from(*two) << 5 | usize::from(*three) << 13;
        let length = match one >> 1 & 3 {
            0 | 2 => size,
            1 => 1,
            _ => return false,
        };
        (one & 1 == 1) == is_last && size <= ZSTD_BLOCK && at + 3 + length == end
    };
    let before = |at: usize| at.saturating_sub(ZSTD_BLOCK + 3)..at;
    let follows_another = |at: usize| {
        let header = tail.get(at.saturating_sub(ZSTD_HEADER)..at).unwrap_or_default();
        header.windows(4).any(|bytes| bytes == ZSTD_MAGIC) || before(at).any(|earlier| ends_at(earlier, at, false))
    };
    [0, 4]
        .into_iter()
        .filter_map(|checksum| tail.len().checked_sub(checksum))
        .any(|end| before(end).filter(|at| ends_at(*at, end, true)).take(MAX_CANDIDATES).any(follows_another))
}
