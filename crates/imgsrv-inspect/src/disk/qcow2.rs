//! Checks that a qcow2 image is safe to give to a hypervisor.
//!
//! A qcow2 file may name other files of the machine that opens it: a backing file or an external data file. An image
//! published for others must not do so (compare CVE-2024-32498), and its tables must lie inside the file. Layout and
//! limits are those of QEMU's `docs/interop/qcow2.rst` and `block/qcow2.h`.

use super::{
    image::Image,
    problem::{Problem, Stop},
};
use crate::{
    fields::Fields,
    source::{MAX_READ, Source},
};
use std::ops::Range;

/// Compression type of a qcow2; single clusters may be uncompressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Deflate, the default.
    Zlib,
    /// Zstandard.
    Zstd,
}

/// Properties of a safe qcow2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Qcow2 {
    /// Size of the disk as the guest sees it, in bytes.
    pub virtual_size: u64,
    /// Size of a cluster in bytes.
    pub cluster_size: u64,
    /// Compression type of compressed clusters.
    pub compression: Compression,
}

const EXTERNAL_DATA_FILE: &str = "an external data file";
const V2_HEADER: usize = 72;
const V3_HEADER: usize = 104;
const CORRUPT: u64 = 1 << 1;
const EXTERNAL_DATA: u64 = 1 << 2;
const COMPRESSION_TYPE: u64 = 1 << 3;
const EXTENDED_L2: u64 = 1 << 4;
/// Bit 0: refcounts may be stale; QEMU repairs them.
const KNOWN: u64 = 1 | CORRUPT | EXTERNAL_DATA | COMPRESSION_TYPE | EXTENDED_L2;
const EXTENSION_END: u32 = 0;
const EXTENSION_EXTERNAL_DATA: u32 = 0x4441_5441;
const EXTENSION_ENCRYPTION: u32 = 0x0537_be77;
const EXTENSION_BITMAPS: u32 = 0x2385_2875;
/// The autoclear feature bit without which bitmaps are ignored.
const BITMAPS_ARE_VALID: u64 = 1;
/// `QCOW_MAX_L1_SIZE`, `QCOW_MAX_REFTABLE_SIZE` and `QCOW_MAX_SNAPSHOTS`.
const MAX_L1_BYTES: u64 = 32 << 20;
const MAX_REFCOUNT_TABLE_BYTES: u64 = 8 << 20;
const MAX_SNAPSHOTS: u64 = 65_536;
/// Practical limits below `QCOW_MAX_SNAPSHOTS_SIZE` and `BME_MAX_TABLE_SIZE` times its entries.
const MAX_SNAPSHOT_TABLE_BYTES: u64 = 64 << 20;
const MAX_BITMAP_DIRECTORY_BYTES: u64 = 64 << 20;
/// Size of the fixed part of an entry of the snapshot table.
const SNAPSHOT_ENTRY: usize = 40;
/// Bits of an L1 entry that are the offset of an L2 table, and of a refcount table entry that are that of a block.
const L2_OFFSET: u64 = 0x00ff_ffff_ffff_fe00;
const BLOCK_OFFSET: u64 = 0xffff_ffff_ffff_fe00;

/// The file, as its tables refer to it.
struct Bounds<'a, S> {
    cluster: u64,
    image: &'a Image<'a, S>,
}

