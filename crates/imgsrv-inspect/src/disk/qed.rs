//! QEMU Enhanced Disk (`docs/interop/qed_spec.rst` of QEMU).

use super::{
    image::Image,
    problem::{Problem, Stop},
};
use crate::source::Source;

const HEADER: usize = 64;
const BACKING_FILE: u64 = 1;
/// `QED_F_NEED_CHECK`, which QEMU repairs, and `QED_F_BACKING_FORMAT_NO_PROBE`.
const KNOWN: u64 = BACKING_FILE | 2 | 4;
/// Only as much of the L1 table is read as the image needs, and this at most.
const MAX_L1_BYTES: u64 = 32 << 20;

/// Reads the header and the L1 table, at most 33 MiB.
pub(super) async fn inspect<S: Source>(image: &Image<'_, S>) -> Result<(), Stop<S::Error>> {
    let header = image.header(HEADER)?;
    let features = header.le64(16);
    if features & BACKING_FILE != 0 {
        let (offset, length) = (header.le32(56), header.le32(60));
        return Err(image.other_file("a backing file", offset.into(), length.into()).into());
    }
    if features & !KNOWN != 0 {
        return Err(Problem::UnknownFeature((features & !KNOWN).trailing_zeros()).into());
    }
    let (cluster, table) = (u64::from(header.le32(4)), u64::from(header.le32(8)));
    if !cluster.is_power_of_two() || !(4096..=64 << 20).contains(&cluster) {
        return Err(Problem::Invalid("cluster size").into());
    }
    if !table.is_power_of_two() || table > 16 {
        return Err(Problem::Invalid("table size").into());
    }
    let (table_bytes, virtual_size) = (table * cluster, header.le64(48));
    // Bytes that an entry of the L1 table stands for.
    let covered = (table_bytes / 8).saturating_mul(cluster);
    if !virtual_size.is_multiple_of(512) || virtual_size > covered.saturating_mul(table_bytes / 8) {
        return Err(Problem::Invalid("virtual size").into());
    }
    let is_table = |offset: u64| offset.is_multiple_of(cluster) && image.contains(offset, table_bytes);
    let l1 = header.le64(40);
    if l1 == 0 || !is_table(l1) {
        return Err(Problem::OutOfBounds("L1 table").into());
    }
    let used = virtual_size.div_ceil(covered) * 8;
    let l1 = image.table("L1 table", l1, Some(used), MAX_L1_BYTES)?;
    image
        .check_entries(l1, |entry| match u64::from_le_bytes(entry) {
            0 => Ok(()),
            l2 if is_table(l2) => Ok(()),
            _ => Err(Problem::OutOfBounds("L2 table")),
        })
        .await
}
