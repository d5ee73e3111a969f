//! Checks that a qcow2 image is safe to give to a hypervisor.
//!
//! A qcow2 file may name other files of the machine that opens it: a backing file or an external data file. An image
//! published for others must not do so (compare CVE-2024-32498), and its tables must lie inside the file. Layout and
//! limits are those of QEMU's `docs/interop/qcow2.rst` and `block/qcow2.h`.

use crate::source::{MAX_READ, Source, head};
use std::fmt;

/// Compression type of a qcow2; single clusters may be uncompressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Deflate, the default.
    Zlib,
    /// Zstandard.
    Zstd,
}

impl Compression {
    /// The name of the compression type.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Zlib => "zlib",
            Self::Zstd => "zstd",
        }
    }
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

/// Why a qcow2 is not safe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Qcow2Problem {
    /// The file ends within its header.
    #[error("its header is cut off")]
    CutOff,
    /// Neither version 2 nor 3.
    #[error("it is of version {0}, not 2 or 3")]
    Version(u32),
    /// It has a backing file.
    #[error("it has a backing file")]
    BackingFile,
    /// Its data are in another file.
    #[error("it has an external data file")]
    ExternalDataFile,
    /// It is encrypted.
    #[error("it is encrypted")]
    Encrypted,
    /// It is marked as corrupt.
    #[error("it is marked as corrupt")]
    Corrupt,
    /// It has an incompatible feature that this reader does not know.
    #[error("it needs an unknown incompatible feature (bit {0})")]
    UnknownFeature(u32),
    /// A field of the header is invalid.
    #[error("its {0} is not valid")]
    Invalid(Field),
    /// A table lies outside the file, is not aligned, or is larger than QEMU's limit.
    #[error("its {0} is out of bounds")]
    OutOfBounds(Table),
}

/// A field of the header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// Size of a cluster.
    ClusterSize,
    /// Length of the header.
    HeaderLength,
    /// A header extension.
    HeaderExtension,
    /// Size of the disk as the guest sees it.
    VirtualSize,
    /// Number of bits of a reference count.
    RefcountWidth,
    /// Compression type.
    CompressionType,
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ClusterSize => "cluster size",
            Self::HeaderLength => "header length",
            Self::HeaderExtension => "header extension",
            Self::VirtualSize => "virtual size",
            Self::RefcountWidth => "refcount width",
            Self::CompressionType => "compression type",
        })
    }
}

/// A table of a qcow2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Table {
    /// The L1 table: offsets of L2 tables.
    L1,
    /// An L2 table: offsets of clusters.
    L2,
    /// The refcount table: offsets of refcount blocks.
    Refcounts,
    /// A refcount block: reference counts of clusters.
    RefcountBlock,
    /// The snapshot table.
    Snapshots,
    /// The L1 table of a snapshot.
    SnapshotL1,
    /// The directory of dirty bitmaps.
    Bitmaps,
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::L1 => "L1 table",
            Self::L2 => "L2 table",
            Self::Refcounts => "refcount table",
            Self::RefcountBlock => "refcount block",
            Self::Snapshots => "snapshot table",
            Self::SnapshotL1 => "L1 table of a snapshot",
            Self::Bitmaps => "bitmap directory",
        })
    }
}

/// Why a qcow2 was not confirmed to be safe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Qcow2Error<E> {
    /// It is not safe.
    Unsafe(Qcow2Problem),
    /// It could not be read.
    Source(E),
}