impl<S: Source> Bounds<'_, S> {
    /// Whether a table begins at a cluster after the header, and ends inside the file.
    fn include(&self, offset: u64, bytes: u64) -> bool {
        offset >= self.cluster && offset.is_multiple_of(self.cluster) && self.image.contains(offset, bytes)
    }

    /// The range of a table of at most `max` bytes, if it is empty or lies inside the file.
    fn table(&self, name: &'static str, offset: u64, bytes: u64, max: u64) -> Result<Range<u64>, Problem> {
        if bytes > 0 && !self.include(offset, bytes) {
            return Err(Problem::OutOfBounds(name));
        }
        self.image.table(name, offset, Some(bytes), max)
    }

    /// Checks the entries of a table, of which the bits in `mask` are the offset of a cluster: that of `referred`.
    async fn check_entries(&self, table: Range<u64>, mask: u64, referred: &'static str) -> Result<(), Stop<S::Error>> {
        let check = |entry| {
            let offset = u64::from_be_bytes(entry) & mask;
            let lies_inside = offset.is_multiple_of(self.cluster) && offset < self.image.size;
            if lies_inside { Ok(()) } else { Err(Problem::OutOfBounds(referred)) }
        };
        self.image.check_entries(table, check).await
    }

    /// Checks the snapshots; each has its own L1 table.
    async fn check_snapshots(&self, header: &Fields) -> Result<(), Stop<S::Error>> {
        let (count, start) = (header.be32(60), header.be64(64));
        let mut window = Fields::default();
        let (mut window_at, mut at) = (start, start);
        for _ in 0..count {
            let mut entry = usize::try_from(at - window_at).unwrap_or(usize::MAX);
            if window.0.len() < entry.saturating_add(SNAPSHOT_ENTRY) {
                let left = self.image.size.saturating_sub(at);
                if left < SNAPSHOT_ENTRY as u64 || at - start > MAX_SNAPSHOT_TABLE_BYTES {
                    return Err(Problem::OutOfBounds("snapshot table").into());
                }
                window = self.image.read(at, left.min(MAX_READ as u64)).await?;
                (window_at, entry) = (at, 0);
            }
            let bytes = u64::from(window.be32(entry + 8)) * 8;
            self.table("L1 table of a snapshot", window.be64(entry), bytes, MAX_L1_BYTES)?;
            // Sizes of id, name and extra data.
            let names = window.be32(entry + 12);
            let further = u64::from(names >> 16) + u64::from(names & 0xffff) + u64::from(window.be32(entry + 36));
            at += (SNAPSHOT_ENTRY as u64 + further).div_ceil(8) * 8;
        }
        Ok(())
    }
}

/// Reads header and tables, at most 106 MiB. The content of L2 tables and refcount blocks is not read.
pub(super) async fn inspect<S: Source>(image: &Image<'_, S>) -> Result<Qcow2, Stop<S::Error>> {
    let header = image.header(V2_HEADER)?;
    // First, and at the same offset in all versions: tools follow it even in images that they do not understand.
    let (backing, length) = (header.be64(8), header.be32(16));
    if backing != 0 || length != 0 {
        return Err(image.other_file("a backing file", backing, length.into()).into());
    }
    let (this, length, entry_bytes) = read_header(header)?;
    let cluster = this.cluster_size;
    let bounds = Bounds { cluster, image };
    // An extension has the name of the external data file.
    check_extensions(header, length, &bounds)?;
    if header.be32(4) == 3 && header.be64(72) & EXTERNAL_DATA != 0 {
        return Err(Problem::other_file(EXTERNAL_DATA_FILE, b"").into());
    }
    let l1_bytes = u64::from(header.be32(36)) * 8;
    let l1 = bounds.table("L1 table", header.be64(40), l1_bytes, MAX_L1_BYTES)?;
    if l1_bytes / 8 < this.virtual_size.div_ceil(cluster * (cluster / entry_bytes)) {
        return Err(Problem::OutOfBounds("L1 table").into());
    }
    let (bytes, max) = (u64::from(header.be32(56)) * cluster, MAX_REFCOUNT_TABLE_BYTES.max(cluster));
    let refcounts = bounds.table("refcount table", header.be64(48), bytes, max)?;
    if refcounts.is_empty() {
        return Err(Problem::OutOfBounds("refcount table").into());
    }
    let (entry, snapshots) = (SNAPSHOT_ENTRY as u64, u64::from(header.be32(60)));
    bounds.table("snapshot table", header.be64(64), snapshots * entry, MAX_SNAPSHOTS * entry)?;
    bounds.check_entries(l1, L2_OFFSET, "L2 table").await?;
    bounds.check_entries(refcounts, BLOCK_OFFSET, "refcount block").await?;
    bounds.check_snapshots(header).await?;
    Ok(this)
}

