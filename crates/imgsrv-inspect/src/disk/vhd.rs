//! Virtual PC and Azure disk (Microsoft, "Virtual Hard Disk Image Format Specification").

use super::{
    image::Image,
    problem::{Problem, Stop},
};
use crate::{fields::Fields, source::Source};

/// Magic number of the footer, and of the copy with which all but fixed disks begin.
pub(super) const MAGIC: &[u8] = b"conectix";
const FOOTER: u64 = 512;
const DYNAMIC_HEADER: u64 = 1024;
const FIXED: u32 = 2;
const DYNAMIC: u32 = 3;
const DIFFERENCING: u32 = 4;
const UNALLOCATED: u32 = u32::MAX;
/// Limit of the allocation table: 2 TiB in blocks of 512 KiB.
const MAX_TABLE_BYTES: u64 = 16 << 20;

/// Whether the bytes before the end of the file are a footer with a valid checksum.
pub(super) fn is_footer(footer: &Fields) -> bool {
    let sum = |bytes: &[u8]| bytes.iter().map(|byte| u32::from(*byte)).sum::<u32>();
    let checksum = !(sum(footer.slice(0..64)) + sum(footer.slice(68..512)));
    footer.has(0, MAGIC) && footer.be32(64) == checksum
}

/// Reads the footer or its copy, the header of a dynamic disk, and its allocation table, at most 17 MiB.
pub(super) async fn inspect<S: Source>(image: &Image<'_, S>, footer: &Fields) -> Result<(), Stop<S::Error>> {
    let kind = footer.be32(60);
    if kind == FIXED {
        let fits = footer.be64(48) <= image.size.saturating_sub(FOOTER);
        return if fits { Ok(()) } else { Err(Problem::OutOfBounds("data").into()) };
    }
    if kind != DYNAMIC && kind != DIFFERENCING {
        return Err(Problem::Invalid("type").into());
    }
    let header = image.read_needed("dynamic header", footer.be64(16), DYNAMIC_HEADER).await?;
    let parent = header.slice(64..576).as_chunks::<2>().0.iter().map(|unit| u16::from_be_bytes(*unit));
    let parent: Vec<u16> = parent.take_while(|unit| *unit != 0).collect();
    let has_locator = (0..8).any(|locator| header.be32(576 + 24 * locator) != 0);
    if kind == DIFFERENCING || !parent.is_empty() || has_locator {
        return Err(Problem::other_file("a parent", String::from_utf16_lossy(&parent).as_bytes()).into());
    }
    if !is_footer(footer) {
        return Err(Problem::Invalid("checksum").into());
    }
    if !header.has(0, b"cxsparse") {
        return Err(Problem::Invalid("dynamic header").into());
    }
    let block = u64::from(header.be32(32));
    if !block.is_power_of_two() || block < 512 {
        return Err(Problem::Invalid("block size").into());
    }
    let entries = u64::from(header.be32(28));
    if footer.be64(48) > entries * block {
        return Err(Problem::Invalid("virtual size").into());
    }
    // Each block begins with a bitmap of its sectors.
    let bytes = (block / 512).div_ceil(8).next_multiple_of(512) + block;
    let table = image.table("block allocation table", header.be64(16), Some(entries * 4), MAX_TABLE_BYTES)?;
    image
        .check_entries(table, |entry| match u32::from_be_bytes(entry) {
            UNALLOCATED => Ok(()),
            sector if image.contains(u64::from(sector) * 512, bytes) => Ok(()),
            _ => Err(Problem::OutOfBounds("block")),
        })
        .await
}