impl<E> From<Qcow2Problem> for Qcow2Error<E> {
    fn from(problem: Qcow2Problem) -> Self {
        Self::Unsafe(problem)
    }
}

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
const MAX_SNAPSHOTS: u32 = 65_536;
/// Practical limits below `QCOW_MAX_SNAPSHOTS_SIZE` and `BME_MAX_TABLE_SIZE` times its entries.
const MAX_SNAPSHOT_TABLE_BYTES: u64 = 64 << 20;
const MAX_BITMAP_DIRECTORY_BYTES: u64 = 64 << 20;
/// Size of the fixed part of an entry of the snapshot table.
const SNAPSHOT_ENTRY: usize = 40;
/// Bits of an L1 entry that are the offset of an L2 table, and of a refcount table entry that are that of a block.
const L2_OFFSET: u64 = 0x00ff_ffff_ffff_fe00;
const BLOCK_OFFSET: u64 = 0xffff_ffff_ffff_fe00;

/// Bytes with big-endian fields.
struct Header(Vec<u8>);

impl Header {
    fn u32(&self, at: usize) -> u32 {
        self.0.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_be_bytes)
    }

    fn u64(&self, at: usize) -> u64 {
        self.0.get(at..at + 8).and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_be_bytes)
    }
}

/// A table of 64-bit entries.
struct Entries {
    table: Table,
    offset: u64,
    bytes: u64,
}

impl Qcow2 {
    /// Reads header and tables, at most 106 MiB, 256 KiB at once. The content of L2 tables and refcount blocks is not
    /// read. Does not check the magic number; [`detect`](crate::detect) does.
    pub async fn inspect<S: Source>(source: &S) -> Result<Self, Qcow2Error<S::Error>> {
        let header = Header(head(source, MAX_READ).await.map_err(Qcow2Error::Source)?);
        if header.0.len() < V2_HEADER {
            return Err(Qcow2Problem::CutOff.into());
        }
        let (this, cluster_bits, entry_clusters) = read_header(&header, source.size())?;
        let cluster = this.cluster_size;
        let (l1, refcounts) = tables(&header, source.size(), cluster, this.virtual_size, entry_clusters)?;
        let aligned_size = source.size().div_ceil(cluster).saturating_mul(cluster);
        let lies_inside =
            |offset: u64| offset == 0 || (offset.trailing_zeros() >= cluster_bits && offset <= aligned_size - cluster);
        check_entries(source, &l1, |entry| lies_inside(entry & L2_OFFSET), Table::L2).await?;
        check_entries(source, &refcounts, |entry| lies_inside(entry & BLOCK_OFFSET), Table::RefcountBlock).await?;
        check_snapshots(source, &header, cluster).await?;
        Ok(this)
    }
}

/// The properties, the number of bits of an offset in a cluster, and the number of entries of an L2 table.
fn read_header(header: &Header, size: u64) -> Result<(Qcow2, u32, u64), Qcow2Problem> {
    // First, and at the same offset in all versions: tools follow it even in images that they do not understand.
    if header.u64(8) != 0 || header.u32(16) != 0 {
        return Err(Qcow2Problem::BackingFile);
    }
    let version = header.u32(4);
    if !(2..=3).contains(&version) {
        return Err(Qcow2Problem::Version(version));
    }
    let cluster_bits = header.u32(20);
    if !(9..=21).contains(&cluster_bits) {
        return Err(Qcow2Problem::Invalid(Field::ClusterSize));
    }
    let cluster = 1_u64 << cluster_bits;
    if header.u32(32) != 0 {
        return Err(Qcow2Problem::Encrypted);
    }
    let virtual_size = header.u64(24);
    if i64::try_from(virtual_size).is_err() {
        return Err(Qcow2Problem::Invalid(Field::VirtualSize));
    }
    let mut compression = Compression::Zlib;
    let mut entry_bytes = 8;
    let mut length = V2_HEADER;
    if version == 3 {
        if header.0.len() < V3_HEADER {
            return Err(Qcow2Problem::CutOff);
        }
        let features = header.u64(72);
        check_features(features)?;
        length = usize::try_from(header.u32(100)).unwrap_or(usize::MAX);
        if length < V3_HEADER || !length.is_multiple_of(8) || length as u64 > cluster {
            return Err(Qcow2Problem::Invalid(Field::HeaderLength));
        }
        if header.u32(96) > 6 {
            return Err(Qcow2Problem::Invalid(Field::RefcountWidth));
        }
        let kind = if length > V3_HEADER { header.0.get(V3_HEADER).copied().unwrap_or(0) } else { 0 };
        compression = match (kind, features & COMPRESSION_TYPE != 0) {
            (0, false) => Compression::Zlib,
            (1, true) => Compression::Zstd,
            _ => return Err(Qcow2Problem::Invalid(Field::CompressionType)),
        };
        if features & EXTENDED_L2 != 0 {
            if cluster_bits < 14 {
                return Err(Qcow2Problem::Invalid(Field::ClusterSize));
            }
            entry_bytes = 16;
        }
    }
    check_extensions(header, length, cluster, size)?;
    Ok((Qcow2 { virtual_size, cluster_size: cluster, compression }, cluster_bits, cluster / entry_bytes))
}

