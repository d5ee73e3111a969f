//! The first version of QEMU copy-on-write (`block/qcow.c` of QEMU).

use super::{
    image::Image,
    problem::{Problem, Stop},
};
use crate::source::Source;

const HEADER: usize = 48;
/// Limit of the L1 table; QEMU's is that of an allocation.
const MAX_L1_BYTES: u64 = 32 << 20;

/// Reads the header and the L1 table, at most 33 MiB.
pub(super) async fn inspect<S: Source>(image: &Image<'_, S>) -> Result<(), Stop<S::Error>> {
    let header = image.header(HEADER)?;
    let (backing, length) = (header.be64(8), header.be32(16));
    if backing != 0 || length != 0 {
        return Err(image.other_file("a backing file", backing, length.into()).into());
    }
    if header.be32(36) != 0 {
        return Err(Problem::Encrypted.into());
    }
    let [cluster_bits, l2_bits] = header.bytes(32);
    if !(9..=16).contains(&cluster_bits) {
        return Err(Problem::Invalid("cluster size").into());
    }
    if !(6..=13).contains(&l2_bits) {
        return Err(Problem::Invalid("L2 table size").into());
    }
    let virtual_size = header.be64(24);
    if virtual_size <= 1 || i64::try_from(virtual_size).is_err() {
        return Err(Problem::Invalid("virtual size").into());
    }
    let bytes = virtual_size.div_ceil(1 << (cluster_bits + l2_bits)).checked_mul(8);
    let l1 = image.table("L1 table", header.be64(40), bytes, MAX_L1_BYTES)?;
    let l2_bytes = 8 << l2_bits;
    image
        .check_entries(l1, |entry| match u64::from_be_bytes(entry) {
            0 => Ok(()),
            l2 if image.contains(l2, l2_bytes) => Ok(()),
            _ => Err(Problem::OutOfBounds("L2 table")),
        })
        .await
}