/// The properties, the length of the header, and the size of an entry of an L2 table.
fn read_header(header: &Fields) -> Result<(Qcow2, usize, u64), Problem> {
    let version = header.be32(4);
    if !(2..=3).contains(&version) {
        return Err(Problem::Version(version));
    }
    let cluster_bits = header.be32(20);
    if !(9..=21).contains(&cluster_bits) {
        return Err(Problem::Invalid("cluster size"));
    }
    let cluster = 1_u64 << cluster_bits;
    if header.be32(32) != 0 {
        return Err(Problem::Encrypted);
    }
    let virtual_size = header.be64(24);
    if i64::try_from(virtual_size).is_err() {
        return Err(Problem::Invalid("virtual size"));
    }
    let mut compression = Compression::Zlib;
    let mut entry_bytes = 8;
    let mut length = V2_HEADER;
    if version == 3 {
        if header.0.len() < V3_HEADER {
            return Err(Problem::CutOff);
        }
        let features = header.be64(72);
        check_features(features)?;
        length = usize::try_from(header.be32(100)).unwrap_or(usize::MAX);
        if length < V3_HEADER || !length.is_multiple_of(8) || length as u64 > cluster {
            return Err(Problem::Invalid("header length"));
        }
        if header.be32(96) > 6 {
            return Err(Problem::Invalid("refcount width"));
        }
        let kind = if length > V3_HEADER { header.0.get(V3_HEADER).copied().unwrap_or(0) } else { 0 };
        compression = match (kind, features & COMPRESSION_TYPE != 0) {
            (0, false) => Compression::Zlib,
            (1, true) => Compression::Zstd,
            _ => return Err(Problem::Invalid("compression type")),
        };
        if features & EXTENDED_L2 != 0 {
            if cluster_bits < 14 {
                return Err(Problem::Invalid("cluster size"));
            }
            entry_bytes = 16;
        }
    }
    Ok((Qcow2 { virtual_size, cluster_size: cluster, compression }, length, entry_bytes))
}

fn check_features(features: u64) -> Result<(), Problem> {
    if features & CORRUPT != 0 {
        return Err(Problem::Corrupt);
    }
    match features & !KNOWN {
        0 => Ok(()),
        unknown => Err(Problem::UnknownFeature(unknown.trailing_zeros())),
    }
}

/// Checks the header extensions, between the header and the end of the first cluster.
fn check_extensions<S: Source>(header: &Fields, start: usize, bounds: &Bounds<'_, S>) -> Result<(), Problem> {
    let end = usize::try_from(bounds.cluster).unwrap_or(usize::MAX).min(header.0.len());
    let mut at = start;
    while at + 8 <= end {
        let (kind, length) = (header.be32(at), usize::try_from(header.be32(at + 4)).unwrap_or(usize::MAX));
        match kind {
            EXTENSION_END => return Ok(()),
            EXTENSION_EXTERNAL_DATA => {
                let name = header.slice(at + 8..(at + 8).saturating_add(length).min(end));
                return Err(Problem::other_file(EXTERNAL_DATA_FILE, name));
            }
            EXTENSION_ENCRYPTION => return Err(Problem::Encrypted),
            _ if length > end - at - 8 => return Err(Problem::Invalid("header extension")),
            EXTENSION_BITMAPS if header.be64(88) & BITMAPS_ARE_VALID != 0 => {
                let (bytes, offset) = (header.be64(at + 16), header.be64(at + 24));
                if length != 24 || bytes > MAX_BITMAP_DIRECTORY_BYTES || !bounds.include(offset, bytes) {
                    return Err(Problem::OutOfBounds("bitmap directory"));
                }
                at += 8 + length;
            }
            _ => at += 8 + length.div_ceil(8) * 8,
        }
    }
    // Extensions after the bytes that were read must not be skipped unchecked.
    if header.0.len() == MAX_READ && (end as u64) < bounds.cluster {
        return Err(Problem::Invalid("header extension"));
    }
    Ok(())
}