fn check_features(features: u64) -> Result<(), Qcow2Problem> {
    if features & EXTERNAL_DATA != 0 {
        return Err(Qcow2Problem::ExternalDataFile);
    }
    if features & CORRUPT != 0 {
        return Err(Qcow2Problem::Corrupt);
    }
    match features & !KNOWN {
        0 => Ok(()),
        unknown => Err(Qcow2Problem::UnknownFeature(unknown.trailing_zeros())),
    }
}

/// Checks the header extensions, between the header and the end of the first cluster.
fn check_extensions(header: &Header, start: usize, cluster: u64, size: u64) -> Result<(), Qcow2Problem> {
    let end = usize::try_from(cluster).unwrap_or(usize::MAX).min(header.0.len());
    let mut at = start;
    while at + 8 <= end {
        let (kind, length) = (header.u32(at), usize::try_from(header.u32(at + 4)).unwrap_or(usize::MAX));
        match kind {
            EXTENSION_END => return Ok(()),
            EXTENSION_EXTERNAL_DATA => return Err(Qcow2Problem::ExternalDataFile),
            EXTENSION_ENCRYPTION => return Err(Qcow2Problem::Encrypted),
            _ if length > end - at - 8 => return Err(Qcow2Problem::Invalid(Field::HeaderExtension)),
            EXTENSION_BITMAPS if header.u64(88) & BITMAPS_ARE_VALID != 0 => {
                let (bytes, offset) = (header.u64(at + 16), header.u64(at + 24));
                if length != 24 || bytes > MAX_BITMAP_DIRECTORY_BYTES || !is_inside(offset, bytes, cluster, size) {
                    return Err(Qcow2Problem::OutOfBounds(Table::Bitmaps));
                }
                at += 8 + length;
            }
            _ => at += 8 + length.div_ceil(8) * 8,
        }
    }
    // Extensions after the bytes that were read must not be skipped unchecked.
    if header.0.len() == MAX_READ && (end as u64) < cluster {
        return Err(Qcow2Problem::Invalid(Field::HeaderExtension));
    }
    Ok(())
}

/// The tables, if they lie inside the file.
fn tables(
    header: &Header,
    size: u64,
    cluster: u64,
    virtual_size: u64,
    entry_clusters: u64,
) -> Result<(Entries, Entries), Qcow2Problem> {
    let inside = |table: Table, offset: u64, bytes: u64| {
        if is_inside(offset, bytes, cluster, size) { Ok(()) } else { Err(Qcow2Problem::OutOfBounds(table)) }
    };
    let l1 = Entries { table: Table::L1, offset: header.u64(40), bytes: u64::from(header.u32(36)) * 8 };
    let needed = virtual_size.div_ceil(cluster * entry_clusters);
    if l1.bytes > MAX_L1_BYTES || l1.bytes / 8 < needed {
        return Err(Qcow2Problem::OutOfBounds(Table::L1));
    }
    if l1.bytes > 0 {
        inside(Table::L1, l1.offset, l1.bytes)?;
    }
    let bytes = u64::from(header.u32(56)) * cluster;
    let refcounts = Entries { table: Table::Refcounts, offset: header.u64(48), bytes };
    if !(1..=MAX_REFCOUNT_TABLE_BYTES.max(cluster)).contains(&bytes) {
        return Err(Qcow2Problem::OutOfBounds(Table::Refcounts));
    }
    inside(Table::Refcounts, refcounts.offset, bytes)?;
    let snapshots = header.u32(60);
    if snapshots > MAX_SNAPSHOTS {
        return Err(Qcow2Problem::OutOfBounds(Table::Snapshots));
    }
    if snapshots > 0 {
        inside(Table::Snapshots, header.u64(64), u64::from(snapshots) * SNAPSHOT_ENTRY as u64)?;
    }
    Ok((l1, refcounts))
}

