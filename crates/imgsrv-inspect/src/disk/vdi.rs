//! `VirtualBox` disk (`block/vdi.c` of QEMU, `VDICore.h` of `VirtualBox`).

use super::{
    image::Image,
    problem::{Problem, Stop},
};
use crate::source::Source;

/// Where the magic number is, and the number.
pub(super) const MAGIC: (usize, &[u8]) = (64, b"\x7f\x10\xda\xbe");
const HEADER: usize = 512;
const VERSION: u32 = 0x0001_0001;
/// The type of an image that holds differences to a parent.
const DIFFERENCING: u32 = 4;
const SECTOR: u32 = 512;
/// Limit of the block map: 16 TiB in blocks of 1 MiB.
const MAX_MAP_BYTES: u64 = 64 << 20;
/// Blocks without data: unallocated or zero.
const NO_DATA: u32 = 0xffff_fffe;

/// Reads the header and the block map, at most 65 MiB.
pub(super) async fn inspect<S: Source>(image: &Image<'_, S>) -> Result<(), Stop<S::Error>> {
    let header = image.header(HEADER)?;
    let names_parent = header.slice(424..456).iter().any(|byte| *byte != 0);
    if names_parent || header.le32(76) == DIFFERENCING {
        return Err(Problem::other_file("a parent", b"").into());
    }
    if header.le32(68) != VERSION {
        return Err(Problem::Version(header.le32(68)).into());
    }
    let (map, data) = (header.le32(340), header.le32(344));
    let (block, blocks, virtual_size) = (header.le32(376), header.le32(384), header.le64(368));
    if header.le32(360) != SECTOR {
        return Err(Problem::Invalid("sector size").into());
    }
    if !block.is_power_of_two() || block < SECTOR {
        return Err(Problem::Invalid("block size").into());
    }
    if virtual_size > u64::from(blocks) * u64::from(block) {
        return Err(Problem::Invalid("virtual size").into());
    }
    if !map.is_multiple_of(SECTOR) || !data.is_multiple_of(SECTOR) {
        return Err(Problem::Invalid("alignment").into());
    }
    let map = image.table("block map", map.into(), Some(u64::from(blocks) * 4), MAX_MAP_BYTES)?;
    image
        .check_entries(map, |entry| {
            let entry = u32::from_le_bytes(entry);
            let starts_inside = || u64::from(data) + u64::from(entry) * u64::from(block) < image.size;
            if entry >= NO_DATA || starts_inside() { Ok(()) } else { Err(Problem::OutOfBounds("block")) }
        })
        .await
}
