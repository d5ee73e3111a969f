//! Whether a qcow2 image is safe to hand to a hypervisor.
//!
//! A qcow2 file may name other files of the machine that opens it: a backing file or an external data file. An image
//! that is published for others must not (the class of CVE-2024-32498), and must not have tables that lie outside of
//! it. Layout and limits are those of QEMU's `docs/interop/qcow2.rst` and `block/qcow2.h`.

use crate::source::{MAX_READ, Source, head};
use std::fmt;

/// How clusters of a qcow2 are compressed, where they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Deflate, the default.
    Zlib,
    /// Zstandard.
    Zstd,
}

impl Compression {
    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Zlib => "zlib",
            Self::Zstd => "zstd",
        }
    }
}

/// What a safe qcow2 says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Qcow2 {
    /// How many bytes the disk has for its guest.
    pub virtual_size: u64,
    /// How many bytes are allocated at once.
    pub cluster_size: u64,
    /// How clusters are compressed, if any are.
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
    /// It reads from another file what it does not have.
    #[error("it has a backing file")]
    BackingFile,
    /// Its data are in another file.
    #[error("it has an external data file")]
    ExternalDataFile,
    /// It cannot be read without a key.
    #[error("it is encrypted")]
    Encrypted,
    /// It is marked as corrupt.
    #[error("it is marked as corrupt")]
    Corrupt,
    /// It needs what nobody knows here.
    #[error("it needs an unknown incompatible feature (bit {0})")]
    UnknownFeature(u32),
    /// It says something of itself that cannot be.
    #[error("its {0} is not valid")]
    Invalid(Field),
    /// One of its tables lies outside of the file, is not aligned, or is larger than QEMU takes.
    #[error("its {0} is out of bounds")]
    OutOfBounds(Table),
}

/// A part of the header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// How many bytes are allocated at once.
    ClusterSize,
    /// How long the header is.
    HeaderLength,
    /// What follows the header.
    HeaderExtension,
    /// How large the disk is for its guest.
    VirtualSize,
    /// How many bits a reference count has.
    RefcountWidth,
    /// How clusters are compressed.
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
    /// Where the L2 tables are.
    L1,
    /// Where clusters are.
    L2,
    /// Where the refcount blocks are.
    Refcounts,
    /// How often clusters are used.
    RefcountBlock,
    /// The snapshots.
    Snapshots,
    /// Where the L2 tables of a snapshot are.
    SnapshotL1,
    /// The bitmaps of what has changed.
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

/// Why a qcow2 was not found safe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Qcow2Error<E> {
    /// It is not.
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
/// Bit 0 says that refcounts may be stale, which QEMU mends by itself.
const KNOWN: u64 = 1 | CORRUPT | EXTERNAL_DATA | COMPRESSION_TYPE | EXTENDED_L2;
const EXTENSION_END: u32 = 0;
const EXTENSION_EXTERNAL_DATA: u32 = 0x4441_5441;
const EXTENSION_ENCRYPTION: u32 = 0x0537_be77;
const EXTENSION_BITMAPS: u32 = 0x2385_2875;
/// The bit of the autoclear features without which bitmaps are not looked at.
const BITMAPS_ARE_VALID: u64 = 1;
/// `QCOW_MAX_L1_SIZE`, `QCOW_MAX_REFTABLE_SIZE` and `QCOW_MAX_SNAPSHOTS`.
const MAX_L1_BYTES: u64 = 32 << 20;
const MAX_REFCOUNT_TABLE_BYTES: u64 = 8 << 20;
const MAX_SNAPSHOTS: u32 = 65_536;
/// `QCOW_MAX_SNAPSHOTS_SIZE` and `BME_MAX_TABLE_SIZE` times its entries, as far as anybody makes use of them.
const MAX_SNAPSHOT_TABLE_BYTES: u64 = 64 << 20;
const MAX_BITMAP_DIRECTORY_BYTES: u64 = 64 << 20;
/// What every entry of the snapshot table begins with.
const SNAPSHOT_ENTRY: usize = 40;
/// Where in an entry of the L1 table the offset of an L2 table is, and in one of the refcount table that of a block.
const L2_OFFSET: u64 = 0x00ff_ffff_ffff_fe00;
const BLOCK_OFFSET: u64 = 0xffff_ffff_ffff_fe00;

/// A header's fields as they lie there, big-endian.
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
    /// Reads header and tables, at most 106 MiB, 256 KiB at once. What L2 tables and refcount blocks say is not read. Whether the bytes are a qcow2 at all,
    /// [`detect`](crate::detect) tells.
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

/// What the header says, if it is safe; also how many bits a cluster's offset has, and how many entries an L2 table.
fn read_header(header: &Header, size: u64) -> Result<(Qcow2, u32, u64), Qcow2Problem> {
    // Before anything else, and in all versions at the same place: tools follow what they do not otherwise understand.
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

/// Looks through the header extensions, which lie between the header and the end of the first cluster.
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
    // What lies further on than was read is not skipped unseen.
    if header.0.len() == MAX_READ && (end as u64) < cluster {
        return Err(Qcow2Problem::Invalid(Field::HeaderExtension));
    }
    Ok(())
}

/// Where the tables lie, if that is inside the file.
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

/// Whether a table begins at a cluster behind the header, and ends inside the file.
fn is_inside(offset: u64, bytes: u64, cluster: u64, size: u64) -> bool {
    let ends_inside = offset.checked_add(bytes).is_some_and(|end| end <= size);
    offset >= cluster && offset.is_multiple_of(cluster) && ends_inside
}

/// Looks through the snapshots, each of which has an L1 table of its own.
async fn check_snapshots<S: Source>(source: &S, header: &Header, cluster: u64) -> Result<(), Qcow2Error<S::Error>> {
    let (count, start) = (header.u32(60), header.u64(64));
    let mut window = Header(Vec::new());
    let (mut window_at, mut at) = (start, start);
    for _ in 0..count {
        let begins = usize::try_from(at - window_at).unwrap_or(usize::MAX);
        let held = window.0.len().checked_sub(begins).is_some_and(|rest| rest >= SNAPSHOT_ENTRY);
        if !held {
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
        // The sizes of id and name, and of what later versions have added.
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