/// Whether a table begins at a cluster after the header, and ends inside the file.
fn is_inside(offset: u64, bytes: u64, cluster: u64, size: u64) -> bool {
    let ends_inside = offset.checked_add(bytes).is_some_and(|end| end <= size);
    offset >= cluster && offset.is_multiple_of(cluster) && ends_inside
}

/// Checks the snapshots; each has its own L1 table.
async fn check_snapshots<S: Source>(source: &S, header: &Header, cluster: u64) -> Result<(), Qcow2Error<S::Error>> {
    let (count, start) = (header.u32(60), header.u64(64));
    let mut window = Header(Vec::new());
    let (mut window_at, mut at) = (start, start);
    for _ in 0..count {
        let begins = usize::try_from(at - window_at).unwrap_or(usize::MAX);
        let is_buffered = window.0.len().checked_sub(begins).is_some_and(|rest| rest >= SNAPSHOT_ENTRY);
        if !is_buffered {
            let left = source.size().saturating_sub(at);
            if left < SNAPSHOT_ENTRY as u64 || at - start > MAX_SNAPSHOT_TABLE_BYTES {
                return Err(Qcow2Problem::OutOfBounds(Table::Snapshots).into());
            }
            let length = usize::try_from(left).unwrap_or(MAX_READ).min(MAX_READ);
            window = Header(source.read(at, length).await.map_err(Qcow2Error::Source)?);
            window_at = at;
        }
        let entry = usize::try_from(at - window_at).unwrap_or(usize::MAX);
        let (offset, bytes) = (window.u64(entry), u64::from(window.u32(entry + 8)) * 8);
        if bytes > MAX_L1_BYTES || (bytes > 0 && !is_inside(offset, bytes, cluster, source.size())) {
            return Err(Qcow2Problem::OutOfBounds(Table::SnapshotL1).into());
        }
        // Sizes of id, name and extra data.
        let names = window.u32(entry + 12);
        let further = u64::from(names >> 16) + u64::from(names & 0xffff) + u64::from(window.u32(entry + 36));
        at += (SNAPSHOT_ENTRY as u64 + further).div_ceil(8) * 8;
    }
    Ok(())
}

async fn check_entries<S: Source>(
    source: &S,
    entries: &Entries,
    is_good: impl Fn(u64) -> bool + Send,
    points_to: Table,
) -> Result<(), Qcow2Error<S::Error>> {
    let mut done = 0;
    while done < entries.bytes {
        let length = usize::try_from(entries.bytes - done).unwrap_or(MAX_READ).min(MAX_READ);
        let read = source.read(entries.offset + done, length).await.map_err(Qcow2Error::Source)?;
        if read.len() != length {
            return Err(Qcow2Problem::OutOfBounds(entries.table).into());
        }
        let mut all = read.chunks_exact(8).map(|entry| entry.try_into().map_or(0, u64::from_be_bytes));
        if !all.all(&is_good) {
            return Err(Qcow2Problem::OutOfBounds(points_to).into());
        }
        done += length as u64;
    }
    Ok(())
}
